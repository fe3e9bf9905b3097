"""The NASGEM space, its priors and its networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.spaces.nasgem.config import DENSITIES as DENSITIES
    from gnas.spaces.nasgem.space import NASGEM as NASGEM
    from gnas.spaces.nasgem.space import OPS as OPS

_HOME = {
    "DENSITIES": "gnas.spaces.nasgem.config",
    "NASGEM": "gnas.spaces.nasgem.space",
    "OPS": "gnas.spaces.nasgem.space",
}
__all__ = [
    "DENSITIES",
    "NASGEM",
    "OPS",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
