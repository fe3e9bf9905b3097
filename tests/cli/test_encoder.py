from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from gnas import cli
from gnas.cli.encoder import has_table, table_for
from gnas.data import BenchmarkTable, Column, Provenance, load_table, save_table
from gnas.encoders import EncoderConfig, encoder_config, list_encoders, load_encoder, recipes
from gnas.encoders.config import encoder_space
from gnas.errors import ConfigError
from gnas.spaces import SPACES, NASBench101, Space, load_space

RUN = CliRunner()


@pytest.fixture
def table_file(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    every = NASBench101().enumerate()
    graphs = every[rng.choice(len(every), size=30, replace=False).tolist()]
    column = Column.of("val_acc", dataset="digits", epochs=1, run=1)
    provenance = Provenance(
        name="small",
        space="nasbench101",
        source="drawn at random",
        kind="self-made",
        note="means nothing",
        licence="none",
        recipe={"epochs": 1},
    )
    path = tmp_path / "small.parquet"
    save_table(BenchmarkTable(graphs, [column], provenance, {column.name: rng.random(30)}), path)
    return path


def test_train_then_embed_a_table(tmp_path: Path, table_file: Path) -> None:
    weights, out = tmp_path / "new.safetensors", tmp_path / "cells.npy"
    train = ["encoder", "train", "nasgem-nasbench101-paper", "--steps", "2", "--json", "-"]
    result = RUN.invoke(cli.app, [*train, "--out", str(weights)])
    assert result.exit_code == 0, result.output
    record = json.loads(result.stdout)["encoder"]
    assert record["config"]["steps"] == 2
    assert record["quality"]["near"]["pairs"] > 0
    embed = ["encoder", "embed", str(weights), "--table", str(table_file), "--out", str(out)]
    result = RUN.invoke(cli.app, embed)
    assert result.exit_code == 0, result.output
    shown = " ".join(result.stdout.split())
    assert f"30 embeddings of 64 numbers by {weights}" in shown  # not by the shipped encoder
    graphs = load_table(table_file).graphs
    assert np.array_equal(np.load(out), load_encoder(weights).encode(graphs).numpy())
    result = RUN.invoke(cli.app, [*embed[:2], "nasgem-30", *embed[3:]])
    assert result.exit_code == 1
    assert "takes architectures of 'nasgem': table 'small' must hold" in result.stderr
    assert result.stderr.rstrip().endswith("of nasbench101; give another --table")


def test_train_for_a_space_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def small(space: Space, **changes: Any) -> EncoderConfig:
        return encoder_config(space, pool=2000, **changes)

    monkeypatch.setattr(recipes, "encoder_config", small)  # the size is not the point
    monkeypatch.setattr(recipes, "HELD_OUT_PAIRS", 500)
    source, weights = tmp_path / "mine.py", tmp_path / "mine.safetensors"
    source.write_text(
        "from gnas.spaces import EdgeOpSpace\n"
        "cells = EdgeOpSpace(num_nodes=4, edge_ops=('none', 'skip', 'conv'), none='none',\n"
        "                    skip='skip', learned=('conv',))\n"
    )
    train = ["encoder", "train", "--space", f"{source}:cells", "--steps", "2", "--out"]
    result = RUN.invoke(cli.app, [*train, str(weights)])
    assert result.exit_code == 0, result.output
    assert f"{weights}: mine, trained in" in result.stdout
    encoder, space = load_encoder(weights), load_space(f"{source}:cells")
    cells = space.sample_batch(5, np.random.default_rng(0))
    assert encoder.name == "mine" and encoder.encode(cells).shape == (5, encoder.dim)


def test_every_encoder_takes_the_cells_of_its_own_space(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GNAS_DATA", str(tmp_path))  # there are the shipped tables alone
    done = RUN.invoke(cli.app, ["encoder", "embed", "nasgem-30", "--out", str(tmp_path / "x.npy")])
    assert done.exit_code == 0, done.output
    assert np.array_equal(
        np.load(tmp_path / "x.npy"), load_encoder("nasgem-30").encode(load_table("nasgem").graphs)
    )
    for name in list_encoders():
        space = encoder_space(name)
        assert space in SPACES and space == load_encoder(name).config.space
        assert has_table(space) == (space in ("nasbench101", "nasgem"))
        if not has_table(space):
            with pytest.raises(ConfigError, match=f"of '{space}', of which no .* by --table"):
                table_for(name, None)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "nonsense", "--out", "x.safetensors"], "unknown encoder 'nonsense'"),
        (
            ["train", "nasgem-30", "--seed", "-1", "--out", "x.safetensors"],
            "seed must be",
        ),
        (["train", "nasgem-30", "--out", "x.bin"], "must end in .safetensors"),
        (["train", "--space", "nasgem", "--out", "x.bin"], "must end in .safetensors"),
        (["embed", "nonsense", "--out", "x.npy"], "unknown encoder 'nonsense'"),
        (["embed", "nasgem-nasbench101", "--out", "x.csv"], ".npy or .safetensors"),
        (["embed", "nasgem-nasbench101", "--table", "no.parquet", "--out", "x.npy"], "no.parquet"),
    ],
)
def test_bad_usage_is_one_line_and_leaves_nothing(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = RUN.invoke(cli.app, ["encoder", *arguments])
    assert result.exit_code == 1
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
