"""The decoding graph HCLG of a lang folder and a model."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import kaldifst
import numpy as np

from am.errors import InputError
from am.graph.arrays import FstArrays, from_fst, to_fst
from am.graph.context import context_width, determinize, in_context, lexicon_and_grammar
from am.graph.hmm import add_self_loops, state_sequences, substitute, without_disambiguation
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.lang.lang import Lang, check_phones
from am.lang.subword_model import copy_description
from am.outputs import sha256_of_file
from am.tree.context_tree import ContextTree

log = logging.getLogger(__name__)

MODEL_FILES = ("phones.txt", "tree.json", "topology.json", "transitions.json")
SENONES_NAME = "senones.json"


@dataclass(frozen=True)
class HmmModel:
    """What a graph needs of a model's folder: tree, topology, transitions."""

    tree: ContextTree
    topology: Topology
    transitions: TransitionModel


def load_hmm_model(folder: Path, lang: Lang) -> HmmModel:
    """Read a model's folder and check that it belongs to ``lang``.

    Raises:
        InputError: a file is missing, the phones differ, or the tree lacks one of them.
    """
    check_phones(lang, folder)
    tree = ContextTree.load(folder / "tree.json")
    topology = Topology.load(folder / "topology.json")
    symbol_of = {number: symbol for symbol, number in lang.phones.items()}
    for phone in lang.real_phones:
        if phone >= len(tree.roots) or tree.roots[phone] < 0:
            raise InputError(
                f"{folder / 'tree.json'}: has no root for the phone '{symbol_of[phone]}'; "
                "build the tree with this lang folder"
            )
        if phone not in topology.states_of_phone:
            raise InputError(
                f"{folder / 'topology.json'}: lacks the phone '{symbol_of[phone]}'; "
                "train the model with this lang folder"
            )
    return HmmModel(tree, topology, TransitionModel.load(folder / "transitions.json"))


def make_graph(lang_folder: Path, model_folder: Path, folder: Path, self_loop_scale: float) -> None:
    """Write a graph folder: ``HCLG.fst``, ``words.txt``, ``phones.txt``, ``graph.json``, and of a
    lang folder of pieces ``subword.json``.

    The transducer's input labels are pdf-id + 1, its output labels word-ids, its weights natural
    log costs.

    Args:
        lang_folder: with ``G.fst``.
        model_folder: with ``tree.json``, ``topology.json``, ``transitions.json``, ``phones.txt``;
            the frame shift in its ``senones.json``, if there is one, is passed on.
        folder: exists; gets the files.
        self_loop_scale: of the transition costs; Kaldi decodes with 0.1.
    """
    lang = Lang.load(lang_folder)
    model = load_hmm_model(model_folder, lang)
    hclg = compile_graph(lang, model, self_loop_scale)
    write_graph(hclg, lang_folder, "words.txt", model, model_folder, folder, self_loop_scale)
    copy_description(lang_folder, folder)


def write_graph(
    hclg: kaldifst.StdVectorFst,
    lang_folder: Path,
    output_symbols: str,
    model: HmmModel,
    model_folder: Path,
    folder: Path,
    self_loop_scale: float,
) -> None:
    """Write a graph folder; see :func:`make_graph`.

    Args:
        hclg: of ``self_loop_scale``.
        lang_folder: whose file ``output_symbols`` names the output labels.
        model: what it was made for, and ``model_folder``, where that lies.
        folder: exists; gets the files.
    """
    hclg.write(str(folder / "HCLG.fst"))
    for name, symbols in (("words.txt", output_symbols), ("phones.txt", "phones.txt")):
        shutil.copyfile(lang_folder / symbols, folder / name)
    arrays = from_fst(hclg)
    facts = {
        "num_pdfs": model.tree.num_pdfs,
        "tree_sha256": sha256_of_file(model_folder / "tree.json"),
        "context_width": context_width(model.tree),
        "self_loop_scale": self_loop_scale,
        "states": arrays.num_states,
        "arcs": arrays.num_arcs,
        "epsilon_arcs": int((arrays.ilabel == 0).sum()),
    }
    senones = model_folder / SENONES_NAME
    if senones.is_file():
        facts["frame_shift"] = json.loads(senones.read_text())["frame_shift"]
    (folder / "graph.json").write_text(json.dumps(facts, indent=1))


def compile_graph(lang: Lang, model: HmmModel, self_loop_scale: float) -> kaldifst.StdVectorFst:
    """HCLG of a lang folder that has ``G.fst``: pdf-id + 1 in, word-ids out."""
    return compile_phones(lexicon_and_grammar(lang), lang, model, self_loop_scale)


def compile_phones(
    fst: kaldifst.StdVectorFst, lang: Lang, model: HmmModel, self_loop_scale: float
) -> kaldifst.StdVectorFst:
    """A transducer of phones as one of senones: pdf-id + 1 in.

    Args:
        fst: phone-ids and disambiguation symbols in, determinized; LG, say.
        lang, model: what the phones are.
        self_loop_scale: of the transition costs.
    """
    timer = _Timer()
    timer.note("LG", fst)
    fst, windows = in_context(fst, lang.disambiguation_phones, context_width(model.tree))
    timer.note("CLG", fst)
    sequences = state_sequences(windows, model.tree, model.topology, model.transitions)
    fst = to_fst(substitute(from_fst(fst), sequences))
    timer.note("H o CLG", fst)
    determinize(fst, lang.folder)
    timer.note("H o CLG determinized", fst)
    num_transition_states = model.transitions.num_transition_states
    fst = to_fst(without_disambiguation(from_fst(fst), num_transition_states))
    kaldifst.minimize_encoded(fst)
    timer.note("minimized", fst)
    arrays = add_self_loops(from_fst(fst), model.transitions, self_loop_scale)
    fst = to_fst(_with_pdf_ids(arrays, model.transitions))
    kaldifst.connect(fst)
    timer.note("HCLG", fst)
    return fst


def _with_pdf_ids(fst: FstArrays, transitions: TransitionModel) -> FstArrays:
    label = np.append(0, transitions.pdf_ids + 1).astype(np.int32)
    return dataclasses.replace(fst, ilabel=label[fst.ilabel])


class _Timer:
    """Logs the size of each stage's transducer and the seconds since the one before."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def note(self, name: str, fst: kaldifst.StdVectorFst) -> None:
        now = time.monotonic()
        log.info("%s: %d states, %.1f s", name, fst.num_states, now - self._last)
        self._last = now
