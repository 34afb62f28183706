"""What is on disk about one system: its scores, its size, how it was made."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from am.errors import InputError
from am.outputs import DONE_NAME
from am.scoring.score import SCORES_NAME, UTTERANCES_NAME, ScoredUtterance, read_utterances
from am.scoring.word_errors import WordErrors

DEV_SCALES = Path("decode_dev") / "best_scale.json"
# What a table shows where something is not known.
NOTHING = "–"
INTERLEAVED, SEGREGATED = "interleaved", "segregated"


@dataclass(frozen=True)
class System:
    """One row of the table.

    Attributes:
        name: as people call it.
        folder: its model folder, which holds ``decode_*`` and ``score_*``.
        scores: test set → content of scores.json; a test set that is not scored is absent.
        utterances: test set → its scored utterances.
        dev: content of the dev set's best_scale.json; empty if scales were not searched.
        summary: content of the model's summary.json; empty if there is none.
        made_with: step → command line that made it, in the order in which they are run.
        schedule: ``interleaved`` or ``segregated``, where the model was trained with one.
    """

    name: str
    folder: Path
    scores: dict[str, dict[str, Any]]
    utterances: dict[str, list[ScoredUtterance]]
    dev: dict[str, Any]
    summary: dict[str, Any]
    made_with: dict[str, str]
    schedule: str | None

    def size(self) -> str:
        """Parameters of a network, Gaussians of a GMM, for people."""
        for key, unit in (("parameters", ""), ("gaussians", " Gaussians")):
            if key in self.summary:
                return f"{_short_number(self.summary[key])}{unit}"
        return NOTHING

    def senones(self) -> str:
        """Number of senones, for people."""
        return str(self.summary.get("senones", self.summary.get("pdfs", NOTHING)))

    def errors_by_cut(self, test_sets: Sequence[str]) -> dict[str, WordErrors]:
        """Word errors by cut id, a cut that is in several test sets counted together.

        The test sets of a recipe are often one set of utterances under several conditions; such
        are not independent and must be drawn together.
        """
        by_cut: dict[str, WordErrors] = {}
        for test_set in test_sets:
            for utterance in self.utterances[test_set]:
                earlier = by_cut.get(utterance.cut_id, WordErrors())
                by_cut[utterance.cut_id] = earlier + utterance.errors
        return by_cut


def read_system(name: str, folder: Path, test_sets: Sequence[str]) -> System:
    """Read a system's scores.

    Raises:
        InputError: there is no such folder, or it is scored on none of the test sets, if any.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give --system NAME=FOLDER of a trained model")
    scored = [test for test in test_sets if (folder / f"score_{test}" / SCORES_NAME).is_file()]
    if test_sets and not scored:
        raise InputError(
            f"{folder}: no test set is scored; run steps/decode.py and steps/score.py on "
            f"{', '.join(test_sets)}"
        )
    marker = read_json(folder / DONE_NAME)
    return System(
        name=name,
        folder=folder,
        scores={test: read_json(folder / f"score_{test}" / SCORES_NAME) for test in scored},
        utterances={
            test: read_utterances(folder / f"score_{test}" / UTTERANCES_NAME) for test in scored
        },
        dev=read_json(folder / DEV_SCALES),
        summary=read_json(folder / "summary.json"),
        made_with=_commands(folder, scored),
        schedule=_find(marker.get("settings", {}), "schedule"),
    )


def read_json(path: Path) -> dict[str, Any]:
    """The file's content; an empty mapping where there is none."""
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not valid JSON ({error}); run the step again") from error
    return content


def check_same_utterances(systems: Sequence[System], test_set: str) -> None:
    """Raise InputError unless all systems were scored on the same utterances."""
    expected: dict[str, int] | None = None
    first = ""
    for system in systems:
        if test_set not in system.utterances:
            continue
        found = {u.cut_id: u.errors.words for u in system.utterances[test_set]}
        if expected is None:
            expected, first = found, system.name
        elif found != expected:
            raise InputError(
                f"{system.folder / f'score_{test_set}'}: other utterances or transcripts than "
                f"those of {first}; score both on the same data"
            )


def _commands(folder: Path, test_sets: Sequence[str]) -> dict[str, str]:
    outputs = {"training": folder, "scales": folder / DEV_SCALES.parent}
    for test_set in test_sets[:1]:
        outputs["decoding"] = folder / f"decode_{test_set}"
        outputs["scoring"] = folder / f"score_{test_set}"
    commands = {step: command_of(path) for step, path in outputs.items()}
    return {step: command for step, command in commands.items() if command}


def command_of(folder: Path) -> str | None:
    """The command line that made an output folder, paths relative to the working folder."""
    command = read_json(folder / DONE_NAME).get("command")
    return _without_host_path(command) if command else None


def _without_host_path(command: str) -> str:
    """The command line with the tool as ``steps/x.py`` and paths relative to the working folder."""
    tool, *rest = command.split(" ")
    return " ".join(["/".join(Path(tool).parts[-2:]), *rest]).replace(f"{Path.cwd()}/", "")


def _find(settings: object, key: str) -> str | None:
    """The value of ``key`` anywhere in nested settings, if it is text."""
    if not isinstance(settings, dict):
        return None
    if isinstance(settings.get(key), str):
        return str(settings[key])
    for value in settings.values():
        found = _find(value, key)
        if found is not None:
            return found
    return None


def _short_number(number: int) -> str:
    if number >= 1_000_000:
        return f"{number / 1e6:.1f} M"
    if number >= 10_000:
        return f"{number / 1e3:.0f} k"
    return str(number)
