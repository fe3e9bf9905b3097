"""Build a tabular benchmark of one's own: train many cells, several seeds each, write a table.

Every training is a trial of an Optuna study in a journal file beside the table. The first
process writes the plan (all cells and seeds) into the study; any number of processes take
waiting trials from it. What a killed process was training is put back when the command is
started again, so an interrupted run goes on where it was.
"""

from gnas.tabulate.build import tabulate, work, write_table
from gnas.tabulate.config import TabulateConfig
from gnas.tabulate.study import Progress, open_study, progress

__all__ = [
    "Progress",
    "TabulateConfig",
    "open_study",
    "progress",
    "tabulate",
    "work",
    "write_table",
]
