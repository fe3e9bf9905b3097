"""Architectures by Optuna's parameters: all are reached, and Optuna's own tools work on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.importance import FanovaImportanceEvaluator
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from optuna.trial import FixedTrial
from torch_geometric.data import Data

from gnas.graphs import DenseBatch, architecture, as_batch, graph_keys
from gnas.spaces import (
    NASGEM,
    SPACES,
    DagSpace,
    EdgeOpSpace,
    RandomWiring,
    Space,
    TopoNAS,
    Vocabulary,
)
from gnas.spaces.suggestions import Trial
from gnas.spaces.toponas.cells import edge_codes

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Every:
    """Stands for a trial; counts through all values of all parameters, like an odometer."""

    def __init__(self) -> None:
        self.digits: list[list[int]] = []  # value and number of values of each parameter
        self.asked = 0
        self.params: dict[str, Any] = {}

    def _next(self, count: int) -> int:
        if self.asked == len(self.digits):
            self.digits.append([0, count])
        value, known = self.digits[self.asked]
        assert known == count
        self.asked += 1
        return value

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.params[name] = choices[self._next(len(choices))]
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int) -> int:
        self.params[name] = low + self._next(high - low + 1)
        return int(self.params[name])

    def __iter__(self) -> Iterator[Trial]:
        while True:
            self.asked, self.params = 0, {}
            yield self
            del self.digits[self.asked :]
            while self.digits and self.digits[-1][0] == self.digits[-1][1] - 1:
                self.digits.pop()
            if not self.digits:
                return
            self.digits[-1][0] += 1


class Chains(Space):
    """Operations in a row: rules that only `check` knows."""

    name = "chains"
    vocabulary = Vocabulary(ops=("in", "a", "b", "out"), max_nodes=3)

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        return as_batch([self.chain(rng.integers(1, 3, rng.integers(2)).tolist())] * count)

    def chain(self, inner: list[int]) -> Data:
        n = len(inner) + 2
        return architecture(np.eye(n, k=1, dtype=int), [0, *inner, 3], 4)

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        return self.sample(rng)

    def check(self, graph: Data) -> None:
        from gnas.errors import GraphError

        n = len(graph.x)
        ops = graph.x.argmax(1).tolist()
        inner = all(op in (1, 2) for op in ops[1:-1])
        row = graph.edge_index.t().tolist() == [[k, k + 1] for k in range(n - 1)]
        if not (n > 1 and ops[0] == 0 and ops[-1] == 3 and inner and row):
            raise GraphError("nodes must be in a row")


def everything(space: Space) -> set[int]:
    """Keys of all architectures, by another way than parameters."""
    if space.size is not None:
        return set(graph_keys(space.enumerate()).tolist())
    if isinstance(space, Chains):
        rows: tuple[list[int], ...] = ([], [1], [2])
        return set(graph_keys(as_batch([space.chain(row) for row in rows])).tolist())
    rng = np.random.default_rng(0)
    keys = graph_keys(space.sample_batch(30_000, rng))
    found, counts = np.unique(keys, return_counts=True)
    assert counts.min() > 1, "too few draws to have seen all"
    return set(found.tolist())


SMALL: list[Space] = [
    DagSpace(ops=("a", "b"), max_nodes=4),
    DagSpace(ops=("a",), max_nodes=5, max_edges=5),
    EdgeOpSpace(num_nodes=3, edge_ops=("none", "a", "b"), none="none"),
    EdgeOpSpace(num_nodes=3, edge_ops=("a", "b", "c")),
    NASGEM(3),
    NASGEM(4, max_inputs=1),
    Chains(),
]


@pytest.mark.parametrize("space", SMALL, ids=repr)
def test_every_architecture_is_reached_and_no_other(space: Space) -> None:
    graphs, pruned = [], 0
    for trial in Every():
        try:
            graphs.append(space.suggest(trial))
        except optuna.TrialPruned:
            pruned += 1
    for graph in graphs[:: max(1, len(graphs) // 300)]:
        space.validate(graph)
    assert (pruned > 0) == isinstance(space, Chains)
    assert set(graph_keys(DenseBatch.from_data(graphs)).tolist()) == everything(space)


@pytest.mark.parametrize(
    "space",
    [
        TopoNAS(5),
        TopoNAS(5, mode="input"),
        TopoNAS(6, topology="fixed", k=1, mode="input"),
    ],
    ids=repr,
)
def test_every_topology_is_reached_by_the_nearest_wish(space: TopoNAS) -> None:
    pairs = space.codes.edges
    values = parameters(space, space.sample(np.random.default_rng(0)))
    valid = {
        tuple(int(graph[i, j]) for i, j in pairs)
        for batch in space.topologies()
        for graph in batch.adjacency
    }
    reached = set()
    for wish in product((0, 1), repeat=len(pairs)):
        values |= {f"normal_edge_{i}_{j}": k for (i, j), k in zip(pairs, wish, strict=True)}
        found = tuple((edge_codes(space.suggest(FixedTrial(values)))[0] > 0).int().tolist())
        reached.add(found)
        distances = {
            other: sum(a != b for a, b in zip(wish, other, strict=True)) for other in valid
        }
        assert distances[found] == min(distances.values())
    assert reached == valid


@pytest.mark.parametrize(
    "space",
    [
        TopoNAS(5),
        TopoNAS(6, topology="fixed", k=2, mode="input"),
        TopoNAS(4, mode="input", concat="some"),
        *(make() for make in SPACES.values()),
        RandomWiring(12),
        DagSpace(ops=("a", "b"), max_nodes=9, max_edges=11),
    ],
    ids=repr,
)
def test_parameters_of_any_architecture(space: Space, rng: np.random.Generator) -> None:
    """The parameters that an architecture must have, by its own matrix, give it back."""
    for graph in space.sample_batch(15, rng):
        made = space.suggest(FixedTrial(parameters(space, graph)))
        assert graph_keys(as_batch(made)) == graph_keys(as_batch(graph))


def parameters(space: Space, graph: Data) -> dict[str, Any]:
    edges = {(int(i), int(j)) for i, j in graph.edge_index.t().tolist()}
    ops = [space.ops[k] for k in graph.x.argmax(1).tolist()]
    n, most = len(ops), space.max_nodes
    if isinstance(space, EdgeOpSpace):
        code = dict(
            zip(map(tuple, graph.edge_index.t().tolist()), graph.edge_op.tolist(), strict=True)
        )
        names = {e: space.edge_ops[code[e]] if e in code else "none" for e in space.edges}
        return {f"edge_{i}_{j}": name for (i, j), name in names.items()}
    if isinstance(space, TopoNAS):
        return of_toponas(space, graph)
    if isinstance(space, DagSpace):
        place = [*range(n - 1), most - 1]  # the output is the last node
        moved = {(place[i], place[j]) for i, j in edges}
        found: dict[str, Any] = {
            f"edge_{i}_{j}": int((i, j) in moved) for j in range(most) for i in range(j)
        }
        inner = ops[1:-1] + [space.ops[1]] * (most - n)
        return found | {f"op_{v + 1}": op for v, op in enumerate(inner)}
    assert isinstance(space, NASGEM)
    found = {f"op_{v}": op for v, op in enumerate(ops + [space.ops[0]] * (most - n))}
    for j in range(1, most):
        sources = [i for i in range(j) if (i, j) in edges]
        if j <= space.max_inputs:
            found |= {f"edge_{i}_{j}": int(i in sources) for i in range(j)}
        else:
            padded = [*sources, *[None] * (space.max_inputs - len(sources))]
            found |= {f"input_{k}_{j}": source for k, source in enumerate(padded)}
    return found


def on_edges(graph: Data) -> dict[tuple[int, int], int]:
    pairs = [(int(i), int(j)) for i, j in graph.edge_index.t().tolist()]
    return dict(zip(pairs, graph.edge_op.tolist(), strict=True))


def of_toponas(space: TopoNAS, graph: Data) -> dict[str, Any]:
    found: dict[str, Any] = {}
    code = dict(
        zip(map(tuple, graph.edge_index.t().tolist()), graph.edge_op.tolist(), strict=True)
    )
    for c, cell in enumerate(("normal", "reduce")):
        first = c * space.num_nodes
        for i, j in space.codes.edges:
            op = code.get((first + i, first + j))
            found[f"{cell}_edge_{i}_{j}"] = int(op is not None)
            found[f"{cell}_op_{i}_{j}"] = space.edge_ops[op or 0]
        for v in range(2, space.num_nodes - 1):
            joined = (first + v, first + space.num_nodes - 1) in code
            found[f"{cell}_concat_{v}"] = int(joined)
    return found


EDGES = EdgeOpSpace(num_nodes=4, edge_ops=("none", "skip", "a", "b"), none="none", skip="skip")
DAGS = DagSpace(ops=("a", "b", "c"), max_nodes=6, max_edges=8)


@pytest.mark.parametrize("space", [EDGES, DAGS], ids=["edges", "dags"])
@pytest.mark.parametrize(
    "sampler",
    [
        TPESampler(seed=0),
        TPESampler(seed=0, multivariate=True),
        GPSampler(seed=0, n_startup_trials=12),
    ],
    ids=["tpe", "multivariate-tpe", "gp"],
)
def test_samplers_of_optuna_find_more_than_chance(space: Space, sampler: BaseSampler) -> None:
    trials = 24 if isinstance(sampler, GPSampler) else 40

    def worth(trial: optuna.Trial) -> float:
        return count_of_b(space, space.suggest(trial))

    best = []
    for chosen in (sampler, RandomSampler(seed=0)):
        study = optuna.create_study(direction="maximize", sampler=chosen)
        study.optimize(worth, n_trials=trials)
        best.append(study.best_value)
        if chosen is sampler:
            again = space.suggest(FixedTrial(study.best_params))
            assert count_of_b(space, again) == study.best_value
            few = FanovaImportanceEvaluator(n_trees=8, seed=0)
            shares = optuna.importance.get_param_importances(study, evaluator=few)
            assert sum(shares.values()) == pytest.approx(1) and set(shares) <= {*study.best_params}
            assert all(trial.params.keys() == study.best_params.keys() for trial in study.trials)
    assert best[0] >= best[1] and best[0] >= 3


def count_of_b(space: Space, graph: Data) -> float:
    if space.edge_ops:
        return float((graph.edge_op == space.edge_ops.index("b")).sum())
    return float(graph.x[:, space.ops.index("b")].sum())


def test_importances_name_what_matters() -> None:
    study = optuna.create_study(direction="maximize", sampler=RandomSampler(seed=1))

    def worth(trial: optuna.Trial) -> float:
        graph = EDGES.suggest(trial)
        last = ((graph.edge_index[0] == 2) & (graph.edge_index[1] == 3)).nonzero().flatten()
        return float(len(last) and EDGES.edge_ops[int(graph.edge_op[last[0]])] == "a")

    study.optimize(worth, n_trials=120)
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    assert next(iter(shares)) == "edge_2_3" and shares["edge_2_3"] > 0.6
    assert study.best_params["edge_2_3"] == "a"
