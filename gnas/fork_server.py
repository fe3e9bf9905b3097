"""Imported first by the server that processes are forked from: ends it with its maker.

A server that is still importing does not notice that the process it serves was killed. On Linux
the system tells it.
"""

from __future__ import annotations

import ctypes
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From ``<sys/prctl.h>``."""

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
