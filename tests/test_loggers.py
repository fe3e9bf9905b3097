"""Runs in W&B, in MLflow, and in trackers of a stranger's own."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch_geometric.data import Data
from typer.testing import CliRunner

import gnas.loggers
import gnas.viz
from gnas.cli import app
from gnas.errors import ConfigError, DataError
from gnas.figure import Figure
from gnas.loggers import (
    STATE,
    LoggedRun,
    MetricLine,
    RunLog,
    RunLogger,
    Status,
    logged_by,
    logging_run,
    make_loggers,
)
from gnas.search import run_search
from gnas.spaces import NASBench201
from tests import commands
from tests.retrain.conftest import GENOTYPE

pytestmark = pytest.mark.filterwarnings(  # MLflow's use of SQLAlchemy 2.1
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)
TINY = ["--set", "image_size=8", "--set", "batch_size=400", "--device", "cpu"]
WORTH = """
import os, signal
from pathlib import Path

def worth(graph, *, seed):
    place = Path(__file__).with_name("killed")
    if os.environ.get("KILL") and len(place.read_text()) == 12:
        os.kill(os.getpid(), signal.SIGKILL)
    with place.open("a") as file:
        file.write("x")
    return float((graph.edge_op > 1).sum())
"""


class Recorder(RunLogger):
    """A stranger's tracker, which remembers what it was told."""

    name = "recorder"

    def __init__(self, fails: str | None = None) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.fails = fails

    def open(self, run: LoggedRun) -> tuple[str, int | None]:
        self._tell("open", run.name, run.group, run.identity, run.config["config"]["command"])
        return run.identity or "the run", None

    def log(self, lines: Sequence[MetricLine]) -> None:
        self._tell("log", [line.step for line in lines], [dict(line.values) for line in lines])

    def close(self, result: Mapping[str, Any], files: Sequence[Path], status: Status) -> None:
        self._tell("close", dict(result), [path.name for path in files], status)

    def _tell(self, *what: Any) -> None:
        if what[0] == self.fails:
            raise ConnectionError("no network\nno login")
        self.told.append(what)

    @property
    def steps(self) -> list[int]:
        return [step for what, *rest in self.told if what == "log" for step in rest[0]]


def worth(graph: Data, *, seed: int) -> float:
    return float((graph.edge_op > 1).sum())


def search(out: Path, logger: RunLogger, **options: Any) -> None:
    options = {"budget": 7, "evaluator": worth, **options}
    run_search(NASBench201(), "random", out=out, loggers=[logger], **options)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gnas.loggers, "EVERY_S", 0.0)


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """W&B offline, MLflow in a file; returns MLflow's address."""
    address = f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.chdir(tmp_path)  # artifacts of MLflow
    yield address
    if "wandb" in sys.modules:
        sys.modules["wandb"].teardown()  # it keeps the settings of its first run
    sys.modules.pop("own", None)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_loggers_of_one_name(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(ConfigError, match=r"a name of its own, .* \['recorder', 'recorder'\]"):
        run_search(
            NASBench201(), "random", lambda graph, *, seed: 1.0, budget=1, out=out,
            loggers=[Recorder(), Recorder()],
        )  # fmt: skip
    assert not out.exists()


def test_a_tracker_is_told_everything_once(tmp_path: Path) -> None:
    logger = Recorder()
    search(tmp_path / "run", logger)
    assert logger.told[0] == ("open", "run", None, None, "search random")
    assert logger.steps == list(range(7))
    told = [values for what, *rest in logger.told if what == "log" for values in rest[1]]
    assert told == [
        {"search/score": line["measures"]["score"], "search/architecture": line["architecture"]}
        for line in lines_of(tmp_path / "run")
    ]
    _, result, files, status = logger.told[-1]
    assert status == "finished" and files == ["config.json", "metrics.jsonl", "result.json"]
    written = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["score"] == written["metrics"]["score"]
    assert result["architecture"] == written["architecture"]


def test_lines_are_told_together_where_they_come_fast(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gnas.loggers, "EVERY_S", 3600.0)
    logger = Recorder()
    search(tmp_path, logger)
    assert [rest[0] for what, *rest in logger.told if what == "log"] == [list(range(7))]


def test_an_interrupted_run_goes_on_where_the_tracker_stopped(tmp_path: Path) -> None:
    calls = 0

    def interrupted(graph: Data, *, seed: int) -> float:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt
        return worth(graph, seed=seed)

    first, second, third = Recorder(), Recorder(), Recorder()
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, first, evaluator=interrupted)
    assert first.told[-1][-1] == "killed" and first.steps == [0, 1, 2, 3]
    search(tmp_path, second, evaluator=interrupted, resume=True)
    assert second.told[0][3] == "the run" and second.steps == [4, 5, 6]
    search(tmp_path, third, evaluator=interrupted, resume=True)
    assert not third.told  # it had ended, with everything told
    search(tmp_path, third, evaluator=interrupted, resume=True, budget=9)
    assert third.steps == [7, 8] and third.told[-1][-1] == "finished"


def test_a_failed_run_is_told_so(tmp_path: Path) -> None:
    def broken(graph: Data, *, seed: int) -> float:
        raise ValueError("broken")

    logger = Recorder()
    with pytest.raises(DataError, match="all failed"):
        search(tmp_path, logger, evaluator=broken)
    assert logger.told[-1][-1] == "failed"
    assert [rest[1][0]["search/error"] for what, *rest in logger.told if what == "log"]


def test_a_run_that_is_refused_tells_nothing(tmp_path: Path) -> None:
    search(tmp_path, Recorder())
    logger = Recorder()
    with pytest.raises(ConfigError, match="a new run needs a folder of its own"):
        search(tmp_path, logger)
    assert not logger.told


@pytest.mark.parametrize("fails", ["open", "log", "close"])
def test_a_tracker_that_fails_ends_nothing_else(
    fails: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Recorder()
    other.name = "other"  # type: ignore[misc]
    run_search(
        NASBench201(), "random", worth, budget=7, out=tmp_path, loggers=[Recorder(fails), other]
    )
    assert len(lines_of(tmp_path)) == 7 and other.steps == list(range(7))
    (warning,) = [one for one in caplog.records if one.levelname == "WARNING"]
    assert warning.getMessage() == (
        "logging to recorder ended: no network; the run goes on, its metrics.jsonl has "
        "everything, and once resumed it sends what is missing"
    )
    again = Recorder()
    search(tmp_path, again, resume=True)
    assert again.steps == ([] if fails == "close" else list(range(7)))
    assert again.told[-1][-1] == "finished"


def test_parts_of_a_run_are_a_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logger = Recorder()
    monkeypatch.setattr(gnas.loggers, "LOGGERS", {"recorder": lambda: logger})
    words = ["retrain", GENOTYPE, "--layers", "3", "--channels", "2", "--epochs", "2",
             "--repeats", "2", *TINY, "--log", "recorder"]  # fmt: skip
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    opened = [rest for what, *rest in logger.told if what == "open"]
    assert opened == [
        ["run/seed-0", "run", None, "retrain"], ["run/seed-1", "run", None, "retrain"],
    ]  # fmt: skip
    assert logger.steps == [1, 2, 1, 2]
    closed = [rest for what, *rest in logger.told if what == "close"]
    assert [rest[-1] for rest in closed] == ["finished", "finished"]
    assert all(0 <= rest[0]["test_acc"] <= 1 for rest in closed)
    assert logged_by(tmp_path / "run") == ["recorder"]
    before = [*logger.told]  # resumed, it logs as before: here nothing is left
    done = CliRunner().invoke(app, ["retrain", "--resume", str(tmp_path / "run")])
    assert done.exit_code == 0 and logger.told == before, done.output
    done = CliRunner().invoke(app, ["retrain", "--resume", str(tmp_path / "run"), "--epochs", "3"])
    assert done.exit_code == 0 and logger.steps == [1, 2, 1, 2, 3, 3], done.output


def test_parts_of_parts_are_of_the_same_group(tmp_path: Path) -> None:
    """Trainings of the cell that a selection chose were of a group `final` for all selections."""
    logger, folder = Recorder(), tmp_path / "found" / "final" / "seed-0"
    folder.mkdir(parents=True)
    (tmp_path / "config.json").write_text('{"config": 1, "name": "of another program"}')
    for part in (folder, folder.parent, folder.parent.parent):
        (part / "config.json").write_text('{"config": {"command": "retrain"}}')
    with logging_run(folder, [logger]) as log:
        log.update()
    assert logger.told[0][:3] == ("open", "found/final/seed-0", "found")


def test_a_supernet_search_is_told_by_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logger = Recorder()
    monkeypatch.setattr(gnas.loggers, "LOGGERS", {"recorder": lambda: logger})
    monkeypatch.setattr(gnas.viz, "search_figures", lambda found: {"empty": Figure()})
    words = ["search", "toponas", "--epochs", "2", "--set", "num_cells=3", "--set", "channels=2",
             "--num-nodes", "4", *TINY, "--log", "recorder"]  # fmt: skip
    done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert logger.steps == [1, 2]
    values = next(rest[1] for what, *rest in logger.told if what == "log")[0]
    line = lines_of(tmp_path / "run")[0]
    assert values["val_acc"] == line["val_acc"] and values["genotype"] == line["genotype"]
    _, result, files, status = logger.told[-1]
    assert status == "finished" and result["architecture"].startswith("Genotype(")
    assert any(name.endswith(".png") for name in files)


def history(folder: Path) -> list[dict[str, Any]]:
    """The steps of W&B's files, which are LevelDB logs of protobuf records."""
    from wandb.proto import wandb_internal_pb2 as pb

    found = []
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        content, at, parts = path.read_bytes(), 7, b""
        while at + 7 <= len(content):
            if 32768 - at % 32768 < 7:
                at += 32768 - at % 32768
                continue
            _, length, kind = struct.unpack("<IHB", content[at : at + 7])
            parts += content[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):  # whole, or the last part
                record = pb.Record()
                record.ParseFromString(parts)
                parts = b""
                if record.WhichOneof("record_type") == "history":
                    found.append(
                        {
                            "/".join(item.nested_key) or item.key: json.loads(item.value_json)
                            for item in record.history.item
                        }
                    )
    return found


def of_mlflow(address: str) -> tuple[Any, Callable[[str], list[tuple[int, float]]]]:
    """The one run of MLflow, and how its metrics went."""
    from mlflow.tracking import MlflowClient

    client = MlflowClient(tracking_uri=address)
    experiment = client.get_experiment_by_name("gnas")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])

    def values(name: str) -> list[tuple[int, float]]:
        return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]

    return run, values


def search_by_clients(*, resume: bool) -> None:
    import own  # type: ignore[import-not-found]

    run_search(
        NASBench201(), "random", own.worth, budget=20, out=Path("run"), resume=resume,
        loggers=make_loggers(["wandb", "mlflow"]), settings={},
    )  # fmt: skip


@pytest.mark.slow
def test_a_killed_search_leaves_no_step_twice(
    tmp_path: Path, offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the real clients: W&B offline, MLflow with SQLite; killed without a word, and resumed."""
    (tmp_path / "own.py").write_text(WORTH)
    (tmp_path / "killed").touch()
    child = (
        "import gnas.loggers; gnas.loggers.EVERY_S = 0; from tests.test_loggers import "
        "search_by_clients; search_by_clients(resume=False)"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    places = os.pathsep.join(sys.path)
    killed = commands.run(
        [sys.executable, "-c", child], cwd=tmp_path, check=False,
        env={**os.environ, "PYTHONPATH": places, "KILL": "1"},
    )  # fmt: skip
    assert killed.returncode == -9 and len(lines_of(tmp_path / "run")) == 12
    # as if it had been killed between the tracker's answer and its own note of that
    path = tmp_path / "run" / STATE
    states = json.loads(path.read_text())
    assert states["mlflow"]["logged"] == states["wandb"]["logged"]
    states["mlflow"]["logged"] -= 3
    path.write_text(json.dumps(states))
    search_by_clients(resume=True)  # here, where the clients are needed to read what they have
    lines = lines_of(tmp_path / "run")
    scores = [(k, line["measures"]["score"]) for k, line in enumerate(lines)]
    assert len(scores) == 20
    assert [(one["_step"], one["search/score"]) for one in history(tmp_path / "run")] == scores
    assert [one["search/architecture"] for one in history(tmp_path / "run")] == [
        line["architecture"] for line in lines
    ]
    run, values = of_mlflow(offline)
    assert values("search/score") == scores
    assert run.info.status == "FINISHED" and run.info.run_name == "run"
    assert run.data.params["budget"] == "20" and run.data.params["searcher.name"] == "random"
    assert run.data.tags["versions.torch"]
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert run.data.metrics["result/score"] == result["metrics"]["score"]
    assert run.data.tags["result.architecture"] == result["architecture"]
    folder = Path(run.info.artifact_uri)
    for name in ("config.json", "metrics.jsonl", "result.json"):
        assert (folder / name).read_text() == (tmp_path / "run" / name).read_text()


@pytest.mark.slow
def test_a_network_that_ends_between_two_messages_leaves_no_step_twice(
    tmp_path: Path, offline: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lines of a fast search are sent in several messages; names may be of any language."""
    from mlflow.tracking import MlflowClient

    def measures(graph: Data, *, seed: int) -> dict[str, float]:
        return {"精度": float(graph.num_edges), "時間": 2.0, "größe %": 3.0}

    def run(logger: RunLogger) -> None:
        search(
            tmp_path / "run", logger, budget=9, evaluator=measures, objectives=["精度:max"],
            resume=(tmp_path / "run").exists(),
        )  # fmt: skip

    run(Recorder())
    sent, send = list[int](), MlflowClient.log_batch

    def fails(self: Any, run: str, metrics: Sequence[Any] = (), **others: Any) -> None:
        if sum(sent) + len(metrics) > 12:
            raise ConnectionError("no network")
        sent.append(len(metrics))
        send(self, run, metrics=metrics, **others)

    monkeypatch.setattr(gnas.loggers.MlflowLogger, "_MAX_METRICS", 6)
    monkeypatch.setattr(MlflowClient, "log_batch", fails)
    run(make_loggers(["mlflow"])[0])
    monkeypatch.setattr(MlflowClient, "log_batch", send)
    logged, values = of_mlflow(offline)
    assert values("search/時間") == [(step, 2.0) for step in range(4)]
    run(make_loggers(["mlflow"])[0])
    edges = [line["measures"]["精度"] for line in lines_of(tmp_path / "run")]
    assert values("search/精度") == [*enumerate(edges)] and len({*edges}) > 1
    assert values("search/時間") == [(step, 2.0) for step in range(9)]
    logged, _ = of_mlflow(offline)
    assert logged.data.metrics["search/größe _"] == logged.data.metrics["result/größe _"] == 3


@pytest.mark.slow
def test_trainings_by_the_real_clients(tmp_path: Path, offline: str) -> None:
    words = ["retrain", GENOTYPE, "--layers", "3", "--channels", "2", "--epochs", "2", *TINY]
    done = commands.run(
        [sys.executable, "-m", "gnas", *words, "--log", "wandb", "--log", "mlflow", "--out", "r"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert f"wandb: wandb sync {tmp_path}/r/wandb/offline-run-" in done.stderr
    assert f" in {offline}" in done.stderr
    lines = lines_of(tmp_path / "r")
    assert [(x["_step"], x["train_loss"]) for x in history(tmp_path / "r")] == [
        (line["epoch"], line["train_loss"]) for line in lines
    ]
    run, values = of_mlflow(offline)
    assert values("train_loss") == [(line["epoch"], line["train_loss"]) for line in lines]
    assert run.data.params["retrain.epochs"] == "2"


def test_a_tracker_out_of_reach_ends_nothing(
    tmp_path: Path, offline: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    loggers = make_loggers(["wandb", "mlflow"])
    run_search(NASBench201(), "random", worth, budget=3, out=tmp_path / "run", loggers=loggers)
    assert len(lines_of(tmp_path / "run")) == 3
    wandb, mlflow = [one.getMessage() for one in caplog.records if one.levelname == "WARNING"]
    assert wandb.startswith("logging to wandb ended: No API key configured")
    assert mlflow.startswith("logging to mlflow ended: API request to http://127.0.0.1:9")
    assert logged_by(tmp_path / "run") == ["wandb", "mlflow"]


def test_a_package_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(gnas.loggers, "find_spec", lambda name: None)
    for name in ("wandb", "mlflow"):
        with pytest.raises(ConfigError, match=rf"pip install 'gnas\[{name}\]'"):
            make_loggers([name])
    words = ["search", "random", "--space", "nasbench201", "--log", "wandb", "--out"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "run")])
    assert done.exit_code == 1 and done.stderr.startswith("error: logging to wandb needs")
    assert not (tmp_path / "run").exists()


def test_a_folder_of_its_name_is_no_package(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """W&B writes a folder ``wandb``, which Python would take for one."""
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ConfigError, match="needs the package wandb"):
        make_loggers(["wandb"])


@pytest.mark.parametrize("words", [["x"], ["none", "wandb"], ["wandb", "none"]])
def test_names_that_do_not_go(words: list[str]) -> None:
    options = [word for name in words for word in ("--log", name)]
    done = CliRunner().invoke(app, ["search", "random", "--space", "nasbench201", *options])
    assert done.exit_code == 2 and "--log must be wandb or mlflow, or none" in done.stderr
    with pytest.raises(ConfigError, match="unknown logger 'x'"):
        make_loggers(["x"])


def test_none_leaves_a_resumed_run_alone(tmp_path: Path) -> None:
    search(tmp_path, Recorder())
    before = (tmp_path / STATE).read_text()
    (tmp_path / STATE).write_text(before.replace("recorder", "wandb"))
    words = ["search", "random", "--resume", str(tmp_path), "--log", "none"]
    done = CliRunner().invoke(app, [*words, "--set", "seed=0"])
    assert "wandb" not in done.stderr
    assert (tmp_path / STATE).read_text() == before.replace("recorder", "wandb")


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"a": 3}', '{"a": {"x": 1}}', '{"a": {"logged": "x"}}', '{"a": {"run": 7}}'],
)
def test_a_damaged_record_of_trackers(content: str, tmp_path: Path) -> None:
    (tmp_path / STATE).write_text(content)
    for read in (lambda: RunLog(tmp_path, [Recorder()]), lambda: logged_by(tmp_path)):
        with pytest.raises(DataError, match=r"loggers\.json must be what trackers know of a run"):
            read()


def test_nothing_is_imported_unless_asked_for() -> None:
    check = (
        "import sys, gnas.cli, gnas.loggers, gnas.search; "
        "assert not {'wandb', 'mlflow'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", check], check=True)
