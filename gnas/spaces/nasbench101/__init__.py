"""The NAS-Bench-101 space and its networks."""

from gnas.spaces.nasbench101.space import MAX_EDGES, MAX_VERTICES, OPS, NASBench101

__all__ = ["MAX_EDGES", "MAX_VERTICES", "OPS", "NASBench101"]
