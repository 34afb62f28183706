"""Pictures, read back from their SVG."""

from __future__ import annotations

import itertools
import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am.report import svg
from am.report.charts import Bar, Line, Panel, bar_chart, line_chart, widest_label
from am.report.schedule_picture import schedule_picture, trained_passes
from am.report.style import PICTURE_STYLE, style
from am.report.svg import Scale

NUMBERS = st.floats(-1e6, 1e6, allow_nan=False)


@given(st.floats(-1e3, 1e3), st.floats(1e-3, 1e6), st.integers(2, 8), st.booleans())
def test_ticks_are_even_round_and_inside(
    low: float, span: float, at_most: int, whole: bool
) -> None:
    scale = Scale(low, low + span, 0, 100)
    ticks = scale.ticks(at_most, whole)
    assert len(ticks) <= at_most
    assert ticks or whole
    if len(ticks) < 2:
        return
    slack = 1e-6 * span
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    gaps = {round((b - a) / span, 6) for a, b in itertools.pairwise(ticks)}
    assert len(gaps) == 1
    step = ticks[1] - ticks[0]
    leading = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert min(abs(leading - round_one) for round_one in (1, 2, 2.5, 5, 10)) < 1e-3
    if whole:
        assert all(abs(tick - round(tick)) < 1e-6 for tick in ticks)


@given(st.lists(NUMBERS, min_size=1, max_size=9), st.integers(3, 8))
def test_rounded_domain_holds_all_values_between_ticks(values: list[float], at_most: int) -> None:
    low, high = svg.rounded_domain(values, at_most)
    slack = 1e-6 * (high - low)
    assert low < high
    assert low - slack <= min(values) and max(values) <= high + slack
    ticks = Scale(low, high, 0, 1).ticks(at_most)
    assert ticks[0] == pytest.approx(low, abs=slack) and ticks[-1] == pytest.approx(high, abs=slack)


def test_rounded_domain_of_nothing_finite() -> None:
    assert svg.rounded_domain([math.inf, math.nan], 5) == (0.0, 1.0)
    low, high = svg.rounded_domain([3.0], 5)
    assert low < 3 < high


@given(st.lists(st.floats(0, 100), min_size=1, max_size=6))
def test_labels_are_spread_and_keep_their_order(places: list[float]) -> None:
    moved = svg.spread(places, 13, 0, 100)
    assert all(b - a >= 13 - 1e-9 for a, b in itertools.pairwise(sorted(moved)))
    assert all(-1e-9 <= place <= 100 + 1e-9 for place in moved)
    for (a, new_a), (b, new_b) in itertools.combinations(zip(places, moved, strict=True), 2):
        assert a == b or (a < b) == (new_a < new_b)
    apart = sorted(places)
    if all(b - a >= 13 for a, b in itertools.pairwise(apart)):
        assert moved == places


def test_numbers_for_readers() -> None:
    assert svg.number(2561012) == "2\u202f561\u202f012"
    assert svg.number(-0.0025) == "−0.0025"
    assert svg.number(3.0) == "3"


def test_long_labels_are_shortened() -> None:
    assert svg.shortened("short", 100) == "short"
    cut = svg.shortened("a very long name of a system", 60)
    assert cut.endswith("…") and svg.text_width(cut) <= 60
    assert svg.text_width("語") > svg.text_width("a")


def attribute(node: ElementTree.Element, name: str) -> float:
    return float(node.get(name, "nan"))


def test_bars_and_intervals_are_to_scale() -> None:
    bars = [Bar("a & b", 20, "20.0", 15, 30), Bar("<c>", 40, "40.0", 35, 50, "strong")]
    width = widest_label([bar.label for bar in bars])
    drawn = bar_chart("k", "Title", bars, maximum=50, label_width=width, mark=20)
    root = ElementTree.fromstring(drawn)
    first, second = root.findall("rect")
    assert attribute(second, "width") == pytest.approx(2 * attribute(first, "width"), abs=0.2)
    start, unit = attribute(first, "x"), attribute(first, "width") / 20
    spans = [line for line in root.findall("line") if line.get("class") == "interval"][::3]
    ends = [(attribute(line, "x1"), attribute(line, "x2")) for line in spans]
    expected = [(start + bar.low * unit, start + bar.high * unit) for bar in bars]
    assert ends == [pytest.approx(pair, abs=0.6) for pair in expected]
    mark = next(line for line in root.findall("line") if line.get("class") == "mark")
    assert attribute(mark, "x1") == pytest.approx(start + 20 * unit, abs=0.3)
    texts = [node.text for node in root.iter("text")]
    assert {"a & b", "<c>", "20.0", "40.0", "50"} <= set(texts)
    assert root.findtext("title") == "Title"
    assert root.findtext("desc") == "a & b: 20.0 [15.0, 30.0]; <c>: 40.0 [35.0, 50.0]"
    assert root.get("aria-labelledby") == "k-title k-desc"


def test_lines_are_to_scale_and_labelled() -> None:
    points = [(1.0, 10.0), (2.0, 30.0), (5.0, 20.0)]
    panel = Panel("loss", [Line("dev", points, "dev", [points[1]])], (10, 30))
    drawn = line_chart("k", "Title", [panel], x_title="pass", label_width=40)
    root = ElementTree.fromstring(drawn)
    line = root.find("polyline")
    assert line is not None
    (x1, y1), (x2, y2), (x3, y3) = (
        map(float, p.split(",")) for p in line.get("points", "").split()
    )
    assert (x2 - x1) / (x3 - x1) == pytest.approx(1 / 4, abs=0.01)
    assert (y1 - y3) / (y1 - y2) == pytest.approx(1 / 2, abs=0.01)
    assert y2 < y1  # higher values stand higher
    ring, dot = root.findall("circle")
    assert (attribute(ring, "cx"), attribute(ring, "cy")) == (x2, y2)
    assert (attribute(dot, "cx"), attribute(dot, "cy")) == (x3, y3)
    assert {"loss", "dev", "pass"} <= {node.text for node in root.iter("text")}


def test_a_line_of_one_point() -> None:
    panel = Panel("loss", [Line("dev", [(1.0, 3.0)], "dev")])
    root = ElementTree.fromstring(line_chart("k", "T", [panel], x_title="pass"))
    assert "nan" not in ElementTree.tostring(root, encoding="unicode")
    assert len(root.findall("circle")) == 1


PEAK, RATIO, TOTAL, WARM_UP, FACTOR = 0.002, 0.1, 800, 50, 1.5


def trainer_rate(update: float, factor: float) -> float:
    """The trainer's formula (am/nnet/trainer.py), frames being even over updates."""
    return PEAK * min(1.0, update / WARM_UP) * RATIO ** (update / TOTAL) * factor


def log_rows(num_passes: int) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for index in range(num_passes):
        labelled = index % 2 == 1
        updates = TOTAL * (index + 1) // num_passes
        rate = trainer_rate(updates, FACTOR if labelled else 1.0)
        source = "labeled" if labelled else f"unlabeled-{index // 2 % 3:03d}"
        rows.append({"updates": updates, "source": source, "learning_rate": rate})
    return rows


SETTINGS = {
    "schedule": {"labeled_learning_rate_factor": FACTOR},
    "trainer": {"warm_up_updates": WARM_UP},
}


def test_learning_rate_between_logged_ones_is_the_trainers() -> None:
    passes = trained_passes(log_rows(8), SETTINGS)
    for one in passes:
        factor = FACTOR if one.kind == "labelled" else 1.0
        assert one.curve[0][0] == one.first and one.curve[-1][0] == one.last
        for update, rate in one.curve:
            assert rate == pytest.approx(trainer_rate(update, factor), rel=1e-9)
    assert WARM_UP in [update for update, _ in passes[0].curve]


def test_schedule_has_a_block_a_pass_with_its_part() -> None:
    passes = trained_passes(log_rows(8), SETTINGS)
    root = ElementTree.fromstring(schedule_picture("k", "student", passes, TOTAL, 0.003))
    blocks = root.findall("rect")
    kinds = [str(block.get("class")).split()[1] for block in blocks]
    assert kinds == ["unlabelled", "labelled"] * 4
    numbers = [node.text for node in root.iter("text") if node.get("class") == "in-block"]
    assert numbers == ["1", "2", "3", "1"]
    lefts = [attribute(block, "x") for block in blocks]
    widths = {round(attribute(block, "width")) for block in blocks}
    assert lefts == sorted(lefts) and len(widths) == 1
    assert len(root.findall("polyline")) == 8


def test_schedule_of_one_pass_and_without_settings() -> None:
    passes = trained_passes(log_rows(8)[:1], {})
    ElementTree.fromstring(schedule_picture("k", "x", passes, TOTAL, 0.003))


def test_a_picture_of_its_own_has_its_style_inside() -> None:
    passes = trained_passes(log_rows(4), SETTINGS)
    drawn = schedule_picture("k", "Title", passes, TOTAL, 0.003)
    root = ElementTree.fromstring(svg.document(drawn))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "--orange-fill" in (root.findtext("{http://www.w3.org/2000/svg}style") or "")
    assert len(list(root)) == len(list(ElementTree.fromstring(drawn))) + 2


def luminance(colour: str) -> float:
    """Relative luminance (Web Content Accessibility Guidelines 2.2) of ``#rrggbb``."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return sum(w * s for w, s in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1])
def test_contrast_of_both_schemes(scheme: int) -> None:
    block = re.findall(r":root {(.*?)}", style(PICTURE_STYLE), re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", block))
    for text in ("ink", "muted", "blue", "orange", "green", "better", "worse"):
        for ground in ("paper", "panel"):
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    for fill in ("blue-fill", "orange-fill", "blue-pale", "blue-strong", "grey-fill"):
        assert contrast(colours["ink"], colours[fill]) >= 3, fill
