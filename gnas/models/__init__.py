"""Networks: from an architecture graph to a torch module."""

from gnas.models.nasbench101 import nasbench101_network, num_macs, num_params

__all__ = ["nasbench101_network", "num_macs", "num_params"]
