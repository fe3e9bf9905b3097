"""Networks: from an architecture graph to a torch module, and to a folder on disk."""

from gnas.models.checks import check_network
from gnas.models.counting import num_macs, num_params
from gnas.models.saved import NetworkMetadata, load_network, read_metadata, save_network
from gnas.spaces.nasbench101.config import NASBench101NetworkConfig
from gnas.spaces.nasbench101.network import nasbench101_network
from gnas.spaces.nasbench101.size import nasbench101_num_params
from gnas.spaces.nasbench201.config import NASBench201NetworkConfig
from gnas.spaces.nasbench201.network import NASBench201Network, nasbench201_network
from gnas.spaces.nasbench201.size import nasbench201_num_params
from gnas.spaces.nasgem.config import NasgemNetworkConfig
from gnas.spaces.nasgem.network import NasgemNetwork, nasgem_imagenet, nasgem_network
from gnas.spaces.nasgem.size import nasgem_macs
from gnas.spaces.toponas.config import DartsNetworkConfig
from gnas.spaces.toponas.network import DartsNetwork, darts_network

__all__ = [
    "DartsNetwork",
    "DartsNetworkConfig",
    "NASBench101NetworkConfig",
    "NASBench201Network",
    "NASBench201NetworkConfig",
    "NasgemNetwork",
    "NasgemNetworkConfig",
    "NetworkMetadata",
    "check_network",
    "darts_network",
    "load_network",
    "nasbench101_network",
    "nasbench101_num_params",
    "nasbench201_network",
    "nasbench201_num_params",
    "nasgem_imagenet",
    "nasgem_macs",
    "nasgem_network",
    "num_macs",
    "num_params",
    "read_metadata",
    "save_network",
]
