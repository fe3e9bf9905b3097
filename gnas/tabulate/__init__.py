"""Build a tabular benchmark of one's own: train many cells, several seeds each, write a table.

Every training is a candidate of a study (`gnas.studies`), by default in a file beside the
table. Any number of workers take waiting candidates from it. What a killed process was training
is put back, so an interrupted run goes on where it was.
"""

from gnas.tabulate.build import planned, tabulate, write_table
from gnas.tabulate.config import TabulateConfig
from gnas.tabulate.job import TabulateJob

__all__ = [
    "TabulateConfig",
    "TabulateJob",
    "planned",
    "tabulate",
    "write_table",
]
