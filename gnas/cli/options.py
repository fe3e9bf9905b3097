"""Helpers for options that several commands share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer


def absolute(path: Path | None) -> str | None:
    """``path`` from the root, so that a run can be resumed from another folder."""
    return None if path is None else str(path.absolute())


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def settings(
    pairs: list[str], named: Mapping[str, Any] | None = None, *, option: str = "--set"
) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is read as JSON, else as text.

    Args:
        pairs: What ``option`` was given.
        named: Settings that have options of their own and were given by them.
        option: For messages.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option} must be NAME=VALUE, not {pair!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        name = name.replace("-", "_")
        if name in (named or {}):
            raise typer.BadParameter(
                f"{name} must be given by its own option alone, not by {option}"
            )
        found[name] = tuple(value) if isinstance(value, list) else value
    return found
