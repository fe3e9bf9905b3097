"""What every searcher must hold; a new entry of SEARCHERS is tested by being there."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, as_batch, to_adjacency
from gnas.predictors import Forest, OneHot, Predictor
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.targets import Scores
from gnas.search.objectives import Goal
from gnas.search.samplers import (
    SEARCHERS,
    LocalSearch,
    PredictorSearch,
    RandomSearch,
    RegularizedEvolution,
    Searcher,
    bayes_search,
    nasgem_predictor,
    nasgem_search,
)
from gnas.spaces import NASGEM, SPACES, NASBench101, NASBench201, Space, TopoNAS

SMALL: dict[str, Space] = {"nasgem": NASGEM(6), "toponas": TopoNAS(4)}
"""Spaces of many nodes, made small to be quick."""
SETTINGS: dict[str, dict[str, int]] = {
    "evolution": {"population": 5, "tournament": 3},
    "local": {"starts": 2},
    "bayes": {"num_initial": 4, "refit_every": 3, "pool": 20, "num_elites": 1},
    "nasgem": {"num_initial": 4, "refit_every": 3, "pool": 40},
    "predictor": {"num_initial": 4, "refit_every": 3, "pool": 20, "num_elites": 1},
}
"""So that every phase of a searcher is reached within a few architectures."""
Make = Callable[[Space, int], Searcher]


@pytest.fixture(params=sorted(SPACES))
def space(request: pytest.FixtureRequest) -> Space:
    return SMALL.get(request.param) or SPACES[request.param]()


@pytest.fixture(params=sorted(SEARCHERS))
def make(request: pytest.FixtureRequest) -> Make:
    settings = SETTINGS.get(request.param, {})
    return lambda space, seed: SEARCHERS[request.param](space, seed=seed, **settings)


def score(graph: Data) -> float:
    """Edges count, operations too: better with more edges and later operations."""
    adjacency, ops = to_adjacency(graph)
    return float(adjacency.float().sqrt().sum()) + 0.01 * float(ops.sum())


def advance(searcher: Searcher, count: int) -> list[str]:
    """Asks and tells ``count`` times, a few architectures behind; the texts asked for."""
    asked: list[Data] = []
    for i in range(count):
        asked.append(searcher.ask())
        if i >= 2:
            searcher.tell(asked[i - 2], score(asked[i - 2]))
    for graph in asked[-2:]:
        searcher.tell(graph, score(graph))
    return [searcher.space.to_str(graph) for graph in asked]


def test_asks_for_different_architectures_of_the_space(space: Space, make: Make) -> None:
    searcher = make(space, 0)
    before = [searcher.ask() for _ in range(3)]  # ask before tell works
    for graph in before:
        searcher.tell(graph, score(graph))
    graphs = before + [space.from_str(text) for text in advance(searcher, 9)]
    for graph in graphs:
        space.validate(graph)
    assert len({searcher.key(graph) for graph in graphs}) == 12
    assert len(searcher.told) == 12 and searcher.asked == 12


def test_same_seed_same_stream(space: Space, make: Make) -> None:
    first, second, other = (advance(make(space, seed), 9) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_a_restored_searcher_goes_on_as_if_it_had_not_stopped(space: Space, make: Make) -> None:
    searcher, again = make(space, 3), make(space, 3)
    advance(again, 4)  # another past, to be forgotten
    advance(searcher, 9)
    waiting = searcher.ask()
    again.restore(searcher.told, asked=searcher.asked, pending=[searcher.key(waiting)])
    assert again.told == searcher.told
    assert advance(again, 5) == advance(searcher, 5)


def test_architectures_told_or_dropped_are_not_asked_for() -> None:
    space = NASGEM(2)  # six architectures: one node or two, two operations each
    for make in SEARCHERS.values():
        told, dropped = make(space).ask(), make(space, seed=1)
        dropped.tell(told, 1.0)
        graph = dropped.ask()
        dropped.restore(dropped.told, asked=2, dropped=[dropped.key(graph)])
        rest = [dropped.ask() for _ in range(4)]
        assert len({dropped.key(g) for g in [told, graph, *rest]}) == 6
        with pytest.raises(ConfigError, match="none is left after 6; stop here"):
            dropped.ask()


def test_scores_must_be_finite_and_graphs_of_the_space(make: Make) -> None:
    searcher = make(NASBench201(), 0)
    for value in (float("nan"), float("inf")):
        with pytest.raises(ConfigError, match=f"a score must be finite, but got {value}"):
            searcher.tell(searcher.ask(), value)
    with pytest.raises(GraphError, match="must"):
        searcher.tell(NASBench101().sample(np.random.default_rng(0)), 0.5)
    assert searcher.told == []


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda space: RandomSearch(space, seed=-1), "seed must be a whole number"),
        (
            lambda space: RegularizedEvolution(space, tournament=0),
            "tournament must be at least 1, but got 0",
        ),
        (lambda space: LocalSearch(space, starts=0), "starts must be at least 1, but got 0"),
        (
            lambda space: PredictorSearch(space, num_initial=1),
            "num_initial must be at least 2, but got 1",
        ),
    ],
)
def test_impossible_settings_are_refused(make: Callable[[Space], Searcher], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make(NASBench201())


def closeness(graph: Data) -> float:
    """Share of the edges that carry the operation of one certain cell out of 15,625."""
    upper = torch.triu_indices(4, 4, 1)
    found = to_adjacency(graph)[0][upper[0], upper[1]]
    return float((found == torch.tensor([4, 1, 0, 2, 3, 1])).double().mean())


@cache
def best_found(name: str) -> list[float]:
    """The best of 48 cells for 6 seeds."""
    settings = {
        "evolution": {"population": 12, "tournament": 6},
        "bayes": {"pool": 200, "num_initial": 16, "refit_every": 16},
        "nasgem": {"pool": 2_000, "num_initial": 16, "refit_every": 16},
        "predictor": {"pool": 200, "num_initial": 16, "refit_every": 16},
    }.get(name, {})
    found = []
    for seed in range(6):
        searcher = SEARCHERS[name](NASBench201(), seed=seed, **settings)
        for _ in range(48):
            graph = searcher.ask()
            searcher.tell(graph, closeness(graph))
        found.append(max(item.score for item in searcher.told))
    return found


@pytest.mark.parametrize("name", sorted(set(SEARCHERS) - {"random"}))
def test_better_than_random(name: str) -> None:
    ours, random = best_found(name), best_found("random")
    assert np.mean(ours) > np.mean(random) + 0.08
    assert sum(a >= b for a, b in zip(ours, random, strict=True)) >= 5


def test_evolution_ages_as_a_naive_one_does() -> None:
    """Members leave by age even if they are the best: here every member is worse than before."""
    space, size = NASBench201(), 6
    searcher = RegularizedEvolution(space, population=size, tournament=3, seed=5)
    alive: deque[tuple[Data, float]] = deque()
    known: set[int] = set()
    for i in range(40):
        graph = searcher.ask()
        if i >= size:
            rng, child = np.random.default_rng((5, i)), None
            while child is None or searcher.key(child) in known:
                parent, _ = max(
                    (alive[k] for k in rng.integers(size, size=3)), key=lambda member: member[1]
                )
                children = (space.mutate(parent, rng) for _ in range(10))
                child = next((c for c in children if searcher.key(c) not in known), None)
            assert space.to_str(graph) == space.to_str(child)
        known.add(searcher.key(graph))
        searcher.tell(graph, -float(i))
        alive.append((graph, -float(i)))
        if len(alive) > size:
            alive.popleft()


def test_local_search_asks_for_all_neighbours_and_starts_again() -> None:
    space = NASBench201()
    searcher = LocalSearch(space, starts=1, seed=2)
    start = searcher.ask()
    searcher.tell(start, 1.0)
    around = set(searcher.keys(space.neighbours(start)))
    asked = [searcher.ask() for _ in around]
    assert {searcher.key(graph) for graph in asked} == around
    early = searcher.ask()  # while the neighbours are being evaluated: the next start
    assert searcher.key(early) not in around
    for graph in asked[1:]:
        searcher.tell(graph, 0.0)
    searcher.tell(asked[0], 0.5)  # the last one; none is better than the start
    searcher.tell(early, 0.1)  # so this begins another climb, worse as it is
    assert searcher.key(searcher.ask()) in searcher.keys(space.neighbours(early))


def test_local_search_moves_to_a_better_neighbour_at_once() -> None:
    space = NASBench201()
    searcher = LocalSearch(space, starts=3, seed=2)
    starts = [searcher.ask() for _ in range(3)]
    for i in (0, 2, 1):
        searcher.tell(starts[i], [0.1, 0.7, 0.3][i])
    better = searcher.ask()
    assert searcher.key(better) in searcher.keys(space.neighbours(starts[1]))
    searcher.tell(better, 0.8)
    assert searcher.key(searcher.ask()) in searcher.keys(space.neighbours(better))


class Knows(Predictor):
    """Orders by the true score and remembers how many it was fitted on."""

    name = "knows"

    def __init__(self) -> None:
        super().__init__(TrueScore())
        self.fits: list[int] = []

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        self.fits.append(len(rows))  # shared by clones

    def _predict(self, rows: FeatureMatrix) -> Scores:
        return rows[:, 0]


class TrueScore:
    name = "true score"

    def __call__(self, batch: DenseBatch) -> FeatureMatrix:
        return np.array([[score(graph)] for graph in batch])


def test_predictor_search_fits_now_and_then_and_takes_the_best_of_its_pool() -> None:
    space, predictor = NASBench201(), Knows()
    searcher = PredictorSearch(
        space, predictor, num_initial=5, refit_every=4, pool=200, num_elites=2
    )
    graphs = [space.from_str(text) for text in advance(searcher, 5)]
    best = sorted(graphs, key=score)[-2:]
    near = DenseBatch.concat([space.neighbours(graph) for graph in best])
    pool = space.sample_batch(200, np.random.default_rng((0, 0, 1)))
    everything = DenseBatch.concat([pool, near])
    known = {searcher.key(graph) for graph in graphs}
    values: dict[int, float] = {}
    for key, graph in zip(searcher.keys(everything), everything, strict=True):
        if key not in known:
            values[key] = score(graph)
    asked = [searcher.ask() for _ in range(3)]
    assert [score(graph) for graph in asked] == sorted(values.values(), reverse=True)[:3]
    for graph in asked:
        searcher.tell(graph, score(graph))
    advance(searcher, 12)
    assert predictor.fits == [5, 9, 13, 17]


def test_predictor_search_is_random_while_scores_are_equal() -> None:
    predictor = Knows()
    searcher = PredictorSearch(NASBench201(), predictor, num_initial=2, refit_every=1, pool=50)
    for _ in range(6):
        searcher.tell(searcher.ask(), 0.5)
    assert predictor.fits == [] and len(searcher.told) == 6
    searcher.tell(searcher.ask(), 0.6)
    searcher.ask()
    assert predictor.fits == [7]


def test_nasgem_predicts_from_its_encoder_where_there_is_one(rng: np.random.Generator) -> None:
    names = {space.name: nasgem_predictor(space).features.name for space in map(_default, SPACES)}
    assert names["nasbench101"] == "nasgem-nasbench101"
    assert names["nasgem"] == "nasgem-30"
    assert names["nasbench201"] == "nasgem-nasbench201"
    assert names["toponas"] == "nasgem-toponas"
    assert nasgem_predictor(TopoNAS(8)).features.name == "path statistics"  # larger cells
    assert nasgem_predictor(NASGEM(31)).features.name == "path statistics"
    small = NASGEM(9)  # smaller than what the encoder was trained on
    predictor = nasgem_predictor(small).fit(small.sample_batch(10, rng), np.arange(10))
    assert predictor.predict(as_batch(small.sample(rng))).shape == (1,)


def _default(name: str) -> Space:
    return SPACES[name]()


def test_exploring_orders_by_the_expected_improvement() -> None:
    """Against the mean over many draws of what the process believes."""
    space = NASBench201()
    searcher = bayes_search(space, num_initial=12, refit_every=12, pool=30)
    for _ in range(12):
        graph = searcher.ask()
        searcher.tell(graph, closeness(graph))
    searcher.ask()
    graphs = DenseBatch.from_data([item.graph for item in searcher.told])
    known = searcher.predictor.features(graphs)
    rows = searcher.predictor.features(space.sample_batch(30, np.random.default_rng(5)))
    mean, deviation = searcher.predictor.predict_features_std(rows)
    best = searcher.predictor.predict_features(known).max()
    draws = mean + deviation * np.random.default_rng(0).standard_normal((200_000, 1))
    expected = np.maximum(draws - best, 0).mean(0)
    np.testing.assert_allclose(searcher._predicted(rows, known)[1], expected, rtol=0.1, atol=2e-4)


@pytest.mark.parametrize("objectives", [("score:min",), ("score:min", "macs:min")])
def test_equal_scores_are_warned_of_once_and_chosen_from_at_random(
    objectives: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    searcher = PredictorSearch(NASBench201(), num_initial=4, refit_every=2, pool=20)
    searcher.aim(Goal.of(objectives))
    for number in range(12):
        asked = searcher.ask()
        assert ("all 4 scores are equal (score 0.5" in caplog.text) == (number >= 4)
        searcher.tell(asked, {"score": 0.5, "macs": 3.0})
    assert caplog.text.count("are equal") == 1 and searcher.expected(asked) is None
    searcher.tell(searcher.ask(), {"score": 0.4, "macs": 3.0})
    searcher.tell(searcher.ask(), {"score": 0.5, "macs": 3.0})
    assert searcher.expected(searcher.ask()) is not None


def test_exploring_needs_an_uncertainty() -> None:
    space = NASBench201()
    assert (
        PredictorSearch(space).expected_improvement
        and not nasgem_search(space).expected_improvement
    )
    assert not PredictorSearch(space, Forest(OneHot(4, 4, 5))).expected_improvement
    with pytest.raises(ConfigError, match="knows its uncertainty, but got 'random forest'"):
        PredictorSearch(
            space, Forest(OneHot(space.max_nodes, len(space.ops))), expected_improvement=True
        )


class _Careful(NASBench101):
    """A space of a user with one kind of edit: another operation."""

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        return self.edited(graph.clone(), rng)

    def edited(self, graph: Data, rng: np.random.Generator) -> Data:
        if graph.num_nodes > 2:
            kinds = graph.x[int(rng.integers(1, graph.num_nodes - 1)), 1:4]
            kinds.copy_(kinds.roll(int(rng.integers(1, 3))))
        return graph

    def neighbours(self, graph: Data) -> DenseBatch:
        return Space.neighbours(self, graph)


class _Careless(_Careful):
    """The same, with edits made in the graph that is given."""

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        return self.edited(graph, rng)


def test_edits_in_place_do_not_change_what_was_told(make: Make) -> None:
    assert advance(make(_Careless(), 0), 14) == advance(make(_Careful(), 0), 14)


@pytest.mark.parametrize("name", ["local", "predictor"])
def test_neighbours_of_ones_own_are_a_batch(name: str) -> None:
    class Listing(_Careful):
        def neighbours(self, graph: Data) -> DenseBatch:
            return super().neighbours(graph).to_data_list()  # type: ignore[return-value]

    searcher = SEARCHERS[name](Listing(), seed=0, **SETTINGS[name])
    with pytest.raises(ConfigError, match="`neighbours` of 'nasbench101' must"):
        advance(searcher, 14)


def _latency(batch: DenseBatch) -> dict[str, object]:
    return {"latency": batch.num_nodes.double().numpy()}


def _aimed(make: Make, count: Callable[[DenseBatch], object]) -> Searcher:
    searcher = make(NASBench101(), 0)
    goal = Goal.of(["score"], ["latency=6"])
    searcher.aim(goal, lambda batch, _: count(batch), ["latency"])  # type: ignore[arg-type,return-value]
    return searcher


def test_counted_measures_may_be_counted_in_place(make: Make) -> None:
    def careless(batch: DenseBatch) -> dict[str, object]:
        batch.ops[batch.ops < 0] = 0  # so that the numbers are indices
        return _latency(batch)

    def asked(searcher: Searcher) -> list[str]:
        found = []
        for k in range(10):
            graph = searcher.ask()
            found.append(searcher.space.to_str(graph))
            searcher.tell(graph, {"score": float(k), "latency": float(graph.num_nodes)})
        return found

    assert asked(_aimed(make, careless)) == asked(_aimed(make, _latency))


@pytest.mark.parametrize(
    ("count", "message"),
    [
        (lambda batch: None, "by name, but returned None"),
        (lambda batch: {"macs": [1]}, "must return values of latency by name"),
        (lambda batch: {"latency": 5.0}, r"must be \d+ numbers for \d+ .* its shape is \[\]"),
        (lambda batch: {"latency": batch.num_nodes[1:]}, "must be .* numbers for .* shape"),
        (lambda batch: {"latency": batch.num_nodes * np.nan}, "are NaN"),
        (lambda batch: {"latency": ["fast"] * len(batch)}, "of `count` must be numbers"),
    ],
    ids=["nothing", "another name", "one number", "too few", "NaN", "texts"],
)
def test_counted_measures_that_cannot_be_right(
    count: Callable[[DenseBatch], object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _aimed(lambda space, seed: RandomSearch(space, seed=seed), count).ask()
