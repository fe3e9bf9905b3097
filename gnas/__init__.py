"""Neural architecture search on graphs.

An architecture is a PyTorch Geometric ``Data``. A *space* creates architectures, a *kernel*, an
*encoder* or a *predictor* compares them, a *network* computes them, a *table* holds measured
accuracies, and *bench* compares search methods on tables.

The public names below load their module on first use, which keeps ``import gnas`` fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.data.tables import BenchmarkTable as BenchmarkTable
    from gnas.data.tables import load_table as load_table
    from gnas.data.tables import save_table as save_table
    from gnas.encoders import list_encoders as list_encoders
    from gnas.encoders import load_encoder as load_encoder
    from gnas.errors import ConfigError as ConfigError
    from gnas.errors import DataError as DataError
    from gnas.errors import GnasError as GnasError
    from gnas.errors import GraphError as GraphError
    from gnas.errors import MissingDataError as MissingDataError
    from gnas.errors import UnsupportedError as UnsupportedError
    from gnas.graphs import DenseBatch as DenseBatch
    from gnas.graphs import architecture as architecture
    from gnas.graphs import graph_hash as graph_hash
    from gnas.kernels import wl_features as wl_features
    from gnas.kernels import wl_kernel as wl_kernel
    from gnas.kernels import wl_pairs as wl_pairs
    from gnas.predictors import Predictor as Predictor
    from gnas.search.run import run_search as run_search
    from gnas.spaces import NASGEM as NASGEM
    from gnas.spaces import SPACES as SPACES
    from gnas.spaces import Genotype as Genotype
    from gnas.spaces import NASBench101 as NASBench101
    from gnas.spaces import NASBench201 as NASBench201
    from gnas.spaces import Space as Space
    from gnas.spaces import TopoNAS as TopoNAS
    from gnas.topology import TopologyDistribution as TopologyDistribution

__version__ = "0.1.0"

_HOME = {
    "BenchmarkTable": "gnas.data.tables",
    "ConfigError": "gnas.errors",
    "DataError": "gnas.errors",
    "DenseBatch": "gnas.graphs",
    "Genotype": "gnas.spaces",
    "GnasError": "gnas.errors",
    "GraphError": "gnas.errors",
    "MissingDataError": "gnas.errors",
    "NASBench101": "gnas.spaces",
    "NASBench201": "gnas.spaces",
    "NASGEM": "gnas.spaces",
    "Predictor": "gnas.predictors",
    "SPACES": "gnas.spaces",
    "Space": "gnas.spaces",
    "TopoNAS": "gnas.spaces",
    "TopologyDistribution": "gnas.topology",
    "UnsupportedError": "gnas.errors",
    "architecture": "gnas.graphs",
    "graph_hash": "gnas.graphs",
    "list_encoders": "gnas.encoders",
    "load_encoder": "gnas.encoders",
    "load_table": "gnas.data.tables",
    "run_search": "gnas.search.run",
    "save_table": "gnas.data.tables",
    "wl_features": "gnas.kernels",
    "wl_kernel": "gnas.kernels",
    "wl_pairs": "gnas.kernels",
}
_MODULES = ("encoders", "predictors", "spaces")
"""Modules that ``dir(gnas)`` lists."""
__all__ = ["__version__", *_HOME]
__getattr__, __dir__ = on_first_use(__name__, _HOME, _MODULES)
