"""Section on how a run came about: its command, data, settings and versions."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from shlex import join
from typing import Any

from gnas.report.formats import duration, format_number, settings
from gnas.report.page import Block, Code, Facts, Section

TIME = "%Y-%m-%d %H:%M UTC"
_TABLE = ("name", "provenance", "rows", "source", "note", "sha256")


ENVIRONMENT = ("command_line", "resumed_by", "versions", "git_commit", "device", "machine")
"""What ``config.json`` has beside the settings."""


def what_was_run(
    record: Mapping[str, Any],
    *,
    file: Path,
    seconds: float | None = None,
    more: Iterable[tuple[str, str]] = (),
    hidden: Sequence[str] = ("command",),
) -> Section:
    """The circumstances of a run, and all its settings on demand.

    Args:
        record: ``config.json``, or of an experiment the JSON object that it wrote.
        file: Its file, whose time is reported.
        seconds: Duration of the run in seconds.
        more: Further facts.
        hidden: Settings that are left out.
    """
    config = record.get("config") or {}
    command = config.get("command") or record.get("command") or ""
    typed = record.get("command_line")
    items = [("Command", f"gnas {command}")] if command and not typed else []
    data = record.get("data") or {}
    if isinstance(data, Mapping):
        items += [("Data", str(data["read"]))] if data.get("read") else []
        items += [(f"{k} of the data", str(data[k])) for k in ("sha256",) if data.get(k)]
    items += table_facts(record.get("table") or _evaluated_by(config))
    items += more
    if seconds is not None:
        items.append(("Took", duration(seconds)))
    items.append(("Written", time.strftime(TIME, time.gmtime(file.stat().st_mtime))))
    items += _where(record)
    blocks: list[Block] = [Code(str(typed))] if typed else []
    blocks += [Code(str(line), "Resumed by") for line in record.get("resumed_by") or ()]
    blocks.append(Facts(tuple(items)))
    shown = {name: value for name, value in config.items() if name not in hidden}
    if shown:
        blocks.append(Facts(tuple(settings(shown)), title="All settings", folded=True))
    return Section("What was run", tuple(blocks))


def table_facts(table: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Metadata of a table for display, from a run's record."""
    found = []
    for name in _TABLE:
        value = table.get(name)
        if value not in (None, ""):
            label = "Table" if name == "name" else f"{name.capitalize()} of the table"
            found.append((label, format_number(value) if isinstance(value, int) else str(value)))
    return found


def next_commands(*commands: Sequence[str | Path]) -> Section:
    """Commands that come next, ready to be copied."""
    lines = (Code(join(["gnas", *map(str, command)])) for command in commands)
    return Section("Next", tuple(lines))


def _evaluated_by(config: Mapping[str, Any]) -> Mapping[str, Any]:
    evaluator = config.get("evaluator") or {}
    return evaluator if evaluator.get("kind") == "table" else {}


def _where(record: Mapping[str, Any]) -> list[tuple[str, str]]:
    versions, machine = record.get("versions") or {}, record.get("machine") or {}
    found = []
    if versions:
        found.append(("Versions", ", ".join(f"{name} {it}" for name, it in versions.items())))
    if record.get("git_commit"):
        found.append(("Commit", str(record["git_commit"])))
    if record.get("device"):
        found.append(("Device", str(record["device"])))
    if machine:
        cores = machine.get("cpus")
        found.append(
            ("Machine", f"{machine.get('system')}" + (f", {cores} CPUs" if cores else ""))
        )
    return found
