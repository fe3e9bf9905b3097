"""Figures of results; they use no global matplotlib state and need no display."""

from gnas.spaces.toponas.figure import cell_figures
from gnas.style import COLOURS
from gnas.viz.found import search_result_figures
from gnas.viz.predictors import predictor_figures
from gnas.viz.regret import regret_figures
from gnas.viz.search import search_figures
from gnas.viz.training import training_figures

__all__ = [
    "COLOURS",
    "cell_figures",
    "predictor_figures",
    "regret_figures",
    "search_figures",
    "search_result_figures",
    "training_figures",
]
