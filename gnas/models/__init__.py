"""Networks: from an architecture graph to a torch module, and to a folder on disk."""

from gnas.models.counting import num_macs, num_params
from gnas.models.families import FAMILIES, Family, NetworkConfig, build_network, network_config
from gnas.models.saved import NetworkFacts, load_network, read_facts, save_network
from gnas.spaces.nasbench101.network import NASBench101NetworkConfig, nasbench101_network
from gnas.spaces.nasbench201.network import (
    NASBench201Network,
    NASBench201NetworkConfig,
    nasbench201_network,
)
from gnas.spaces.nasgem.network import (
    NasgemNetwork,
    NasgemNetworkConfig,
    nasgem_imagenet,
    nasgem_network,
)
from gnas.spaces.nasgem.size import nasgem_macs
from gnas.spaces.toponas.network import DartsNetwork, DartsNetworkConfig, darts_network

__all__ = [
    "FAMILIES",
    "DartsNetwork",
    "DartsNetworkConfig",
    "Family",
    "NASBench101NetworkConfig",
    "NASBench201Network",
    "NASBench201NetworkConfig",
    "NasgemNetwork",
    "NasgemNetworkConfig",
    "NetworkConfig",
    "NetworkFacts",
    "build_network",
    "darts_network",
    "load_network",
    "nasbench101_network",
    "nasbench201_network",
    "nasgem_imagenet",
    "nasgem_macs",
    "nasgem_network",
    "network_config",
    "num_macs",
    "num_params",
    "read_facts",
    "save_network",
]
