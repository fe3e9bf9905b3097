from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from gnas.cli import app
from gnas.data.images.subsets import read_subset
from gnas.models import num_macs, num_params
from gnas.spaces import space_of_record
from gnas.spaces.toponas.genotype import Genotype

SMALL = ("channels=2", "num_cells=3", "batch_size=400", "image_size=8")
FAST = (*(word for setting in SMALL for word in ("--set", setting)), "--num-nodes", "4")


def gnas(*arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments])


def image_folder(folder: Path, count: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for k, name in enumerate(("cat", "dog")):
        (folder / "train" / name).mkdir(parents=True)
        for row in range(count):
            pixels = rng.integers(100 * k, 100 * k + 50, (40, 36, 3), np.uint8)
            Image.fromarray(pixels).save(folder / "train" / name / f"{row}.jpg")
    return folder


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize(("chosen", "used"), [((), 1), (("--threads", "2"), 2)])
def test_small_networks_take_one_thread(
    chosen: tuple[str, ...], used: int, tmp_path: Path
) -> None:
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        out = str(tmp_path / "run")
        sizes = ["--space", "nasbench201", *FAST[:-2], "--set", "num_cells=1"]  # fewest steps
        done = gnas("search", "toponas", "--out", out, "--epochs", "1", *sizes, *chosen)
        assert done.exit_code == 0, done.output
        assert json.loads((tmp_path / "run" / "result.json").read_text())["threads"] == used
    finally:
        torch.set_num_threads(before)


def test_a_search_leaves_all_that_explains_it(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done = gnas("search", "toponas", "--out", str(out), "--epochs", "2", "--seed", "5", *FAST)
    assert done.exit_code == 0, done.output
    assert "\x1b" not in done.stdout + done.stderr
    genotype = Genotype.parse(done.stdout.splitlines()[0])
    assert f"run: {out}" in done.stdout
    printed = done.stdout + done.stderr
    assert all(sign == "\n" or sign.isprintable() for sign in printed)
    assert printed.count("Genotype(") == 1  # at the end alone
    lines = done.stderr.splitlines()
    (head,) = (row for row, line in enumerate(lines) if line.startswith("epoch  train loss"))
    table = [line.split() for line in lines[head + 1 : head + 3]]
    assert [cells[0] for cells in table] == ["1", "2"]
    assert len(lines[head]) == len(lines[head + 1]) == len(lines[head + 2])
    result = json.loads((out / "result.json").read_text())
    assert result["command"] == "search toponas"
    assert Genotype.parse(json.dumps(result["genotype"])) == genotype
    assert {"params", "macs", "seconds", "metrics", "data", "derived"} <= result.keys()
    assert table[1][1] == f"{result['metrics']['train_loss']:.3f}"
    share = result["undecided"]["operations"]  # two epochs decide nothing
    cells = [result["metrics"][f"alpha_entropy_{cell}"] for cell in ("normal", "reduce")]
    assert share == pytest.approx(np.mean(cells) / np.log(7)) and share > 0.95
    assert f"undecided: the entropy of operations is {share:.0%} of that" in done.stdout
    assert "edges" not in result["undecided"]  # of four nodes, there is nothing to choose
    space = space_of_record(result["space"])
    space.validate(space.from_str(result["architecture"]))
    other = space.network(space.from_str(result["random"]["architecture"]),
                          space.network_config(**result["network"]))  # fmt: skip
    assert result["random"]["params"] == num_params(other)
    assert result["random"]["macs"] == num_macs(other, (1, 8, 8))
    assert "a random cell of the same space, in the same network:" in done.stdout
    assert result["config"]["search"]["seed"] == result["config"]["images"]["seed"] == 5
    config = json.loads((out / "config.json").read_text())
    assert config["device"] in ("cpu", "cuda") and "torch" in config["versions"]
    assert config["data"] == result["data"] and len(config["data"]["train_sha256"]) == 64
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    assert len(list((out / "figures").glob("*.svg"))) >= 3
    assert (out / "history.safetensors").exists() and list(out.glob("events.*"))


@pytest.mark.usefixtures("no_pictures")
def test_json_to_stdout_and_the_switches(tmp_path: Path) -> None:
    switches = {
        "--method": "milenas", "--topology": "fixed", "--k": "2", "--mode": "input",
        "--update": "joint", "--order": "2", "--regulariser": "1.5", "--num-nodes": "5",
    }  # fmt: skip
    words = [word for pair in switches.items() for word in pair]
    out = str(tmp_path / "run")
    done = gnas("search", "toponas", "--out", out, "--json", "-", "--epochs", "1", *FAST, *words)
    assert done.exit_code == 0, done.output
    config = json.loads(done.stdout)["config"]["search"]
    for name, value in switches.items():
        assert str(config[name[2:].replace("-", "_")]) == value
    assert "Genotype(" in done.stderr


def test_a_search_of_another_space(tmp_path: Path) -> None:
    out = tmp_path / "run"
    sizes = ["--set", "batch_size=400", "--set", "image_size=8", "--set", "num_cells=1"]
    sizes += ["--epochs", "2"]
    done = gnas(
        "search", "toponas", "--space", "nasbench201", "--relaxation", "gumbel", *sizes,
        "--out", str(out), "--set", "temperature=[2.0,0.5]",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "channels 16, cells_per_stage 5" in " ".join(done.stdout.split())
    result = json.loads((out / "result.json").read_text())
    assert result["space"]["name"] == "nasbench201" and result["architecture"].startswith("|")
    assert result["config"]["search"]["channels"] == 8 and result["genotype"] is None
    assert result["config"]["search"]["temperature"] == [2.0, 0.5]
    assert {path.stem for path in (out / "figures").iterdir()} == {
        "architecture", "metrics", "variables",
    }  # fmt: skip
    shown = gnas("show", str(out), "--out", str(tmp_path / "figures"))
    assert shown.exit_code == 0 and result["architecture"] in shown.stdout
    trained = gnas(
        "retrain", str(out), "--epochs", "1", "--set", "batch_size=400", "--set", "image_size=8",
        "--set", "channels=4", "--set", "layers=1", "--out", str(tmp_path / "trained"),
    )  # fmt: skip
    assert trained.exit_code == 0, trained.output
    earlier = gnas(
        "retrain", str(out), "--epoch", "1", "--epochs", "1", "--set", "batch_size=400", "--set",
        "image_size=8", "--channels", "4", "--layers", "1", "--out", str(tmp_path / "earlier"),
    )  # fmt: skip
    assert earlier.exit_code == 0, earlier.output
    first = json.loads((out / "metrics.jsonl").read_text().splitlines()[0])["genotype"]
    assert json.loads((tmp_path / "earlier" / "result.json").read_text())["architecture"] == first
    wrong = gnas("retrain", str(out), "--epoch", "3")
    assert wrong.exit_code == 1 and "epoch must be in [1, 2]" in " ".join(wrong.output.split())
    again = gnas("search", "toponas", "--resume", str(out), "--space", "darts")
    assert again.exit_code == 2 and "as it began" in again.output


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("baseline", ["darts", "darts-outputs", "milenas"])
def test_baselines(tmp_path: Path, baseline: str) -> None:
    out = tmp_path / "run"
    done = gnas(
        "search", "toponas", "--out", str(out), "--epochs", "1", "--baseline", baseline, *FAST
    )
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text())
    assert result["config"]["search"]["topology"] == "none"
    assert [part["name"] for part in result["data"]["parts"]] == ["train", "val"]


@pytest.mark.usefixtures("no_pictures")
def test_a_list_of_images_and_a_search_on_it(tmp_path: Path) -> None:
    folder, path = image_folder(tmp_path / "images"), tmp_path / "list.txt"
    done = gnas(
        "data", "subset", str(folder), "--percent", "50", "--seed", "1", "--out", str(path),
        "--json", "-",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert (facts["images"], facts["classes"]) == (12, 2)
    assert len(read_subset(path, folder).names) == 12
    out = tmp_path / "run"
    options = ["--dataset", "folder", "--data-dir", str(folder), "--images", str(path)]
    sizes = [*FAST, "--set", "batch_size=2"]
    done = gnas("search", "toponas", *options, "--out", str(out), "--epochs", "1", *sizes)
    assert done.exit_code == 0, done.output
    assert "left out 3 of 12 listed images, which trainings on" in done.stderr
    data = json.loads((out / "result.json").read_text())["data"]
    assert data["list_sha256"] == facts["sha256"]
    assert sum(part["images"] for part in data["parts"]) == 9  # three are held out


@pytest.mark.usefixtures("no_pictures")
def test_imagenet_with_its_own_stem(tmp_path: Path) -> None:
    folder, out = image_folder(tmp_path / "images"), tmp_path / "run"
    done = gnas(
        "search", "toponas", "--dataset", "imagenet-3pct", "--data-dir", str(folder),
        "--out", str(out), "--epochs", "1", *FAST, "--set", "image_size=32",
        "--set", "percent=50", "--set", "batch_size=4", "--set", "workers=0",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    result = json.loads((out / "result.json").read_text())
    assert result["config"]["search"]["stem"] == "imagenet"
    assert len((out / "images.txt").read_text().splitlines()) == 12
    assert (out / "images.txt.sha256").read_text().split()[0] == result["data"]["list_sha256"]
    again = gnas("search", "toponas", "--resume", str(out))
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[0] == done.stdout.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--dataset", "folder"), "folder needs the folder of its images"),
        (
            ("--dataset", "folder", "--data-dir", "nowhere"),
            "there is none at nowhere",
        ),
        (("--dataset", "cifar10", "--data-dir", "."), "must hold cifar-10-batches-py"),
        (("--device", "cuda:99"), "device cuda:99 must exist"),
        (("--device", "tpu"), "device must be auto, cpu, cuda or cuda:N, but got 'tpu'"),
        (("--set", "batch_size=5000"), "batch_size must be between 1 and the"),
        (("--set", "chanels=4"), "unknown setting 'chanels'; did you mean channels"),
        (("--set", "channels=3"), "channels must be a multiple of 2"),
        (("--set", "channels=many"), "channels must be a whole number, but got 'many'"),
        (("--set", "lr=0"), "lr must be positive, but got 0"),
        (("--resume", "nowhere"), "must have a config.json, but nowhere has none"),
    ],
)
def test_refusals_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = gnas("search", "toponas", *arguments)
    assert done.exit_code == 1, done.output
    assert done.stderr.startswith("error: ") and message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.usefixtures("no_pictures")
def test_wrong_usage_and_another_config(tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert gnas("search", "toponas", "--set", "epochs").exit_code == 2
    assert gnas("search", "toponas", "--method", "x").exit_code == 2
    assert gnas("search", "toponas", "--k", "1", "--set", "k=2").exit_code == 2
    for setting in ("dataset=cifar10", "space=nasbench201", "size=cpu", "baseline=darts"):
        assert gnas("search", "toponas", "--set", setting).exit_code == 2
    assert gnas("search", "toponas", "--resume", str(out), "--out", str(out)).exit_code == 2
    done = gnas("search", "toponas", "--out", str(out), "--epochs", "1", *FAST)
    assert done.exit_code == 0, done.output
    other = gnas("search", "toponas", "--resume", str(out), "--epochs", "9", "--seed", "0")
    assert other.exit_code == 1 and "epochs is 1, not 9" in other.stderr
    moved = gnas("search", "toponas", "--resume", str(out), "--dataset", "cifar10")
    assert moved.exit_code == 1 and "dataset is 'digits', not 'cifar10'" in moved.stderr
    same = gnas("search", "toponas", "--resume", str(out), "--dataset", "digits")
    assert same.exit_code == 0, same.output
    twice = gnas("search", "toponas", "--out", str(out), "--epochs", "1", *FAST)
    assert twice.exit_code == 1 and "has one; go on with --resume" in twice.stderr
