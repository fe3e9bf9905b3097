"""NASGEM on evaluations other than its own trainings, and its searcher on the one driver."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch_geometric.data import Data

from gnas.data import BenchmarkTable, Column, Provenance, save_table
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.predictors import Forest, OneHot
from gnas.runs import to_jsonable
from gnas.search import SearchResult, run_search
from gnas.search.nasgem import NasgemResult, NasgemSearch, plan_nasgem, run_nasgem
from gnas.search.nasgem.plan import planned, resumed_plan
from gnas.search.nasgem.trace import read_trace
from gnas.spaces import NASGEM, NASBench201
from gnas.viz.nasgem import result_figures, surface_figure
from tests.search.nasgem.conftest import lasting

FILE = Path(__file__).with_name("worth.py")
SMALL: dict[str, Any] = {"iterations": 12, "top": 3, "pool": 400, "update_every": 4}
SPACE = NASGEM(8)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    path: Path = tmp_path_factory.mktemp("tables") / "made.parquet"
    saved(path, rows=3000)
    return str(path)


def saved(path: Path, *, rows: int) -> None:
    graphs = NASBench201().enumerate()[:rows]
    convolutions = ((graphs.adjacency == 3) | (graphs.adjacency == 4)).sum((1, 2)).numpy()
    values = {
        Column.of("val_acc", dataset="cifar10-valid", epochs=200): 0.5 + convolutions / 20,
        Column.of("test_acc", dataset="cifar10", epochs=200): 0.45 + convolutions / 20,
        Column.of("macs", dataset="cifar10"): 1e6 * (1 + convolutions**2),
    }
    facts = Provenance("made", "nasbench201", "a test", "self-made")
    by_name = {column.name: array for column, array in values.items()}
    save_table(BenchmarkTable(graphs, list(values), facts, by_name), path)


def test_a_table_with_macs_is_searched_for_the_efficiency_score(
    table: str, tmp_path: Path
) -> None:
    plan = plan_nasgem(space="nasbench201", table=(table,), **SMALL)
    found = run_nasgem(plan, out=tmp_path / "run", figures=result_figures)
    assert len(found.evaluations) == 15 and found.data is None and found.network is None
    assert {one.stage for one in found.evaluations} == {""}  # a table knows one kind
    best = max(one.measures["score"] for one in found.evaluations if one.measures)
    assert found.chosen.score == best and found.objectives == ("score:max",)
    for one in found.evaluations:
        assert one.measures is not None
        penalty = 0.1 * np.log(one.measures["macs"] / 1e6)
        assert one.measures["score"] == pytest.approx(one.measures["val_acc"] - penalty)
    assert found.predictor.features.endswith("+ MACs") and found.pool == 400
    assert (tmp_path / "run" / "figures" / "search.png").exists()
    assert to_jsonable(read_trace(tmp_path / "run").result) == to_jsonable(found)
    alone = plan_nasgem(space="nasbench201", table=(table,), objective="val_acc", **SMALL)
    plainly = run_nasgem(alone, out=tmp_path / "alone")
    assert plainly.objectives == ("val_acc:max",) and "MACs" not in plainly.predictor.features
    for objective in ("score", "score:max"):  # the same search again, too
        named = plan_nasgem(space="nasbench201", table=(table,), objective=objective, **SMALL)
        assert lasting(run_nasgem(named, out=tmp_path / objective)) == lasting(found)
    with pytest.raises(ConfigError, match="walks reads operations on nodes"):
        walks = plan_nasgem(space="nasbench201", table=(table,), predictor="walks", **SMALL)
        run_nasgem(walks, out=tmp_path / "walks")


def test_a_resumed_search_takes_files_where_they_are_now(table: str, tmp_path: Path) -> None:
    first, moved = tmp_path / "first.parquet", tmp_path / "moved.parquet"
    first.write_bytes(Path(table).read_bytes())
    plan = plan_nasgem(space="nasbench201", table=(str(first),), **SMALL)
    found = run_nasgem(plan, out=tmp_path / "run")
    first.rename(moved)
    with pytest.raises(MissingDataError, match="first"):
        run_nasgem(resumed_plan(tmp_path / "run", {}), out=tmp_path / "run", resume=True)
    changes = {"table": (str(moved),), "space": "nasbench201", "iterations": 12}
    again = resumed_plan(tmp_path / "run", changes)
    assert lasting(run_nasgem(again, out=tmp_path / "run", resume=True)) == lasting(found)
    assert planned(tmp_path / "run").table == (str(moved),)
    saved(first, rows=2000)
    other = resumed_plan(tmp_path / "run", {"table": (str(first),)})
    with pytest.raises(ConfigError, match=r"must be the one that .* holds, but its evaluator was"):
        run_nasgem(other, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("predictor", ["mlp", "walks"])
def test_a_function_is_searched_by_any_number_of_workers(predictor: str, tmp_path: Path) -> None:
    options = {**SMALL, "num_nodes": 8, "pool": 200, "seed": 4, "predictor": predictor}
    plan = plan_nasgem(evaluate=f"{FILE}:worth", **options)
    results = [run_nasgem(plan, out=tmp_path / str(count), workers=count) for count in (1, 2)]
    assert lasting(results[0]) == lasting(results[1])
    found = results[0]
    assert found.objectives == ("score:max",) and found.macs is None
    assert found.chosen.score == max(
        one.measures["score"] for one in found.evaluations if one.measures
    )
    assert set(read_trace(tmp_path / "2").surfaces) == {"embedding", "raw"}


@pytest.mark.parametrize("predictor", ["mlp", "walks", "default"])
def test_equal_scores_are_warned_of_early_and_lose_nothing(
    predictor: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if predictor != "mlp":  # pictures of equal scores are alike, and take most of the time
        picture: Any = lambda self, file, **options: file.write(b"a picture")  # noqa: E731
        monkeypatch.setattr(Figure, "savefig", picture)
    options = {**SMALL, "num_nodes": 8, "pool": 100, "predictor": predictor}
    plan = plan_nasgem(evaluate=f"{FILE}:same", **options)
    warned: list[int] = []
    found = run_nasgem(
        plan, out=tmp_path / "run", figures=result_figures, surface_figure=surface_figure,
        report=lambda progress: warned.append(caplog.text.count("all 4 scores are equal (score")),
    )  # fmt: skip
    assert warned == [0] * 3 + [1] * 12 and caplog.text.count("are equal") == 1
    assert (found.trained, len(found.finals), found.chosen.score) == (12, 3, 0.5)
    assert [one.predicted_score for one in found.finals] == [0.5] * 3
    assert len({one.architecture for one in found.evaluations[12:]}) == 3
    assert all(one.is_random for one in found.evaluations)
    assert to_jsonable(read_trace(tmp_path / "run").result) == to_jsonable(found)
    assert len([*(tmp_path / "run" / "figures").glob("*.png")]) == 3


def searcher(**options: Any) -> NasgemSearch:
    sizes = {"num_initial": 12, "pool": 60, "top": 4, "update_every": 4, **options}
    return NasgemSearch(SPACE, Forest(OneHot(8, 2), num_trees=5), seed=2, **sizes)


def edges(graph: Data, *, seed: int) -> float:
    if graph.num_edges % 7 == 3:
        raise RuntimeError("no memory")
    return float(graph.num_edges)


def search(worth: Callable[..., float] = edges, **options: Any) -> SearchResult:
    return run_search(SPACE, searcher(), worth, budget=16, **options)


def test_random_cells_need_no_result_and_the_best_predicted_all_of_theirs() -> None:
    seen: list[tuple[int, int]] = []

    class Watching(NasgemSearch):
        def ask(self) -> Data:
            seen.append((self.asked, len(self.told) + len(self._dropped)))
            return super().ask()

    sizes: dict[str, Any] = {"num_initial": 12, "pool": 60, "top": 4, "update_every": 4}
    made = Watching(SPACE, Forest(OneHot(8, 2), num_trees=5), seed=2, **sizes)
    found = run_search(SPACE, made, edges, budget=16, parallel=1)
    assert seen == [(k, 0) for k in range(12)] + [(k, 12) for k in range(12, 16)]
    assert found.evaluations == search(parallel=5).evaluations
    expected = [one.expected for one in found.evaluations[12:]]
    assert expected == sorted(expected, reverse=True, key=lambda value: value or 0.0)


@pytest.mark.parametrize("stop", [0, 3, 11, 12, 14, 15])
def test_killed_at_any_evaluation(stop: int, tmp_path: Path) -> None:
    whole, count = search(), iter(range(100))

    def killed(graph: Data, *, seed: int) -> float:
        if next(count) == stop:
            raise KeyboardInterrupt
        return edges(graph, seed=seed)

    killed.__qualname__ = edges.__qualname__
    with pytest.raises(KeyboardInterrupt):
        search(killed, out=tmp_path)
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"number": ')  # cut in the middle of a line
    again = search(out=tmp_path, resume=True)
    assert again.evaluations == whole.evaluations and again.best == whole.best
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    times = [record.pop("seconds") for record in records]
    assert records == to_jsonable(whole.evaluations) and times == sorted(times)


def test_too_many_failures_and_notes() -> None:
    made = searcher(num_initial=14)

    def mostly(graph: Data, *, seed: int) -> float:
        if next(count) % 3 == 1:
            raise RuntimeError("no memory")
        return edges_of(graph)

    def edges_of(graph: Data) -> float:
        return float(graph.num_edges)

    count = iter(range(100))
    with pytest.raises(DataError, match="at least 10 candidates must be trained, but 5 of 14 "):
        run_search(SPACE, made, mostly, budget=18)
    assert made.notes[0].startswith("4 cells evaluated, best score")
    assert not any("failed" in note for note in made.notes)  # `Progress.last` says that


def test_results_lead_back_to_objects() -> None:
    with pytest.raises((KeyError, TypeError)):
        NasgemResult.from_record({"architecture": "x"})
