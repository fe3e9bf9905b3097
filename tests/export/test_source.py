from __future__ import annotations

import re
import runpy
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from gnas.errors import DataError
from gnas.export import export, python_source
from gnas.spaces import SPACES
from tests import commands
from tests.export.networks import CASES, drawn, odd, trained

FACTS = {f"{name} {seed}": drawn(name, seed) for name in SPACES for seed in range(3)}
FACTS |= {case: odd(case) for case in CASES}
PREDICT = """
import importlib.util, sys
from pathlib import Path

for name in [name for name in sys.modules if name.partition(".")[0] in ("gnas", "tests")]:
    del sys.modules[name]  # of the process that this one was forked from
sys.modules["gnas"] = None  # from here on it cannot be imported
try:
    import gnas
except ImportError:
    pass
else:
    sys.exit("gnas can be imported")
from safetensors.torch import load_file, save_file

for file in sorted(Path().glob("*.py")):
    spec = importlib.util.spec_from_file_location(file.stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = module.load(file.with_suffix(".safetensors"))
    images = load_file(f"{file.stem}.images")["images"]
    save_file({"logits": network(images).detach()}, f"{file.stem}.logits")
"""


def test_plain_files_give_our_outputs_where_gnas_cannot_be_imported(tmp_path: Path) -> None:
    expected = {}
    for k, facts in enumerate(FACTS.values()):
        network = trained(facts)
        export(network, facts, "python", tmp_path / f"net{k}.py")
        images = torch.randn(2, *facts.input_shape)
        save_file({"images": images}, tmp_path / f"net{k}.images")
        expected[f"net{k}"] = network.eval()(images)
    done = commands.run(
        [sys.executable, "-c", PREDICT], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for (name, logits), case in zip(expected.items(), FACTS, strict=True):
        found = load_file(tmp_path / f"{name}.logits")["logits"]
        assert torch.allclose(found, logits, rtol=1e-5, atol=1e-6), case


def test_files_are_well_formed(tmp_path: Path) -> None:
    for k, facts in enumerate(FACTS.values()):
        (tmp_path / f"net{k}.py").write_text(python_source(facts))
    ruff = [sys.executable, "-m", "ruff"]
    options = ["--isolated", "--line-length=99", str(tmp_path)]
    for command in (["format", "--diff"], ["check", "--select=E,F,I,B,UP"]):
        done = subprocess.run(
            [*ruff, *command, *options], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_files_say_what_to_feed_their_networks(tmp_path: Path) -> None:
    many = tuple(f"class number {k}" for k in range(7))
    for k, names in enumerate(((), ("a", 'b"', "c'", "d\\", "e\n", "\u00fc", "'\""), many)):
        facts = replace(
            drawn("nasgem", 0), classes=names, mean=(0.5, 0.25), std=(1 / 3, 0.125), image_size=16
        )
        (tmp_path / f"net{k}.py").write_text(python_source(facts))
        told = runpy.run_path(str(tmp_path / f"net{k}.py"))
        assert told["CLASSES"] == names
        assert (told["MEAN"], told["STD"], told["IMAGE_SIZE"]) == ((0.5, 0.25), (1 / 3, 0.125), 16)
    options = ["--isolated", "--line-length=99", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--diff", *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_what_the_network_needs(tmp_path: Path) -> None:
    text = python_source(odd("no separable convolution"))
    (tmp_path / "net.py").write_text(text)
    assert not re.search("separable|sep_conv|dil_conv|AuxiliaryHead|Examples:|>>>", text)
    assert set(re.findall(r"^class (\w+)", text, re.MULTILINE)) == {
        "FactorizedReduce",
        "DartsCell",
        "DartsNetwork",
    }
    table = runpy.run_path(str(tmp_path / "net.py"))["OPERATIONS"]
    assert list(table) == ["max_pool_3x3", "avg_pool_3x3", "skip_connect"]
    assert set(re.findall(r"import (.+)", text)) == {
        "annotations",
        "Callable, Sequence",
        "PathLike",
        "Literal",
        "torch",
        "load_file",
        "Tensor, nn",
    }


def test_a_file_is_run_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = drawn("nasbench201", 0)
    text = python_source(facts)
    for wrong, message in (
        (text.replace("maps[-1]", "maps[0]"), "must give the network's outputs, but gives others"),
        (text.replace("channels=4", "channels=8"), "must run, but: RuntimeError: .*size mismatch"),
    ):
        assert wrong != text
        monkeypatch.setattr("gnas.export.forms.python_source", lambda facts, wrong=wrong: wrong)
        with pytest.raises(DataError, match=message):
            export(trained(facts), facts, "python", tmp_path / "net.py")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", SPACES)
def test_the_architecture_can_be_read_back(name: str) -> None:
    facts = drawn(name, 0)
    written = python_source(facts).split("\n\n")[1]
    assert facts.space.to_str(facts.space.from_str(written)) == facts.architecture


def test_texts_of_others_are_no_code() -> None:
    plain = odd("no separable convolution")
    text = '"""\nimport os\n"""' + plain.architecture
    hidden = replace(plain, architecture=text)
    assert python_source(hidden) == python_source(plain)
