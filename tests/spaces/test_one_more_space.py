"""A further built-in space in a copy of gnas: a folder, and one line of the registry."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import gnas
from tests import commands

FOLDER = {
    "__init__.py": '"""Chains of layers."""\n',
    "config.py": """
from gnas.config import Channels, Count, configuration

@configuration
class ChainsNetworkConfig:
    in_channels: Channels = 3
    num_classes: Count = 10
    channels: Channels = 8

NETWORK = ChainsNetworkConfig
TABLE_IMAGES = {"cifar10": (None, None)}
""",
    "space.py": """
from torch import nn
from gnas.spaces.chains.config import TABLE_IMAGES, ChainsNetworkConfig
from gnas.spaces.dag import DagSpace
from gnas.spaces.networks import Networks

def chain(graph, config):
    width, layers = config.in_channels, []
    for _ in range(graph.num_nodes - 2):
        layers += [nn.Conv2d(width, config.channels, 3, padding=1), nn.ReLU()]
        width = config.channels
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, config.num_classes)]
    return nn.Sequential(*layers, *head)

class Chains(DagSpace):
    name = "chains"
    table_images = TABLE_IMAGES

    def __init__(self) -> None:
        super().__init__(ops=("conv", "relu"), max_nodes=5, learned=("conv",))

    @property
    def networks(self):
        return Networks(ChainsNetworkConfig, chain, width="channels")
""",
}
LINE = '    "chains": "gnas.spaces.chains.space:Chains",\n'
PROGRAM = """
import json
import sys
from pathlib import Path

for name in [name for name in sys.modules if name.partition(".")[0] == "gnas"]:
    del sys.modules[name]  # of the process that this one was forked from
sys.path.insert(0, sys.argv[1])
import gnas

assert gnas.__file__ == f"{sys.argv[1]}/gnas/__init__.py"
import numpy as np
import torch
from typer.testing import CliRunner
from gnas.cli import app
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.spaces import SPACES, load_space, space_record, space_text

def command(*words):
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, (words, done.output, done.exception)
    return done.output

space = load_space("chains")
assert type(space) is SPACES["chains"] and space_text(space_record(space)) == "chains"
assert "chains" in command("show", "--help").replace("\\n", "")
graphs = space.enumerate()[:30]
network = space.network(graphs.data(5), space.network_config(channels=4))
assert network(torch.zeros(2, 3, 8, 8)).shape == (2, 10)
columns = [Column.of(f"{part}_acc", dataset="cifar10") for part in ("val", "test")]
values = {column.name: np.linspace(0.1, 0.9, 30) for column in columns}
facts = Provenance.of(space, "t", source="a test", kind="self-made")
save_table(BenchmarkTable(graphs, columns, facts, values), "t.parquet")
assert load_table("t.parquet").provenance.opened_space() == space
command("data", "verify", "t.parquet")
few = ["--set", "population=3", "--set", "tournament=2", "--budget", 6]
command("search", "evolution", "--space", "chains", *few, "--table", "t.parquet", "--out", "run")
assert json.loads(Path("run/result.json").read_text())["space"] == space_record(space)
command("show", "run")
searches = ["--seeds", 1, "--budget", 6, "--searchers", "random,local"]
command("bench", "search", "chains", "--table", "t.parquet", *searches)
"""


def test_a_folder_and_one_line_add_a_space(tmp_path: Path) -> None:
    copy = tmp_path / "copy" / "gnas"
    shutil.copytree(Path(gnas.__file__).parent, copy)
    (copy / "spaces" / "chains").mkdir()
    for name, text in FOLDER.items():
        (copy / "spaces" / "chains" / name).write_text(text)
    names = copy / "spaces" / "names.py"
    head, start, rest = names.read_text().partition("SPACE_HOMES = {\n")
    names.write_text(head + start + LINE + rest)
    (tmp_path / "work").mkdir()
    done = commands.run(
        [sys.executable, "-c", PROGRAM, str(copy.parent)],
        cwd=tmp_path / "work",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
