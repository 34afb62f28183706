"""YAML files to frozen dataclasses: an unknown or ill-typed key is an error, never ignored."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from am.errors import InputError

Settings = TypeVar("Settings")
# YAML 1.1 reads a number such as 1e-3, without a dot, as a string.
SCIENTIFIC = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML's safe loader, but a key given twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key '{key}' is given twice", node.start_mark
                )
        return super().construct_mapping(node, deep)


def load_settings(
    settings_class: type[Settings], path: Path | None, overrides: Sequence[str] = ()
) -> Settings:
    """Read ``path`` into the dataclass ``settings_class``.

    Keys absent from the file keep the dataclass's default.  Nested dataclasses are nested
    mappings.  ``overrides`` are ``dotted.key=value`` strings, the value in YAML, applied last.

    Raises:
        InputError: the file is missing or not a mapping, a key is unknown, a value has the
            wrong type, or a key without a default is absent.
    """
    source = str(path) if path else "(no file)"
    values: dict[str, Any] = {}
    if path is not None:
        values = read_yaml_mapping(path)
    for override in overrides:
        _apply_override(values, override)
    return settings_from_mapping(settings_class, values, source)


def read_yaml_mapping(path: Path) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping (an empty file is an empty mapping)."""
    if not path.is_file():
        raise InputError(f"{path}: no such settings file; give the path of a YAML file")
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), _UniqueKeyLoader)
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from error
    if values is None:
        return {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: the top level must be a mapping of settings")
    return values


def settings_from_mapping(
    settings_class: type[Settings], values: Mapping[str, Any], source: str
) -> Settings:
    """Build ``settings_class`` from ``values``; ``source`` names them in errors.

    A ``ValueError`` of the class's ``__post_init__`` becomes an InputError.
    """
    assert dataclasses.is_dataclass(settings_class)
    fields = {field.name: field for field in dataclasses.fields(settings_class)}
    hints = typing.get_type_hints(settings_class)
    for key in values:
        if key not in fields:
            raise InputError(
                f"{source}: unknown setting '{key}'; the settings here are {', '.join(fields)}"
            )
    arguments: dict[str, Any] = {}
    for name, field in fields.items():
        if name in values:
            arguments[name] = _checked(hints[name], values[name], f"{source}: {name}")
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise InputError(f"{source}: the setting '{name}' is missing; add it")
    try:
        return settings_class(**arguments)
    except ValueError as error:
        raise InputError(f"{source}: {error}") from error


def _checked(hint: Any, value: Any, where: str) -> Any:
    """``value`` as the type ``hint``; a list becomes a tuple, an int a float, a string a Path."""
    if hint is Any:
        return value
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a mapping, not {value!r}")
        return settings_from_mapping(hint, value, where)
    if typing.get_origin(hint) is not None:
        return _checked_generic(hint, value, where)
    if hint is float and isinstance(value, str) and SCIENTIFIC.fullmatch(value):
        return float(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise InputError(f"{where} must be of type {hint.__name__}, not {value!r}")
    return value


def _checked_generic(hint: Any, value: Any, where: str) -> Any:
    """:func:`_checked` for unions, literals, tuples, lists and mappings."""
    origin, choices = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in choices:
            return None
        return _checked_union([c for c in choices if c is not type(None)], value, where)
    if origin is typing.Literal:
        if value not in choices:
            raise InputError(
                f"{where} must be one of {', '.join(map(str, choices))}, not {value!r}"
            )
        return value
    if issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a mapping, not {value!r}")
        return {
            _checked(choices[0], key, f"{where}: key"): _checked(choices[1], item, f"{where}.{key}")
            for key, item in value.items()
        }
    if not isinstance(value, (list, tuple)):
        raise InputError(f"{where} must be a list, not {value!r}")
    hints = [choices[0]] * len(value)
    if origin is tuple and choices[-1] is not Ellipsis:
        if len(value) != len(choices):
            raise InputError(f"{where} must be a list of {len(choices)}, not {value!r}")
        hints = list(choices)
    items = [_checked(item_hint, item, where) for item_hint, item in zip(hints, value, strict=True)]
    return items if origin is list else tuple(items)


def _checked_union(hints: list[Any], value: Any, where: str) -> Any:
    """The first of ``hints`` that ``value`` is exactly, else the first that it can become."""
    if type(value) in hints:
        return value
    errors = []
    for hint in hints:
        try:
            return _checked(hint, value, where)
        except InputError as error:
            errors.append(str(error))
    raise InputError(" or ".join(errors))


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: give it as key=value")
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: '{parent}' is not a group of settings")
    try:
        values[leaf] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"--set {override}: '{text}' is not a YAML value") from error
