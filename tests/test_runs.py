from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from gnas import runs
from gnas.cli import checks
from gnas.errors import ConfigError, DataError, GnasError
from gnas.runs import check_folder, check_not_foreign, to_jsonable, write_result, write_run


@dataclass(frozen=True)
class Config:
    seed: int
    folder: Path


def test_plain_forms() -> None:
    value = {
        1: (1.5, float("nan"), np.float64(2), np.arange(2)),
        "c": Config(3, Path("a/b")),
        "set": {"b", "a"},
        "bool": np.True_,
    }
    assert to_jsonable(value) == {
        "1": [1.5, None, 2.0, [0, 1]],
        "c": {"seed": 3, "folder": "a/b"},
        "set": ["a", "b"],
        "bool": True,
    }


def test_a_run_leaves_all_that_explains_it(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    figure = Figure()
    figure.subplots().plot([1, 2])
    table = {"name": "t", "sha256": "ab"}
    for _ in range(2):  # a second run replaces the first
        write_run(
            folder,
            config=Config(7, tmp_path),
            result={"tau": float("inf")},
            figures={"curve": figure},
            table=table,
        )
    config = json.loads((folder / "config.json").read_text())
    assert config["config"]["seed"] == 7
    assert config["table"] == table
    assert config["device"] == "cpu"
    assert {"python", "gnas", "torch", "numpy"} <= set(config["versions"])
    assert config["git_commit"] is None or len(config["git_commit"].split("-")[0]) == 40
    assert json.loads((folder / "result.json").read_text()) == {"tau": None}
    assert (folder / "figures" / "curve.png").read_bytes()[:4] == b"\x89PNG"
    assert "</svg>" in (folder / "figures" / "curve.svg").read_text()
    assert len(list(folder.rglob("*"))) == 5  # nothing temporary is left


def test_no_commit_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "gnas" / "runs.py"))
    assert runs.environment()["git_commit"] is None


def test_asking_for_the_commit_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even a refreshed index, which a full disk would leave locked and half-written."""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    (tmp_path / "gnas").mkdir()
    (tmp_path / "gnas" / "runs.py").write_text("x")
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True)
    os.utime(tmp_path / "gnas" / "runs.py", (1, 1))  # the index is out of date, not the content
    before = (tmp_path / ".git" / "index").read_bytes()
    monkeypatch.setattr(runs, "__file__", str(tmp_path / "gnas" / "runs.py"))
    commit = runs.environment()["git_commit"]
    assert commit is not None and len(commit) == 40
    assert (tmp_path / ".git" / "index").read_bytes() == before


def test_folders_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"must be writable, but .*file"):
        check_folder(tmp_path / "file")
    with pytest.raises(ConfigError, match="Not a directory"):
        check_folder(tmp_path / "file" / "below")
    if os.geteuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(ConfigError, match="closed is not"):
            check_folder(tmp_path / "closed")


def test_links_as_folders(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    for name, target in (("good", "real"), ("loop", "loop"), ("dangling", "nowhere")):
        (tmp_path / name).symlink_to(target)
    check_folder(tmp_path / "good")
    with pytest.raises(ConfigError, match="dangling: it is a link to nothing"):
        check_folder(tmp_path / "dangling")
    with pytest.raises(ConfigError, match=r"a run's folder must be writable, but .*loop: "):
        check_folder(tmp_path / "loop")
    for early, message in (("loop", "leads to itself"), ("dangling", "link to nothing")):
        with pytest.raises(GnasError, match=message):
            checks.check_folder(tmp_path / early)


def test_a_failed_write_leaves_the_old_result(tmp_path: Path) -> None:
    write_run(tmp_path, config={}, result={"old": 1})

    class FullDisk:
        def savefig(self, fname: object, *, format: str, **options: object) -> None:
            raise OSError(28, "No space left on device")

    with pytest.raises(DataError, match="No space left on device"):
        write_run(tmp_path, config={}, result={"new": 1}, figures={"f": FullDisk()})
    assert json.loads((tmp_path / "result.json").read_text()) == {"old": 1}
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".tmp")]


def test_figures_that_cannot_be_drawn_do_not_lose_a_result(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    figure = Figure()
    figure.add_subplot().plot([-1e308, 1e308])
    write_result(tmp_path, {"score": 1e308}, {"huge": figure, "sound": Figure()})
    assert json.loads((tmp_path / "result.json").read_text()) == {"score": 1e308}
    assert sorted(path.name for path in (tmp_path / "figures").iterdir()) == [
        "sound.png", "sound.svg",
    ]  # fmt: skip
    assert "huge.png could not be drawn: " in caplog.text


@pytest.mark.parametrize("before", ['{"acc": 0.5', "[1]", '{"acc": 0.4, "seconds": 1}'])
def test_results_that_say_something_else_are_replaced(before: str, tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(before)
    for seconds in (1, 2):  # the second time says the same
        write_result(tmp_path, {"acc": 0.5, "seconds": seconds})
        assert json.loads(path.read_text()) == {"acc": 0.5, "seconds": 1}


def test_runs_of_other_commands_are_not_overwritten(tmp_path: Path) -> None:
    def write(command: str | None) -> None:
        config = {"seed": 1} if command is None else {"command": command}
        write_run(tmp_path, config=config, result={"command": command})

    for command, others, what in (
        ("retrain", ("search toponas", None), "a run of gnas retrain"),
        (None, ("retrain",), "those of an experiment"),
    ):
        (tmp_path / "config.json").unlink(missing_ok=True)
        write(command)
        write(command)
        for other in others:
            with pytest.raises(ConfigError, match=f"{what}; choose another"):
                write(other)
            with pytest.raises(ConfigError, match=f"{what}; choose another"):
                check_not_foreign(tmp_path, other)
        assert json.loads((tmp_path / "result.json").read_text())["command"] == command
    for content in ('{"format": "gnas-network"}', "[]", "{", '{"config": "x"}'):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ConfigError, match=r"a config\.json of something else"):
            write("retrain")
        assert (tmp_path / "config.json").read_text() == content
