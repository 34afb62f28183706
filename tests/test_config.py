"""Settings files: what is right becomes a dataclass, anything else is named."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from am.config import load_settings, settings_from_mapping
from am.errors import InputError


@dataclass(frozen=True)
class Optimiser:
    learning_rate: float = 0.1
    kind: Literal["adam", "sgd"] = "adam"


@dataclass(frozen=True)
class Example:
    layers: int
    name: str = "student"
    dropout: float | None = None
    streaming: bool = False
    widths: tuple[int, ...] = (1, 2)
    span: tuple[int, float] = (0, 1.0)
    shares: dict[str, float] = field(default_factory=dict)
    folder: Path | None = None
    size: int | str = 0
    anything: Any = None
    optimiser: Optimiser = field(default_factory=Optimiser)

    def __post_init__(self) -> None:
        if self.layers < 1:
            raise ValueError("layers must be at least 1")


def written(folder: Path, text: str) -> Path:
    path = folder / "example.yaml"
    path.write_text(text)
    return path


def test_every_type_is_read(tmp_path: Path) -> None:
    text = """
layers: 5
name: teacher
dropout: 0.5
streaming: true
widths: [3, 4, 5]
span: [1, 2]
shares: {clean: 1, noisy: 0.5}
folder: exp/x
size: large
anything: [1, a]
optimiser: {learning_rate: 1, kind: sgd}
"""
    assert load_settings(Example, written(tmp_path, text)) == Example(
        layers=5,
        name="teacher",
        dropout=0.5,
        streaming=True,
        widths=(3, 4, 5),
        span=(1, 2.0),
        shares={"clean": 1.0, "noisy": 0.5},
        folder=Path("exp/x"),
        size="large",
        anything=[1, "a"],
        optimiser=Optimiser(1.0, "sgd"),
    )


def test_absent_keys_keep_their_defaults(tmp_path: Path) -> None:
    assert load_settings(Example, written(tmp_path, "layers: 2\n")) == Example(2)
    assert load_settings(Optimiser, written(tmp_path, "")) == Optimiser()
    assert load_settings(Optimiser, None) == Optimiser()


def test_overrides_come_last(tmp_path: Path) -> None:
    path = written(tmp_path, "layers: 2\noptimiser: {kind: sgd}\n")
    overrides = ["layers=3", "optimiser.learning_rate=1e-3", "dropout=null"]
    loaded = load_settings(Example, path, overrides)
    assert loaded == Example(3, optimiser=Optimiser(0.001, "sgd"))


@pytest.mark.parametrize("text", ["1e-3", "1E-3", "0.001", "1.0e-3", "+1e-3"])
def test_numbers_with_an_exponent_are_numbers(tmp_path: Path, text: str) -> None:
    path = written(tmp_path, f"learning_rate: {text}\n")
    assert load_settings(Optimiser, path).learning_rate == 0.001


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("layers: 2\nlayer: 3\n", "unknown setting 'layer'"),
        ("layers: 2\noptimiser: {rate: 3}\n", "optimiser: unknown setting 'rate'"),
        ("name: x\n", "'layers' is missing"),
        ("layers: 2.5\n", "layers must be of type int, not 2.5"),
        ("layers: true\n", "layers must be of type int, not True"),
        ("layers: two\n", "layers must be of type int, not 'two'"),
        ("layers: null\n", "layers must be of type int, not None"),
        ("layers: 2\nstreaming: 1\n", "streaming must be of type bool, not 1"),
        ("layers: 2\ndropout: high\n", "dropout must be of type float, not 'high'"),
        ("layers: 2\ndropout: true\n", "dropout must be of type float, not True"),
        ("layers: 2\nwidths: 3\n", "widths must be a list, not 3"),
        ("layers: 2\nwidths: [3, x]\n", "widths must be of type int, not 'x'"),
        ("layers: 2\nspan: [3]\n", "span must be a list of 2, not [3]"),
        ("layers: 2\nshares: [3]\n", "shares must be a mapping, not [3]"),
        ("layers: 2\nshares: {a: b}\n", "shares.a must be of type float, not 'b'"),
        ("layers: 2\nsize: 0.5\n", "size must be of type int, not 0.5 or"),
        ("layers: 2\noptimiser: sgd\n", "optimiser must be a mapping, not 'sgd'"),
        ("layers: 2\noptimiser: {kind: rmsprop}\n", "must be one of adam, sgd, not 'rmsprop'"),
        ("layers: 0\n", "layers must be at least 1"),
        ("layers: 2\nlayers: 3\n", "'layers' is given twice"),
        ("- 1\n", "the top level must be a mapping"),
        ("layers: [\n", "not valid YAML"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path: Path, text: str, named: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(InputError) as caught:
        load_settings(Example, path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert named in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("layers", "give it as key=value"),
        ("=3", "give it as key=value"),
        ("name.first=x", "'name' is not a group of settings"),
        ("layers=[1", "'[1' is not a YAML value"),
        ("width=1", "unknown setting 'width'"),
    ],
)
def test_wrong_overrides(tmp_path: Path, override: str, named: str) -> None:
    with pytest.raises(InputError) as caught:
        load_settings(Example, written(tmp_path, "layers: 2\nname: x\n"), [override])
    assert named in str(caught.value)


def test_missing_and_undecodable_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such settings file"):
        load_settings(Example, tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9\n")
    with pytest.raises(InputError, match="not UTF-8"):
        load_settings(Example, tmp_path / "latin.yaml")


def test_a_mapping_from_elsewhere_names_its_source() -> None:
    with pytest.raises(InputError, match=r"model\.json: unknown setting 'depth'"):
        settings_from_mapping(Optimiser, {"depth": 3}, "model.json")
