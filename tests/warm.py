"""Imported by the server that the tests' processes are forked from: all that they might need."""

from __future__ import annotations

import gc
import importlib
import pkgutil
import warnings
from functools import cache

import alembic.util
from optuna.storages import RDBStorage

import gnas

NOT_HERE = ("gnas.__main__", "gnas.fork_server")
"""A program, and what ties a server to its maker: of every process its own."""
OTHERS = (
    "tests.commands",
    "google.protobuf.internal.builder",
    "matplotlib.backends.backend_agg",
    "matplotlib.figure",
    "nasbench_pytorch.model",
    "optuna.storages",
    "pyarrow.parquet",
    "scipy.optimize",
    "scipy.stats",
    "sklearn.datasets",
    "sklearn.decomposition",
    "sklearn.ensemble",
    "sklearn.gaussian_process",
    "sqlalchemy.dialects.sqlite",
    "tensorboard.summary.writer.record_writer",
    "torch.utils.flop_counter",
    "torch.utils.tensorboard.summary",
    "torch_geometric.nn",
    "torchvision.transforms.v2",
    "typer.testing",
)
"""What gnas imports when it is used."""

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    modules = [one.name for one in pkgutil.walk_packages(gnas.__path__, "gnas.")]
    for name in [*(name for name in modules if name not in NOT_HERE), *OTHERS]:
        importlib.import_module(name)
alembic.util.load_python_file = cache(alembic.util.load_python_file)  # type: ignore[assignment]
RDBStorage("sqlite://").engine.dispose()  # loads Optuna's tables and migrations
gc.collect()
gc.freeze()  # processes share it as long as nobody looks through it
