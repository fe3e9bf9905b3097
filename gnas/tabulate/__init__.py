"""Build a tabular benchmark of one's own: train many cells, several seeds each, write a table.

It is a search (`gnas.search.run_search`) that goes through a list: every training is a candidate
of a study, by default in a file beside the table, and any number of workers take waiting ones from
it. What a killed process was training is put back, so an interrupted run goes on where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.tabulate.build import evaluator_of as evaluator_of
    from gnas.tabulate.build import tabulate as tabulate
    from gnas.tabulate.build import write_table as write_table
    from gnas.tabulate.config import TabulateConfig as TabulateConfig
    from gnas.tabulate.config import tabulated_config as tabulated_config

_HOME = {
    "TabulateConfig": "gnas.tabulate.config",
    "evaluator_of": "gnas.tabulate.build",
    "tabulate": "gnas.tabulate.build",
    "tabulated_config": "gnas.tabulate.config",
    "write_table": "gnas.tabulate.build",
}
__all__ = [
    "TabulateConfig",
    "evaluator_of",
    "tabulate",
    "tabulated_config",
    "write_table",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
