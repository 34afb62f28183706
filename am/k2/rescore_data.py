"""Other hypotheses from the lattices of a decoding, without searching again."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Literal

import torch

from am.errors import InputError
from am.features.feature_data import open_feature_data
from am.k2.lattice_store import LatticeStore
from am.k2.lattices import Lattices
from am.k2.nbest import Hypothesis, nbest
from am.k2.oracle import oracle_errors
from am.k2.rescoring import LanguageModelChange, minimum_bayes_risk
from am.lm.arpa import read_arpa
from am.progress import track
from am.scoring.transcripts import HYPOTHESES_NAME, reference_words

log = logging.getLogger(__name__)

NBEST_NAME = "nbest.txt"
ORACLE_NAME = "oracle.json"


@dataclass(frozen=True)
class RescoringSettings:
    """Of ``steps/rescore_lattices.py`` (``conf/rescore.yaml``).

    Attributes:
        num_best: hypotheses an utterance, at most.
        choose: the ``best`` score, or the fewest expected word errors, ``mbr``.
        language_model_scale: factor of both language models where one replaces the other.
        mbr_scale: factor of the scores that make ``mbr``'s probabilities.
        flatness: factor of the scores while hypotheses are drawn; below 1 finds more.
        batch_cuts: lattices that are worked on together.
    """

    num_best: int = 100
    choose: Literal["best", "mbr"] = "best"
    language_model_scale: float = 1.0
    mbr_scale: float = 1.0
    flatness: float = 0.5
    batch_cuts: int = 16

    def __post_init__(self) -> None:
        for name in ("num_best", "batch_cuts"):
            if getattr(self, name) < 1:
                raise InputError(f"rescoring: {name} {getattr(self, name)}: give at least 1")
        for name in ("language_model_scale", "mbr_scale", "flatness"):
            if not getattr(self, name) > 0:
                raise InputError(f"rescoring: {name} {getattr(self, name)}: give more than 0")


def rescore_lattices(
    lattice_dir: Path,
    output: Path,
    settings: RescoringSettings,
    device: torch.device,
    *,
    old_model: Path | None = None,
    new_model: Path | None = None,
    transcribed: Path | None = None,
) -> None:
    """Write the n-best lists of lattices and a hypothesis of each.

    Args:
        lattice_dir: a decoding's lattices (:mod:`am.k2.lattice_store`).
        output: gets hypotheses.txt (``cut-id words``, sorted); nbest.txt (``cut-id-rank score
            words``, ranks from 1, scores natural logs, higher is better); settings.json; and
            oracle.json where ``transcribed`` is given.
        settings: how they are chosen.
        device: where k2 works.
        old_model: ARPA file of the graph's language model.
        new_model: ARPA file of the language model that replaces it; both or neither.
        transcribed: data folder with the transcripts, for the lattices' oracle word error rate.

    Raises:
        InputError: a folder or file cannot be used, or the lattices hold a word that a model lacks.
    """
    store = LatticeStore(lattice_dir)
    change = _change(store, old_model, new_model, settings.language_model_scale)
    ids = iter(track(list(store), "rescoring", unit="cut"))
    lines: list[str] = []
    with (output / NBEST_NAME).open("w", encoding="utf-8") as listed:
        while batch := list(islice(ids, settings.batch_cuts)):
            for cut_id, hypotheses in _hypotheses(store, batch, settings, device):
                ranked = hypotheses if change is None else change.rescored(hypotheses)
                for rank, one in enumerate(ranked, 1):
                    words = " ".join(store.words_of(one.word_ids))
                    listed.write(f"{cut_id}-{rank} {one.score:.4f} {words}".rstrip() + "\n")
                chosen = (
                    ranked[0]
                    if settings.choose == "best"
                    else minimum_bayes_risk(ranked, settings.mbr_scale)
                )
                lines.append(" ".join([cut_id, *store.words_of(chosen.word_ids)]))
    hypotheses_text = "".join(f"{line}\n" for line in sorted(lines))
    (output / HYPOTHESES_NAME).write_text(hypotheses_text, encoding="utf-8")
    (output / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
    log.info("%d hypotheses from %s", len(lines), lattice_dir)
    if transcribed is not None:
        _write_oracle(store, transcribed, output)


def _hypotheses(
    store: LatticeStore, cut_ids: Sequence[str], settings: RescoringSettings, device: torch.device
) -> Iterator[tuple[str, list[Hypothesis]]]:
    lattices = Lattices.from_records(
        [store[cut_id] for cut_id in cut_ids], store.acoustic_scale, device
    )
    found = nbest(lattices, settings.num_best, settings.flatness)
    yield from zip(cut_ids, found, strict=True)


def _change(
    store: LatticeStore, old_model: Path | None, new_model: Path | None, scale: float
) -> LanguageModelChange | None:
    if old_model is None or new_model is None:
        if old_model is not new_model:
            raise InputError(
                f"{old_model or new_model}: give both language models: that of the graph and the "
                "one that replaces it"
            )
        return None
    return LanguageModelChange(read_arpa(old_model), read_arpa(new_model), store.words, scale)


def _write_oracle(store: LatticeStore, transcribed: Path, output: Path) -> None:
    """The fewest word errors that any path of the lattices has, over the cuts that have one."""
    number_of = {word: number for number, word in store.words.items()}
    words = errors = missing = 0
    for cut in open_feature_data(transcribed):
        reference = reference_words(cut)
        words += len(reference)
        if cut.id in store:
            ids = [number_of.get(word, -1) for word in reference]
            errors += oracle_errors(store[cut.id], ids)
        else:
            missing += 1
            errors += len(reference)
    if not words:
        raise InputError(f"{transcribed}: no reference words; give the data that was decoded")
    rate = 100 * errors / words
    facts = {"oracle_wer_percent": round(rate, 4), "errors": errors, "words": words}
    (output / ORACLE_NAME).write_text(json.dumps({**facts, "without_lattice": missing}, indent=1))
    log.info("oracle WER %.2f %% (%d / %d)", rate, errors, words)
    if missing:
        log.warning("%d cuts have no lattice and count as deleted", missing)
