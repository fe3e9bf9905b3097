"""Imported first by the server that processes are forked from: ends it with its maker.

A server that is still importing does not notice that the process it serves was killed. On Linux
the system tells it.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1
"""From ``<sys/prctl.h>``."""
_INIT = 1
"""The process that adopts those whose maker is gone."""

if sys.platform == "linux":
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == _INIT:  # killed before the system was asked
        os._exit(1)
