"""Identity of a process across machines, and whether it is still alive."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

PROC = Path("/proc")


def current_process() -> dict[str, Any]:
    """Identity of this process, as a JSON object."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(), **_system()}


def has_ended(other: Mapping[str, Any], *, one_machine: bool) -> bool | None:
    """Whether a process has ended; None if that cannot be told from this machine.

    A process is identified by its number and start time, since numbers are reused.

    Args:
        other: Identity of the process, as `current_process` returned it.
        one_machine: Machines of the same name are the same machine, so that another boot is an
            earlier one.
    """
    own = current_process()
    if other.get("boot") != own["boot"]:
        return True if one_machine and other.get("host") == own["host"] else None
    if other.get("pids") != own["pids"] or (not own["boot"] and other["host"] != own["host"]):
        return None
    return not _runs(int(other["pid"]), other.get("started"))


def _runs(pid: int, started: int | None) -> bool:
    if started is not None:
        return _started(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _started(pid: int | None = None) -> int | None:
    """Clock ticks from the machine's boot to the start of a process; None without one.

    A process that has ended but that its parent has not asked about has none either.
    """
    try:
        fields = (PROC / str(pid or "self") / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


@cache
def _system() -> dict[str, str]:
    """Names of the running system and of the numbering of its processes; empty if unknown."""
    try:
        boot = (PROC / "sys/kernel/random/boot_id").read_text().strip()
        return {"boot": boot, "pids": os.readlink(PROC / "self/ns/pid")}
    except OSError:
        return {"boot": "", "pids": ""}
