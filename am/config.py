"""YAML files to frozen dataclasses: an unknown or ill-typed key is an error, never ignored."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from am.errors import InputError

Settings = TypeVar("Settings")


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
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
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
    """Build ``settings_class`` from ``values``; ``source`` names them in errors."""
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
    return settings_class(**arguments)


def _checked(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise InputError(f"{where} must be a mapping, not {value!r}")
        return settings_from_mapping(hint, value, where)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        choices = typing.get_args(hint)
        if value is None and type(None) in choices:
            return None
        return _checked(next(c for c in choices if c is not type(None)), value, where)
    if origin is typing.Literal:
        choices = typing.get_args(hint)
        if value not in choices:
            raise InputError(
                f"{where} must be one of {', '.join(map(str, choices))}, not {value!r}"
            )
        return value
    if origin is tuple:
        if not isinstance(value, (list, tuple)):
            raise InputError(f"{where} must be a list, not {value!r}")
        item = typing.get_args(hint)[0]
        return tuple(_checked(item, element, where) for element in value)
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise InputError(f"{where} must be of type {hint.__name__}, not {value!r}")
    return value


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise InputError(f"--set {override}: give it as key=value")
    *parents, leaf = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise InputError(f"--set {override}: '{parent}' is not a group of settings")
    values[leaf] = yaml.safe_load(text)
