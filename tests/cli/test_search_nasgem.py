from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from gnas.cli import app
from gnas.cli.search_nasgem import local_r2_line
from gnas.search.queues import STUDY
from gnas.spaces import space_of_text
from tests.search.nasgem.conftest import TINY, thread_worker

PARTS = ("plane", "full")
FAST = [word for name, value in TINY.items() for word in ("--set", f"{name}={value}")]


def gnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


@pytest.mark.pictures
def test_from_a_search_to_pictures_and_a_trained_network(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with thread_worker("run", out / STUDY):
        done = gnas("search", "nasgem", "--workers", "0", "--out", str(out), *FAST)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout + done.stderr
    cell = done.stdout.splitlines()[0]
    assert space_of_text(cell).from_str(cell).num_nodes >= 4
    assert "best predicted (argmax)" in done.stdout and f"run: {out}" in done.stdout
    assert "6 random cells and 2 best predicted trained, 300 scored" in done.stdout
    lines = done.stderr.splitlines()
    told = next(line for line in lines if line.startswith("-- 4 cells evaluated, best score"))
    stage = next(k for k, line in enumerate(lines) if ": 2 instead of 1 ---" in line)
    assert lines[stage].startswith("-- 2 best predicted cells, epochs of training")
    assert told.endswith(" --") and "-- 6 cells evaluated" in lines[stage - 1]
    assert lines[stage + 1].split()[0] == "6" and lines[stage + 1].endswith("*")
    read = "digits: 10 classes (0, 1, 2, ...); images: 541 for training, "
    assert done.stderr.count(read) == 1  # not by the worker, which reads them too
    heads = [line for line in done.stderr.splitlines() if line.split()[:1] == ["evaluation"]]
    assert len(heads) == 1 and {"score", "val_acc"} <= set(heads[0].split())
    result = json.loads((out / "result.json").read_text())
    assert result["architecture"] == cell and result["data"]["read"].startswith(read)
    names = {"cell", "surface", "search"}
    files = {f"{name}.{kind}" for name in names for kind in ("png", "svg")}
    assert {path.name for path in (out / "figures").iterdir()} == files
    with Image.open(out / "figures" / "surface.png") as image:
        assert image.width > 1500
    shown = gnas("show", str(out), "--out", str(tmp_path / "again"))
    assert shown.exit_code == 0 and shown.stdout.splitlines()[0] == cell
    for name in names:
        again = (tmp_path / "again" / f"{name}.png").stat().st_size
        assert abs(again / (out / "figures" / f"{name}.png").stat().st_size - 1) < 0.02
    trained = gnas(
        "retrain", str(out), "--out", str(tmp_path / "trained"), "--epochs", "1", "--channels",
        "2", "--set", "image_size=8", "--device", "cpu",
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    written = gnas("export", str(out), "--to", "python", "--out", str(tmp_path / "net.py"))
    assert written.exit_code == 0, written.output


def test_cells_of_ones_own_space_and_encoder(tmp_path: Path) -> None:
    file, encoder, out = tmp_path / "own.py", tmp_path / "own.safetensors", tmp_path / "run"
    file.write_text(
        "from gnas.spaces import DagSpace\n"
        "space = DagSpace(ops=('conv', 'pool'), max_nodes=5)\n"
        "def score(graph, *, seed):\n    return float(graph.num_edges)\n"
    )
    own = ["--space", f"{file}:space"]
    trained = gnas("encoder", "train", *own, "--steps", "3", "--out", str(encoder))
    assert trained.exit_code == 0, trained.output
    done = gnas(
        "search", "nasgem", *own, "--evaluate", f"{file}:score", "--encoder", str(encoder),
        "--iterations", "4", "--set", "top=1", "--set", "pool=20", "--out", str(out),
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    of_search, whole = {"surface", "search"}, {"architecture", "surface", "search"}
    assert {path.stem for path in (out / "figures").iterdir()} == whole
    for words, names in (([], of_search), (own, whole)):
        pictures = tmp_path / f"pictures{len(words)}"
        shown = gnas("show", str(out), *words, "--out", str(pictures))
        assert shown.exit_code == 0, shown.output
        assert {path.stem for path in pictures.iterdir()} == names
    (out / "result.json").unlink()  # as if killed, and the encoder trained anew since
    gnas("encoder", "train", *own, "--steps", "3", "--seed", "1", "--out", str(encoder))
    again = gnas("search", "nasgem", *own, "--evaluate", f"{file}:score", "--resume", str(out))
    assert again.exit_code == 1 and "its searcher was {" in again.stderr
    assert "encoder_sha256" in again.stderr and not (out / "result.json").exists()


def test_a_surface_of_too_few_scores(tmp_path: Path, no_pictures: None) -> None:
    (tmp_path / "own.py").write_text("def score(graph, *, seed):\n    return 1.0\n")
    done = gnas(
        "search", "nasgem", "--evaluate", f"{tmp_path / 'own.py'}:score", "--out",
        str(tmp_path / "run"), "--iterations", "2", "--set", "top=1", "--set", "pool=50",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    hint = "it takes 3 scores that are not all equal"
    line = f"predicted scores undefined, evaluated ones undefined: {hint}"
    head = "embedding, how well the mean of a cell's neighbours tells its score (R2, at most 1)"
    assert f"{head}: {line}\n" in done.stdout
    assert "2 random cells and 1 best predicted evaluated, 50 scored" in done.stdout
    assert "-- 1 best predicted cell ---" in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    assert ["cell", "predicted", "score"] in lines  # no columns of what no cell has
    assert "nan" not in done.stdout
    numbers = {f"{kind}_r2_{part}": 0.5 for kind in ("predicted", "trained") for part in PARTS}
    defined = "{} 0.50 in the plane of the figure and 0.50 in all coordinates"
    pair = f"{defined.format('predicted scores')}, {defined.format('evaluated ones')}"
    assert local_r2_line(numbers) == pair
    numbers["trained_r2_plane"] = numbers["trained_r2_full"] = float("nan")  # 2 scores
    one = f"{defined.format('predicted scores')}, evaluated ones undefined: {hint}"
    assert local_r2_line(numbers) == one


def test_the_budget_of_other_searchers_is_a_hint() -> None:
    done = gnas("search", "nasgem", "--budget", "20")
    assert done.exit_code == 2
    told = " ".join(done.stderr.replace("│", " ").split())
    assert "this one trains --iterations random cells and then the best predicted ones" in told
    assert "--budget" not in gnas("search", "nasgem", "--help").stdout


def test_a_cell_alone_is_drawn(tmp_path: Path) -> None:
    text = "conv_1x1,dw_sep_conv_3x3,conv_1x1|7"
    done = gnas("show", text, "--out", str(tmp_path))
    assert done.exit_code == 0 and done.stdout.splitlines()[0] == text
    assert {path.name for path in tmp_path.iterdir()} == {"cell.png", "cell.svg"}


def test_the_switches_and_json(tmp_path: Path, no_pictures: None) -> None:
    out, file = tmp_path / "run", tmp_path / "shared.db"
    switches = (
        "--no-embedding", "--prior", "watts-strogatz", "--lambda", "0.2", "--seed", "7",
        "--storage", str(file), "--study", "mine", "--set", "spread=true",
    )  # fmt: skip
    with thread_worker("mine", file):
        done = gnas(
            "search", "nasgem", "--workers", "0", "--out", str(out), "--json", "-", *switches,
            *FAST,
        )  # fmt: skip
    assert done.exit_code == 0, done.output
    config = json.loads(done.stdout)["config"]
    assert config["search"]["encoder"] == "none" and config["search"]["lambda_"] == 0.2
    assert config["search"]["prior"] == "watts-strogatz" and config["search"]["spread"] is True
    assert config["search"]["seed"] == config["images"]["seed"] == 7
    assert "best predicted" in done.stderr and not (out / STUDY).exists()
    again = gnas("search", "nasgem", "--resume", str(out), "--lambda", "0.1")
    assert again.exit_code == 1 and "lambda_ is 0.2, not 0.1" in again.stderr
    twice = gnas("search", "nasgem", "--out", str(out), *FAST)
    assert twice.exit_code == 1 and "a new run needs a folder of its own" in twice.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "folder"), "folder needs the folder of its images"),
        (
            ("--dataset", "folder", "--data-dir", "nowhere"),
            "there is none at nowhere",
        ),
        (("--dataset", "cifar10", "--data-dir", "."), "must hold cifar-10-batches-py"),
        (("--encoder", "best"), "unknown encoder 'best'; choose from"),
        (("--encoder", "my.safetensors"), "my.safetensors is none"),
        (("--encoder", "nasgem-nasbench101"), "must be one of nasgem cells"),
        (("--encoder", "nasgem-30", "--set", "num_nodes=31"), "must take cells of 31 nodes"),
        (("--set", "num_nods=8"), "unknown setting 'num_nods'; did you mean num_nodes"),
        (("--set", "percent=0"), "percent must be positive, but got 0"),
        (("--set", "num_stages=6"), "at least 32 pixels a side for 6 stages, but have 8"),
        (("--set", "final_epochs=0"), "final_epochs must be at least 1, but got 0"),
        (("--resume", "nowhere"), "must have a config.json, but nowhere has none"),
        (("--storage", "mysql://user:secret@host/db"), "postgresql"),
    ],
)
def test_refusals_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = gnas("search", "nasgem", *arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1 and "secret" not in done.stderr


def test_wrong_usage(tmp_path: Path) -> None:
    both = gnas("search", "nasgem", "--no-embedding", "--encoder", "nasgem-30")
    assert both.exit_code == 2
    assert gnas("search", "nasgem", "--prior", "complete").exit_code == 2
    assert gnas("search", "nasgem", "--workers", "-1").exit_code == 2
    resumed = gnas("search", "nasgem", "--resume", str(tmp_path), "--out", str(tmp_path))
    assert resumed.exit_code == 2
