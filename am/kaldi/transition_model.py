"""Kaldi's transition model: the first part of ``final.mdl``.

As Kaldi's ``hmm/hmm-topology.cc`` and ``hmm/transition-model.cc`` define it.  A transition-state
(from 1) is a tuple (phone, HMM state, pdf-id, pdf-id of the self-loop), in sorted order; a
transition-id (from 1) is an arc out of one, arcs in the order of the topology.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.kaldi.tokens import KaldiReader, KaldiWriter

NO_PDF = -1
# Kaldi's chain models, whose self-loops have pdfs of their own, are marked by this in place of
# the number of topology entries.
_NOT_HMM = -1


@dataclass(frozen=True)
class KaldiState:
    """One state of a topology entry.

    Attributes:
        pdf_class: ``NO_PDF`` where the state emits nothing.
        self_loop_pdf_class: the same, but in chain models.
        arcs: (target state, initial probability), in the order of the transition-ids.
    """

    pdf_class: int
    self_loop_pdf_class: int
    arcs: tuple[tuple[int, float], ...]


@dataclass(frozen=True)
class KaldiTopology:
    """The HMMs before training.

    Attributes:
        entries: HMMs, each a list of states, the last one final.
        entry_of_phone: phone-id → index of its entry.
    """

    entries: tuple[tuple[KaldiState, ...], ...]
    entry_of_phone: Mapping[int, int]

    def states(self, phone: int) -> tuple[KaldiState, ...]:
        """The HMM of a phone."""
        return self.entries[self.entry_of_phone[phone]]

    @property
    def is_hmm(self) -> bool:
        """Whether every state has one pdf-class, as in all but chain models."""
        return all(
            state.pdf_class == state.self_loop_pdf_class
            for entry in self.entries
            for state in entry
        )


@dataclass(frozen=True)
class KaldiTransitionModel:
    """Transition-states and the log-probabilities of their arcs.

    Attributes:
        topology: of all phones.
        tuples: (transition-states, 4) int32 phone, HMM state, pdf-id, self-loop's pdf-id.
        log_probabilities: (transition-ids + 1,) float32, natural log; entry 0 is unused.
    """

    topology: KaldiTopology
    tuples: np.ndarray
    log_probabilities: np.ndarray

    @property
    def num_transition_ids(self) -> int:
        """The highest transition-id."""
        return len(self.log_probabilities) - 1

    @cached_property
    def state_of_id(self) -> np.ndarray:
        """(transition-ids + 1,) transition-state of each transition-id; entry 0 is 0."""
        counts = [len(self._arcs(row)) for row in self.tuples]
        return np.concatenate([[0], np.repeat(np.arange(1, len(counts) + 1), counts)])

    @cached_property
    def is_self_loop(self) -> np.ndarray:
        """(transition-ids + 1,) bool, whether an arc stays in its state."""
        loops = [target == row[1] for row in self.tuples for target, _ in self._arcs(row)]
        return np.array([False, *loops])

    def _arcs(self, row: np.ndarray) -> tuple[tuple[int, float], ...]:
        return self.topology.states(int(row[0]))[int(row[1])].arcs


def read_transition_model(reader: KaldiReader) -> KaldiTransitionModel:
    """Read the transition model at the beginning of a model file.

    Raises:
        InputError: something else stands there, or it is cut short or contradicts itself.
    """
    reader.token("<TransitionModel>")
    topology = _read_topology(reader)
    kind = reader.token("<Triples>", "<Tuples>")
    rows = []
    for _ in range(reader.integer()):
        phone, state, pdf_id = (reader.integer() for _ in range(3))
        rows.append((phone, state, pdf_id, pdf_id if kind == "<Triples>" else reader.integer()))
        states = topology.states(phone) if phone in topology.entry_of_phone else ()
        if not 0 <= state < len(states) or states[state].pdf_class == NO_PDF or pdf_id < 0:
            raise reader.fault(f"a state that the topology has not: {rows[-1][:3]}")
        if rows[-2:] != sorted(set(rows[-2:])):
            raise reader.fault(f"states that are not in order: {rows[-1][:3]}")
    reader.token(kind.replace("<", "</"))
    reader.token("<LogProbs>")
    log_probabilities = reader.vector()
    reader.token("</LogProbs>")
    reader.token("</TransitionModel>")
    if not rows:
        raise reader.fault("no transition-states")
    model = KaldiTransitionModel(topology, np.array(rows, dtype=np.int32), log_probabilities)
    if len(model.state_of_id) != len(log_probabilities):
        raise reader.fault(
            f"{len(log_probabilities) - 1} log-probabilities of {len(model.state_of_id) - 1} arcs"
        )
    # A text file rounds the log of a probability of 1.
    if not np.isfinite(log_probabilities).all() or log_probabilities.max() > 1e-4:
        raise reader.fault("log-probabilities that are not at most 0")
    return model


def write_transition_model(writer: KaldiWriter, model: KaldiTransitionModel) -> None:
    """Write what :func:`read_transition_model` reads."""
    writer.token("<TransitionModel>")
    writer.end_line()
    _write_topology(writer, model.topology)
    kind = "Triples" if model.topology.is_hmm else "Tuples"
    writer.token(f"<{kind}>")
    writer.integer(len(model.tuples))
    writer.end_line()
    for row in model.tuples.tolist():
        for value in row[:3] if kind == "Triples" else row:
            writer.integer(value)
        writer.end_line()
    writer.token(f"</{kind}>")
    writer.end_line()
    writer.token("<LogProbs>")
    writer.end_line()
    writer.vector(model.log_probabilities)
    writer.token("</LogProbs>")
    writer.end_line()
    writer.token("</TransitionModel>")
    writer.end_line()


def _read_topology(reader: KaldiReader) -> KaldiTopology:
    reader.token("<Topology>")
    topology = _read_binary_topology(reader) if reader.binary else _read_text_topology(reader)
    for entry in topology.entries:
        for place, state in enumerate(entry):
            if any(not 0 <= target < len(entry) for target, _ in state.arcs):
                raise reader.fault(f"an arc of state {place} that leads to no state")
    return topology


def _read_binary_topology(reader: KaldiReader) -> KaldiTopology:
    phones, entry_of_phone = reader.integers(), reader.integers()
    num_entries = reader.integer()
    is_hmm = num_entries != _NOT_HMM
    if not is_hmm:
        num_entries = reader.integer()
    entries = []
    for _ in range(num_entries):
        states = []
        for _ in range(reader.integer()):
            pdf_class = reader.integer()
            self_loop = pdf_class if is_hmm else reader.integer()
            arcs = tuple((reader.integer(), reader.real()) for _ in range(reader.integer()))
            states.append(KaldiState(pdf_class, self_loop, arcs))
        entries.append(tuple(states))
    reader.token("</Topology>")
    for phone in phones.tolist():
        if not 0 < phone < len(entry_of_phone) or not 0 <= entry_of_phone[phone] < num_entries:
            raise reader.fault(f"no topology entry for phone-id {phone}")
    return KaldiTopology(
        tuple(entries), {phone: int(entry_of_phone[phone]) for phone in phones.tolist()}
    )


def _read_text_topology(reader: KaldiReader) -> KaldiTopology:
    entries: list[tuple[KaldiState, ...]] = []
    entry_of_phone: dict[int, int] = {}
    while reader.token("<TopologyEntry>", "</Topology>") == "<TopologyEntry>":
        reader.token("<ForPhones>")
        while reader.peek() != "</ForPhones>":
            phone = reader.integer()
            if phone < 1 or phone in entry_of_phone:
                raise reader.fault(f"phone-id {phone}, which is no phone or has two HMMs")
            entry_of_phone[phone] = len(entries)
        reader.token("</ForPhones>")
        states: list[KaldiState] = []
        while reader.token("<State>", "</TopologyEntry>") == "<State>":
            if reader.integer() != len(states):
                raise reader.fault("states that are not numbered from 0")
            states.append(_read_text_state(reader))
        entries.append(tuple(states))
    return KaldiTopology(tuple(entries), dict(sorted(entry_of_phone.items())))


def _read_text_state(reader: KaldiReader) -> KaldiState:
    pdf_class = self_loop = NO_PDF
    if reader.peek() == "<PdfClass>":
        reader.token()
        pdf_class = self_loop = reader.integer()
    elif reader.peek() == "<ForwardPdfClass>":
        reader.token()
        pdf_class = reader.integer()
        reader.token("<SelfLoopPdfClass>")
        self_loop = reader.integer()
    arcs = []
    while reader.token("<Transition>", "</State>") == "<Transition>":
        arcs.append((reader.integer(), reader.real()))
    return KaldiState(pdf_class, self_loop, tuple(arcs))


def _write_topology(writer: KaldiWriter, topology: KaldiTopology) -> None:
    writer.token("<Topology>")
    writer.end_line()
    if writer.binary:
        _write_binary_topology(writer, topology)
    else:
        _write_text_topology(writer, topology)
    writer.token("</Topology>")
    writer.end_line()


def _write_binary_topology(writer: KaldiWriter, topology: KaldiTopology) -> None:
    phones = np.array(sorted(topology.entry_of_phone), dtype=np.int32)
    entry_of_phone = np.full(phones.max() + 1, -1, dtype=np.int32)
    entry_of_phone[phones] = [topology.entry_of_phone[phone] for phone in phones.tolist()]
    writer.integers(phones)
    writer.integers(entry_of_phone)
    if not topology.is_hmm:
        writer.integer(_NOT_HMM)
    writer.integer(len(topology.entries))
    for entry in topology.entries:
        writer.integer(len(entry))
        for state in entry:
            writer.integer(state.pdf_class)
            if not topology.is_hmm:
                writer.integer(state.self_loop_pdf_class)
            writer.integer(len(state.arcs))
            for target, probability in state.arcs:
                writer.integer(target)
                writer.real(probability)


def _write_text_topology(writer: KaldiWriter, topology: KaldiTopology) -> None:
    for index, entry in enumerate(topology.entries):
        writer.token("<TopologyEntry>")
        writer.end_line()
        writer.token("<ForPhones>")
        phones = sorted(phone for phone, own in topology.entry_of_phone.items() if own == index)
        for phone in phones:
            writer.integer(phone)
        writer.token("</ForPhones>")
        writer.end_line()
        for place, state in enumerate(entry):
            writer.token("<State>")
            writer.integer(place)
            if state.pdf_class != NO_PDF and topology.is_hmm:
                writer.token("<PdfClass>")
                writer.integer(state.pdf_class)
            elif state.pdf_class != NO_PDF:
                writer.token("<ForwardPdfClass>")
                writer.integer(state.pdf_class)
                writer.token("<SelfLoopPdfClass>")
                writer.integer(state.self_loop_pdf_class)
            for target, probability in state.arcs:
                writer.token("<Transition>")
                writer.integer(target)
                writer.real(probability)
            writer.token("</State>")
            writer.end_line()
        writer.token("</TopologyEntry>")
        writer.end_line()


def from_transitions(topology: Topology, transitions: TransitionModel) -> KaldiTransitionModel:
    """Kaldi's form of our transition model; transition-ids stay what they are.

    A state's arcs are its self-loop, then the way to the next state.
    """
    lengths = sorted(set(topology.states_of_phone.values()))
    stay = topology.initial_self_loop_probability
    entries = [
        (
            *(
                KaldiState(state, state, ((state, stay), (state + 1, 1.0 - stay)))
                for state in range(length)
            ),
            KaldiState(NO_PDF, NO_PDF, ()),
        )
        for length in lengths
    ]
    entry_of_phone = {
        phone: lengths.index(length) for phone, length in sorted(topology.states_of_phone.items())
    }
    columns = (transitions.phones, transitions.states, transitions.pdf_ids, transitions.pdf_ids)
    return KaldiTransitionModel(
        KaldiTopology(tuple(entries), entry_of_phone),
        np.stack(columns, axis=1),
        transitions.log_probabilities().astype(np.float32),
    )
