"""A graph of phones for lattice-free training: a phone n-gram model in place of words.

The phones are those of an alignment, so that the model knows which pronunciations and silences
were spoken.  The model is not smoothed: after a history only phones are possible that were seen
there.  A back-off would let every phone follow every other one, and with it each of their
triphones into the graph (Povey et al., "Purely sequence-trained neural networks for ASR based on
lattice-free MMI", Interspeech 2016; Kaldi's ``chain/language-model.h``, without its extra states).
"""

from __future__ import annotations

import json
import logging
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import kaldifst
import numpy as np

from am.alignment.alignment_folder import AlignmentFolder
from am.errors import InputError
from am.graph.arrays import EPSILON, ArcList, FstArrays, to_fst
from am.graph.compile import compile_phones, load_hmm_model, write_graph
from am.lang.lang import Lang, check_phones
from am.tree.statistics import phone_segments

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PhoneGraphSettings:
    """Of ``steps/make_phone_graph.py``.

    Attributes:
        order: length of the longest n-grams of phones.
        self_loop_scale: of the transition costs.
    """

    order: int = 3
    self_loop_scale: float = 1.0


def make_phone_graph(
    alignment_folder: Path,
    lang_folder: Path,
    senones: Path,
    folder: Path,
    settings: PhoneGraphSettings,
) -> None:
    """Write a graph folder whose output labels are phones; ``words.txt`` has their symbols.

    Args:
        alignment_folder: transition-ids at 10 ms; its phones are counted.
        lang_folder: of alignment and senones.
        senones: whose senones are the input labels.
        folder: exists; gets what :func:`am.graph.compile.make_graph` writes.
        settings: of the phone model.

    Raises:
        InputError: the folders do not fit each other.
    """
    alignment = AlignmentFolder.open(alignment_folder)
    lang = Lang.load(lang_folder)
    check_phones(lang, alignment_folder)
    hmm = load_hmm_model(senones, lang)
    arrays = phone_grammar(_phones_of(alignment), settings.order)
    log.info("phone model: %d histories, %d n-grams", arrays.num_states, arrays.num_arcs)
    grammar = to_fst(arrays)
    kaldifst.minimize_encoded(grammar)
    graph = compile_phones(grammar, lang, hmm, settings.self_loop_scale)
    write_graph(graph, lang_folder, "phones.txt", hmm, senones, folder, settings.self_loop_scale)
    (folder / "phone_model.json").write_text(json.dumps(asdict(settings), indent=1))


def phone_grammar(sentences: Iterable[Sequence[int]], order: int) -> FstArrays:
    """An acceptor of phones whose probabilities are relative frequencies.

    Args:
        sentences: phone-ids of each utterance.
        order: length of the n-grams; from the start of an utterance on they grow up to it.

    Returns:
        A deterministic acceptor; a state is a history, costs are natural logs.

    Raises:
        InputError: ``order`` is below 1.
    """
    if order < 1:
        raise InputError(f"order {order}: give at least 1")
    following: dict[tuple[int, ...], Counter[int]] = {(): Counter()}
    for phones in sentences:
        history: tuple[int, ...] = ()
        for phone in (*phones, EPSILON):  # EPSILON stands for the end
            following.setdefault(history, Counter())[phone] += 1
            history = (*history, phone)[-(order - 1) :] if order > 1 else ()
    histories = {history: number for number, history in enumerate(following)}
    grammar = ArcList()
    for _ in histories:
        grammar.add_state()
    for history, state in histories.items():
        total = following[history].total()
        for phone, times in following[history].items():
            cost = math.log(total / times)
            if phone == EPSILON:
                grammar.set_final(state, cost)
            else:
                longer = (*history, phone)[-(order - 1) :] if order > 1 else ()
                grammar.add_arc(state, histories[longer], phone, phone, cost)
    return grammar.to_arrays()


def _phones_of(alignment: AlignmentFolder) -> Iterator[list[int]]:
    """The phone-ids of each aligned cut."""
    for cut_id in alignment.store:
        transition_ids = alignment.transition_ids(cut_id)
        segments = phone_segments(transition_ids, alignment.transitions, alignment.topology)
        first = np.flatnonzero(np.diff(segments, prepend=-1))
        yield alignment.transitions.phones_of(transition_ids[first]).tolist()
