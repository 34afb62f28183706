"""What the models stand on: context trees, and the store of soft labels."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from am.errors import InputError
from am.inspection.tree_view import TreeNode, TreeView
from am.report.markup import Markup, element
from am.report.page import Section, facts, grid, meter, paragraph, table
from am.report.sources import SENONES_NAME, TREE_NAME, ReportSources
from am.report.svg import number
from am.scoring.systems import NOTHING, read_json
from am.storage import STORE_NAME

log = logging.getLogger(__name__)

ROWS_A_COLUMN = 14
# Shown first and by these names; what else a store says of itself follows.
STORE_FACTS = {
    "top_k": "logits a frame (k)",
    "num_pdfs": "senones",
    "frame_shift": "seconds a frame",
    "num_shards": "shards",
}
_NOT_SHOWN = frozenset({"kind", "fields", *STORE_FACTS})


def soft_label_sections(sources: ReportSources) -> list[Section]:
    """A section on the soft labels of every store."""
    parts = []
    for store in sources.soft_labels():
        parts += [element("h3", str(store)), facts(_store_facts(store))]
    if not parts:
        log.info("no section on soft labels: no store of them under %s", sources.data)
        return []
    return [Section("soft-labels", "Soft labels", parts)]


def _store_facts(store: Path) -> list[tuple[str, str]]:
    """What is known of a store, from its description, its summary and its shards."""
    description = _flat({**read_json(store / STORE_NAME), **read_json(store / "summary.json")})
    found = [
        (name, _shown(description[key])) for key, name in STORE_FACTS.items() if key in description
    ]
    cuts, frames = _count(store)
    size = sum(path.stat().st_size for path in store.iterdir() if path.is_file())
    found.append(("size on disk", _shown_bytes(size)))
    if frames:
        hours = frames * float(description.get("frame_shift", 0.0)) / 3600
        found = [
            ("utterances", number(cuts)),
            ("frames", number(frames)),
            *([("hours", f"{hours:.2f}")] if hours else []),
            *found,
            ("bytes a frame, on disk", f"{size / frames:.1f}"),
        ]
    known = {name for name, _ in found}
    for key, value in description.items():
        name = key.replace("_", " ")
        if key not in _NOT_SHOWN and "sha256" not in key and _is_short(value) and name not in known:
            found.append((name, _shown(value)))
    return found


def _flat(description: dict[str, Any]) -> dict[str, Any]:
    """Facts within facts, as those of a codec, beside the others; under its name."""
    facts: dict[str, Any] = {}
    for key, value in description.items():
        if isinstance(value, dict):
            name = {key: value["name"]} if "name" in value else {}
            inner = {k: v for k, v in value.items() if k not in ("name", "version")}
            facts |= {**inner, **name}
        else:
            facts[key] = value
    return facts


def _count(store: Path) -> tuple[int, int]:
    """Cuts and frames of the shards' indices; 0 of those that say nothing of them."""
    cuts = frames = 0
    for path in store.glob("shard-*.json"):
        try:
            entries = json.loads(path.read_text(encoding="utf-8"))["cuts"]
            lengths = [int(entry[1]) for entry in entries]
        except (ValueError, KeyError, TypeError, IndexError):
            log.warning("%s: not counted, it holds no frames of cuts", path)
            continue
        cuts, frames = cuts + len(lengths), frames + sum(lengths)
    return cuts, frames


def _is_short(value: object) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, str) and len(value) <= 80)


def _shown(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    return number(value if isinstance(value, int) else float(f"{value:.4g}"))


def _shown_bytes(size: int) -> str:
    for power, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if size >= power:
            return f"{size / power:.1f} {unit}"
    return f"{size} bytes"


def tree_sections(sources: ReportSources) -> list[Section]:
    """A section on the context trees: one table of all, and the leaves of each phone's root."""
    lang = sources.data / "lang" if sources.data else None
    views: dict[Path, TreeView] = {}
    for folder in sources.trees() if lang and lang.is_dir() else []:
        try:
            views[folder] = TreeView(folder, lang or Path())
        except InputError as error:
            log.warning("left out: %s", error)
    if not views:
        log.info("no section on trees: it takes %s under --exp and lang under --data", TREE_NAME)
        return []
    rows = [_tree_row(folder, view) for folder, view in views.items()]
    header = ["model", "senones", "leaves", "roots", "deepest", "frames", "gain a frame"]
    note = (
        "Clustered states of triphones. “gain” is the log-likelihood (natural) that all splits "
        "won; “deepest” counts the questions of the longest path."
    )
    parts = [paragraph(note), table(*_known_columns(header, rows), caption="Context trees")]
    shown = next((f for f in views if (f / SENONES_NAME).is_file()), list(views)[-1])
    parts += _leaves_by_phone(shown, views[shown])
    return [Section("tree", "Context trees", parts)]


def _roots(view: TreeView) -> Iterator[tuple[str, TreeNode]]:
    """(base phones, tree) of each root."""
    roots = view.tree.roots
    for root in dict.fromkeys(roots[roots >= 0].tolist()):
        sharing = np.flatnonzero(roots == root).tolist()
        yield " ".join(view.names.listed(sharing)), view.root(sharing[0])


def _tree_row(folder: Path, view: TreeView) -> list[str]:
    nodes = [node for _, node in _roots(view)]
    frames = sum(node.frames or 0.0 for node in nodes)
    gains = view.tree.gain
    total_gain = 0.0 if gains is None else float(np.nansum(gains))
    return [
        folder.name,
        number(view.tree.num_pdfs),
        number(sum(node.num_leaves for node in nodes)),
        str(len(nodes)),
        str(max(node.depth for node in nodes)),
        number(round(frames)) if frames else NOTHING,
        f"{total_gain / frames:.3f}" if frames and total_gain else NOTHING,
    ]


def _known_columns(header: list[str], rows: list[list[str]]) -> tuple[list[str], list[list[str]]]:
    """Without the columns in which nothing is known."""
    kept = [i for i in range(len(header)) if any(row[i] != NOTHING for row in rows)]
    return [header[i] for i in kept], [[row[i] for i in kept] for row in rows]


def _leaves_by_phone(folder: Path, view: TreeView) -> list[Markup]:
    counted = sorted(
        ((name, node.num_leaves, node.frames or 0.0) for name, node in _roots(view)),
        key=lambda row: (-row[1], row[0]),
    )
    most = max(leaves for _, leaves, _ in counted)
    columns = []
    for first in range(0, len(counted), ROWS_A_COLUMN):
        rows = [
            [name, str(leaves), number(round(frames)) if frames else NOTHING, meter(leaves / most)]
            for name, leaves, frames in counted[first : first + ROWS_A_COLUMN]
        ]
        header = ["phone", "leaves", "frames", ""]
        caption = f"Leaves by phone, {rows[0][0]} to {rows[-1][0]}"
        shown = _known_columns(header, rows)
        columns.append(table(*shown, caption=caption, class_="meters"))
    return [element("h3", f"Leaves by phone, {folder.name}"), grid(columns, "columns")]
