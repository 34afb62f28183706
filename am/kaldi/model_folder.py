"""Whole GMM systems: a Kaldi folder (``exp/tri2``) to a GMM folder of ours, and back."""

from __future__ import annotations

import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

from am.errors import InputError
from am.gmm.model import DiagonalGmms
from am.gmm.model_folder import GmmHmm, write_summary
from am.hmm.topology import Topology
from am.hmm.transitions import TransitionModel
from am.kaldi.event_map import from_context_tree, write_tree
from am.kaldi.features import read_gmm_features, write_gmm_features
from am.kaldi.gmm import read_gmms, write_gmms
from am.kaldi.hmm import TREE_NAME, ImportedHmm, import_hmm
from am.kaldi.phones import PHONES_NAME, phone_mapping
from am.kaldi.tokens import KaldiReader, KaldiWriter
from am.kaldi.transition_model import (
    from_transitions,
    read_transition_model,
    write_transition_model,
)
from am.lang.lang import Lang, read_symbols
from am.tree.context_tree import ContextTree

log = logging.getLogger(__name__)

MODEL_NAME = "final.mdl"
SPEAKER_INDEPENDENT_NAME = "final.alimdl"


@dataclass(frozen=True)
class KaldiFolder:
    """Where a Kaldi system lies and how much of it may be bent.

    Attributes:
        folder: holds ``tree`` and the model.
        model_name: the model's file in it.
        phones: Kaldi's ``phones.txt``; None: the folder's.
        approximate_topology: whether an HMM with more arcs than self-loops and steps to the next
            state (Kaldi's silence) may lose them.
    """

    folder: Path
    model_name: str = MODEL_NAME
    phones: Path | None = None
    approximate_topology: bool = False

    @property
    def model_path(self) -> Path:
        """The model's file."""
        return self.folder / self.model_name

    @property
    def phones_path(self) -> Path:
        """The phones' names."""
        return self.phones or self.folder / PHONES_NAME


def import_model(lang_folder: Path, source: KaldiFolder, output: Path) -> None:
    """Turn a Kaldi GMM system into a GMM folder.

    Args:
        lang_folder: ours, with the same phones by name.
        source: the Kaldi system.
        output: folder to write, as ``steps/train_*.py`` write it.

    Raises:
        InputError: a file is missing, cut short or not of a GMM, the phones differ, or the system
            has something that ours has not (a wide context, other HMMs, fMLLR).
    """
    adapted = any(source.folder.glob("trans.*"))
    if adapted and source.model_name == MODEL_NAME:
        raise InputError(
            f"{source.model_path}: its features were adapted to each speaker (fMLLR); give "
            f"--model-name {SPEAKER_INDEPENDENT_NAME}, the model of the unadapted features"
        )
    lang = Lang.load(lang_folder)
    reader, hmm = read_hmm(lang, source)
    if hmm.approximated_phones and not source.approximate_topology:
        names = {number: name for name, number in read_symbols(source.phones_path).items()}
        phones = ", ".join(names[phone] for phone in hmm.approximated_phones[:5])
        raise InputError(
            f"{source.model_path}: the HMM of {phones} has arcs other than self-loops and steps to "
            "the next state; give --approximate-topology to leave them out, or train in Kaldi with "
            "left-to-right HMMs"
        )
    gmms = read_gmms(reader)
    if not hmm.tree.num_pdfs == gmms.num_pdfs == hmm.transitions.num_pdfs:
        raise InputError(
            f"{source.model_path}: {gmms.num_pdfs} pdfs, the tree has {hmm.tree.num_pdfs}, the "
            f"transition model {hmm.transitions.num_pdfs}; give the files of one folder"
        )
    features = read_gmm_features(source.folder, gmms.dim)
    GmmHmm(hmm.tree, hmm.topology, hmm.transitions, gmms, features).save(output)
    shutil.copyfile(lang_folder / PHONES_NAME, output / PHONES_NAME)
    summary = {"pdfs": gmms.num_pdfs, "gaussians": gmms.num_gaussians, "dim": gmms.dim}
    write_summary(output, summary)
    log.info("%s", ", ".join(f"{name} {value}" for name, value in summary.items()))


def read_hmm(lang: Lang, source: KaldiFolder) -> tuple[KaldiReader, ImportedHmm]:
    """A Kaldi system's HMMs, and the reader of its model, which the Gaussians come next in."""
    reader = KaldiReader(source.model_path, "a GMM system's model (final.mdl)")
    model = read_transition_model(reader)
    phone_of = phone_mapping(source.phones_path, lang, model.topology.entry_of_phone)
    hmm = import_hmm(source.folder, source.model_path, model, phone_of)
    if hmm.approximated_phones:
        log.warning(
            "%s: %d phones have arcs beyond self-loops and steps to the next state; ours have not",
            source.model_path,
            len(hmm.approximated_phones),
        )
    return reader, hmm


def export_model(model_folder: Path, output: Path, *, binary: bool = True) -> None:
    """Write a GMM folder as a Kaldi folder: ``tree``, ``final.mdl``, feature options, phones.

    Args:
        model_folder: of ``steps/train_*.py``.
        output: an existing folder.
        binary: whether tree and model are written in Kaldi's binary form.

    Raises:
        InputError: it is no GMM folder, or that of a speaker-adapted model.
    """
    model = GmmHmm.load(model_folder)
    if model.features.speaker_adapted:
        raise InputError(
            f"{model_folder}: a speaker-adapted model, which means nothing without its speakers' "
            "transforms; give the model that it was trained from"
        )
    write_hmm(output, model.tree, model.topology, model.transitions, model.gmms, binary=binary)
    write_gmm_features(output, model.features)
    shutil.copyfile(model_folder / PHONES_NAME, output / PHONES_NAME)


def write_hmm(
    output: Path,
    tree: ContextTree,
    topology: Topology,
    transitions: TransitionModel,
    gmms: DiagonalGmms | None,
    *,
    binary: bool = True,
) -> None:
    """Write ``tree`` and ``final.mdl``; without ``gmms`` the latter is a transition model alone."""
    write_tree(output / TREE_NAME, from_context_tree(tree), binary=binary)
    writer = KaldiWriter(binary=binary)
    write_transition_model(writer, from_transitions(topology, transitions))
    if gmms is not None:
        write_gmms(writer, gmms)
    (output / MODEL_NAME).write_bytes(writer.to_bytes())
