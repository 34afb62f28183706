"""A report read by a parser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

ALL_SECTIONS = [
    *("results", "networks", "schedule", "gmms", "soft-labels"),
    *("confusions", "utterances", "tree", "time", "commands"),
]


class Page(HTMLParser):
    """Tags, attributes, and the texts of table cells and of whole elements."""

    def __init__(self, path: Path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.rows: list[list[str]] = []
        self.open: list[str] = []
        self.text = ""
        self._cell: list[str] | None = None
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._cell = []

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        if tag in ("td", "th") and self._cell is not None:
            self.rows[-1].append(" ".join("".join(self._cell).split()))
            self._cell = None

    def handle_data(self, data: str) -> None:
        if "style" in self.open:
            return
        self.text += data
        if self._cell is not None:
            self._cell.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self) -> dict[str, ElementTree.Element]:
        """Every SVG by the key of its ids; parsing fails where one is not well-formed."""
        found = re.findall(r"<svg.*?</svg>", self.source, re.DOTALL)
        roots = [ElementTree.fromstring(drawn) for drawn in found]
        return {str(root[0].get("id")).removesuffix("-title"): root for root in roots}

    def sections(self) -> set[str | None]:
        """The sections' keys."""
        return {section["id"] for section in self.all("section")}
