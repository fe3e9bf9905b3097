"""Build a tabular benchmark of one's own: train many cells, several seeds each, write a table.

It is a search (`gnas.search.run_search`) that goes through a list: every training is a candidate
of a study, by default in a file beside the table, and any number of workers take waiting ones from
it. What a killed process was training is put back, so an interrupted run goes on where it was.
"""

from gnas.tabulate.build import evaluator_of, tabulate, write_table
from gnas.tabulate.config import TabulateConfig, tabulated_config

__all__ = [
    "TabulateConfig",
    "evaluator_of",
    "tabulate",
    "tabulated_config",
    "write_table",
]
