"""Where studies are, as messages and records say it."""

from __future__ import annotations

from pathlib import Path


def shown(where: str | Path) -> str:
    """``where`` without user, password and options, fit for messages and records."""
    if "://" not in str(where):
        return str(where)
    from gnas.studies.postgresql import parsed, place

    return place(parsed(str(where)))
