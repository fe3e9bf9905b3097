"""The driver of all searches: the same result whatever evaluates, and after any end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from torch_geometric.data import Data

from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.evaluate import TableEvaluator, TrainingEvaluator
from gnas.graphs import DenseBatch
from gnas.loggers import RunLog
from gnas.predictors import default_predictor
from gnas.runs import to_jsonable
from gnas.search import (
    SEARCHERS,
    Evaluation,
    RandomSearch,
    RegularizedEvolution,
    Searcher,
    SearchResult,
    read_result,
    run_search,
)
from gnas.search.evaluation_log import EvaluationLog
from gnas.search.loop import LAST, SearchLoop, SearchProgress
from gnas.search.objectives import Goal
from gnas.search.queues import local_queue
from gnas.spaces import NASGEM, DagSpace, NASBench201, Space
from gnas.training.recipe import ProxyRecipe
from tests import commands
from tests.search.evaluations import convolutions

SETTINGS: dict[str, dict[str, int]] = {
    "evolution": {"population": 5, "tournament": 3},
    "local": {"starts": 2},
    "bayes": {"num_initial": 4, "refit_every": 3, "pool": 20, "num_elites": 1},
    "nasgem": {"num_initial": 4, "refit_every": 3, "pool": 40},
    "predictor": {"num_initial": 4, "refit_every": 3, "pool": 20, "num_elites": 1},
}
"""So that every phase of a searcher is reached within a few architectures."""
BUDGET = 24
FILE = Path(__file__).with_name("evaluations.py")


def lasting(result: SearchResult) -> dict[str, Any]:
    """What of a result does not depend on clock and place."""
    record = to_jsonable(result)
    record.pop("seconds")
    for name in ("plan", "study"):
        record["config"].pop(name)
    for one in [record["metrics"], *(e["measures"] or {} for e in record["evaluations"])]:
        one.pop("train_time_s", None)
    return dict(record)


def search(searcher: str, **options: Any) -> SearchResult:
    options = {"budget": BUDGET, "settings": SETTINGS.get(searcher), "seed": 3, **options}
    return run_search(NASBench201(), searcher, convolutions, **options)


@cache
def whole_search(searcher: str) -> SearchResult:
    """`search` without options, which many tests compare with."""
    return search(searcher)


@pytest.mark.parametrize("searcher", sorted(SEARCHERS))
def test_every_searcher_on_any_number_of_workers(searcher: str, tmp_path: Path) -> None:
    here = whole_search(searcher)
    assert len(here.evaluations) == BUDGET == here.evaluated + here.failed
    assert here.failed > 0 and here.stopped is None
    good = [one for one in here.evaluations if one.measures is not None]
    assert here.metrics["score"] == max(one.measures["score"] for one in good if one.measures)
    assert here.front == (here.best,) and here.config["searcher"]["name"] == searcher
    assert all(one.measures is None or one.measures["seed"] == 3 for one in here.evaluations)
    texts = [one.architecture for one in here.evaluations]
    space = NASBench201()
    keys = SEARCHERS["random"](space).key
    assert len({keys(space.from_str(text)) for text in texts}) == BUDGET  # none is paid for twice
    if searcher not in ("evolution", "local", "predictor"):
        return  # the driver knows no searcher, and processes take time to start
    two = search(searcher, out=tmp_path / "two", workers=2)
    assert lasting(two) == lasting(here)
    assert lasting(read_result(tmp_path / "two")) == lasting(here)
    lines = (tmp_path / "two" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    times = [record.pop("seconds") for record in records]
    assert records == to_jsonable(here.evaluations) and times == sorted(times) and times[0] > 0


def test_what_was_asked_for_saw_results_so_many_before() -> None:
    """Architecture k is chosen after k - parallel + 1 results, in the order of asking."""
    space = NASBench201()

    class Watching(RegularizedEvolution):
        def ask(self) -> Data:
            seen.append((self.asked, len(self.told) + len(self._dropped)))
            return super().ask()

    for parallel in (1, 3):
        seen: list[tuple[int, int]] = []
        searcher = Watching(space, population=4)
        run_search(space, searcher, convolutions, budget=9, parallel=parallel)
        start = [(k, max(0, k - parallel + 1)) for k in range(4)]  # then after all of these
        assert seen == start + [(k, max(4, k - parallel + 1)) for k in range(4, 9)]


def test_what_was_drawn_at_random_is_recorded() -> None:
    def worth(graph: Data, *, seed: int) -> float:
        return float(graph.edge_op.sum())

    for searcher, settings, start in (
        ("predictor", SETTINGS["predictor"], 4),
        ("evolution", {"population": 5, "tournament": 2}, 5),
        ("random", {}, 12),
    ):
        found = run_search(NASBench201(), searcher, worth, budget=12, settings=settings)
        assert [one.is_random for one in found.evaluations] == [k < start for k in range(12)]


def test_a_search_that_goes_on_counts_the_time_before(tmp_path: Path) -> None:
    first = search("random", out=tmp_path)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    *others, last = map(json.loads, lines)
    last["seconds"] += 1000.0
    text = "".join(json.dumps(line) + "\n" for line in [*others, last])
    (tmp_path / "metrics.jsonl").write_text(text)
    assert 1000 < search("random", out=tmp_path, resume=True).seconds < 2000 + first.seconds
    (tmp_path / "metrics.jsonl").write_text(json.dumps({**others[0], "seconds": -1.0}) + "\n")
    with pytest.raises(DataError, match="seconds must be a time"):
        search("random", out=tmp_path, resume=True)


def test_a_predictor_search_records_what_it_foresaw() -> None:
    """By the fit that an architecture was asked for after, in the measure's own sign."""
    space = NASBench201()
    found = search("predictor", parallel=1).evaluations
    predictor = default_predictor(space, networks=False).reseeded(3)
    graphs = DenseBatch.from_data([space.from_str(one.architecture) for one in found])
    rows = space.described(graphs, predictor.features)
    for number in (3, 8, 12):
        told = [one for one in found[:number] if one.measures is not None]
        fitted_on = told[: len(told) - (len(told) - 4) % 3]
        if len(told) < 4:
            assert found[number].expected is None
            continue
        scores = np.array([(one.measures or {})["score"] for one in fitted_on])
        predictor.fit_features(rows[[one.number for one in fitted_on]], scores)
        expected = predictor.predict_features(rows[[number]])[0]
        assert found[number].expected == pytest.approx(expected)
    fewest = search("predictor", parallel=1, objectives=["score:min"]).evaluations
    foreseen = [one.expected for one in fewest if one.expected is not None]
    assert foreseen and min(foreseen) > -0.5  # no convolution at all has score 0


def test_sequential_search_is_the_plain_loop() -> None:
    space = NASBench201()

    def edges(graph: Data, *, seed: int) -> float:
        return float(graph.num_edges + graph.edge_op.sum())

    for name, make in SEARCHERS.items():
        searcher: Searcher = make(space, seed=1, **SETTINGS.get(name, {}))
        asked = []
        for _ in range(11):
            graph = searcher.ask()
            asked.append(space.to_str(graph))
            searcher.tell(graph, edges(graph, seed=0))
        found = run_search(
            space, name, edges, budget=11, parallel=1, seed=1, settings=SETTINGS.get(name)
        )
        assert [one.architecture for one in found.evaluations] == asked


def test_a_table_costs_no_process_and_no_network_twice() -> None:
    space = NASBench201()
    graphs = space.enumerate()[:300]
    rng = np.random.default_rng(0)
    table = TableEvaluator(space, graphs, {"val_acc": rng.random(300), "test_acc": np.ones(300)})
    found = run_search(space, "random", table, budget=400)
    assert found.evaluated == len(table) < 300
    assert found.stopped is not None and "must have an architecture" in found.stopped
    assert found.metrics["val_acc"] == pytest.approx(table.values["val_acc"].max())
    with pytest.raises(ConfigError, match="must not see test images"):
        run_search(space, "random", table, budget=4, objectives=["test_acc"])
    with pytest.raises(ConfigError, match="unknown measure 'macs'; this evaluation gives val_acc"):
        run_search(space, "random", table, budget=4, objectives=["macs"])


def test_a_training_with_two_workers(tmp_path: Path) -> None:
    space = NASGEM(5)
    results = []
    for workers in (1, 2):
        evaluator = TrainingEvaluator(
            "digits", ProxyRecipe(epochs=1, batch_size=256), network={"channels": 2}
        )
        out = tmp_path / str(workers)
        results.append(
            run_search(space, "evolution", evaluator, budget=5, workers=workers, out=out,
                       settings={"population": 2, "tournament": 2}, parallel=2)
        )  # fmt: skip
    assert lasting(results[0]) == lasting(results[1])
    assert results[0].metrics["val_acc"] > 0.05 and results[0].params and results[0].macs


def test_reports_and_a_larger_budget(tmp_path: Path) -> None:
    told: list[SearchProgress] = []
    search("local", out=tmp_path, budget=10, report=told.append)
    assert [one.done for one in told] == list(range(1, 11)) and told[-1].best is not None
    assert told[0].is_better or told[0].failed == 1
    more = search("local", out=tmp_path, resume=True)
    assert lasting(more) == lasting(whole_search("local"))
    with pytest.raises(ConfigError, match="must be at least the 24 of before, but got 3"):
        search("local", out=tmp_path, budget=3, resume=True)


@pytest.mark.parametrize("searcher", ["evolution", "local", "predictor"])
def test_killed_in_this_process_at_any_evaluation(searcher: str, tmp_path: Path) -> None:
    whole = whole_search(searcher)
    stops = (3, 8, BUDGET - 1) if searcher == "predictor" else (0, 1, 7, 8, 13, BUDGET - 1)
    for stop in stops:  # a predictor is fitted again and again
        out = tmp_path / f"{stop}"
        killed = _stopping(stop)
        options: dict[str, Any] = {"budget": BUDGET, "settings": SETTINGS[searcher], "seed": 3}
        with pytest.raises(KeyboardInterrupt):
            run_search(NASBench201(), searcher, killed, out=out, **options)
        with (out / "metrics.jsonl").open("a") as file:
            file.write('{"number": ')  # cut in the middle of a line
        assert lasting(search(searcher, out=out, resume=True)) == lasting(whole)


def _stopping(at: int) -> Callable[..., dict[str, float]]:
    """`convolutions`, which Ctrl-C interrupts at the evaluation of this number."""
    count = iter(range(BUDGET))

    def killed(graph: Data, *, seed: int) -> dict[str, float]:
        if next(count) == at:
            raise KeyboardInterrupt
        return convolutions(graph, seed=seed)

    killed.__qualname__ = convolutions.__qualname__
    return killed


def command(searcher: str, out: Path, *options: str) -> list[str]:
    settings = [x for k, v in SETTINGS[searcher].items() for x in ("--set", f"{k}={v}")]
    words = ["search", searcher, "--space", "nasbench201", "--evaluate", f"{FILE}:convolutions"]
    words += ["--seed", "3", "--budget", str(BUDGET), "--workers", "2", *settings, *options]
    return [sys.executable, "-m", "gnas", *words, "--out", str(out)]


@pytest.mark.parametrize("lines", [0, 5, 14])
def test_killed_with_its_workers_at_any_moment(lines: int, tmp_path: Path) -> None:
    """SIGKILL of the command, and of a worker before, then --resume: the result of no stop."""
    out = tmp_path / "run"
    metrics = out / "metrics.jsonl"
    with commands.Popen(command("evolution", out), stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 120
        while not metrics.exists() or metrics.read_text().count("\n") < lines:
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.005)
        running.send_signal(signal.SIGKILL)
    assert not (out / "result.json").exists()
    with pytest.raises(
        MissingDataError, match=r"must have ended to be shown, but .* `gnas report .*`$"
    ):
        read_result(out)
    resume = [sys.executable, "-m", "gnas", "search", "evolution", "--resume", str(out)]
    if not (out / "config.json").exists():  # killed before there was a run
        resume = command("evolution", out)
    commands.run(resume, check=True, capture_output=True)
    found, whole = lasting(read_result(out)), lasting(whole_search("evolution"))
    for record in (found, whole):  # one is by FILE.py, the other by the function itself
        record["config"].pop("evaluator")
    assert found == whole


def test_a_worker_of_another_command_joins(tmp_path: Path) -> None:
    out = tmp_path / "run"
    words = command("evolution", out)
    words[words.index("--workers") + 1] = "0"
    worker = [sys.executable, "-m", "gnas", "worker", "--study", "run"]
    worker += ["--storage", str(out / "study.db")]
    with commands.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE) as running:
        deadline = time.monotonic() + 120
        while not (out / "config.json").exists():
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        refused = commands.run(worker, capture_output=True, text=True, check=False)
        assert refused.returncode == 1 and "must be told which file to run" in refused.stderr
        worker += ["--evaluate", f"{FILE}:convolutions"]
        done = commands.run(worker, capture_output=True, text=True, check=False)
        assert done.returncode == 0 and f"{BUDGET} candidates evaluated here" in done.stdout
        assert running.wait(60) == 0
    assert read_result(out).evaluations == whole_search("evolution").evaluations


def test_a_search_ends_when_what_it_is_for_is_found() -> None:
    def good(one: Evaluation) -> bool:
        return one.measures is not None and one.measures["score"] > 2

    whole = whole_search("evolution")
    first = next(one.number for one in whole.evaluations if good(one))
    found = search("evolution", until=good)
    assert found.evaluations == whole.evaluations[: first + 1] and found.stopped is not None
    assert found.best == first


def test_an_evaluation_may_go_to_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "elsewhere" / "run").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    def worth(graph: Data, *, seed: int) -> float:
        os.chdir(tmp_path / "elsewhere")
        return float(graph.num_edges)

    run_search(NASBench201(), "random", worth, budget=3, out="run")
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    assert (tmp_path / "run" / "result.json").exists()
    assert not [*(tmp_path / "elsewhere" / "run").iterdir()]


def test_a_broken_evaluation_ends_a_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = "the first 10 all failed, 10 of them so: DataError: ValueError: no such layer"
    with pytest.raises(DataError, match=message):
        run_search(NASBench201(), "random", _broken, budget=50)
    out = tmp_path / "run"
    with pytest.raises(DataError, match=f"first 3 all failed, .*; nothing is kept in {out}, so"):
        run_search(NASBench201(), "random", _broken, budget=3, out=out)
    assert not out.exists()
    with pytest.raises(DataError, match="but the first one failed: DataError: ValueError: no"):
        run_search(NASBench201(), "random", _broken, budget=1)
    four = DagSpace(ops=("a", "b"), max_nodes=3)  # in all
    with pytest.raises(DataError, match=r"the first \d all failed, \d of them so: DataError: Val"):
        run_search(four, "random", _broken, budget=50)
    storage = str(tmp_path / "elsewhere.db")
    monkeypatch.setattr("gnas.search.run.study_queue", lambda job, *_: local_queue(job))
    with pytest.raises(DataError, match=r"its study 'run' in .*elsewhere\.db stays: .*--study"):
        run_search(NASBench201(), "random", _broken, budget=3, out=out, storage=storage, workers=1)


def _broken(graph: Data, *, seed: int) -> float:
    raise ValueError("no such layer")


def _other_names(graph: Data, *, seed: int) -> dict[str, float]:
    return {"latency_ms": 1.0, "val_acc": 1.0}


@pytest.mark.parametrize("workers", [None, 1])
def test_an_evaluation_of_other_names_ends_a_search_at_once(
    workers: int | None, tmp_path: Path
) -> None:
    message = (
        r"^an evaluation must return the measure 'score', but returned \['latency_ms', 'val_acc'\]"
        r"; choose one of them: `--objective NAME` .in Python `obj"
    )
    asked: dict[str, Any] = {"budget": 20, "workers": workers, "out": tmp_path}
    with pytest.raises(DataError, match=message):
        run_search(NASBench201(), "random", _other_names, **asked)
    assert not list(tmp_path.iterdir())
    message = (
        r"measure 'macs', .*; bound one of them in place of `--at-most macs=4` .in Python `con"
    )
    with pytest.raises(DataError, match=message):
        run_search(
            NASBench201(), "random", _other_names, objectives=["val_acc"],
            constraints=["latency_ms=4", "macs=4"], **asked,
        )  # fmt: skip
    asked["budget"] = 1
    found = run_search(NASBench201(), "random", _other_names, objectives=["val_acc"], **asked)
    assert found.evaluated == 1


def test_an_evaluation_without_measures_of_one_architecture_is_a_failure() -> None:
    def sometimes(graph: Data, *, seed: int) -> dict[str, float]:
        calls.append(graph)
        return {} if len(calls) == 2 else {"score": 1.0}

    calls: list[Data] = []
    assert run_search(NASBench201(), "random", sometimes, budget=3).failed == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, "budget must be at least 1, but got 0"),
        ({"workers": -1, "out": Path("x")}, "workers must be at least 0, but got -1"),
        ({"workers": 1}, "workers, and a search that goes on, need a folder"),
        ({"resume": True}, "workers, and a search that goes on, need a folder"),
        ({"parallel": 0}, "parallel must be at least 1, but got 0"),
        ({"objectives": ["speed"]}, "the direction of 'speed' must be said"),
        ({"objectives": ["-speed"]}, "the direction of 'speed' must be said; write speed:max"),
        ({"settings": {"speed": 1}}, "unknown setting 'speed'; there is none to choose"),
        (
            {"searcher": "evolution", "settings": {"population": 1.5}},
            "population must be a whole number, but got 1.5",
        ),
        (
            {"searcher": "local", "settings": {"starts": "x"}},
            "starts must be a whole number, but got 'x'",
        ),
        ({"constraints": ["macs"]}, "a bound must be NAME=NUMBER, but got 'macs'"),
    ],
)
def test_impossible_settings(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        search(**{"searcher": "random", **options})
    with pytest.raises(ConfigError, match="unknown searcher 'best'"):
        search("best")


def test_other_searches_are_refused(tmp_path: Path) -> None:
    search("random", out=tmp_path, budget=3)
    with pytest.raises(ConfigError, match="a new run needs a folder of its own"):
        search("random", out=tmp_path, budget=3)
    with pytest.raises(ConfigError, match="its seed was 3 and is now 4"):
        search("random", out=tmp_path, budget=3, resume=True, seed=4)
    used = RegularizedEvolution(NASBench201())
    used.ask()
    with pytest.raises(ConfigError, match="a searcher of its own, but this one was asked before"):
        run_search(NASBench201(), used, convolutions, budget=3)
    (tmp_path / "metrics.jsonl").write_text('{"number": 1}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl must be the evaluations of a search"):
        search("random", out=tmp_path, budget=3, resume=True)


class _Drawn(Searcher):
    """A searcher as one writes the first: it draws, and never looks at what is known."""

    name = "drawn"

    def __init__(self, space: Space, options: Sequence[int] = (1, 2)) -> None:
        super().__init__(space)
        self.options = options

    def _propose(self, rng: np.random.Generator) -> Data:
        return self.space.from_str(CELLS[int(rng.integers(len(CELLS)))])


CELLS = [NASBench201().to_str(cell) for cell in NASBench201().enumerate()[7000:7006]]


def test_a_searcher_that_repeats_itself_is_asked_again(tmp_path: Path) -> None:
    space = NASBench201()
    keys = space.keys(DenseBatch.from_data([space.from_str(text) for text in CELLS]))
    assert len({*keys.tolist()}) == len(CELLS)
    found = run_search(space, _Drawn(space), convolutions, budget=6, out=tmp_path / "all")
    assert sorted(one.architecture for one in found.evaluations) == sorted(CELLS)
    run_search(space, _Drawn(space), convolutions, budget=3, out=tmp_path / "two")
    again = run_search(
        space, _Drawn(space), convolutions, budget=6, out=tmp_path / "two", resume=True
    )
    assert again.evaluations == found.evaluations
    with pytest.raises(ConfigError, match="`_propose` of _Drawn must return a new architecture"):
        run_search(space, _Drawn(space), convolutions, budget=7)


def test_lists_are_settings_of_a_searcher_too(tmp_path: Path) -> None:
    space = NASBench201()
    run_search(space, _Drawn(space, (1, 2)), convolutions, budget=2, out=tmp_path / "run")
    with pytest.raises(ConfigError, match="options"):
        run_search(
            space, _Drawn(space, (9, 9)), convolutions, budget=3, out=tmp_path / "run", resume=True
        )


def test_searchers_that_cannot_serve_are_refused_at_once(tmp_path: Path) -> None:
    class Bare(RandomSearch):
        def __init__(self, space: Space) -> None:
            self.space = space

    for searcher, message in (
        (Bare(NASBench201()), r"`__init__` of Bare must call .* `super\(\).__init__\(space"),
        (RandomSearch(NASGEM(5)), r"must be one of .* nasbench201, but is one of nasgem\("),
    ):
        with pytest.raises(ConfigError, match=message):
            run_search(NASBench201(), searcher, convolutions, budget=3, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_last_architectures_asked_for_at_once_begin_with_the_longest() -> None:
    class Queue:
        def __init__(self) -> None:
            self.planned: list[str] = []

        def put(self, candidates: Sequence[Mapping[str, Any]]) -> None:
            self.planned += [one["architecture"] for one in candidates]

        def get(self, candidate: Mapping[str, Any]) -> tuple[dict[str, float], None]:
            return {"score": 1.0}, None

    def planned(cost: Any) -> list[str]:
        queue, log = Queue(), EvaluationLog(None, RunLog(None, ()), 0.0, events=False)
        searcher = RandomSearch(NASBench201(), seed=0)
        searcher.aim(Goal.of(("score",), ()))
        loop = SearchLoop(
            searcher, queue, (), 40, 40, range(1), lambda progress: None, None, [], log, cost
        )
        loop.run()
        assert [one.architecture for one in loop.ended] == asked
        return queue.planned

    space, again = NASBench201(), RandomSearch(NASBench201(), seed=0)
    asked = [space.to_str(again.ask()) for _ in range(40)]
    assert planned(None) == planned(lambda graphs: None) == asked

    def edges(graphs: DenseBatch) -> NDArray[np.float64]:
        return (graphs.adjacency > 1).sum((1, 2)).double().numpy()

    ordered = planned(edges)
    costs = edges(DenseBatch.from_data([space.from_str(text) for text in ordered]))
    assert ordered[:-LAST] == asked[:-LAST] and {*ordered} == {*asked}
    assert (np.diff(costs[-LAST:]) <= 0).all() and len({*costs[-LAST:]}) > 1
