"""Score the hypotheses of one decoding against reference transcripts."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TextIO

import numpy as np
from lhotse import CutSet
from lhotse.cut import Cut

from am.errors import InputError
from am.features.feature_data import CUTS_NAME
from am.lang.subword_model import SubwordDescription
from am.scoring.bootstrap import wer_interval
from am.scoring.transcripts import HYPOTHESES_NAME, read_transcripts, reference_words
from am.scoring.word_errors import GAP, WordErrors, align_words, errors_of_alignment

log = logging.getLogger(__name__)

SCORES_NAME = "scores.json"
UTTERANCES_NAME = "per_utterance.tsv"
UTTERANCE_COLUMNS = ("cut", "speaker", "condition", "words", "ins", "del", "sub")
NO_CONDITION = "-"
# How a gap is shown where a person reads; never parsed back.
SHOWN_GAP = "***"

ResampledUnit = Literal["utterance", "speaker"]


@dataclass(frozen=True)
class ScoredUtterance:
    """One utterance's errors, and the groups it counts in."""

    cut_id: str
    speaker: str
    condition: str
    errors: WordErrors


def score_decoding(
    data_dir: Path,
    decode_dir: Path,
    output: Path,
    *,
    reference: Path | None = None,
    seed: int = 1,
    resample: ResampledUnit = "utterance",
) -> WordErrors:
    """Compare ``decode_dir/hypotheses.txt`` with the transcripts of a data folder.

    Words are compared as they are written; where the hypotheses were put together from pieces, the
    transcripts are spelled by the same text rules first (``subword.json`` of the decoding).  A cut
    without a hypothesis counts as all deletions.

    Args:
        data_dir: cuts with speakers and, unless ``reference`` is given, transcripts.
        decode_dir: what ``steps/decode.py`` wrote.
        output: gets scores.json, per_utterance.tsv, per_speaker.tsv, alignments.txt,
            confusions.tsv.
        reference: Kaldi ``text`` file, used instead of the cuts' transcripts.
        seed: of the bootstrap.
        resample: what the bootstrap draws; speakers give wider, more cautious intervals.

    Raises:
        InputError: a cut has no reference, a hypothesis no cut, or there are no words.
    """
    hypotheses = read_transcripts(decode_dir / HYPOTHESES_NAME)
    references = read_transcripts(reference) if reference else None
    description = SubwordDescription.load(decode_dir)
    utterances: list[ScoredUtterance] = []
    confusions: Counter[tuple[str, str]] = Counter()
    missing: list[str] = []
    with (output / "alignments.txt").open("w", encoding="utf-8") as alignments:
        for cut in _cuts(data_dir):
            words = _reference_of(cut, references, reference)
            if description is not None:
                words = description.text_rules.words(" ".join(words))
            if cut.id not in hypotheses:
                missing.append(cut.id)
            pairs = align_words(words, hypotheses.pop(cut.id, []))
            utterance = ScoredUtterance(
                cut.id, _speaker(cut), _condition(cut), errors_of_alignment(pairs)
            )
            utterances.append(utterance)
            confusions.update(pair for pair in pairs if pair[0] != pair[1])
            _write_alignment(alignments, utterance, pairs)
    total = sum((utterance.errors for utterance in utterances), WordErrors())
    _check(data_dir, decode_dir, total, hypotheses)
    if missing:
        log.warning(
            "%d of %d cuts have no hypothesis and count as deletions, the first: %s",
            len(missing),
            len(utterances),
            missing[0],
        )
    scores = summarise(utterances, seed=seed, resample=resample)
    scores["missing_hypotheses"] = len(missing)
    (output / SCORES_NAME).write_text(json.dumps(scores, indent=1))
    write_utterances(output / UTTERANCES_NAME, utterances)
    _write_groups(output / "per_speaker.tsv", "speaker", grouped(utterances, "speaker"))
    _write_confusions(output / "confusions.tsv", confusions)
    log.info("%s", one_line(scores))
    return total


def summarise(
    utterances: list[ScoredUtterance], *, seed: int, resample: ResampledUnit
) -> dict[str, Any]:
    """What ``scores.json`` holds; rates in percent."""
    total = sum((utterance.errors for utterance in utterances), WordErrors())
    groups = (
        grouped(utterances, "speaker").values()
        if resample == "speaker"
        else [utterance.errors for utterance in utterances]
    )
    errors, words = error_columns(groups)
    interval = wer_interval(errors, words, seed=seed)
    wrong = sum(utterance.errors.errors > 0 for utterance in utterances)
    return {
        **total.as_row(),
        "interval_95_percent": [round(100 * interval.low, 4), round(100 * interval.high, 4)],
        "resampled": resample,
        "seed": seed,
        "sentences": len(utterances),
        "sentence_error_rate_percent": round(100 * wrong / len(utterances), 4),
        "conditions": {
            name: errors.as_row() for name, errors in grouped(utterances, "condition").items()
        },
        "speakers": len({utterance.speaker for utterance in utterances}),
    }


def one_line(scores: Mapping[str, Any]) -> str:
    """The error rate as Kaldi's log lines give it."""
    low, high = scores["interval_95_percent"]
    wrong = scores["insertions"] + scores["deletions"] + scores["substitutions"]
    return (
        f"WER {scores['wer_percent']:.2f} % [{low:.2f}, {high:.2f}] "
        f"({wrong} / {scores['words']}, {scores['insertions']} ins, {scores['deletions']} del, "
        f"{scores['substitutions']} sub), "
        f"sentence error rate {scores['sentence_error_rate_percent']:.2f} %"
    )


def grouped(
    utterances: Iterable[ScoredUtterance], attribute: Literal["speaker", "condition"]
) -> dict[str, WordErrors]:
    """Errors by speaker or condition, sorted by name."""
    groups: dict[str, WordErrors] = {}
    for utterance in utterances:
        name = getattr(utterance, attribute)
        groups[name] = groups.get(name, WordErrors()) + utterance.errors
    return dict(sorted(groups.items()))


def error_columns(errors: Iterable[WordErrors]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) int64 errors and (N,) int64 reference words."""
    rows = np.array([(e.errors, e.words) for e in errors], dtype=np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def write_utterances(path: Path, utterances: Iterable[ScoredUtterance]) -> None:
    """Write ``per_utterance.tsv``: a header, then a row an utterance, sorted by cut."""
    with path.open("w", encoding="utf-8") as stream:
        stream.write("\t".join(UTTERANCE_COLUMNS) + "\n")
        for utterance in sorted(utterances, key=lambda utterance: utterance.cut_id):
            counts = asdict(utterance.errors).values()
            names = (utterance.cut_id, utterance.speaker, utterance.condition)
            stream.write("\t".join([*names, *map(str, counts)]) + "\n")


def read_utterances(path: Path) -> list[ScoredUtterance]:
    """Read what :func:`write_utterances` wrote."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; run steps/score.py")
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    if tuple(header.split("\t")) != UTTERANCE_COLUMNS:
        raise InputError(f"{path}: not a table of utterances' errors; run steps/score.py again")
    rows = [line.split("\t") for line in lines]
    return [
        ScoredUtterance(cut_id, speaker, condition, WordErrors(*map(int, counts)))
        for cut_id, speaker, condition, *counts in rows
    ]


def _cuts(data_dir: Path) -> CutSet:
    path = data_dir / CUTS_NAME
    if not path.is_file():
        raise InputError(f"{path}: no such file; give a data folder")
    return CutSet.from_jsonl_lazy(path)


def _reference_of(
    cut: Cut, references: dict[str, list[str]] | None, path: Path | None
) -> list[str]:
    if references is None:
        return reference_words(cut)
    if cut.id not in references:
        raise InputError(f"{path}: no transcript of cut {cut.id}; add it")
    return references[cut.id]


def _check(
    data_dir: Path, decode_dir: Path, total: WordErrors, left_over: Mapping[str, list[str]]
) -> None:
    if left_over:
        raise InputError(
            f"{decode_dir / HYPOTHESES_NAME}: {len(left_over)} hypotheses belong to no cut of "
            f"{data_dir}, e.g. {next(iter(left_over))}; give the data that was decoded"
        )
    if total.words == 0:
        raise InputError(f"{data_dir}: no reference words; give transcribed data")


def _speaker(cut: Cut) -> str:
    supervisions = cut.supervisions
    speaker = supervisions[0].speaker if supervisions else None
    return str(speaker) if speaker is not None else str(cut.id)


def _condition(cut: Cut) -> str:
    supervisions = cut.supervisions
    custom = (supervisions[0].custom or {}) if supervisions else {}
    return str(custom.get("condition") or NO_CONDITION)


def _write_alignment(
    stream: TextIO, utterance: ScoredUtterance, pairs: list[tuple[str, str]]
) -> None:
    errors = utterance.errors
    shown = [(a if a != GAP else SHOWN_GAP, b if b != GAP else SHOWN_GAP) for a, b in pairs]
    widths = [max(len(a), len(b)) for a, b in shown]
    stream.write(
        f"{utterance.cut_id}  {errors.errors} / {errors.words}: {errors.insertions} ins, "
        f"{errors.deletions} del, {errors.substitutions} sub\n"
    )
    for name, side in (("REF", 0), ("HYP", 1)):
        row = (pair[side].ljust(width) for pair, width in zip(shown, widths, strict=True))
        stream.write(f"{name}: {' '.join(row)}".rstrip() + "\n")
    stream.write("\n")


def _write_groups(path: Path, name: str, groups: Mapping[str, WordErrors]) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write("\t".join([name, "wer_percent", *UTTERANCE_COLUMNS[3:]]) + "\n")
        for group, errors in groups.items():
            counts = map(str, asdict(errors).values())
            stream.write("\t".join([group, f"{100 * errors.wer:.2f}", *counts]) + "\n")


def _write_confusions(path: Path, confusions: Counter[tuple[str, str]]) -> None:
    kinds = {(True, False): "ins", (False, True): "del", (False, False): "sub"}
    ordered = sorted(confusions.items(), key=lambda item: (-item[1], item[0]))
    with path.open("w", encoding="utf-8") as stream:
        stream.write("count\tkind\treference\thypothesis\n")
        for (reference, hypothesis), count in ordered:
            kind = kinds[reference == GAP, hypothesis == GAP]
            shown = (reference or SHOWN_GAP, hypothesis or SHOWN_GAP)
            stream.write("\t".join([str(count), kind, *shown]) + "\n")
