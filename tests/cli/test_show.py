from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner

from gnas.cli import app
from gnas.search import run_search
from gnas.spaces import NASBench201
from tests.search.evaluations import convolutions

TEXT = (
    "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=[2], "
    "reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 1)], reduce_concat=range(2, 3))"
)


@pytest.mark.pictures
def test_text_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("found.txt").write_text(f"epoch 3: {TEXT}\n")
    nested = {
        "normal": [[["skip_connect", 0], ["sep_conv_3x3", 1]]],
        "normal_concat": [2],
        "reduce": [[["max_pool_3x3", 0], ["dil_conv_5x5", 1]]],
        "reduce_concat": [2],
    }
    Path("found.json").write_text(json.dumps(nested))
    Path("result.json").write_text(json.dumps({"genotype": nested, "valid": True}))
    for name in ("found.txt", "found.json"):
        Path(f"bom-{name}").write_text(Path(name).read_text(), encoding="utf-8-sig")
    printed = set()
    files = ("found.txt", "found.json", "result.json", "bom-found.txt", "bom-found.json")
    for what in (TEXT, *files):
        done = CliRunner().invoke(app, ["show", what, "--out", "pictures"])
        assert done.exit_code == 0, done.stderr
        printed.add(done.stdout)
        with Image.open("pictures/normal.png") as image:
            assert image.width > 500
    assert len(printed) == 1
    assert set(Path("pictures").iterdir()) == {
        Path("pictures") / f"{cell}.{kind}"
        for cell in ("normal", "reduce")
        for kind in ("png", "svg")
    }


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("nowhere", "GENOTYPE must be a file, a run's folder or a text"),
        ("Genotype(normal=__import__('os'))", "must hold only strings, numbers, lists"),
        ("{}", "a genotype must have exactly"),
        (".", "must have a config.json"),
        ("binary", "must be a file with a genotype, but: it is not text"),
    ],
)
def test_what_cannot_be_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(b"\xff\xfe\x00\x81")
    done = CliRunner().invoke(app, ["show", what, "--out", "pictures"])
    assert done.exit_code == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("error: ")
    assert re.search(message, done.stderr), done.stderr
    assert not Path("pictures").exists()


def training_run(folder: Path) -> Path:
    """A run of two trainings, one of which has finished two epochs."""
    from gnas.retrain.plan import plan_retrain
    from gnas.retrain.run import _asked
    from gnas.runs import write_config
    from gnas.spaces import NASBench201
    from gnas.training.recording import METRICS

    plan = plan_retrain(
        NASBench201(), "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|", repeats=2
    )
    write_config(folder, _asked(plan))
    (folder / "seed-0").mkdir()
    lines = [
        {"epoch": k, "train_loss": 1 / k, "train_acc": 0.5, "lr": 0.1, "val_acc": 0.4}
        for k in (1, 2)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "seed-0" / METRICS).write_text(text)
    return folder


@pytest.mark.pictures
def test_trainings(tmp_path: Path) -> None:
    run = training_run(tmp_path / "run")
    result = CliRunner().invoke(app, ["show", str(run)])
    assert result.exit_code == 0, result.output
    assert (run / "figures" / "training.png").stat().st_size > 10_000
    with (run / "seed-0" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3, "train_lo')  # is being written, or was when it was killed
    assert CliRunner().invoke(app, ["show", str(run)]).exit_code == 0
    (run / "seed-0" / "metrics.jsonl").write_text('{"epoch": []}\n')
    result = CliRunner().invoke(app, ["show", str(run)])
    assert result.exit_code == 1 and "must be the metrics of a training" in result.stderr
    (run / "seed-0" / "metrics.jsonl").unlink()
    result = CliRunner().invoke(app, ["show", str(run)])
    assert result.exit_code == 1 and "must have finished an epoch" in result.stderr


@pytest.mark.parametrize("searcher", ["nasgem", "random"])
def test_a_search_of_a_program_of_one_s_own(tmp_path: Path, searcher: str) -> None:
    settings = {"num_initial": 3, "pool": 20} if searcher == "nasgem" else {}
    found = run_search(
        NASBench201(), searcher, convolutions, budget=5, settings=settings, out=tmp_path / "run"
    )
    done = CliRunner().invoke(app, ["show", str(tmp_path / "run")])
    assert done.exit_code == 0, done.stderr
    assert done.stdout.startswith(found.architecture)
    assert (tmp_path / "run" / "figures" / "progress.png").exists()
    done = CliRunner().invoke(app, ["search", searcher, "--resume", str(tmp_path / "run")])
    assert done.exit_code == 1 and "but: a program called run_search, and goes" in done.stderr


@pytest.mark.parametrize("command", [["search", "toponas"], ["search", "nasgem"]])
def test_a_run_of_another_command_is_named(tmp_path: Path, command: list[str]) -> None:
    run = training_run(tmp_path / "run")
    result = CliRunner().invoke(app, [*command, "--resume", str(run)])
    assert result.exit_code == 1
    expected = f"run must be a run of gnas {' '.join(command)}, but is one of gnas retrain\n"
    assert result.stderr.endswith(expected)
