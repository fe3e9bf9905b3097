"""What options of several commands share."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import typer


def absolute(path: Path | None) -> str | None:
    """``path`` from the root, so that a run can be resumed from another folder."""
    return None if path is None else str(path.absolute())


def given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def settings(pairs: list[str]) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is read as JSON, else as text."""
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set must be NAME=VALUE, not {pair!r}")
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found[name.replace("-", "_")] = tuple(value) if isinstance(value, list) else value
    return found
