"""HTML and SVG text that cannot be broken by what it shows.

What :func:`element` makes is :class:`Markup`; any other text put inside is escaped.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

# Elements without an end tag (HTML, "void elements").
VOID = frozenset({"br", "col", "hr", "img", "input", "link", "meta", "source", "wbr"})
# Characters that no XML document may hold, not even escaped (XML 1.0, section 2.2), and halves of
# surrogate pairs, which have no UTF-8 form.
_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def escape(text: object) -> Markup:
    """Text as markup; forbidden characters become U+FFFD, the replacement character."""
    if isinstance(text, Markup):
        return text
    return Markup(html.escape(_FORBIDDEN.sub("\ufffd", str(text))))


def join(parts: Iterable[object], between: str = "") -> Markup:
    """The parts one after the other."""
    return Markup(escape(between).join(escape(part) for part in parts))


def element(tag: str, *children: object, **attributes: object) -> Markup:
    """One element.

    Args:
        tag: its name.
        children: markup, or text to be escaped.
        attributes: by name, ``class_`` for ``class`` and ``_`` for ``-``; one that is None or
            False is left out, True has no value but its name.
    """
    pairs = []
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        name = name.rstrip("_").replace("_", "-")
        pairs.append(f' {name}="{escape(name if value is True else value)}"')
    start = f"<{tag}{''.join(pairs)}>"
    return Markup(start if tag in VOID else f"{start}{join(children)}</{tag}>")
