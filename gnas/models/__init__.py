"""Networks: from an architecture graph to a torch module."""

from gnas.models.counting import num_macs, num_params
from gnas.models.darts import DartsNetwork, DartsNetworkConfig, darts_network
from gnas.models.nasbench101 import nasbench101_network

__all__ = [
    "DartsNetwork",
    "DartsNetworkConfig",
    "darts_network",
    "nasbench101_network",
    "num_macs",
    "num_params",
]
