from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from gnas.encoders.storage import encoder_metadata
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.runs import to_jsonable
from gnas.search.nasgem import NasgemResult, run_nasgem
from gnas.search.nasgem.plan import planned, resumed_plan
from gnas.search.nasgem.result import PredictorFacts
from gnas.search.nasgem.trace import read_trace
from gnas.search.queues import STUDY
from gnas.spaces import space_of_record
from tests import commands
from tests.search.nasgem.conftest import TINY, Failing, lasting, search, thread_worker, tiny


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NasgemResult]:
    """A whole search with one worker, and its result."""
    out = tmp_path_factory.mktemp("runs") / "one"
    return out, search(tiny(), out)


def test_a_search_leaves_all_that_explains_it(finished: tuple[Path, NasgemResult]) -> None:
    out, result = finished
    written = json.loads((out / "result.json").read_text())
    assert written == to_jsonable(result) and read_trace(out).result == NasgemResult.from_record(
        written
    )
    assert to_jsonable(read_trace(out).result) == written
    assert result.command == "search nasgem"
    used = {"kind", "seed", "num_initial", "pool", "top", "min_nodes", "lambda_", "update_every"}
    of_predictor = {"predictor", "features", "encoder_sha256"}
    assert {*result.config["searcher"]} == used | of_predictor | {"name"}
    assert space_of_record(result.space).from_str(result.architecture).num_nodes >= 4
    assert (result.trained, result.failed, result.pool) == (6, 0, 300)
    finals = result.finals
    assert result.chosen.score == max(one.score or 0 for one in finals)
    assert result.architecture == result.chosen.architecture and result.best >= 6
    assert result.argmax == finals[0] and [one.rank for one in finals] == [0, 1]
    predicted = [one.predicted_score or 0 for one in finals]
    assert predicted == sorted(predicted, reverse=True) and len(predicted) == 2
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    times = [line.pop("seconds") for line in lines]
    assert lines == to_jsonable(result.evaluations) and len(lines) == 8
    assert times == sorted(times) and times[-1] < result.seconds
    assert [line["is_random"] for line in lines] == [True] * 6 + [False] * 2
    assert [line["stage"] for line in lines] == [""] * 6 + ["final"] * 2
    assert [line["expected"] is None for line in lines] == [True] * 2 + [False] * 6
    scores = [line["measures"]["score"] for line in lines[:6]]
    assert result.best_trained.score == max(scores)
    assert [one.seen for one in result.learning] == [2, 4]
    config = json.loads((out / "config.json").read_text())
    assert result.data is not None and config["data"]["sha256"] == result.data["sha256"]
    assert config["config"]["study"] == "one" and config["config"]["storage"] is None
    assert list(out.glob("events.*")) and (out / STUDY).exists()
    assert planned(out).config == tiny().config


def test_the_surface_is_kept_with_its_numbers(finished: tuple[Path, NasgemResult]) -> None:
    out, result = finished
    trace = read_trace(out)
    assert set(trace.surfaces) == {"embedding", "raw"} == set(result.surface)
    for one in trace.surfaces.values():
        assert one.points.shape == (300, 2) and one.trained_points.shape == (6, 2)
        assert one.predicted.shape == (300,) and 0 < one.numbers["explained_variance"] <= 1


def test_two_workers_give_the_same_result(
    tmp_path: Path, finished: tuple[Path, NasgemResult]
) -> None:
    result = run_nasgem(tiny(), out=tmp_path / "two", workers=2)
    assert lasting(result) == lasting(finished[1])


def test_a_killed_search_goes_on(tmp_path: Path, finished: tuple[Path, NasgemResult]) -> None:
    out = tmp_path / "killed"
    words = [word for k, v in TINY.items() for word in ("--set", f"{k}={v}")]
    command = [sys.executable, "-m", "gnas", "search", "nasgem", "--out", str(out), *words]
    with commands.Popen(command, stderr=subprocess.PIPE) as running:
        deadline = time.monotonic() + 120
        while not (out / "metrics.jsonl").exists() or not (out / "metrics.jsonl").read_text():
            assert running.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        running.send_signal(signal.SIGKILL)
    assert not (out / "result.json").exists()
    with pytest.raises(
        MissingDataError, match=r"must have ended to be shown, but .* `gnas report .*`$"
    ):
        read_trace(out)
    result = search(resumed_plan(out, {"seed": 0}), out, resume=True)
    assert lasting(result) == lasting(finished[1])
    again = search(resumed_plan(out, {}), out, resume=True)  # nothing is left to do
    assert lasting(again) == lasting(result)
    whole, other = ((f / "metrics.jsonl").read_text() for f in (finished[0], out))
    assert _without_times(whole) == _without_times(other)


def _without_times(text: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line.pop("seconds")
        line["measures"] = {k: v for k, v in line["measures"].items() if not k.endswith("_s")}
    return lines


def test_the_control_shares_the_trainings(
    tmp_path: Path, finished: tuple[Path, NasgemResult]
) -> None:
    """Another predictor in the same study trains its own choice only."""
    plan = tiny(encoder="none", predict="score", storage=str(finished[0] / STUDY), study="one")
    with thread_worker("one", finished[0] / STUDY):
        result = run_nasgem(plan, out=tmp_path / "raw", workers=0)
    assert result.predictor == PredictorFacts("MLP", "adjacency + ops", None)
    told = finished[1].predictor
    assert told.features == "nasgem-30 + MACs" and told.encoder == {
        "name": "nasgem-30",
        "sha256": encoder_metadata("nasgem-30")["sha256"],
    }
    assert result.best_trained == finished[1].best_trained
    assert set(result.surface) == {"embedding", "raw"}
    assert json.loads((tmp_path / "raw" / "config.json").read_text())["config"]["study"] == "one"


def test_failed_candidates_do_not_end_a_search(tmp_path: Path) -> None:
    few = {"num_nodes": 5, "percent": 10}
    result = search(tiny(iterations=16, **few), tmp_path / "some", kind=Failing)
    assert (result.trained, result.failed) == (10, 6)
    reasons = [one.error for one in result.evaluations if one.error is not None]
    assert len(reasons) == 6 and all("not enough memory" in reason for reason in reasons)
    lines = [json.loads(x) for x in (tmp_path / "some" / "metrics.jsonl").read_text().splitlines()]
    failed = [line["number"] for line in lines if line.get("error")]
    assert failed == [one.number for one in result.evaluations if one.error is not None]
    with pytest.raises(DataError, match="at least 10 candidates must be trained, but 5 of 14"):
        search(tiny(iterations=14, **few), tmp_path / "few", kind=Failing)


def test_another_objective_is_not_charged_for_macs(tmp_path: Path) -> None:
    result = search(tiny(objective="val_acc", iterations=2), tmp_path / "acc")
    assert result.objectives == ("val_acc:max",) and result.predictor.features == "nasgem-30"
    assert "lambda_" not in result.config["searcher"]
    assert result.chosen.score == result.chosen.val_acc


def test_a_prior_of_random_graphs(tmp_path: Path) -> None:
    plan = tiny(prior="watts-strogatz", spread=True, predictor="default", iterations=4)
    result = search(plan, tmp_path / "ws")
    assert space_of_record(result.space).from_str(result.architecture).num_nodes == 8
    assert result.predictor.encoder is None
    assert "path statistics" in result.predictor.features


def test_other_settings_and_folders_are_refused(
    tmp_path: Path, finished: tuple[Path, NasgemResult]
) -> None:
    out = finished[0]
    with pytest.raises(ConfigError, match="seed is 0, not 1"):
        resumed_plan(out, {"seed": 1})
    with pytest.raises(ConfigError, match="a new run needs a folder of its own"):
        run_nasgem(tiny(), out=out)
    with pytest.raises(ConfigError, match="goes on in its own storage, which is a file in its"):
        resumed_plan(out, {}, storage="elsewhere.db")
    shared = {"storage": str(out / STUDY), "study": "one"}
    with pytest.raises(ConfigError, match="epochs"):
        run_nasgem(tiny(epochs=2, **shared), out=tmp_path / "other")
    with pytest.raises(ConfigError, match="workers must be at least 0"):
        run_nasgem(tiny(), out=tmp_path / "new", workers=-1)


def test_a_damaged_study(tmp_path: Path) -> None:
    file = tmp_path / "study.db"
    file.write_bytes(b"SQLite format 3\0" + bytes(5000))
    with pytest.raises(DataError, match=r"study\.db"):
        run_nasgem(tiny(storage=str(file)), out=tmp_path / "run", workers=0)
    assert not (tmp_path / "run" / "config.json").exists()


def test_a_database_is_named_again_without_its_password(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps(
            {
                "config": {
                    "command": "search nasgem",
                    "plan": {
                        **to_jsonable(vars(tiny())),
                        "search": to_jsonable(tiny().config),
                        "storage": "postgresql+psycopg://host/studies",
                        "study": "mine",
                    },
                }
            }
        )
    )
    with pytest.raises(ConfigError, match="runs keep no passwords, so give the whole URL again"):
        resumed_plan(tmp_path, {})
    plan = resumed_plan(tmp_path, {}, storage="postgresql+psycopg://me:secret@host/studies")
    assert plan.study == "mine" and plan.storage is not None and "secret" in plan.storage
