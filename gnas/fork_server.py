"""Imported first by the server that processes are forked from: ends it with its maker.

A server that is still importing does not notice that the process it serves was killed. On Linux
the system tells it. The server and its forks collect garbage as rarely as commands do.
"""

from __future__ import annotations

import ctypes
import gc
import signal
import sys

from gnas.processes import GC_THRESHOLDS

_PR_SET_PDEATHSIG = 1
"""From ``<sys/prctl.h>``."""

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
gc.set_threshold(*GC_THRESHOLDS)
