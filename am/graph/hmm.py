"""HCLG from CLG: windows of phones become HMM states, then every state gets its self-loop.

Letters for shapes: A arcs, S states, J input labels of CLG, T transition-states, K states of the
longest phone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from am.errors import InputError
from am.graph.arrays import EPSILON, FstArrays
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.tree.context_tree import ContextTree


def state_sequences(
    windows: Sequence[Sequence[int]],
    tree: ContextTree,
    topology: Topology,
    transitions: TransitionModel,
) -> np.ndarray:
    """The transition-states that each input label of CLG stands for.

    Args:
        windows: as :func:`am.graph.context.in_context` gives them.
        tree, topology, transitions: the model.

    Returns:
        (J, K) int32 transition-states in time's order, 0 after the last.  A disambiguation
        symbol is one number above T, another for each; epsilon is 0.

    Raises:
        InputError: the transition model lacks a state that the tree gives.
    """
    longest = max(topology.states_of_phone.values())
    sequences = np.zeros((len(windows), longest), dtype=np.int32)
    phone_labels = []
    for label, window in enumerate(windows):
        if len(window) == 1 and window[0] <= 0:
            sequences[label, 0] = transitions.num_transition_states + label
        elif len(window):
            phone_labels.append(label)
    if not phone_labels:
        return sequences
    table = np.array([windows[label] for label in phone_labels], dtype=np.int64)
    if table.shape[1] == 1:
        table = np.pad(table, ((0, 0), (1, 1)))
    left, centre, right = table.T
    counts = np.array([topology.num_states(phone) for phone in centre.tolist()])
    for state in range(longest):
        has_state = counts > state
        pdf_ids = tree.pdf_ids(
            left[has_state], centre[has_state], right[has_state], np.array(state)
        )
        labels = np.array(phone_labels)[has_state]
        for label, phone, pdf_id in zip(
            labels.tolist(), centre[has_state].tolist(), pdf_ids.tolist(), strict=True
        ):
            try:
                found = transitions.transition_state(phone, state, pdf_id)
            except KeyError as error:
                raise InputError(
                    f"transitions.json: has no state {state} of phone {phone} with pdf-id "
                    f"{pdf_id}, which tree.json gives; take both from one model"
                ) from error
            sequences[label, state] = found
    return sequences


def substitute(clg: FstArrays, sequences: np.ndarray) -> FstArrays:
    """H composed with CLG, H without self-loops: each arc becomes a chain of HMM states.

    The output label and the cost stand on the chain's first arc.  Chains that end alike, in the
    same state, share their ends, which saves determinization most of its work.

    Args:
        clg: input labels are rows of ``sequences``.
        sequences: (J, K), see :func:`state_sequences`.
    """
    lengths = (sequences > 0).sum(axis=1)
    remaining = lengths[clg.ilabel]
    target = clg.nextstate.astype(np.int64)
    num_states = clg.num_states
    num_labels = int(sequences.max()) + 1
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(sequences.shape[1] - 1):
        long = np.flatnonzero(remaining > 1)
        last = sequences[clg.ilabel[long], remaining[long] - 1]
        keys, inverse = np.unique(target[long] * num_labels + last, return_inverse=True)
        ends, labels = np.divmod(keys, num_labels)
        parts.append((num_states + np.arange(len(keys)), labels, ends))
        target[long] = num_states + inverse
        remaining[long] -= 1
        num_states += len(keys)
    parts.append((clg.source, sequences[clg.ilabel, 0], target))
    source, ilabel, nextstate = (np.concatenate(column) for column in zip(*parts, strict=True))
    nothing = np.zeros(len(source) - clg.num_arcs)
    return FstArrays(
        final=np.append(clg.final, np.full(num_states - clg.num_states, np.inf, np.float32)),
        source=source.astype(np.int32),
        ilabel=ilabel.astype(np.int32),
        olabel=np.append(nothing, clg.olabel).astype(np.int32),
        weight=np.append(nothing, clg.weight).astype(np.float32),
        nextstate=nextstate.astype(np.int32),
        start=clg.start,
    )


def without_disambiguation(fst: FstArrays, num_transition_states: int) -> FstArrays:
    """The transducer with epsilon for every input label above ``num_transition_states``."""
    is_disambiguation = fst.ilabel > num_transition_states
    return dataclasses.replace(fst, ilabel=np.where(is_disambiguation, EPSILON, fst.ilabel))


def add_self_loops(fst: FstArrays, transitions: TransitionModel, scale: float) -> FstArrays:
    """Let every HMM state be stayed in.

    As Kaldi's ``add-self-loops --reorder=true``: an arc with a transition-state consumes the
    state's first frame, a loop where it arrives consumes the others at cost
    ``-scale log(self-loop probability)``, and what leaves from there costs
    ``-scale log(1 - self-loop probability)``.

    Args:
        fst: input labels are transition-states or epsilon.
        transitions: the self-loop probabilities.
        scale: of the transition costs.
    """
    fst, class_of_state = split_by_incoming_label(fst)
    stay = np.append(0.0, -scale * np.log(transitions.self_loop))
    leave = np.append(0.0, -scale * np.log1p(-transitions.self_loop))
    looping = np.flatnonzero(class_of_state)
    labels = class_of_state[looping]
    return FstArrays(
        final=(fst.final + leave[class_of_state]).astype(np.float32),
        source=np.append(fst.source, looping).astype(np.int32),
        ilabel=np.append(fst.ilabel, labels).astype(np.int32),
        olabel=np.append(fst.olabel, np.zeros_like(looping)).astype(np.int32),
        weight=np.append(fst.weight + leave[class_of_state[fst.source]], stay[labels]).astype(
            np.float32
        ),
        nextstate=np.append(fst.nextstate, looping).astype(np.int32),
        start=fst.start,
    )


def split_by_incoming_label(fst: FstArrays) -> tuple[FstArrays, np.ndarray]:
    """Split states so that all arcs into a state have the same input label.

    A state that is entered by several labels, or by one and by epsilon (the start counts as
    entered so), keeps the epsilons; each label gets a state of its own before it.  That state
    copies the way out if there is a single one, or else has an epsilon arc to the split state.

    Returns:
        The transducer, and (S,) the label by which each state is entered, 0 for epsilon.
    """
    num_states = fst.num_states
    num_labels = int(fst.ilabel.max(initial=0)) + 1
    labelled = np.flatnonzero(fst.ilabel != EPSILON)
    keys, inverse = np.unique(
        fst.nextstate[labelled].astype(np.int64) * num_labels + fst.ilabel[labelled],
        return_inverse=True,
    )
    entered, label = np.divmod(keys, num_labels)
    keeps_epsilons = np.bincount(entered, minlength=num_states) > 1
    keeps_epsilons[fst.nextstate[fst.ilabel == EPSILON]] = True
    keeps_epsilons[fst.start] = True

    splits = keeps_epsilons[entered]
    state_of_key = np.where(splits, num_states + np.cumsum(splits) - 1, entered)
    class_of_state = np.zeros(num_states + int(splits.sum()), dtype=np.int64)
    class_of_state[state_of_key] = label
    nextstate = fst.nextstate.copy()
    nextstate[labelled] = state_of_key[inverse]

    original, new = entered[splits], state_of_key[splits]
    ways_out = np.bincount(fst.source, minlength=num_states) + np.isfinite(fst.final)
    copies = ways_out[original] == 1
    only_arc = np.full(num_states, -1, dtype=np.int64)
    only_arc[fst.source] = np.arange(fst.num_arcs)
    copied = copies & (only_arc[original] >= 0)
    arcs = only_arc[original[copied]]
    bridged = ~copies
    nothing = np.zeros(int(bridged.sum()))
    final = np.where(copies, fst.final[original], np.inf)
    split = FstArrays(
        final=np.append(fst.final, final).astype(np.float32),
        source=np.concatenate([fst.source, new[copied], new[bridged]]).astype(np.int32),
        ilabel=np.concatenate([fst.ilabel, fst.ilabel[arcs], nothing]).astype(np.int32),
        olabel=np.concatenate([fst.olabel, fst.olabel[arcs], nothing]).astype(np.int32),
        weight=np.concatenate([fst.weight, fst.weight[arcs], nothing]).astype(np.float32),
        # A copied arc leads to where the original arc leads after splitting.
        nextstate=np.concatenate([nextstate, nextstate[arcs], original[bridged]]).astype(np.int32),
        start=fst.start,
    )
    return split, class_of_state
