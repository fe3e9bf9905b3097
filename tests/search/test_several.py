"""Searches for Pareto fronts and within bounds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_geometric.data import Data

from gnas.errors import ConfigError
from gnas.evaluate import TableEvaluator
from gnas.predictors import ARDGaussianProcess, Forest, OneHot
from gnas.search import SEARCHERS, Bound, Goal, Objective, run_search
from gnas.search.pareto import hypervolume, non_dominated
from gnas.search.samplers.acquisition import RankTransform, choose, draws
from gnas.spaces import NASBench201
from tests.search.test_run import SETTINGS, lasting

SPACE = NASBench201()


def both(graph: Data, *, seed: int) -> dict[str, float]:
    """Accuracy grows with convolutions, cost too; some cells are better than their cost."""
    kinds = graph.edge_op.tolist()
    good = sum((0.4, 0.7, 1.0, 0.2)[kind] for kind in kinds)
    cost = sum((0.1, 2.0, 9.0, 0.5)[kind] for kind in kinds)
    return {"val_acc": good / 6, "latency_ms": 1 + cost + 0.1 * len(kinds)}


@pytest.fixture(scope="module")
def table() -> TableEvaluator:
    graphs = SPACE.enumerate()
    rows = [both(graph, seed=0) for graph in graphs[:4000]]
    measures = {name: [row[name] for row in rows] for name in ("val_acc", "latency_ms")}
    macs = [1e6 * row["latency_ms"] ** 2 for row in rows]
    return TableEvaluator(SPACE, graphs[:4000], {**measures, "macs": macs}, counted=["macs"])


def front_volume(table: TableEvaluator, found: Any) -> float:
    signed = [[m["val_acc"], -m["latency_ms"]] for m in (e.measures for e in found.evaluations)]
    every = np.stack([table.values["val_acc"], -table.values["latency_ms"]], 1)
    best = every[non_dominated(every)]
    return hypervolume(np.array(signed), every.min(0)) / hypervolume(best, every.min(0))


@pytest.mark.parametrize("searcher", sorted(SEARCHERS))
def test_every_searcher_finds_a_front(searcher: str, table: TableEvaluator) -> None:
    options: dict[str, Any] = {"budget": 30, "settings": SETTINGS.get(searcher), "seed": 1}
    found = run_search(SPACE, searcher, table, objectives=["val_acc", "latency_ms"], **options)
    values = [found.evaluations[k].measures or {} for k in found.front]
    for one in values:
        for other in values:
            assert one is other or not (
                one["val_acc"] >= other["val_acc"] and one["latency_ms"] <= other["latency_ms"]
            )
    assert found.front[0] == found.best and len(found.front) > 2
    assert found.objectives == ("val_acc:max", "latency_ms:min")
    again = run_search(SPACE, searcher, table, objectives=["val_acc", "latency_ms"], **options)
    assert lasting(again) == lasting(found)


def test_predictors_find_more_of_a_front_than_chance(table: TableEvaluator) -> None:
    goals = ["val_acc", "latency_ms"]
    volumes = {
        name: np.mean(
            [
                front_volume(table, run_search(SPACE, name, table, budget=50, objectives=goals,
                                               seed=seed))
                for seed in range(2)
            ]
        )
        for name in ("random", "evolution", "predictor")
    }  # fmt: skip
    assert volumes["predictor"] > volumes["evolution"] > volumes["random"]
    assert volumes["predictor"] > 0.98


@pytest.mark.parametrize("searcher", sorted(SEARCHERS))
def test_bounds_of_counted_measures_are_never_broken(
    searcher: str, table: TableEvaluator, caplog: pytest.LogCaptureFixture
) -> None:
    found = run_search(
        SPACE, searcher, table, budget=25, constraints=["macs=100e6"],
        settings=SETTINGS.get(searcher),
    )  # fmt: skip
    assert all((one.measures or {})["macs"] <= 100e6 for one in found.evaluations)
    assert found.feasible and found.macs is not None and found.macs <= 100e6
    none = run_search(SPACE, searcher, table, budget=3, constraints=["macs=1e9", "latency_ms=0"])
    assert not none.feasible and none.evaluated == 3 and "the smallest" not in caplog.text
    with pytest.raises(ConfigError, match=r"and has at most macs=1, but none is left after 0"):
        searcher_ = SEARCHERS[searcher](table.space)
        searcher_.aim(Goal.of(["val_acc"], ["macs=1"]), table.count, table.counted)
        searcher_.ask()
    assert re.search(r"new and has at most macs=1, the smallest being macs=\d", caplog.text)


@pytest.mark.parametrize("searcher", ["evolution", "local", "predictor"])
def test_bounds_of_learned_measures_guide_a_search(searcher: str, table: TableEvaluator) -> None:
    options: dict[str, Any] = {"budget": 50, "seed": 2}
    free = run_search(SPACE, searcher, table, **options)
    bound = run_search(SPACE, searcher, table, constraints=["latency_ms=9"], **options)
    assert bound.feasible and bound.metrics["latency_ms"] <= 9 < free.metrics["latency_ms"]

    def kept(found: Any) -> int:
        return sum(one.measures["latency_ms"] <= 9 for one in found.evaluations)

    assert kept(bound) > kept(free)
    inside = table.values["latency_ms"] <= 9
    best = np.sort(table.values["val_acc"][inside])[::-1]
    assert bound.metrics["val_acc"] > best[len(best) // 10] - 1e-9  # among the best tenth


def test_a_search_for_a_front_goes_on_after_any_end(tmp_path: Path) -> None:
    options: dict[str, Any] = {
        "budget": 14, "objectives": ["val_acc", "latency_ms"], "constraints": ["latency_ms=30"],
        "settings": SETTINGS["predictor"],
    }  # fmt: skip
    whole = run_search(SPACE, "predictor", both, **options)
    for stop in (3, 8, 12):  # before the first fit, and between later ones
        out, count = tmp_path / str(stop), iter(range(100))

        def killed(graph: Data, *, seed: int, stop: int = stop, count: Any = count) -> Any:
            if next(count) == stop:
                raise KeyboardInterrupt
            return both(graph, seed=seed)

        killed.__qualname__ = both.__qualname__
        with pytest.raises(KeyboardInterrupt):
            run_search(SPACE, "predictor", killed, out=out, **options)
        found = run_search(SPACE, "predictor", both, out=out, resume=True, **options)
        assert lasting(found) == lasting(whole)


def test_quantiles_lead_back_to_values() -> None:
    values = np.random.default_rng(0).lognormal(size=40)
    quantiles, targets = RankTransform.of(values)
    assert quantiles.to_values(targets) == pytest.approx(values)
    assert (np.diff(quantiles.to_values(np.linspace(-5, 5, 50))) >= 0).all()
    assert quantiles.to_values(np.array([-4.0, 4.0])) == pytest.approx(
        [
            values.min() - (4 + targets.min()) * _slope(values, targets, low=True),
            values.max() + (4 - targets.max()) * _slope(values, targets, low=False),
        ]
    )
    ties, levels = RankTransform.of(np.array([1.0, 1.0, 2.0, 3.0]))
    assert levels[0] == levels[1] and ties.to_values(levels) == pytest.approx([1, 1, 2, 3])


def _slope(values: np.ndarray, targets: np.ndarray, *, low: bool) -> float:
    order = np.argsort(values)
    ends = (order[0], order[9]) if low else (order[-1], order[-10])
    return float((values[ends[0]] - values[ends[1]]) / (targets[ends[0]] - targets[ends[1]]))


def test_what_is_certain_is_chosen_by_its_improvement() -> None:
    goal = Goal.of(["val_acc", "macs"], ["macs=10"])
    accuracy = np.array([0.5, 0.9, 0.7, 0.99, 0.9])
    macs = np.array([1.0, 8.0, 2.0, 11.0, 8.0])
    exact = {"val_acc": (accuracy, accuracy[None]), "macs": (macs, macs[None])}
    told = np.array([[0.1, -9.0], [0.4, -9.5]])  # macs are signed
    order = choose(goal, exact, told, np.zeros(2), 3)
    gains = {0: 0.4 * 8.5, 1: 0.5 * 1.0 + 0.3 * 0.5, 2: 0.6 * 7.5}
    assert order[0] == max(gains, key=lambda k: gains[k]) == 2
    assert order[1] in (0, 1) and {*order[:3]} == {0, 1, 2}  # not twice the same
    assert order[-1] == 3  # breaks the bound
    broken = choose(goal, exact, told, np.array([1.0, 2.0]), 3)
    assert broken[-1] == 3


def test_draws_of_a_predictor_that_knows_its_uncertainty_and_of_one_that_does_not() -> None:
    rng = np.random.default_rng(0)
    known, rows = rng.normal(size=(30, 4)), rng.normal(size=(7, 4))
    values = known[:, 0] ** 3
    sure = Forest(OneHot(4, 5))
    mean, drawn = draws(sure, known, values, rows, rng)
    assert drawn.shape == (1, 7) and (drawn[0] == mean).all()
    assert values.min() <= mean.min() and mean.max() <= values.max()
    unsure = ARDGaussianProcess(OneHot(4, 5))
    mean, drawn = draws(unsure, known, values, rows, rng)
    assert drawn.shape == (32, 7) and (drawn.std(0) > 0).all()
    mean, drawn = draws(sure, known, np.ones(30), rows, rng)
    assert (mean == 1).all() and (drawn == 1).all()


def test_tables_of_the_same_cells_are_joined(table: TableEvaluator) -> None:
    graphs = SPACE.enumerate()[:4000]
    other = TableEvaluator(
        SPACE, graphs, {"energy_mj": np.arange(4000.0), "val_acc": [0.0] * 4000}
    )
    joined = table.join(other)
    graph = graphs.data(123)
    expected = table.evaluate(graph, seed=0) | {
        "energy_mj": other.evaluate(graph, seed=0)["energy_mj"]
    }
    assert joined.evaluate(graph, seed=0) == expected and joined.counted == ("macs",)
    few = TableEvaluator(SPACE, graphs[:100], {"x": np.ones(100)})
    with pytest.raises(ConfigError, match="must have the same networks, but one lacks some"):
        table.join(few)


def test_directions_and_bounds_in_words() -> None:
    assert Objective.parse("energy_mj") == Objective("energy_mj", "min")
    assert Objective.parse("test_accuracy:min").sign == -1
    assert (
        Bound.parse("macs=50e6") == Bound("macs", 5e7) and str(Bound("macs", 5e7)) == "macs=5e+07"
    )
    turned = "images_per_s", "throughput_img_s", "acc_drop", "val_acc_std", "loss_reduction"
    for name in (*turned, "valid_neg_loss", "negative_loss"):  # TransNAS-Bench-101 has the former
        with pytest.raises(ConfigError, match=f"the direction of '{name}' must be said"):
            Objective.parse(name)  # the other way than accuracies, losses and times
        assert Objective.parse(f"{name}:max") == Objective(name, "max")
    for text in ("", ":max", "acc:up"):
        with pytest.raises(ConfigError, match="an objective must be NAME"):
            Objective.parse(text)
    for text in ("macs=", "=3", "macs=nan", "macs=inf"):
        with pytest.raises(ConfigError, match="a bound must be NAME=NUMBER"):
            Bound.parse(text)
    with pytest.raises(ConfigError, match="every objective must have another name"):
        Goal.of(["macs", "macs:max"])
    searcher = SEARCHERS["random"](SPACE)
    searcher.aim(Goal.of(["val_acc", "macs"]))
    with pytest.raises(ConfigError, match=r"must be told, but got one number"):
        searcher.tell(searcher.ask(), 1.0)
    with pytest.raises(ConfigError, match="the measure 'macs' must be told"):
        searcher.tell(searcher.ask(), {"val_acc": 1.0})
