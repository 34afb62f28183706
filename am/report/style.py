"""The style sheets of pictures and pages."""

from __future__ import annotations

from importlib import resources

from am.report.markup import Markup

PICTURE_STYLE, PAGE_STYLE = "picture.css", "report.css"


def style(*names: str) -> Markup:
    """The content of style sheets, one after the other."""
    folder = resources.files("am.report")
    texts = (folder.joinpath(name).read_text(encoding="utf-8") for name in names)
    return Markup("".join(f"\n{text}" for text in texts))
