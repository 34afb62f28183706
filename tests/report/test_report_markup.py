"""Whatever is shown, the page stays whole: against the parsers of the standard library."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from am.report.markdown import read_results
from am.report.markup import Markup, element, escape, join
from am.report.page import table
from am.scoring.results import markdown_table

# Carriage returns become line feeds in any XML parser.
ANY_TEXT = st.text(st.characters()).map(lambda text: text.replace("\r", " "))


def shown(text: str) -> str:
    """What a reader may see of a text: other characters are replaced."""
    kept = []
    for character in text:
        code = ord(character)
        forbidden = unicodedata.category(character) in ("Cc", "Cs") and character not in "\t\n"
        kept.append("\ufffd" if forbidden or code in (0xFFFE, 0xFFFF) else character)
    return "".join(kept)


@given(ANY_TEXT, ANY_TEXT)
def test_any_text_comes_back(content: str, value: str) -> None:
    made = element("text", content, data_value=value)
    parsed = ElementTree.fromstring(made)
    assert (parsed.text or "") == shown(content)
    # XML turns line ends and tabs within attributes into spaces.
    assert parsed.get("data-value") == shown(value).replace("\n", " ").replace("\t", " ")
    made.encode("utf-8")


@given(ANY_TEXT)
def test_a_browser_finds_no_element_in_text(content: str) -> None:
    tags: list[str] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append(tag)  # type: ignore[method-assign]
    parser.feed(str(table([content], [[content]], caption=content)))
    parser.close()
    assert sorted(tags) == ["caption", "div", "table", "tbody", "th", "th", "thead", "tr", "tr"]


def test_markup_is_not_escaped_twice_and_text_once() -> None:
    inner = element("b", "x & y")
    assert element("p", inner, " <z>") == "<p><b>x &amp; y</b> &lt;z&gt;</p>"
    assert escape(inner) is inner
    assert isinstance(join([inner, "&"], ", "), Markup)
    # Adding to markup gives plain text, which is escaped: it fails on the safe side.
    assert element("p", inner + "") == "<p>&lt;b&gt;x &amp;amp; y&lt;/b&gt;</p>"


def test_attributes() -> None:
    made = element("audio", src='a"b', controls=True, muted=False, class_=None, aria_label="x")
    assert made == '<audio src="a&quot;b" controls="controls" aria-label="x"></audio>'
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'


# Of one line: spaces at a cell's ends are padding; a heading or a fence is never in a table.
CELL = st.text(st.characters(blacklist_categories=("Cc", "Cs", "Zl", "Zp"))).map(str.strip)


@given(
    st.integers(1, 4).flatmap(
        lambda n: st.lists(st.lists(CELL, min_size=n, max_size=n), min_size=2)
    )
)
def test_tables_of_results_come_back(rows: list[list[str]]) -> None:
    text = f"# Results\n\nA note.\n\n{markdown_table(rows[0], rows[1:])}\n"
    section = read_results(text)["Results"]
    assert [list(section.header), *map(list, section.rows)] == rows
    assert section.note == "A note."


def test_code_of_results_is_not_taken_for_headings() -> None:
    code = "```\n# teacher: training\nsteps/x.py\n```"
    text = f"# Results\n\nNote\n\n## Commands\n\n{code}\n\n## Machine\n\nOne.\n"
    sections = read_results(text)
    assert list(sections) == ["Results", "Commands", "Machine"]
    assert sections["Commands"].code == ("# teacher: training", "steps/x.py")
    assert sections["Machine"].note == "One."
