from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gnas.bench.config import SearchBench
from gnas.bench.search import bench_search
from gnas.bench.search_runs import SearchLog, SearchTrajectory, queries
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.errors import ConfigError, DataError, GraphError
from gnas.evaluate import TableEvaluator, TableSpace
from gnas.graphs import DenseBatch, as_batch, graph_keys
from gnas.search.samplers import SEARCHERS, RandomSearch
from gnas.spaces import NASBench101, NASBench201
from gnas.viz import regret_figures
from tests.bench.test_predictors import own_table


@pytest.fixture(scope="module")
def nasbench201(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole table in which the number of 3x3 convolutions counts, and twins differ a little."""
    space = NASBench201()
    graphs = space.enumerate()
    convolutions = (graphs.adjacency == 1 + space.edge_ops.index("nor_conv_3x3")).sum((1, 2))
    noise = np.random.default_rng(0).uniform(0, 1e-4, len(graphs))
    values = {
        Column.of("val_acc", dataset="cifar10-valid", epochs=200): convolutions.numpy() / 10,
        Column.of("test_acc", dataset="cifar10", epochs=200): convolutions.numpy() / 20,
    }
    path = tmp_path_factory.mktemp("table") / "made.parquet"
    provenance = Provenance("made", "nasbench201", "a test", "self-made")
    arrays = {column.name: value + noise for column, value in values.items()}
    save_table(BenchmarkTable(graphs, list(values), provenance, arrays), path)
    return path


def test_curves_and_queries_by_hand(nasbench201: Path) -> None:
    """Against a plain replay of the same random searches."""
    config = SearchBench(
        space="nasbench201", searchers=("random",), budget=20, seeds=2, table=str(nasbench201)
    )
    result = bench_search(config)
    table, space = load_table(str(nasbench201)), NASBench201()
    val = table.val_acc(dataset="cifar10-valid")
    test = table.test_acc(dataset="cifar10")
    keys = graph_keys(space.functional_form(table.graphs))
    classes = {int(key): np.flatnonzero(keys == key) for key in np.unique(keys)}
    best_test = max(test[rows].mean() for rows in classes.values())
    regrets = []
    for seed in range(2):
        searcher = RandomSearch(TableSpace(space, table.graphs), seed=seed)
        chosen, best, curve, seen = -1, -1.0, [], set()
        for _ in range(20):
            graph = searcher.ask()
            key = searcher.key(graph)
            assert key not in seen
            seen.add(key)
            score = val[classes[key]].mean()
            searcher.tell(graph, score)
            if score > best:
                chosen, best = key, score
            curve.append(best_test - test[classes[chosen]].mean())
        regrets.append(curve)
    row = result.rows[0]
    np.testing.assert_allclose([v.mean for v in row.test_regret], np.mean(regrets, axis=0))
    assert result.table["architectures"] == len(classes)
    assert result.best_test_acc == pytest.approx(best_test)


def test_each_of_several_best_is_an_optimum() -> None:
    """Two cells of the shipped table tie for the best, and random search ends at either."""
    table = load_table("nasbench101")
    val = {"val_acc": table.val_acc()}
    assert (val["val_acc"] == val["val_acc"].max()).sum() == 2
    rows = torch.from_numpy(np.argsort(-val["val_acc"], kind="stable")[:10].copy())
    evaluator = TableEvaluator(
        NASBench101(), table.graphs[rows], {"val_acc": val["val_acc"][rows.numpy()]}
    )
    best = evaluator.values["val_acc"].max()
    ends = {int(queries(evaluator, "random", 10, seed=seed)[-1]) for seed in range(8)}
    assert len(ends) == 2 and {evaluator.values["val_acc"][end] for end in ends} == {best}


def test_searchers_that_learn_find_the_optimum_that_random_ones_miss(nasbench201: Path) -> None:
    config = SearchBench(
        space="nasbench201", searchers=("random", "local"), budget=80, seeds=5,
        table=str(nasbench201),
    )  # fmt: skip
    random, local = bench_search(config).rows
    assert local.found_optimum == 1 and random.found_optimum < 0.5
    assert local.median_queries is not None and random.median_queries is None
    assert all(q is not None and 1 <= q <= 80 for q in local.queries)
    assert local.val_regret[-1].mean == 0 < random.val_regret[-1].mean


def test_on_part_of_a_space_nothing_else_is_bought() -> None:
    """The shipped table has 2,000 of 423,624 cells."""
    config = SearchBench(
        space="nasbench101", searchers=("evolution", "local", "predictor"), budget=18, seeds=2
    )
    result = bench_search(config)
    assert result.table["architectures"] == 2000
    assert {row.searcher for row in result.rows} == set(config.searchers)
    (again,) = bench_search(replace(config, searchers=("predictor",))).rows
    row = next(row for row in result.rows if row.searcher == "predictor")
    assert replace(again, seconds=0) == replace(row, seconds=0)
    figures = regret_figures(result)
    assert set(figures) == {"regret", "found"}
    assert len(figures["regret"].axes[0].lines) == 3
    assert result.table["val_column"] == "mean val_acc of 2 runs (1 epoch)"
    assert figures["regret"].axes[0].get_ylabel().endswith("of mean test_acc of 2 runs (1 epoch)")
    assert "chosen by mean val_acc of 2 runs" in figures["regret"].axes[0].get_title()


def test_a_table_space_keeps_to_its_table() -> None:
    table = load_table("nasbench101")
    space = TableSpace(NASBench101(), table.graphs)
    rng = np.random.default_rng(0)
    known = set(space.keys(table.graphs).tolist())
    for row in range(20):
        mutated = space.mutate(table.graphs.data(row), rng)
        space.validate(mutated)
        near = space.neighbours(table.graphs.data(row))
        assert set(space.keys(near).tolist()) <= known
    outside = next(
        graph
        for graph in NASBench101().sample_batch(200, rng)
        if int(graph_keys(NASBench101().functional_form(as_batch(graph)))[0]) not in known
    )
    with pytest.raises(GraphError, match="must be one of the table's"):
        space.validate(outside)


def test_a_cell_without_neighbours_in_the_table_mutates_to_any_row() -> None:
    space, rng = NASBench101(), np.random.default_rng(0)
    far = ("input,output|1", "input,conv3x3-bn-relu,maxpool3x3,conv1x1-bn-relu,output|225")
    graphs = DenseBatch.from_data([space.from_str(text) for text in far])
    part = TableSpace(space, graphs)
    assert len(part.neighbours(graphs.data(0))) == 0
    found = {part.to_str(part.mutate(graphs.data(0), rng)) for _ in range(20)}
    assert found == set(far)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"space": "nasgem"},
            "table must be given for space 'nasgem', since only nasbench101, na",
        ),
        (
            {"searchers": ("best",)},
            "unknown searcher 'best'; .* choose from bayes, .* FILE.py:NAME",
        ),
        ({"searchers": ()}, "searchers must be at least one"),
        ({"searchers": ("local", "local")}, "searchers must differ"),
        ({"budget": 0}, "budget must be at least 1, but got 0"),
        ({"dataset": "cifar100"}, "dataset of nasbench101 must be one of .* but got 'cifar100'"),
    ],
)
def test_impossible_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        SearchBench(**{"space": "nasbench101", **settings})


def test_budgets_and_tables_that_do_not_fit(nasbench201: Path) -> None:
    with pytest.raises(ConfigError, match="budget must be at most the 2000 different"):
        bench_search(SearchBench(space="nasbench101", budget=2001))
    with pytest.raises(ConfigError, match="must hold architectures of nasbench101, but holds"):
        bench_search(SearchBench(space="nasbench101", table=str(nasbench201)))


@pytest.mark.parametrize("name", sorted(SEARCHERS))
def test_no_searcher_queries_the_same_network_twice(name: str, nasbench201: Path) -> None:
    """Two drawings of one network count as the same, whatever searcher asks for them."""
    rows = np.random.default_rng(0).permutation(15_625)[:400]
    table = load_table(str(nasbench201))
    graphs = table.graphs[torch.from_numpy(rows)]
    val = table.val_acc(dataset="cifar10-valid")[rows]
    evaluator = TableEvaluator(NASBench201(), graphs, {"val_acc": val})
    assert len(evaluator) < len(graphs)
    queried = queries(evaluator, name, 80).tolist()
    best = evaluator.values["val_acc"].argmax()
    until = queried.index(best) + 1 if best in queried else len(queried)
    assert len(set(queried[:until])) == until
    assert set(queried[until:]) <= {best}


def test_a_stopped_experiment_goes_on(nasbench201: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": "nasbench201", "budget": 12, "table": str(nasbench201)}
    whole = SearchBench(searchers=("random", "local"), seeds=3, **settings)
    expected = bench_search(whole).rows
    bench_search(SearchBench(searchers=("local",), seeds=2, **settings), folder=tmp_path)
    log = tmp_path / "searches.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:2]) + lines[2][:20])  # killed while it wrote the second search
    told: list[int] = []
    resumed = bench_search(
        whole, folder=tmp_path, workers=2, progress=lambda done, _: told.append(done)
    )
    assert sorted(told) == [2, 3, 4, 5, 6]
    for row, other in zip(resumed.rows, expected, strict=True):
        assert replace(row, seconds=0) == replace(other, seconds=0)
    again = bench_search(whole, folder=tmp_path, progress=lambda done, _: told.append(done))
    assert again.rows == resumed.rows and len(told) == 5


def test_a_folder_of_other_searches(nasbench201: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"space": "nasbench201", "seeds": 1, "table": str(nasbench201)}
    bench_search(SearchBench(searchers=("random",), budget=3, **settings), folder=tmp_path)
    other = SearchBench(searchers=("random",), budget=4, **settings)
    with pytest.raises(ConfigError, match=r"budget is 3, not 4; choose another place"):
        bench_search(other, folder=tmp_path)
    with pytest.raises(ConfigError, match="workers must be at least 1, but got 0"):
        bench_search(other, workers=0)
    log = tmp_path / "searches.jsonl"
    log.write_text(log.read_text() + '{"searcher": "random"}\n')
    with pytest.raises(DataError, match="must hold searches, but is damaged"):
        bench_search(replace(other, budget=3), folder=tmp_path)


def test_a_log_that_is_cut_in_its_first_line_or_is_something_else(tmp_path: Path) -> None:
    path, facts = tmp_path / "searches.jsonl", {"budget": 3}
    SearchLog(tmp_path, facts).add(SearchTrajectory("random", 0, (1, 2, 3), 0.1))
    whole = path.read_bytes()
    for cut in (b"", whole[:5]):
        path.write_bytes(cut)
        assert SearchLog(tmp_path, facts).found == {}
        assert path.read_bytes() == whole.splitlines(keepends=True)[0]
    for other in (b"\xff\xfe\x00", b"a note\n", b"no end of line"):
        path.write_bytes(other)
        with pytest.raises(DataError, match="must hold searches, but is damaged"):
            SearchLog(tmp_path, facts)
        assert path.read_bytes() == other
    path.unlink()
    path.mkdir()
    with pytest.raises(DataError, match="must be a file to read and write, but"):
        SearchLog(tmp_path, facts)


OWN = """
from gnas.search import Searcher


class MostEdges(Searcher):
    def _propose(self, rng):
        graphs = self.space.enumerate()
        for row in (graphs.adjacency > 0).sum((1, 2)).argsort(descending=True).tolist():
            if self._is_new(self.key(graphs.data(row))):
                return graphs.data(row)


class Broken(Searcher):
    def _propose(self, rng):
        return self.nowhere


def number(space, *, seed):
    return 3


def unseeded(space):
    return MostEdges(space)
"""


@pytest.mark.parametrize(
    ("quantities", "columns"),
    [
        (("val_acc", "test_acc"), ("val_acc", "test_acc")),
        (("test_acc",), ("test_acc", "test_acc")),
    ],
)
def test_own_searchers_on_a_table_of_ones_own_space(
    quantities: tuple[str, ...], columns: tuple[str, str], tmp_path: Path
) -> None:
    """One that begins with the most edges, which make the scores; in processes too."""
    own = own_table(tmp_path, "dag", *quantities)
    most = f"{tmp_path / 'searchers.py'}:MostEdges"
    (tmp_path / "searchers.py").write_text(OWN)
    config = SearchBench(
        space=own.space, table=own.table, searchers=("random", "nasgem", most), budget=25, seeds=2
    )
    result = bench_search(config)
    assert (result.table["val_column"], result.table["test_column"]) == columns
    random, _, mine = result.rows
    table = load_table(own.table)
    edges = (table.graphs.adjacency > 0).sum((1, 2)).numpy()
    best = table.metric(columns[0])[edges == edges.max()].max()
    last = (edges == edges.max()).sum() - 1
    assert mine.val_regret[last].mean == pytest.approx(result.best_val_acc - best)
    assert mine.val_regret[0].mean < random.val_regret[0].mean
    pair = replace(config, searchers=("random", most))
    folder = tmp_path / "out"
    rows = bench_search(pair, folder=folder, workers=2).rows
    assert [replace(row, seconds=0) for row in rows] == [
        replace(row, seconds=0) for row in (random, mine)
    ]
    (tmp_path / "searchers.py").write_text(OWN + "# changed")
    with pytest.raises(
        ConfigError, match=r"searchers\.py:MostEdges must be the file that the searches in"
    ):
        bench_search(pair, folder=folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Broken", "Broken must return architectures when asked, but: AttributeError"),
        ("number", "number must return a Searcher, but returned 3"),
        ("unseeded", "unseeded must take a space and seed=, and return a Searcher, but: TypeE"),
        ("absent", "must define 'absent', but does not"),
    ],
)
def test_files_that_make_no_searcher(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    config = SearchBench(
        space="nasgem", table="nasgem-mini", searchers=(f"{tmp_path / 'own.py'}:{name}",), budget=3
    )
    with pytest.raises(ConfigError, match=message):
        bench_search(config)
