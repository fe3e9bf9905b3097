"""Mistakes in calling the library: one error of gnas that names what is wrong, nothing guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import gnas
from gnas import metrics, viz
from gnas.data.images import open_candidate_images, open_search_images, open_train_images
from gnas.errors import ConfigError, DataError, GnasError
from gnas.evaluate import (
    EfficiencyEvaluator,
    TableEvaluator,
    TrainingEvaluator,
    efficiency_score,
)
from gnas.export import export
from gnas.graphs import as_batch, from_networkx, to_networkx
from gnas.models import (
    check_network,
    load_network,
    nasbench101_num_params,
    nasbench201_network,
    nasbench201_num_params,
    num_macs,
)
from gnas.predictors import Forest, OneHot, default_predictor
from gnas.proxies import compute_proxies, naswot, synflow
from gnas.report import read_report, write_report
from gnas.retrain import plan_retrain
from gnas.search import (
    SEARCHERS,
    NASGEMSampler,
    RandomSearch,
    bootstrap,
    sample_pool,
    suggest_architecture,
)
from gnas.search.result import read_result
from gnas.spaces import SPACES, DagSpace, EdgeOpSpace, RandomWiring, Space
from gnas.topology import candidate_edges, enumerate_joint, is_valid

RNG = np.random.default_rng(0)
SPACE, OTHER = gnas.NASBench101(), gnas.NASBench201()
CELLS = [SPACE.sample(RNG) for _ in range(6)]
STRANGE = [OTHER.sample(RNG) for _ in range(6)]
SCORES = np.arange(6.0)
IMAGES, RELU = torch.zeros(2, 3, 8, 8), nn.ReLU()
LONE = gnas.architecture([[0]], [0], 5)


def forest() -> Forest:
    return Forest(OneHot(7, 5))


def worth(graph: Data, *, seed: int) -> float:
    return float(graph.num_nodes or 0)


def search(**changes: Any) -> Any:
    arguments: dict[str, Any] = {
        "space": SPACE, "searcher": "random", "evaluator": worth, "budget": 2, **changes,
    }  # fmt: skip
    return gnas.run_search(**arguments)


def any_of(function: Any) -> Callable[..., Any]:
    """The function without its types: what is called with anything."""
    found: Callable[..., Any] = function
    return found


wl, pairs, fit = any_of(gnas.wl_kernel), any_of(gnas.wl_pairs), any_of(Forest.fit)
CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "other graphs in the place of n_iter": (lambda: wl(CELLS, CELLS), "n_iter must be a whole"),
    "half a round": (lambda: wl(CELLS, 2.5), "n_iter must be a whole number, but got 2.5"),
    "rounds as text": (lambda: wl(CELLS, "3"), "n_iter must be a whole number, but got '3'"),
    "rounds without end": (lambda: wl(CELLS, 10**9), "n_iter must be at most 1000"),
    "no graphs": (lambda: wl(None), "None"),
    "graphs of two spaces": (lambda: wl(CELLS, other=STRANGE), "op"),
    "pairs between rows": (lambda: pairs(CELLS, [[0.7, 1.2]]), "pairs must be row numbers"),
    "pairs as texts": (lambda: pairs(CELLS, [["a", "b"]]), "pairs must be row numbers"),
    "pairs of one": (lambda: pairs(CELLS, [[0, 1], [2]]), r"pairs must have shape \[P, 2\]"),
    "half an edge": (
        lambda: any_of(gnas.architecture)([[0, 0.5], [0, 0]], [0, 4], 5),
        "adjacency must hold whole",
    ),
    "nodes as texts": (lambda: any_of(gnas.architecture)([[0]], ["a"], 5), "ops must hold whole"),
    "fewer scores": (lambda: forest().fit(CELLS, SCORES[:2]), "one score per graph"),
    "a score NaN": (lambda: forest().fit(CELLS, [np.nan, *SCORES[1:]]), "must be finite"),
    "scores as texts": (lambda: fit(forest(), CELLS, ["1"] * 6), "scores must be numbers"),
    "complex scores": (lambda: fit(forest(), CELLS, SCORES + 1j), "scores must be numbers"),
    "dates as scores": (
        lambda: fit(forest(), CELLS, SCORES.astype("datetime64[s]")), "scores must be numbers",
    ),
    "lists as scores": (lambda: fit(forest(), CELLS, [[1], [2, 3]] * 3), "scores must be numbers"),
    "cells of another space": (lambda: forest().fit(STRANGE, SCORES), "must have 5 node ops"),
    "no features": (lambda: any_of(Forest)(None), "features must be some such as"),
    "ranks of texts": (lambda: any_of(metrics.kendall_tau)(["a"], [1]), "must be numbers"),
    "no number as fraction": (
        lambda: any_of(metrics.precision_at_top)([1, 2], [1, 2], "a"), "fraction must be a number",
    ),
    "half a k": (lambda: any_of(metrics.n_at_k)([1, 2], [1, 2], 1.5), "k must be a whole number"),
    "a name in the place of a config": (
        lambda: any_of(open_search_images)("digits"), "config must be of the type SearchImagesC",
    ),
    "a name of images to train on": (
        lambda: any_of(open_train_images)("digits"), "config must be of the type TrainImagesConf",
    ),
    "a name of candidates' images": (
        lambda: any_of(open_candidate_images)("digits"), "ProxyImagesConfig or NumberedImagesCo",
    ),
    "a count in the place of a generator": (
        lambda: any_of(sample_pool)(SPACE, 500), "rng must be of the type Generator, but got 500",
    ),
    "fewer groups": (lambda: metrics.group_means([1, 2], [1.0]), "lists of one length"),
    "runs in a list": (lambda: metrics.agreement_between_runs([1, 2]), "shape"),
    "values as texts": (lambda: any_of(metrics.mean_interval)(["a"]), "values must be numbers"),
    "one number's deciles": (lambda: any_of(metrics.quantiles)(3), "values must be a list"),
    "texts among objects": (
        lambda: metrics.kendall_tau(np.array(["1", "2"], dtype=object), [1, 2]), "must be numbers",
    ),
    "a masked score": (
        lambda: metrics.kendall_tau(np.ma.masked_equal([1, 2, 3], 3), [1, 2, 3]), "finite",
    ),
    "operations without end": (lambda: gnas.architecture([[0]], [0], 10**9), "num_ops must be"),
    "infinite edges": (
        lambda: any_of(gnas.architecture)([[0, np.inf], [0, 0]], [0, 1], 2), "whole numbers",
    ),
    "an edge_op of 999": (
        lambda: gnas.architecture([[0, 999], [0, 0]], [0, 2], 3, edge_ops=True), "at most 255",
    ),
    "no networkx": (lambda: any_of(from_networkx)(None, 5), "must be a networkx DiGraph"),
    "edges both ways": (
        lambda: any_of(from_networkx)(nx.path_graph(2), 5), "must be a networkx DiGraph",
    ),
    "names too few": (lambda: to_networkx(CELLS[0], ["a"]), "x must have 1 columns"),
    "a path of nothing": (
        lambda: wl([LONE] * 2, backend="grakel", kernel="shortest_path"), "cannot be normalised",
    ),
    "a space's name": (lambda: any_of(default_predictor)("nasbench101"), "load_space makes one"),
    "a space's class": (lambda: search(space=gnas.NASBench101), "call the class"),
    "no space": (lambda: search(space=None), "a space must be an object such as NASBench101"),
    "no searcher": (lambda: search(searcher=None), "the searcher must be one of"),
    "no budget": (lambda: search(budget=0), "budget must be at least 1, but got 0"),
    "half a budget": (lambda: search(budget=1.5), "budget must be a whole number"),
    "budget as text": (lambda: search(budget="5"), "budget must be a whole number"),
    "no objective": (lambda: search(objectives=[]), "objectives must be at least one text"),
    "numbers as objectives": (lambda: search(objectives=[3]), "objectives must be at least one"),
    "settings in a list": (lambda: search(settings=[1]), "settings must be values by name"),
    "a number as objective": (lambda: search(objectives=3), "must be lists of texts"),
    "a number as bound": (lambda: search(constraints=1.5), "must be lists of texts"),
    "a number as folder": (lambda: search(out=3), "out must be the name of a folder"),
    "a folder that ends early": (lambda: search(out="a\0b"), "out must be the name of a folder"),
    "no report": (lambda: search(report=None), "report must be a function"),
    "a number as end": (lambda: search(until=3), "until must be a function, but is 3"),
    "a number as figures": (lambda: search(figures=3), "figures must be a function, but is 3"),
    "no more to tell": (lambda: search(tell=None), "tell must be a function"),
    "a tracker's name": (lambda: search(loggers="wandb"), "must be a list of RunLogger.*'wandb'"),
    "names of trackers": (lambda: search(loggers=["wandb"]), "`make_loggers` makes them of names"),
    "no trackers": (lambda: search(loggers=None), "must be a list of RunLogger, .* got None"),
    "a file as folder": (lambda: search(out=__file__), "must be writable, but .*: it is a file"),
    "an encoder's number": (lambda: any_of(gnas.load_encoder)(3), "must be a name or a file"),
    "another space's cells": (
        lambda: gnas.load_encoder("nasgem-nasbench101").encode(STRANGE), "takes graphs of 'nasb",
    ),
    "a folder as table": (lambda: gnas.load_table("/"), "must be a Parquet file, but is a folder"),
    "this file as table": (lambda: gnas.load_table(__file__), "must be"),
    "no network to measure": (lambda: any_of(naswot)(None, IMAGES), "network must be of the type"),
    "one image": (lambda: naswot(RELU, IMAGES[:1]), r"at least 2, but have shape \[1, 3, 8, 8\]"),
    "an image alone": (lambda: synflow(RELU, IMAGES[0]), r"must be \[B, C, H, W\] with B at"),
    "a shape's text": (lambda: any_of(check_network)(RELU, "3x8x8", 10), "input_shape must be of"),
    "no MACs": (lambda: efficiency_score(0.9, 0.0), "macs must be a number above 0, but got 0"),
    "MACs as text": (
        lambda: any_of(efficiency_score)(0.9, "1e6"), "macs must be of the type float, but got '1",
    ),
    "no evaluator": (lambda: any_of(EfficiencyEvaluator)(None), "must be of the type Evaluator"),
    "a table's name": (
        lambda: any_of(TableEvaluator.from_table)(SPACE, "nasbench101"), "type BenchmarkTable, bu",
    ),
    "a list of measures": (
        lambda: any_of(TableEvaluator)(SPACE, as_batch(CELLS), [SCORES]), "measures must be of th",
    ),
    "images as a number": (lambda: any_of(TrainingEvaluator)(3), "images must be of the type"),
    "a recipe's name": (lambda: any_of(TrainingEvaluator)("digits", "fast"), "type ProxyRecipe"),
    "a number as architecture": (lambda: any_of(plan_retrain)(SPACE, 3), "architecture must be"),
    "a predictor's name": (
        lambda: any_of(NASGEMSampler)(OTHER, "forest"), "must be a predictor, but is",
    ),
    "no trial": (lambda: any_of(suggest_architecture)(None, SPACE), "trial must be of the type"),
    "a list as mask": (lambda: any_of(is_valid)([True], 4), "mask must be of the type Tensor"),
    "nodes of a cell as text": (lambda: any_of(candidate_edges)("7"), "num_nodes must be a whole"),
    "no codes": (lambda: [*any_of(enumerate_joint)(None)], "codes must be of the type"),
    "no result to draw": (lambda: any_of(viz.search_result_figures)(None), "type SearchResult"),
    "no epochs": (lambda: any_of(viz.training_figures)(None), "trainings must be of the type"),
    "no runs": (lambda: write_report([], Path("x.html")), "at least one path, but got none"),
    "no run": (lambda: any_of(read_report)(None), "path must be of the type Path, but got None"),
    "nothing to export": (
        lambda: any_of(export)(None, None, "onnx", "x.onnx"), "network must be of the type Module",
    ),
    "no table": (lambda: any_of(gnas.save_table)(None, "x.parquet"), "must be a BenchmarkTable"),
}  # fmt: skip
SPACES_TO_TRY: list[Space] = [
    *(made() for made in SPACES.values()), DagSpace(ops=("a", "b"), max_nodes=4),
    EdgeOpSpace(num_nodes=3, edge_ops=("skip", "conv"), skip="skip"), RandomWiring(),
]  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_mistake_is_named(name: str) -> None:
    call, message = CALLS[name]
    with pytest.raises(GnasError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500


@pytest.mark.parametrize("space", SPACES_TO_TRY, ids=lambda space: space.name)
def test_draws_need_a_generator_and_edits_an_architecture(space: Space) -> None:
    sample, mutate = any_of(space.sample), any_of(space.mutate)
    for rng in (None, 0, np.random.RandomState(0)):
        with pytest.raises(ConfigError, match="rng must be a generator such as "):
            sample(rng)
        with pytest.raises(ConfigError, match="rng must be a generator such as "):
            mutate(space.sample(np.random.default_rng(0)), rng)
    for count, wrong in ((-1, "at least 0"), (1.5, "a whole number")):
        with pytest.raises(ConfigError, match=f"count must be {wrong}"):
            any_of(space.sample_batch)(count, RNG)
    for graph in (None, "a", Data(), *(other.sample(RNG) for other in (SPACE, OTHER))):
        if isinstance(graph, Data) and graph.x is not None:
            if graph.x.size(1) == len(space.ops) and ("edge_op" in graph) == bool(space.edge_ops):
                continue
        changes: tuple[Callable[[Any], Any], ...] = (
            lambda one: mutate(one, RNG), space.to_str, space.validate,
        )  # fmt: skip
        for change in changes:
            with pytest.raises(GnasError):
                change(graph)


WRONG: tuple[Any, ...] = (None, 3, "nasbench101", gnas.NASBench101)


@pytest.mark.parametrize("wrong", WRONG, ids=str)
def test_searchers_and_proxies_need_a_space(wrong: Any) -> None:
    for make in SEARCHERS.values():
        with pytest.raises(ConfigError, match=r"must be (an object|a space) such as"):
            make(wrong)
    with pytest.raises(ConfigError, match="a space must be an object"):
        compute_proxies(wrong, CELLS)


def test_scores_that_are_told_are_numbers() -> None:
    bad: tuple[Any, ...] = ("a", None, [1, 2], {})
    for wrong in bad:
        with pytest.raises(ConfigError):
            any_of(RandomSearch(SPACE).tell)(CELLS[0], wrong)


def test_sizes_and_pools_take_lists() -> None:
    counts = nasbench101_num_params(CELLS)
    assert (counts == nasbench101_num_params(as_batch(CELLS))).all()
    assert nasbench201_num_params(STRANGE[0]).shape == (1,)
    best = bootstrap(forest().fit(CELLS, SCORES), CELLS)
    assert len(best.graphs) == 1
    network = nasbench201_network(STRANGE[0])
    for shape in ((3,), (1, 3, 8, 8), (3, -1, 8), (3, 10**6, 10**6), (3, 8.5, 8)):
        with pytest.raises(ConfigError):
            any_of(num_macs)(network, shape)


def test_a_folder_may_be_a_text(tmp_path: Path) -> None:
    found = search(out=str(tmp_path / "run"), objectives="score:max", constraints="score=99")
    assert read_result(str(tmp_path / "run")).architecture == found.architecture
    assert str(found.goal.objectives[0]) == "score:max" and found.goal.bounds[0].at_most == 99
    with pytest.raises(GnasError, match="there is no"):
        load_network(str(tmp_path / "nowhere"))


def test_what_an_evaluation_returns_must_be_a_number() -> None:
    for value in (None, "x", np.nan, {}, {"score": "x"}, {"other": 1.0}, np.ones(3), (1, 2), 1j):
        with pytest.raises(DataError):
            search(evaluator=lambda graph, seed, value=value: value)
