"""The NASGEM space, its priors and its networks."""

from gnas.spaces.nasgem.space import DENSITIES, NASGEM, OPS

__all__ = ["DENSITIES", "NASGEM", "OPS"]
