"""A search, its training, test and export speak of the same images and the same network."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data.images.config import NumberedImagesConfig
from gnas.errors import DataError
from gnas.evaluate import TrainingEvaluator
from gnas.models import read_metadata
from gnas.report.formats import format_number
from gnas.retrain.source import run_source
from gnas.search import run_search
from gnas.spaces import NASBench201
from gnas.training.recipe import ProxyRecipe
from tests.cli.conftest import without_pictures

pytestmark = pytest.mark.usefixtures("no_pictures")


def gnas(*words: str | Path, code: int = 0) -> tuple[str, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.stdout, done.stderr


def read(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A search in a folder of three classes, and a training of what it found."""
    place = tmp_path_factory.mktemp("runs")
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "eel"):
        (place / "pets" / name).mkdir(parents=True)
        for k in range(12):
            pixels = rng.integers(0, 256, (12, 12, 3), np.uint8)
            Image.fromarray(pixels).save(place / "pets" / name / f"{k}.png")
    small = [f"--set={name}" for name in ("channels=2", "num_cells=3", "stem_multiplier=1")]
    with without_pictures():
        out, err = gnas(
            "search", "toponas", "--dataset", "folder", "--data-dir", place / "pets", "--epochs",
            "1", "--num-nodes", "4", "--set=image_size=10", *small, "--device", "cpu",
            "--out", place / "found",
        )  # fmt: skip
    (place / "found.out").write_text(out + err)
    out, err = gnas("retrain", place / "found", "--out", place / "trained", "--epochs", "1",
                    "--layers", "3", "--channels", "4", "--device", "cpu")  # fmt: skip
    (place / "trained.out").write_text(out + err)
    logging.getLogger("gnas").handlers.clear()
    yield place


def test_one_search_has_one_network(runs: Path, tmp_path: Path) -> None:
    found = read(runs / "found" / "result.json")
    size = found["network"]
    assert (size["num_cells"], size["channels"], size["num_classes"]) == (12, 32, 3)
    printed = (runs / "found.out").read_text()
    params = format_number(found["params"], "count", digits=3)
    assert f"build it from this run: channels 32, num_cells 12, {params} parameters" in printed
    out, _ = gnas("export", runs / "found", "--to", "safetensors", "--out", tmp_path / "net",
                  "--json", tmp_path / "net.json")  # fmt: skip
    exported = read(tmp_path / "net.json")
    assert (exported["params"], exported["macs"]) == (found["params"], found["macs"])
    assert "3x10x10, 3 classes, untrained weights, size of search toponas" in out
    facts = read_metadata(tmp_path / "net")
    assert (facts.image_size, facts.config.num_classes) == (10, 3)
    assert facts.classes == ("cat", "dog", "eel")
    assert np.allclose(facts.mean, 0.5, atol=0.1) and np.allclose(facts.std, 0.25, atol=0.05)
    source = run_source(runs / "found")
    assert source is not None
    assert source.settings()["layers"] == (12,) and source.settings()["channels"] == 32


def test_an_export_is_for_the_data_of_its_run(runs: Path, tmp_path: Path) -> None:
    out, _ = gnas("search", "random", "--space", "nasgem(num_nodes=5)", "--dataset", "folder",
                  "--data-dir", runs / "pets", "--budget", "2", "--set=epochs=1",
                  "--set=image_size=10", "--out", tmp_path / "run")  # fmt: skip
    assert "as trained here, and as gnas retrain and gnas export build it from this run: " in out
    gnas("export", tmp_path / "run", "--to", "safetensors", "--out", tmp_path / "net", "--json",
         tmp_path / "net.json")  # fmt: skip
    exported, found = read(tmp_path / "net.json"), read(tmp_path / "run" / "result.json")
    assert exported["params"] == found["metrics"]["num_params"]
    assert exported["macs"] == found["metrics"]["macs"]
    gnas("export", runs / "trained", "--to", "onnx", "--out", tmp_path / "net.onnx",
         "--dynamic-size")  # fmt: skip
    model = onnxruntime.InferenceSession(tmp_path / "net.onnx")
    told = model.get_modelmeta().custom_metadata_map
    assert json.loads(told["classes"]) == ["cat", "dog", "eel"]
    assert (told["num_classes"], told["image_size"]) == ("3", "10")
    assert np.allclose(json.loads(told["mean"]), 0.5, atol=0.1)
    images = np.zeros((4, 3, 12, 16), np.float32)
    assert model.run(None, {"images": images})[0].shape == (4, 3)
    facts = read_metadata(tmp_path / "net")  # every format is told the same, see tests/export
    assert facts.classes == ("cat", "dog", "eel")
    assert (facts.config.num_classes, facts.image_size) == (3, 10)
    assert np.allclose(facts.mean, 0.5, atol=0.1)


def test_an_export_of_several_searches_is_for_their_data(tmp_path: Path) -> None:
    small = ("--set=channels=2", "--set=num_cells=3", "--set=image_size=8", "--set=batch_size=400")
    gnas("search", "toponas", "--select", "--seeds", "1", "--repeats", "2", "--epochs", "1",
         "--num-nodes", "4", *small, "--retrain", "epochs=1", "--retrain", "channels=2",
         "--retrain", "layers=3", "--retrain", "batch_size=400",
         "--out", tmp_path / "run")  # fmt: skip
    found = read(tmp_path / "run" / "result.json")
    gnas("export", tmp_path / "run", "--to", "safetensors", "--out", tmp_path / "net")
    facts = read_metadata(tmp_path / "net")
    assert (facts.config.in_channels, facts.config.num_classes) == (1, 10)
    assert facts.classes == tuple("0123456789") and len(facts.mean) == len(facts.std) == 1
    out, _ = gnas("export", tmp_path / "run", "--to", "python", "--out", tmp_path / "net.py")
    assert (
        f"{found['params']:,} parameters, {found['macs']:,} multiply-accumulates for 1x8x8" in out
    )
    _, err = gnas("export", tmp_path / "run" / "final", "--to", "python", "--out",
                  tmp_path / "net.py", code=1)  # fmt: skip
    assert "its trainings have their own" in err and "final/seed-1" in err


def test_a_training_takes_the_images_of_its_search(runs: Path) -> None:
    config = read(runs / "trained" / "config.json")
    images = config["config"]["images"]
    assert (images["dataset"], images["data_dir"]) == ("folder", str(runs / "pets"))
    assert images["image_size"] == config["data"]["image_size"] == 10
    retrain = config["config"]["retrain"]
    assert (retrain["layers"], retrain["channels"]) == (3, 4)  # as was asked for
    printed = (runs / "trained.out").read_text()
    assert f"as in {runs / 'found'} (search toponas): folder in {runs / 'pets'}, 10x10" in printed
    assert "3 classes (cat, dog, eel); images: 29 for training, 7 for testing; 12x12" in printed


def test_an_evaluation_takes_the_images_of_its_training(runs: Path, tmp_path: Path) -> None:
    told = read(runs / "trained" / "result.json")
    for weights in (runs / "trained", runs / "trained" / "weights"):
        out, err = gnas("evaluate", weights, "--device", "cpu", "--json", tmp_path / "e.json")
        found = read(tmp_path / "e.json")
        assert found["metrics"]["test_acc"] == told["metrics"]["test_acc"]
        assert found["data"]["dataset"] == "folder" and "7 test images of folder" in out
        assert f"as in {runs / 'trained'} (retrain): folder in" in err
        assert "images: 7 for testing; 12x12 pixels, resized to 10x10" in err


def test_options_override_the_run(runs: Path, tmp_path: Path) -> None:
    _, err = gnas("retrain", runs / "found", "--dataset", "digits", "--epochs", "1", "--layers",
                  "3", "--channels", "2", "--set", "batch_size=400", "--device", "cpu", "--out",
                  tmp_path / "r")  # fmt: skip
    assert "as in" not in err
    images = read(tmp_path / "r" / "config.json")["config"]["images"]
    assert (images["dataset"], images["data_dir"], images["image_size"]) == ("digits", None, None)
    _, err = gnas("evaluate", runs / "trained", "--dataset", "digits", "--device", "cpu", code=1)
    assert "must have the 3 classes of the weights, but have 10" in err
    moved = copytree(runs / "pets", tmp_path / "moved")
    _, err = gnas("evaluate", runs / "trained", "--data-dir", moved, "--device", "cpu")
    assert f"(retrain): folder in {moved}, 10x10 pixels" in err
    _, err = gnas("evaluate", runs / "trained", "--data-dir", tmp_path / "none", code=1)
    assert "--data-dir must be a folder, but there is none at" in err


@pytest.mark.parametrize(
    "text",
    ["[]", "{", '{"config": {"images": {}}}', "[" * 100_000,
     '{"config": {"command": 1, "images": {"dataset": [], "data_dir": 3}}, "data": 0}',
     '{"config": {"images": {"dataset": "folder", "data_dir": 3}}, "data": {"image_size": 8}}',
     '{"config": {"images": {"dataset": "digits", "data_dir": 1.5}}, "data": {"image_size": 8}}'],
)  # fmt: skip
def test_damaged_runs_are_one_error(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config\.json must be "):
        run_source(tmp_path)


@pytest.mark.parametrize("command", [("retrain",), ("export", "--to", "python")])
def test_a_run_that_has_not_ended_has_no_architecture(
    runs: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    run = copytree(runs / "found", tmp_path / "found")
    (run / "result.json").unlink()
    _, told = gnas(*command, run, "--out", tmp_path / "net.py", code=1)
    assert f"{run} has no result.json; go on with --resume {run}\n" in told


def test_what_is_no_run(tmp_path: Path) -> None:
    assert run_source(tmp_path) is None
    (tmp_path / "config.json").write_text('{"config": {"samples": 5}}')
    assert run_source(tmp_path) is None


@pytest.mark.parametrize("kind", ["digits", "folder"])
def test_a_programs_search_on_numbers_of_images(runs: Path, tmp_path: Path, kind: str) -> None:
    images = NumberedImagesConfig(
        dataset=kind,  # type: ignore[arg-type]
        data_dir=None if kind == "digits" else str(runs / "pets"),
        image_size=8,
        num_train=20,
    )
    evaluator = TrainingEvaluator(images, ProxyRecipe(epochs=1))
    run_search(NASBench201(), "random", evaluator, budget=1, out=tmp_path / "run")
    source = run_source(tmp_path / "run")
    assert source is not None
    assert (source.dataset, source.data_dir, source.image_size) == (kind, None, 8)
    assert source.settings()["channels"] == 8
    where: list[str | Path] = [] if kind == "digits" else ["--data-dir", runs / "pets"]
    gnas("retrain", tmp_path / "run", "--epochs", "1", "--out", tmp_path / "trained", *where)
    told = read(tmp_path / "trained" / "config.json")
    assert told["config"]["images"]["dataset"] == kind and told["data"]["image_size"] == 8


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (["nasgem", "--iterations", "4", "--set=pool=20", "--set=top=1", "--set=num_nodes=5",
          "--no-embedding"], "num_stages"),
        (["random", "--space", "nasbench101", "--budget", "1"], "num_stacks"),
    ],
)  # fmt: skip
def test_stages_of_a_search_are_those_of_its_training(
    runs: Path, tmp_path: Path, words: list[str], field: str
) -> None:
    out, trained = tmp_path / "run", tmp_path / "trained"
    size = ["--set=epochs=1", f"--set={field}=2", "--set=image_size=8"]
    size += ["--set=final_epochs=1"] if words[0] == "nasgem" else []
    gnas("search", *words, "--dataset", "folder", "--data-dir", runs / "pets", *size, "--out", out)
    params = read(out / "result.json")["params"]
    gnas("export", out, "--to", "python", "--out", tmp_path / "a.py", "--json", tmp_path / "a")
    gnas("retrain", out, "--epochs", "1", "--out", trained)
    gnas("export", trained, "--to", "safetensors", "--out", tmp_path / "b", "--json",
         tmp_path / "b.json")  # fmt: skip
    gnas("evaluate", trained, "--json", tmp_path / "c.json")
    told = read(trained / "result.json")
    assert told["config"]["retrain"]["network"] == {field: 2} and told["params"] == params
    assert {read(tmp_path / name)["params"] for name in ("a", "b.json", "c.json")} == {params}
    _, err = gnas("retrain", "--resume", trained, f"--set={field}=3", code=1)
    assert f"{field} is 2, not 3" in err
    gnas("retrain", "--resume", trained, f"--set={field}=2")
    again = tmp_path / "again"
    gnas("retrain", out, "--epochs", "1", f"--set={field}=1", "--out", again)
    assert read(again / "result.json")["params"] < params
    gnas("retrain", trained, "--epochs", "1", "--out", tmp_path / "third")  # a training's, too
    assert read(tmp_path / "third" / "result.json")["params"] == params


def test_fields_that_networks_of_the_space_have_not(tmp_path: Path) -> None:
    cell = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
    out = tmp_path / "run"
    _, err = gnas("retrain", cell, "--set=num_stages=2", "--out", out, code=1)
    assert "networks of 'nasbench201' have no 'num_stages'" in err and not out.exists()
