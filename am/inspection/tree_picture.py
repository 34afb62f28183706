"""A drawn tree: the root at the left, a row for each senone, yes above no."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from am.inspection.pictures import save_picture
from am.inspection.tree_view import TreeNode

# Inches, points and characters that go together: a box holds MAX_LINES lines of LINE_CHARACTERS.
BOX_WIDTH, COLUMN_WIDTH = 2.2, 2.7
ROW_HEIGHT, LINE_HEIGHT, MARGIN, TITLE_HEIGHT = 0.42, 0.115, 0.3, 0.5
FONT_SIZE = 7.0
LINE_CHARACTERS, MAX_LINES = 32, 4
# Rows that the end of a branch takes: a senone, and a split whose children are not shown.
SENONE_ROWS, CUT_OFF_ROWS = 1.0, 1.6
YES, NO, SPLIT_FILL, LEAF_FILL = "#1b7837", "#b2182b", "#f2f2f2", "#dce9f7"


@dataclass(frozen=True)
class Place:
    """Where a node is drawn: ``column`` from the root, ``row`` from the top."""

    node: TreeNode
    column: int
    row: float
    children: tuple[Place, ...]

    def all(self) -> Iterator[Place]:
        """The place and all below it."""
        yield self
        for child in self.children:
            yield from child.all()


def lay_out(node: TreeNode, column: int = 0, first_row: float = 0.0) -> Place:
    """Ends of branches take their rows; a split stands in the middle between its children."""
    children: list[Place] = []
    row = first_row
    for child in node.children:
        children.append(lay_out(child, column + 1, row))
        row += num_rows(child)
    if children:
        middle = (children[0].row + children[-1].row) / 2
    else:
        middle = first_row + (num_rows(node) - 1) / 2
    return Place(node, column, middle, tuple(children))


def num_rows(node: TreeNode) -> float:
    """Rows of all ends of branches below a node that are shown."""
    return sum(SENONE_ROWS if end.pdf_id >= 0 else CUT_OFF_ROWS for end in node.leaves())


def draw_tree(root: TreeNode, title: str, path: Path) -> None:
    """Write the picture of a tree.

    Args:
        root: see :class:`am.inspection.tree_view.TreeView`.
        title: above the tree.
        path: ends with ``.svg``, ``.png`` or ``.pdf``.
    """
    place = lay_out(root)
    width = 2 * MARGIN + root.depth * COLUMN_WIDTH + BOX_WIDTH
    height = 2 * MARGIN + TITLE_HEIGHT + max(num_rows(root), 2) * ROW_HEIGHT
    figure = Figure(figsize=(width, height))
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
    axes.set_axis_off()
    axes.set_xlim(0, width)
    axes.set_ylim(height, 0)
    axes.text(MARGIN, MARGIN, title, fontsize=11, weight="bold", va="center", parse_math=False)
    for drawn in place.all():
        _draw_branches(axes, drawn)
    for drawn in place.all():
        _draw_box(axes, drawn)
    save_picture(figure, path)


def _corner(place: Place) -> tuple[float, float]:
    """The middle of a box's left edge, in inches."""
    top = MARGIN + TITLE_HEIGHT
    return MARGIN + place.column * COLUMN_WIDTH, top + (place.row + 0.5) * ROW_HEIGHT


def _draw_branches(axes: Axes, place: Place) -> None:
    x, y = _corner(place)
    turn = x + BOX_WIDTH + (COLUMN_WIDTH - BOX_WIDTH) / 3
    for child, answer, colour in zip(place.children, ("yes", "no"), (YES, NO), strict=False):
        child_x, child_y = _corner(child)
        axes.plot(
            [x + BOX_WIDTH, turn, turn, child_x], [y, y, child_y, child_y], color=colour, lw=1.0
        )
        axes.text(turn + 0.04, child_y - 0.06, answer, fontsize=FONT_SIZE, color=colour)


def _draw_box(axes: Axes, place: Place) -> None:
    x, y = _corner(place)
    node = place.node
    facts = textwrap.wrap(node.facts, LINE_CHARACTERS)
    lines = textwrap.wrap(
        node.question, LINE_CHARACTERS, max_lines=MAX_LINES - len(facts), placeholder=" …"
    )
    lines += facts
    height = len(lines) * LINE_HEIGHT + 0.08
    box = FancyBboxPatch(
        (x, y - height / 2),
        BOX_WIDTH,
        height,
        boxstyle="round,pad=0,rounding_size=0.05",
        facecolor=SPLIT_FILL if node.question else LEAF_FILL,
        edgecolor="#555555",
        lw=0.7,
    )
    axes.add_patch(box)
    axes.text(
        x + 0.06,
        y,
        "\n".join(lines),
        fontsize=FONT_SIZE,
        va="center",
        linespacing=1.15,
        parse_math=False,
    )
