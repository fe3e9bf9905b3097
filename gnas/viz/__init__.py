"""Figures of results; they use no global matplotlib state and need no display."""

from gnas.spaces.toponas.figure import cell_figures
from gnas.style import COLOURS
from gnas.viz.found import search_result_figures
from gnas.viz.nasgem import nasgem_figures
from gnas.viz.predictors import MIN_BIAS_PERCENT, label_of, predictor_figures
from gnas.viz.regret import regret_figures
from gnas.viz.search import found_cells, search_figures
from gnas.viz.supernet import supernet_figures
from gnas.viz.topology import topology_figures
from gnas.viz.training import training_figures

__all__ = [
    "COLOURS",
    "MIN_BIAS_PERCENT",
    "cell_figures",
    "found_cells",
    "label_of",
    "nasgem_figures",
    "predictor_figures",
    "regret_figures",
    "search_figures",
    "search_result_figures",
    "supernet_figures",
    "topology_figures",
    "training_figures",
]
