"""Build a tabular benchmark of one's own: train many cells, several seeds each, write a table.

It is a search (`gnas.search.run_search`) that goes through a list: every training is a candidate
of a study, by default in a file beside the table, and any number of workers take waiting ones from
it. What a killed process was training is put back, so an interrupted run goes on where it was.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.tabulate.build import tabulate as tabulate
    from gnas.tabulate.config import TabulateConfig as TabulateConfig

_HOME = {
    "TabulateConfig": "gnas.tabulate.config",
    "tabulate": "gnas.tabulate.build",
}
__all__ = [
    "TabulateConfig",
    "tabulate",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
