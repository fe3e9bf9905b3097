"""Networks of users' spaces as Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from gnas.cli import app
from gnas.errors import UnsupportedError
from gnas.export import python_source
from gnas.models import NetworkMetadata, load_network
from gnas.spaces import load_space

LAYERS = """
from __future__ import annotations

import math as m
import os.path
from typing import TYPE_CHECKING

from torch import nn

if TYPE_CHECKING:
    from collections.abc import Sequence

GAIN: float = m.sqrt(2)
\"\"\"Factor of all that the network computes.\"\"\"


class Scaled(nn.Module):
    def forward(self, x):
        return GAIN * x * len(os.path.sep)


def stacked(layers: Sequence[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*layers)


def unused():
    return Scaled()
"""
SPACE = """
import torch
from torch import nn

from layers import Scaled, stacked

from gnas.spaces import DagSpace, builds

OPERATIONS = {
    "linear": lambda width: nn.Linear(width, width),
    "scale": lambda width: Scaled(),
    "wave": lambda width: Wave(),
}


class Wave(nn.Module):
    def forward(self, x):
        return torch.sin(x)


class Base(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(8, classes)


class Network(Base):
    \"\"\"Layers in a row.

    Examples:
        >>> Network(["scale"], {"in": 1, "out": 2})

    Note:
        Of two widths.
    \"\"\"

    def __init__(self, ops, sizes):
        super().__init__(sizes["out"])
        self.first = nn.Conv2d(sizes["in"], 8, 1)
        self.body = stacked([OPERATIONS[op](8) for op in ops])

    def forward(self, images):
        return self.head(self.body(self.first(images).mean((2, 3))))


class Own(DagSpace):
    @builds(Network)
    def build(self, graph, *, in_channels=3, num_classes=10):
        ops = [self.ops[k] for k in graph.x.argmax(1).tolist()[1:-1]]
        return {"ops": ops, "sizes": {"in": in_channels, "out": num_classes}}


space = Own(ops=("linear", "scale", "wave"), max_nodes=5, learned=("linear",))
"""
CELL = "input,linear,scale,linear,output|225"


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's file, and a module of the same folder that it imports."""
    (tmp_path / "layers.py").write_text(LAYERS)
    (tmp_path / "own.py").write_text(SPACE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "layers", raising=False)
    return tmp_path / "own.py"


def test_the_command_writes_the_users_classes(space: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "cell.txt").write_text(CELL)
    for form, name in (("safetensors", "net"), ("python", "net.py")):
        options = ["--space", f"{space}:space", "--to", form, "--out", str(out / name)]
        source = str(out / "net") if form == "python" else str(tmp_path / "cell.txt")
        done = CliRunner().invoke(app, ["export", source, *options, "--image-size", "8"])
        assert done.exit_code == 0, done.output
    text = (out / "net.py").read_text()
    assert 'GAIN: float = m.sqrt(2)\n"""Factor' in text
    for left_out in ("Wave", "unused", "Example", "gnas.", "layers import"):
        assert left_out not in text, left_out
    assert "Of two widths." in text
    network, facts = load_network(out / "net", load_space(f"{space}:space"))
    images = torch.randn(2, *facts.input_shape)
    save_file({"images": images}, out / "images.safetensors")
    program = (
        "import sys; sys.modules['gnas'] = None; import net\n"
        "from safetensors.torch import load_file, save_file\n"
        "logits = net.load('net.safetensors')(load_file('images.safetensors')['images'])\n"
        "save_file({'logits': logits.detach()}, 'logits.safetensors')\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=out, check=True)
    found = load_file(out / "logits.safetensors")["logits"]
    assert torch.allclose(found, network.eval()(images).detach(), atol=1e-6)


IMPORT, TAKEN = "from layers import Scaled, stacked", "import layers\nstacked = layers.stacked\n"
HELPERS = "def helper():\n    return build()\n\n\ndef build():\n    return helper()\n\n\n"
FAULTS = {
    "no class": ("@builds(Network)\n", "\n", "decorated with gnas.spaces.builds"),
    "a module": (IMPORT, f"{TAKEN}{IMPORT[:-9]}", "must import names of layers"),
    "another name": (IMPORT, f"{IMPORT} as row\nstacked = row", "import 'stacked' of layers by"),
    "inside": (
        "        super().__init__(s",
        f"        {IMPORT}\n        super().__init__(s",
        "its top",
    ),
    "a clash": ("class Wave", f"{HELPERS}class Wave", "'build' is of the file and of"),
    "a loop": ("class Wave", "for GAIN in (1, 2):\n    pass\n\n\nclass Wave", "import 'GAIN'"),
    "an object": ('{"in": in_', '{0: object(), "in": in_', "'sizes' has <object"),
    "not a number": ('{"in": in_', '{0: float("nan"), "in": in_', "'sizes' has nan"),
}
"""A text of the space, the text in its place, and the message."""


@pytest.mark.parametrize("fault", FAULTS)
def test_what_cannot_be_copied_is_named(fault: str, space: Path) -> None:
    old, new, message = FAULTS[fault]
    text = SPACE.replace(old, new)
    if fault in ("a clash", "a loop"):
        used = "helper()" if fault == "a clash" else "GAIN"
        text = text.replace("self.first =", f"self.more = lambda: {used}\n        self.first =")
    assert text != SPACE
    space.write_text(text)
    own = load_space(f"{space}:space")
    facts = NetworkMetadata(
        space=own, architecture=CELL, config=own.network_config(), image_size=8
    )
    with pytest.raises(UnsupportedError, match=message):
        python_source(facts)


def test_classes_of_other_packages_are_imported(space: Path) -> None:
    text = SPACE.replace("@builds(Network)", "@builds(nn.Linear)")
    start = text.index('{"ops": ops')
    end = text.index("\n", start)
    text = text[:start] + "dict(in_features=in_channels, out_features=num_classes)" + text[end:]
    space.write_text(text)
    own = load_space(f"{space}:space")
    facts = NetworkMetadata(
        space=own, architecture=CELL, config=own.network_config(), image_size=8
    )
    written = python_source(facts)
    assert "from torch.nn.modules.linear import Linear\n" in written
    assert "return Linear(\n        in_features=3,\n        out_features=10,\n    )" in written
