from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from gnas.cli import app
from gnas.models import load_network, num_params

CELLS = (
    "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=[2], "
    "reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 1)], reduce_concat=[2])"
)
SIZE = ("--layers", "3", "--channels", "4")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def gnas(*words: str) -> Result:
    return CliRunner().invoke(app, ["export", *words])


def done(*words: str) -> Result:
    result = gnas(*words)
    assert result.exit_code == 0, result.stderr
    return result


def test_from_a_genotype_to_a_folder_to_a_python_file() -> None:
    first = done(CELLS, "--to", "safetensors", "--out", "net", *SIZE, "--classes", "7")
    assert first.stdout.splitlines()[0] == "net"
    assert "7 classes, untrained weights, default size but for " in first.stdout
    network, facts = load_network(Path("net"))
    assert (facts.image_size, facts.config.num_classes) == (32, 7)
    second = done("net", "--to", "python", "--out", "net.py", "--json", "-")
    record = json.loads(second.stdout)
    assert record["files"] == ["net.py", "net.safetensors"]
    assert record["architecture"] == CELLS
    assert record["trained"] is False
    assert record["largest_difference"] is None
    assert (record["params"], record["macs"]) == (num_params(network), 826_480)
    weights = load_file("net.safetensors")
    assert all(torch.equal(value, weights[name]) for name, value in network.state_dict().items())


def test_a_genotype_has_no_weights_worth_keeping_beside_a_python_file() -> None:
    done(CELLS, "--to", "python", "--out", "net.py", *SIZE)
    assert os.listdir() == ["net.py"]


def test_a_training_is_exported_with_its_weights() -> None:
    done(CELLS, "--to", "safetensors", "--out", "run/weights", *SIZE)
    Path("run/result.json").write_text(json.dumps({"architecture": CELLS}))
    told = done("run", "--to", "python", "--out", "net.py", "--json", "out.json").stdout
    assert "outputs agree with the network bit by bit\n" in told
    weights = load_network(Path("run/weights"))[0].state_dict()
    found = load_file("net.safetensors")
    assert all(torch.equal(value, found[name]) for name, value in weights.items())


def test_half_of_a_result_is_no_list_of_cells() -> None:
    Path("run").mkdir()
    cells = [f"|none~0|+|none~0|{op}~1|+|none~0|none~1|none~2|" for op in ("none", "nor_conv_3x3")]
    text = json.dumps({"architecture": cells[0], "evaluations": cells})
    Path("run/result.json").write_text(text[:-1])
    run = gnas("run", "--to", "python", "--out", "net.py")
    assert run.exit_code == 1
    assert "run/result.json must be a run's result, but is no JSON: Expecting" in run.output


def test_programs_are_compared() -> None:
    Path("cell.txt").write_text("conv_1x1,dw_sep_conv_3x3|1\n")
    one = done("cell.txt", "--to", "pt2", "--out", "net.pt2", "--set", "num_stages=1")
    assert re.search(r"outputs agree with the network within \d", one.stdout)
    words = ("--to", "onnx", "--out", "net.onnx", "--image-size", "8", "--set", "num_stages=1")
    assert "multiply-accumulates for 3x8x8" in done("cell.txt", *words).stdout


def test_seeds_and_forms_of_genotypes() -> None:
    for name, seed in (("a", "0"), ("b", "0"), ("c", "1")):
        form = ("--stem", "imagenet", "--seed", seed)
        done(CELLS, "--to", "safetensors", "--out", name, *SIZE, *form)
    a, b, c = (load_network(Path(name))[0].state_dict() for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["classifier.weight"], c["classifier.weight"])
    assert load_network(Path("a"))[1].image_size == 224


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((CELLS, "--to", "onnx", "--out", "net.pt"), "the output of 'onnx' must end in .onnx"),
        ((CELLS, "--to", "tf", "--out", "net"), "the form must be one of"),
        (("nowhere", "--to", "python", "--out", "net.py"), "but there is no nowhere"),
        (("cell.pth", "--to", "python", "--out", "net.py"), "cell.pth is a pickle, which can run"),
        (("run", "--to", "python", "--out", "net.py"), "must be a sound safetensors file"),
        (
            (CELLS.replace("skip_connect", "conv_7x7"), "--to", "python", "--out", "net.py"),
            "unknown operation 'conv_7x7'",
        ),
        (
            ("|none~0|+|none~0|none~1|", "--to", "python", "--out", "net.py"),
            "a cell of 'nasbench201' must be written",
        ),
        (
            (CELLS, "--to", "python", "--out", "net.py", "--set", "depth=3"),
            "unknown setting 'depth'; choose from",
        ),
        (
            (CELLS, "--to", "python", "--out", "net.py", "--channels", "3"),
            "channels must be even, but got 3",
        ),
        (
            (CELLS, "--to", "python", "--out", "net.py", "--image-size", "0"),
            "image_size must be 1 to 4096 pixels, but got 0",
        ),
        (
            ("good", "--to", "python", "--out", "net.py", "--classes", "3"),
            r"saved weights have their size, so \['num_classes'\] must not be given",
        ),
        (
            ("good", "--to", "python", "--out", "net.py", "--seed", "0"),
            "seed does nothing in this export: it needs a GENOTYPE, which has no weights",
        ),
    ],
)
def test_one_clear_line(words: tuple[str, ...], message: str) -> None:
    done(CELLS, "--to", "safetensors", "--out", "good", *SIZE)
    done(CELLS, "--to", "safetensors", "--out", "run", *SIZE)
    Path("run/model.safetensors").write_bytes(b"{}")
    torch.save({}, "cell.pth")
    result = gnas(*words)
    assert result.exit_code == 1
    assert re.fullmatch(f"error: .*{message}.*\n", result.stderr), result.stderr
    assert not Path("net.py").exists()


def test_one_field_is_given_once() -> None:
    words = (CELLS, "--to", "python", "--out", "net.py", "--classes", "9")
    result = gnas(*words, "--set", "num_classes=8")
    assert result.exit_code == 2 and "num_classes" in result.stderr, result.stderr
    assert not Path("net.py").exists()
