"""Where a report finds what it shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from am.gmm.train import LOG_NAME
from am.outputs import DONE_NAME, LEFTOVER_PREFIXES
from am.scoring.score import SCORES_NAME
from am.scoring.systems import DEV_SCALES, System, read_json, read_system
from am.storage import STORE_NAME

TREE_NAME = "tree.json"
SENONES_NAME = "senones.json"
SOFT_LABELS_KIND = "soft labels"


@dataclass(frozen=True)
class ReportSources:
    """The folders of an experiment; any of them may be missing.

    Attributes:
        systems: name → model folder, in the order of the tables.
        test_sets: names.
        baseline: name of the system that the others are compared with.
        timings: lines of ``stage TAB seconds TAB title``.
        exp: folder of the models: learning curves, schedules and trees are looked for in it.
        data: folder of the data: ``lang``, test sets with their audio, soft labels.
        seed: of the bootstrap.
        utterances: how many are shown of each test set; 0 for none.
    """

    systems: Mapping[str, Path]
    test_sets: Sequence[str]
    baseline: str | None = None
    timings: Path | None = None
    exp: Path | None = None
    data: Path | None = None
    seed: int = 1
    utterances: int = 2

    def scored_folders(self) -> dict[str, Path]:
        """The systems of which a test set is scored."""
        return {
            name: folder
            for name, folder in self.systems.items()
            if any((folder / f"score_{test}" / SCORES_NAME).is_file() for test in self.test_sets)
        }

    @cached_property
    def scored(self) -> dict[str, System]:
        """Their scores."""
        return {
            name: read_system(name, folder, self.test_sets)
            for name, folder in self.scored_folders().items()
        }

    def trainings(self) -> dict[str, Path]:
        """Folders with a training log by name, in the order in which the trainings ended.

        A system goes by its name, another by that of its folder.
        """
        names = {folder.resolve(): name for name, folder in self.systems.items()}
        found = {path.resolve(): path for path in (*self._models(), *self.systems.values())}
        folders = sorted(
            (path for path in found.values() if (path / LOG_NAME).is_file()), key=_finished
        )
        return {names.get(path.resolve(), path.name): path for path in folders}

    def trees(self) -> list[Path]:
        """Folders of GMMs and of senones, which have a tree of their own."""
        own = (LOG_NAME, SENONES_NAME)
        return sorted(
            (
                path
                for path in self._models()
                if (path / TREE_NAME).is_file() and any((path / name).is_file() for name in own)
            ),
            key=_finished,
        )

    def soft_labels(self) -> list[Path]:
        """Stores of soft labels within a set of ``data``."""
        stores = self.data.glob(f"*/*/{STORE_NAME}") if self.data else []
        return sorted(
            path.parent for path in stores if read_json(path).get("kind") == SOFT_LABELS_KIND
        )

    def inputs(self) -> list[Path]:
        """All that the report is made from and that is there."""
        scores = [
            folder / f"score_{test}" for folder in self.systems.values() for test in self.test_sets
        ]
        told = (LOG_NAME, DONE_NAME, "summary.json", DEV_SCALES)
        logs = [folder / name for folder in self.trainings().values() for name in told]
        trees = [folder / TREE_NAME for folder in self.trees()]
        stores = [folder / STORE_NAME for folder in self.soft_labels()]
        timings = [self.timings] if self.timings else []
        return [path for path in (*scores, *logs, *trees, *stores, *timings) if path.exists()]

    def _models(self) -> list[Path]:
        if self.exp is None or not self.exp.is_dir():
            return []
        return [
            path
            for path in sorted(self.exp.iterdir())
            if path.is_dir() and not path.name.startswith(LEFTOVER_PREFIXES)
        ]


def _finished(folder: Path) -> tuple[int, str]:
    """When a folder was finished; one that is not comes last."""
    return int(read_json(folder / DONE_NAME).get("finished", 1 << 63)), folder.name
