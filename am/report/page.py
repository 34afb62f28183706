"""The parts of a page: sections, tables, figures, and the page around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from am.report.markup import Markup, element, join
from am.report.style import PAGE_STYLE, PICTURE_STYLE, style


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        key: its anchor.
        title: its heading.
        parts: what stands in it.
    """

    key: str
    title: str
    parts: Sequence[Markup]

    def markup(self) -> Markup:
        """The section as an element."""
        heading = element("h2", self.title, id=f"{self.key}-heading")
        return element(
            "section", heading, *self.parts, id=self.key, aria_labelledby=f"{self.key}-heading"
        )


def paragraph(*content: object, class_: str | None = None) -> Markup:
    """A paragraph."""
    return element("p", *content, class_=class_)


def figure(drawing: Markup, title: str, note: object = "") -> Markup:
    """A picture under its title, with a note where there is one."""
    caption = element("figcaption", element("strong", title), *([" ", note] if note else []))
    return element("figure", caption, drawing)


def grid(figures: Iterable[Markup], class_: str) -> Markup:
    """Figures side by side, as many as there is room for: ``wide``, ``narrow`` or ``columns``."""
    return element("div", join(figures), class_=f"grid {class_}")


def table(
    header: Sequence[object],
    rows: Iterable[Sequence[object]],
    *,
    caption: str,
    left_columns: int = 1,
    class_: str | None = None,
) -> Markup:
    """A table that scrolls sideways where it is too wide.

    Args:
        header: cells of the head.
        rows: cells of the body; the first of a row is its head.
        caption: what it shows, said to screen readers.
        left_columns: how many are aligned left; the others right.
        class_: of its looks.
    """

    def cells(tag: str, row: Sequence[object], scope: str) -> list[Markup]:
        return [
            element(
                "th" if tag == "th" or index == 0 else "td",
                cell,
                scope=scope if tag == "th" or index == 0 else None,
                class_="left" if index < left_columns else None,
            )
            for index, cell in enumerate(row)
        ]

    head = element("thead", element("tr", *cells("th", header, "col")))
    body = element("tbody", *(element("tr", *cells("td", row, "row")) for row in rows))
    name = element("caption", caption, class_="unseen")
    whole = element("table", name, head, body, class_=class_)
    return element("div", whole, class_="scroll", tabindex=0, role="region", aria_label=caption)


def meter(share: float) -> Markup:
    """A bar in a table's cell, ``share`` (0 … 1) of its column; the number stands beside it."""
    width = f"width:{100 * min(max(share, 0.0), 1.0):.1f}%"
    return element("span", element("span", style=width), class_="meter", aria_hidden="true")


def facts(pairs: Iterable[tuple[object, object]]) -> Markup:
    """Names and values."""
    return element(
        "dl", *(element("div", element("dt", name), element("dd", value)) for name, value in pairs)
    )


def page(title: str, lead: Sequence[Markup], sections: Sequence[Section]) -> str:
    """The whole document, with its style inside.

    Args:
        title: of the page.
        lead: below the title: what it comes to.
        sections: in their order.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("title", title),
        # Without it, a browser asks the server for an icon.
        element("link", rel="icon", href="data:,"),
        element("style", style(PICTURE_STYLE, PAGE_STYLE)),
    )
    links = [element("li", element("a", one.title, href=f"#{one.key}")) for one in sections]
    contents = element("nav", element("ul", *links), aria_label="Sections")
    header = element("header", element("h1", title), *lead, contents)
    body = element("body", header, element("main", *(one.markup() for one in sections)))
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"
