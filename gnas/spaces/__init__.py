"""Search spaces: where architectures come from."""

from gnas.spaces.base import Space
from gnas.spaces.nasbench101 import NASBench101
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.nasgem import NASGEM

SPACES: dict[str, type[Space]] = {
    "nasbench101": NASBench101,
    "nasbench201": NASBench201,
    "nasgem": NASGEM,
}

__all__ = ["NASGEM", "SPACES", "NASBench101", "NASBench201", "Space"]
