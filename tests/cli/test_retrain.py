"""From a genotype to a trained network to its test, as a user types it."""

from __future__ import annotations

import html
import io
import json
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from gnas.cli import app
from gnas.cli.retrain import print_retrain
from gnas.models import read_metadata
from gnas.retrain import plan_retrain
from gnas.spaces import load_space
from tests.retrain.conftest import GENOTYPE

FAST = ["--layers", "3", "--channels", "4", "--epochs", "1", "--device", "cpu"]
SMALL = ["--set", "image_size=8", "--set", "batch_size=400"]
CELL_201 = "|nor_conv_1x1~0|+|none~0|skip_connect~1|+|skip_connect~0|none~1|avg_pool_3x3~2|"


def gnas(*arguments: str | Path, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == code, done.output
    return done.stdout if code == 0 else " ".join(done.stderr.split())


def read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one training."""
    folder = tmp_path_factory.mktemp("runs")
    (folder / "found.txt").write_text(GENOTYPE)
    gnas("retrain", folder / "found.txt", "--out", folder / "run", *FAST, *SMALL,
         "--set", "val_share=0.1", "--json", folder / "result.json")  # fmt: skip
    return folder / "run"


def test_a_run_has_everything(trained: Path) -> None:
    result = read(trained / "result.json")
    assert result == read(trained.parent / "result.json")
    metrics = result["metrics"]
    assert result["valid"] and result["macs"] > result["params"] > 0
    assert metrics["best_epoch"] == 1 and metrics["best_test_acc"] == metrics["test_acc"]
    assert metrics["test_images"] == sum(map(sum, result["confusion"])) == 359
    assert len((trained / "metrics.jsonl").read_text().splitlines()) == 1
    assert list(trained.glob("events.out.tfevents.*"))
    for name in ("weights", "best"):
        card = (trained / name / "README.md").read_text()
        for part in (GENOTYPE[:40], f"{metrics['test_acc']:.2%}", "| epochs | 1 |", "torch"):
            assert part in card
        assert ("Weights of the best validation epoch" in card) == (name == "best")
        facts = read_metadata(trained / name)
        assert facts.image_size == 8 and facts.classes == tuple("0123456789")


def test_sizes_of_small_networks_are_not_rounded_to_nothing(trained: Path) -> None:
    result, target = read(trained / "result.json"), Console(width=200, file=io.StringIO())
    print_retrain({**result, "rows": [{**result["rows"][0], "params": 1234, "macs": 43_210}]},
                  trained, target)  # fmt: skip
    shown = target.file.getvalue()  # type: ignore[attr-defined]
    assert "1.23 k" in shown and "43.2 k" in shown and " 0 M" not in shown


def test_weights_do_what_they_did_at_the_end_of_their_training(trained: Path) -> None:
    told = json.loads(gnas("evaluate", trained, "--json", "-", "--device", "cpu"))
    result = read(trained / "result.json")
    for name in ("test_acc", "test_top5", "test_loss", "test_images"):
        assert told["metrics"][name] == pytest.approx(result["metrics"][name], rel=1e-5)
    assert told["confusion"] == result["confusion"]
    assert (told["params"], told["macs"]) == (result["params"], result["macs"])
    times = told["latency"]
    assert 0 < times["quartiles_ms"][0] <= times["median_ms"] <= times["quartiles_ms"][1]
    assert times["device"] and times["threads"] == torch.get_num_threads()
    assert "359 test images of digits, top-1" in gnas("evaluate", trained, "--device", "cpu")


def test_repeats_and_layers_make_one_table_that_is_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    sizes = ["--layers", "2,3", "--channels", "2", "--epochs", "1", "--repeats", "2"]
    gnas("retrain", GENOTYPE, "--out", out, *sizes, *SMALL, "--device", "cpu")
    first = read(out / "result.json")
    assert [(row["layers"], row["repeats"]) for row in first["rows"]] == [(2, 2), (3, 2)]
    for row in first["rows"]:
        values = row["test_acc"]["values"]
        assert row["test_acc"]["mean"] == pytest.approx(np.mean(values))
        assert row["test_acc"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert first["rows"][1]["params"] > first["rows"][0]["params"]
    kept = out / "layers-2" / "seed-1" / "weights" / "model.safetensors"
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    (out / "result.json").unlink()  # as if killed in the last training
    (out / "layers-3" / "seed-1" / "result.json").unlink()
    printed = gnas("retrain", "--resume", out, "--device", "cpu")
    assert read(out / "result.json")["rows"] == first["rows"]
    assert before == (kept.read_bytes(), kept.stat().st_mtime_ns)
    assert " ± " in printed and "± is one standard deviation" in " ".join(printed.split())
    assert "a new run needs a folder of its own" in gnas(
        "retrain", GENOTYPE, "--out", out, *sizes, code=1
    )
    assert "in " + str(out) + " channels is 2, not 4" in gnas(
        "retrain", "--resume", out, "--channels", "4", code=1
    )
    assert "layers is [2, 3], not [3]" in gnas(
        "retrain", "--resume", out, "--set", "layers=3", code=1
    )
    assert "dataset is 'digits', not 'cifar10'" in gnas(
        "retrain", "--resume", out, "--dataset", "cifar10", code=1
    )
    (out / "layers-3" / "seed-1" / "result.json").write_text("{")
    assert "must be the result of a training" in gnas("retrain", "--resume", out, code=1)


def test_any_space_has_a_network(tmp_path: Path) -> None:
    size = ["--layers", "1", "--channels", "4", "--epochs", "1", "--device", "cpu"]
    gnas("retrain", CELL_201, "--out", tmp_path / "201", *size, *SMALL)
    result = read(tmp_path / "201" / "result.json")
    assert result["architecture"] == CELL_201 and "genotype" not in result
    assert result["config"]["retrain"]["auxiliary_weight"] == 0
    assert read(tmp_path / "201" / "weights" / "config.json")["space"] == {
        "name": "nasbench201",
        "args": {},
    }


OWN = """from torch import nn

from gnas.spaces import DagSpace


def network(
    graph, *, in_channels=3, num_classes=10, channels=8, num_cells=1, act="relu", sizes=(1, 1)
):
    assert act in ("relu", "none") and isinstance(sizes, tuple)
    layers = [nn.Conv2d(in_channels, channels, sizes), nn.ReLU()][: 1 + (act == "relu")]
    tail = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes)]
    return nn.Sequential(*layers, *tail)


space = DagSpace(ops=("a", "b"), max_nodes=4, build=network)
"""


@pytest.mark.pictures
def test_networks_of_ones_own_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my spaces").mkdir()
    Path("my spaces/mine.py").write_text(OWN)
    own = ["--space", "my spaces/mine.py:space"]
    search = ["--dataset", "digits", "--budget", "1", "--set", "epochs=1", "--set", "sizes=[1,2]"]
    search += ["--set", "image_size=8", "--out", "found", "--report"]

    def follow(printed: str, page: str) -> list[str]:
        """The commands that are said to come next, which the page says too."""
        (line,) = (one for one in printed.splitlines() if one.startswith("next: "))
        commands = line.removeprefix("next: ").split(" | ")
        told = html.unescape(Path(page).read_text())
        assert all(f">{command}<" in told for command in commands)
        return commands

    printed = gnas("search", "random", *own, *search)
    again = "gnas retrain found --space 'my spaces/mine.py:space'"
    show = "gnas show found --space 'my spaces/mine.py:space'"
    assert follow(printed, "found/report.html") == [show, again]
    words = [*shlex.split(again)[1:], "--epochs", "1", "--set", "batch_size=256", "--out", "run"]
    unknown = "networks of 'dag' have no 'acts'; choose from "
    assert unknown in gnas(*words, "--set", "acts=none", code=1) and not Path("run").exists()
    gnas(*words, "--set", "act=none")
    gnas("report", "run")
    record = read(Path("run/config.json"))["config"]["retrain"]
    assert record["network"] == {"act": "none", "sizes": [1, 2]}
    assert "Space mine.py:space: " in Path("run/report.html").read_text()
    (row,) = read(Path("run/result.json"))["rows"]
    assert (row["layers"], row["channels"]) == (None, 8)
    resume = ["retrain", "--resume", "run", "--set", "sizes=[1,2]", "--set"]
    for setting, message in {
        "act=relu": "act is 'none', not 'relu'",
        "channels=9": "channels is 8, not 9",
        "acts=none": "unknown setting 'acts'; did you mean act?",
    }.items():
        assert message in gnas(*resume, setting, code=1)
    for command in follow(gnas(*resume, "num_cells=1"), "run/report.html"):
        gnas(*shlex.split(command)[1:])
    text = read(Path("run/result.json"))["architecture"]
    plan = plan_retrain(load_space(own[1]), text, act="none")
    assert plan.config.network == {"act": "none"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "GENOTYPE is needed"),
        (["nowhere"], 1, "GENOTYPE must be a file, a run's folder or a text 'Genotype"),
        ([GENOTYPE.replace("skip_connect", "conv_9x9")], 1, "unknown operation 'conv_9x9'"),
        ([GENOTYPE, "--layers", "8,x"], 2, "--layers: must be whole numbers like 100,200"),
        ([GENOTYPE, "--layers", "8,8"], 1, "layers must be different numbers"),
        ([GENOTYPE, "--channels", "3"], 1, "channels must be even, but got 3"),
        ([GENOTYPE, "--repeats", "0"], 1, "repeats must be at least 1, but got 0"),
        ([GENOTYPE, "--set", "nonsense=1"], 1, "unknown setting 'nonsense'; choose from"),
        ([GENOTYPE, "--set", "epochs"], 2, "--set must be NAME=VALUE"),
        ([GENOTYPE, "--set", "dataset=x"], 2, "dataset must be given by its own option alone"),
        ([GENOTYPE, "--dataset", "cifar10"], 1, "give --data-dir"),
        (
            [GENOTYPE, "--dataset", "folder", "--data-dir", "nowhere"],
            1,
            "there is none at nowhere",
        ),
        (
            [CELL_201, "--set", "stem=imagenet"],
            1,
            "networks of 'nasbench201' have no 'stem' for large",
        ),
        (["--resume", "nowhere"], 1, "must have a config.json, but nowhere has none"),
        (["--resume", "nowhere", "--member", "1"], 2, "--member is about GENOTYPE"),
        ([GENOTYPE, "--member", "1", "--epoch", "1"], 2, "of different kinds of searches"),
        ([GENOTYPE, "--device", "tpu"], 1, "device must be auto, cpu, cuda or cuda:N"),
    ],
)
def test_what_cannot_be_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in gnas("retrain", *arguments, code=code)
    assert not Path("runs").exists()


def test_weights_and_images_that_do_not_fit(trained: Path, tmp_path: Path) -> None:
    for label in range(3):
        (tmp_path / "images" / f"class{label}").mkdir(parents=True)
        for k in range(5):
            pixels = np.full((8, 8, 3), 50 * label + k, dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "images" / f"class{label}" / f"{k}.png")
    images = ["--dataset", "folder", "--data-dir", str(tmp_path / "images"), "--device", "cpu"]
    assert "must have the 10 classes of the weights, but have 3" in gnas(
        "evaluate", trained, *images, code=1
    )
    assert "weights must be a folder with" in gnas("evaluate", tmp_path, code=1)
    pickle = tmp_path / "model.pth"
    torch.save({"a": torch.zeros(1)}, pickle)
    assert "is a pickle, which can run any code" in gnas("evaluate", pickle, code=1)
    gnas("retrain", GENOTYPE, *images, *FAST, "--set", "batch_size=4", "--set", "image_size=8",
         "--out", tmp_path / "run")  # fmt: skip
    told = json.loads(gnas("evaluate", tmp_path / "run", *images, "--json", "-"))
    assert told["classes"] == ["class0", "class1", "class2"]
    assert told["metrics"]["test_top5"] is None
    (tmp_path / "images" / "class1").rename(tmp_path / "images" / "other")
    assert "but class 1 is 'class1' there and 'class2' here" in gnas(
        "evaluate", tmp_path / "run", *images, code=1
    )


def epochs_of(folder: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in line.items() if k != "seconds"} for line in lines]


def test_epochs_of_an_ended_run_may_be_raised(tmp_path: Path) -> None:
    out = tmp_path / "run"
    tiny = ["--layers", "1", "--channels", "4", "--device", "cpu", "--threads", "1", *SMALL]
    words = ["retrain", CELL_201, "--out", str(out), "--epochs", "2", "--repeats", "2", *tiny]
    told = CliRunner().invoke(app, words).stderr.splitlines()
    note = told.index("taken for an architecture of nasbench201; --space names another")
    head, *rows = [line.split() for line in told[note:] if line.split()[1] in ("epoch", "1", "2")]
    assert head == "training epoch train loss train acc %".split()  # nothing else was measured
    assert [row[:2] for row in rows] == [[f"seed-{k}", n] for k in "01" for n in "12"]
    first = [epochs_of(out / name) for name in ("seed-0", "seed-1")]
    assert "epochs is 2, not 1" in gnas("retrain", "--resume", out, "--epochs", "1", code=1)
    (out / "result.json").rename(out / "away")
    message = gnas("retrain", "--resume", out, "--epochs", "4", code=1)
    assert "epochs may be raised when a run has ended" in message
    (out / "away").rename(out / "result.json")
    facts = out / "seed-0" / "weights" / "config.json"
    whole = facts.read_text()
    facts.write_text(whole[:20])
    message = gnas("retrain", "--resume", out, "--epochs", "4", code=1)  # before it trains
    assert "need a folder of their own, but" in message
    assert epochs_of(out / "seed-0") == first[0]
    facts.write_text(whole)
    words = ["retrain", "--resume", str(out), "--epochs", "4", "--threads", "1"]
    lines = [line.split() for line in CliRunner().invoke(app, words).stderr.splitlines()]
    shown = [line[1] for line in lines if line[0].startswith("seed-")]
    assert shown == ["3", "4", "3", "4"]
    for name, before in zip(("seed-0", "seed-1"), first, strict=True):
        after = epochs_of(out / name)
        assert len(after) == 4 and after[:2] == before
        result = read(out / name / "result.json")
        assert result["raised_after"] == [2] and result["threads"] == 1
        assert result["metrics"]["epoch"] == 4
        assert after[2]["lr"] == pytest.approx(0.1 / 2)  # the longer cosine in its middle
        assert read(out / name / "config.json")["config"]["retrain"]["epochs"] == 4
    gnas("retrain", "--resume", out)  # and so it stays
    assert read(out / "result.json")["config"]["retrain"]["epochs"] == 4
    assert len(epochs_of(out / "seed-1")) == 4


def test_threads_are_bounded(tmp_path: Path) -> None:
    message = gnas("retrain", CELL_201, "--threads", "0", "--out", tmp_path / "run", code=2)
    assert "Invalid value for '--threads': must be at least 1, but got '0'" in message
