"""Benchmark tables and images: what is known about architectures.

`load_table` opens a table, `save_table` writes one. `NASBench101Dataset` and `NASBench201Dataset`
are the same tables as PyG datasets. The names below load their module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.data.pyg import NASBench101Dataset as NASBench101Dataset
    from gnas.data.pyg import NASBench201Dataset as NASBench201Dataset
    from gnas.data.tables import BenchmarkTable as BenchmarkTable
    from gnas.data.tables import Column as Column
    from gnas.data.tables import Provenance as Provenance
    from gnas.data.tables import load_table as load_table
    from gnas.data.tables import save_table as save_table
    from gnas.data.tables import verify_table as verify_table

_HOME = {
    "BenchmarkTable": "gnas.data.tables",
    "Column": "gnas.data.tables",
    "NASBench101Dataset": "gnas.data.pyg",
    "NASBench201Dataset": "gnas.data.pyg",
    "Provenance": "gnas.data.tables",
    "load_table": "gnas.data.tables",
    "save_table": "gnas.data.tables",
    "verify_table": "gnas.data.tables",
}
__all__ = [
    "BenchmarkTable",
    "Column",
    "NASBench101Dataset",
    "NASBench201Dataset",
    "Provenance",
    "load_table",
    "save_table",
    "verify_table",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
