"""The grammar transducer G: a backoff n-gram model as an acceptor of words.

The form is that of Kaldi's ``arpa2fst --disambig-symbol=#0``: a state is a history; an n-gram is
an arc to the longest history that its words end with; a backoff arc has input ``#0`` and output
epsilon, so that ``L o G`` can be determinized; ``</s>`` is the final cost.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from pathlib import Path

import kaldifst
import numpy as np

from am.errors import InputError
from am.graph.arrays import EPSILON, FstArrays, to_fst
from am.lang.lang import copy_lang, read_symbols
from am.lang.lexicon import BACKOFF, SENTENCE_END, SENTENCE_START
from am.lang.lexicon import EPSILON as EPSILON_WORD
from am.lang.subword_model import MODEL_NAME
from am.lm.arpa import read_arpa
from am.lm.model import LOG10_ZERO, ArpaModel

log = logging.getLogger(__name__)

_LN10 = math.log(10.0)
MARKS = frozenset({SENTENCE_START, SENTENCE_END})


def format_lm(lang: Path, arpa: Path, folder: Path) -> None:
    """Copy a lang folder and add ``G.fst``, the model over the folder's words.

    N-grams with words outside ``words.txt`` are dropped and counted (log and ``lm.json``).

    Args:
        lang: written by :func:`am.lang.prepare.prepare_lang`.
        arpa: an ARPA file, gzip if its name ends with ``.gz``.
        folder: exists; gets the files.

    Raises:
        InputError: the ARPA file is malformed, or shares no word with the lang folder, or is over
            other pieces than those of the folder's sentencepiece model.
    """
    words = read_symbols(lang / "words.txt")
    model, dropped = _over_words(read_arpa(arpa), words)
    if not set(model.words) - MARKS:
        raise InputError(
            f"{arpa}: none of its words stands in {lang / 'words.txt'}; "
            "use the spelling (and case) of the lexicon"
        )
    if dropped["words"] and (lang / MODEL_NAME).is_file():
        raise InputError(
            f"{arpa}: {dropped['words']} of its words are no pieces of {lang / MODEL_NAME}; train "
            "it on the text that utils/text_to_pieces.py makes with this lang folder"
        )
    if SENTENCE_END not in model.words:
        raise InputError(f"{arpa}: has no unigram '{SENTENCE_END}'; train it on whole sentences")
    if dropped["words"]:
        log.warning(
            "%s: %d words outside %s dropped, and %d longer n-grams with them",
            arpa,
            dropped["words"],
            lang / "words.txt",
            dropped["ngrams"],
        )
    copy_lang(lang, folder)
    arrays = grammar_fst(model, words)
    fst = to_fst(arrays)
    kaldifst.arcsort(fst, "ilabel")
    fst.write(str(folder / "G.fst"))
    facts = {
        "ngrams": [len(level) for level in model.orders],
        "dropped": dropped,
        "states": arrays.num_states,
        "arcs": arrays.num_arcs,
    }
    (folder / "lm.json").write_text(json.dumps(facts, indent=1))
    log.info("G: %d states, %d arcs", arrays.num_states, arrays.num_arcs)


def grammar_fst(model: ArpaModel, words: Mapping[str, int]) -> FstArrays:
    """G over word-ids; costs are natural logarithms.

    Args:
        model: all its words but ``<s>`` and ``</s>`` are among ``words``.
        words: symbol → word-id, with ``#0``.
    """
    word_ids = np.array([words.get(word, -1) for word in model.words], dtype=np.int32)
    start_mark, end_mark = model.numbers([SENTENCE_START, SENTENCE_END])
    state_of, num_states = _number_states(model, start_mark, end_mark)
    final = np.full(num_states, np.inf, dtype=np.float32)
    columns: list[tuple[np.ndarray, ...]] = []
    for order in range(1, model.order + 1):
        level = model.orders[order - 1]
        ngrams = model.ngrams(order)
        source = np.zeros(len(level), dtype=np.int64)
        if order > 1:
            source = state_of[order - 2][level.history]
        cost = -level.log10_prob * _LN10
        possible = (level.log10_prob > LOG10_ZERO) & (source >= 0)
        ending = possible & (level.word == end_mark)
        final[source[ending]] = cost[ending]
        inner = possible & (level.word != end_mark) & (level.word != start_mark)
        nextstate = _longest_history(model, state_of, ngrams[inner])
        label = word_ids[level.word[inner]]
        columns.append((source[inner], label, label, cost[inner], nextstate))
        if order < model.order:
            has_state = state_of[order - 1] >= 0
            columns.append(
                (
                    state_of[order - 1][has_state],
                    np.full(has_state.sum(), words[BACKOFF]),
                    np.full(has_state.sum(), EPSILON),
                    -level.log10_backoff[has_state] * _LN10,
                    _longest_history(model, state_of, ngrams[has_state, 1:]),
                )
            )
    source, ilabel, olabel, weight, nextstate = (
        np.concatenate(parts) for parts in zip(*columns, strict=True)
    )
    start_ngram = np.array([[start_mark]], dtype=np.int64)
    return FstArrays(
        final=final,
        source=source.astype(np.int32),
        ilabel=ilabel.astype(np.int32),
        olabel=olabel.astype(np.int32),
        weight=weight.astype(np.float32),
        nextstate=nextstate.astype(np.int32),
        start=int(_longest_history(model, state_of, start_ngram)[0]) if start_mark >= 0 else 0,
    )


def _number_states(
    model: ArpaModel, start_mark: int, end_mark: int
) -> tuple[list[np.ndarray], int]:
    """By order, (N,) state of each n-gram as a history, -1 where it needs none; their number.

    State 0 is the empty history.  An n-gram that no longer one begins with and that has no
    backoff weight would be a state of one free backoff arc, and is left out.
    """
    state_of: list[np.ndarray] = []
    next_state = 1
    for order in range(1, model.order):
        level = model.orders[order - 1]
        needed = level.log10_backoff != 0.0
        needed[model.orders[order].history] = True
        # Nothing follows </s>, and <s> stands at the beginning alone.
        needed &= level.word != end_mark
        if order > 1:
            needed &= level.word != start_mark
        states = np.where(needed, next_state + np.cumsum(needed) - 1, -1)
        next_state += int(needed.sum())
        state_of.append(states)
    return state_of, next_state


def _longest_history(
    model: ArpaModel, state_of: list[np.ndarray], ngrams: np.ndarray
) -> np.ndarray:
    """(M,) state of the longest end of each n-gram that is a state."""
    result = np.zeros(len(ngrams), dtype=np.int64)
    for length in range(1, min(ngrams.shape[1], model.order - 1) + 1):
        rows = model.find(ngrams[:, -length:])
        states = np.where(rows >= 0, state_of[length - 1][rows], -1)
        result = np.where(states >= 0, states, result)
    return result


def _over_words(model: ArpaModel, words: Mapping[str, int]) -> tuple[ArpaModel, dict[str, int]]:
    """The model without n-grams that hold a word outside ``words``, and how many went."""
    usable = (words.keys() - {EPSILON_WORD, BACKOFF}) | MARKS
    known = np.array([word in usable for word in model.words], dtype=bool)
    kept = [known[model.ngrams(order)].all(axis=1) for order in range(1, model.order + 1)]
    dropped = [int((~keep).sum()) for keep in kept]
    return model.restricted(kept), {"words": dropped[0], "ngrams": sum(dropped[1:])}
