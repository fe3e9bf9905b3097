from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load, save_file
from torch import nn

from gnas.encoders import NASGEMEncoder, load_encoder
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.models import (
    DartsNetworkConfig,
    NASBench101NetworkConfig,
    NetworkMetadata,
    load_network,
    read_metadata,
    save_network,
)
from gnas.spaces import NASBench101, TopoNAS

CELLS = (
    "Genotype(normal=[('skip_connect', 0), ('sep_conv_3x3', 1)], normal_concat=[2], "
    "reduce=[('max_pool_3x3', 0), ('dil_conv_5x5', 1)], reduce_concat=[2])"
)
FACTS = NetworkMetadata(
    space=TopoNAS(4),
    architecture=CELLS,
    config=DartsNetworkConfig(channels=4, num_cells=3, num_classes=5, auxiliary=True),
    image_size=16,
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.2, 0.2),
    classes=("a", "b", "c", "d", "e"),
    details={"recipe": {"epochs": 1}},
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_network(tmp_path / "run", FACTS.space.network(FACTS.graph, FACTS.config), FACTS)
    return tmp_path / "run"


def test_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(1)
    small = NASBench101NetworkConfig(stem_channels=8, cells_per_stack=1)
    text = "input,conv1x1-bn-relu,output|5"
    cell = NetworkMetadata(space=NASBench101(), architecture=text, config=small, image_size=8)
    images = torch.randn(2, 3, 16, 16)
    for facts in (FACTS, cell):
        network = facts.space.network(facts.graph, facts.config)
        network(images)  # running statistics differ from a new network's
        expected = network.eval()(images)
        network = network.to(memory_format=torch.channels_last)
        save_network(tmp_path / "run", network, facts)
        for path in (tmp_path / "run", tmp_path / "run" / "model.safetensors"):
            loaded, found = load_network(path)
            assert found == facts
            assert not loaded.training
            assert torch.equal(loaded(images), expected)


def test_names_need_not_be_utf8(saved: Path, tmp_path: Path) -> None:
    state = load_network(saved)[0].state_dict()
    found = load_network(saved.rename(tmp_path / "\udcff"))[0].state_dict()
    assert all(torch.equal(value, found[name]) for name, value in state.items())


def test_only_the_network_of_the_facts_is_saved(tmp_path: Path) -> None:
    network = FACTS.space.network(FACTS.graph, DartsNetworkConfig(channels=6, num_cells=3))
    with pytest.raises(ConfigError, match=r"'stem.0.0.weight' is float32 \[18, 3, 3, 3\]"):
        save_network(tmp_path, network, FACTS)
    wrapped = nn.Sequential(FACTS.space.network(FACTS.graph, FACTS.config))
    with pytest.raises(ConfigError, match=r"no part of it \('0.stem.0.0.weight' float32 "):
        save_network(tmp_path, wrapped, FACTS)
    assert not list(tmp_path.iterdir())


def test_facts_that_contradict_each_other() -> None:
    with pytest.raises(ConfigError, match="the network has 5 classes, but got 2 names"):
        replace(FACTS, classes=("a", "b"))
    with pytest.raises(ConfigError, match="one number for each of 3 channels"):
        replace(FACTS, mean=(0.5,))
    with pytest.raises(ConfigError, match="image_size must be at least 1, but got 0"):
        replace(FACTS, image_size=0)


Change = Callable[[dict[str, Any]], object]
BAD_CONFIGS: list[tuple[Change, str]] = [
    (lambda c: c.pop("architecture"), "'architecture' is missing"),
    (lambda c: c.update(format="other"), 'must describe a network .*"gnas-network"'),
    (lambda c: c.update(space="toponas"), "recorded by name and args, but got 'toponas'"),
    (lambda c: c["space"].update(name="nasgem"), "space 'nasgem' must take its arguments, but"),
    (lambda c: c["space"].update(name="x.py:Space"), "gnas does not have; give it with `--space"),
    (lambda c: c["space"]["args"].update(num_nodes=5), "must have 5 nodes, but got 4"),
    (lambda c: c["space"]["args"].update(num_nodes="5"), "space 'toponas' must take|num_nodes"),
    (lambda c: c.update(architecture=CELLS.replace("skip", "hop")), "unknown operation 'hop_con"),
    (lambda c: c.update(architecture=7), "a str must stand where 7 does"),
    (lambda c: c.update(num_classes=9), "num_classes is 9, but the network's is 5"),
    (lambda c: c["network"].update(depth=1), "networks of 'toponas' have no 'depth'"),
    (
        lambda c: c["network"].update(channels="4"),
        "channels must be of the type of 36, but got '4'",
    ),
    (lambda c: c["network"].update(channels=3), "channels must be even, but got 3"),
    (lambda c: c["network"].update(num_cells=10**9), "num_cells must be at most 1000, but got"),
    (lambda c: c["network"].update(channels=10**6), "channels must be at most 100000, but got"),
    (
        lambda c: c["network"].update(channels=10**5, stem_multiplier=64),
        "channels is 100000, and the largest ten",
    ),
    (lambda c: c.update(network=[]), r"a dict must stand where \[\] does"),
    (lambda c: c.update(classes=["a"]), "has 5 classes, but got 1 names"),
    (lambda c: c["normalisation"].update(mean=["x"] * 3), "could not convert string to float"),
    (lambda c: c["normalisation"].update(mean=3), "'int' object is not iterable"),
]


@pytest.mark.parametrize(("change", "message"), BAD_CONFIGS)
def test_configs_that_describe_no_network(saved: Path, change: Change, message: str) -> None:
    path = saved / "config.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    with pytest.raises(DataError, match=message):
        load_network(saved)


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "\x00", "[]", "3"])
def test_configs_that_are_no_objects(saved: Path, text: str) -> None:
    (saved / "config.json").write_text(text)
    with pytest.raises(DataError, match=r"config.json must (be a JSON file|describe a network)"):
        load_network(saved)


def test_a_config_of_an_editor_that_marks_the_encoding(saved: Path) -> None:
    path = saved / "config.json"
    before = read_metadata(saved)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert load_network(saved)[1] == read_metadata(saved) == before


def test_weights_that_do_not_fit(saved: Path) -> None:
    weights = saved / "model.safetensors"
    tensors = load(weights.read_bytes())  # not of a file that is overwritten
    record = json.loads((saved / "config.json").read_text())
    record["network"]["num_classes"] = record["num_classes"] = 7
    record["classes"] = []
    (saved / "config.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match=r"float32 \[5, 768\] instead of float32 \[7, 768\]"):
        load_network(saved)
    record["network"]["num_classes"] = record["num_classes"] = 5
    (saved / "config.json").write_text(json.dumps(record))
    save_file({**tensors, "more": torch.zeros(1)}, weights)
    with pytest.raises(DataError, match=r"found are no part of it \('more' float32 \[1\]\)$"):
        load_network(saved)
    save_file({"classifier.bias": tensors["classifier.bias"]}, weights)
    missing = rf"{len(tensors) - 1} of its {len(tensors)} tensors are missing"
    first = r"\('stem.0.0.weight' float32 \[\d+, 3, 3, 3\], '[\w.]+' float32 \[\d+\], \.\.\.\)$"
    with pytest.raises(DataError, match=f"but {missing} {first}"):
        load_network(saved)
    save_file({f"module.{key}": value for key, value in tensors.items()}, weights)
    renamed = rf"{len(tensors)} of the {len(tensors)} found are no part of it \('module\.\w+"
    with pytest.raises(DataError, match=f"{len(tensors)} of its .* missing .*; {renamed}"):
        load_network(saved)
    tensors["stem.0.1.weight"][0] = torch.nan
    save_file(tensors, weights)
    with pytest.raises(DataError, match=r"1 of its \d+ tensors have NaNs \('stem.0.1\.weight'"):
        load_network(saved)
    tensors["stem.0.1.weight"][0], tensors["stem.0.1.running_var"][0] = 1, -1
    save_file(tensors, weights)
    with pytest.raises(DataError, match=r"1 of its tensors have negative var.* \('stem.0.1\.run"):
        load_network(saved)


@pytest.mark.parametrize("content", [b"", b"\x08" + b"\x00" * 7 + b"nonsense", b"<html>"])
def test_damaged_weights(saved: Path, content: bytes) -> None:
    (saved / "model.safetensors").write_bytes(content)
    with pytest.raises(DataError, match="must be a sound safetensors file, but: "):
        load_network(saved)
    half = (saved / "model.safetensors").read_bytes()[:-100]
    (saved / "model.safetensors").write_bytes(half)
    with pytest.raises(DataError, match="must be a sound safetensors file, but: "):
        load_network(saved)


def test_pickles_are_refused_with_the_way_to_convert(saved: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    torch.save({"weight": torch.zeros(2)}, tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"model.pth is a pickle.*not read; .*safetensors.torch"):
        load_network(tmp_path / "model.pth")
    with pytest.raises(DataError, match=r"model.pth is a pickle"):
        load_network(tmp_path)  # no safetensors there
    (tmp_path / "model.pth").rename(saved / "model.safetensors")  # told by its content
    with pytest.raises(DataError, match=r"model.safetensors is a pickle"):
        load_network(saved)
    (saved / "model.safetensors").write_bytes(pickle.dumps(_Runs(marker)))
    with pytest.raises(DataError, match=r"model.safetensors is a pickle"):
        load_network(saved)
    assert not marker.exists()


class _Runs:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.marker,)


def test_missing_files(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"there is no .*nowhere"):
        load_network(tmp_path / "nowhere")
    with pytest.raises(MissingDataError, match=r"there is no .*nowhere.pt"):
        load_network(tmp_path / "nowhere.pt")
    (tmp_path / "config.json").write_text('{"config": {"command": "search toponas"}}')
    with pytest.raises(MissingDataError, match="a search's result is trained by gnas retrain"):
        load_network(tmp_path)
    (saved / "config.json").unlink()
    with pytest.raises(MissingDataError, match=r"needs a config.json beside its weights"):
        load_network(saved)


def test_a_config_of_something_else_is_not_replaced(tmp_path: Path) -> None:
    network = FACTS.space.network(FACTS.graph, FACTS.config)
    for content in ('{"config": {"command": "retrain"}}', "[]", "{"):
        (tmp_path / "config.json").write_text(content)
        with pytest.raises(ConfigError, match=r"a config\.json of something else, perhaps"):
            save_network(tmp_path, network, FACTS)
        assert (tmp_path / "config.json").read_text() == content
        assert not (tmp_path / "model.safetensors").exists()
    (tmp_path / "config.json").unlink()
    save_network(tmp_path, network, FACTS)
    save_network(tmp_path, network, FACTS)


def test_encoders_and_networks_keep_out_of_each_others_folders(
    saved: Path, tmp_path: Path
) -> None:
    network, facts = load_network(saved)
    encoder = load_encoder("nasgem-nasbench201")
    with pytest.raises(ConfigError, match=r"an encoder needs a folder of its own, but .* network"):
        encoder.save_pretrained(saved)
    load_network(saved)

    folder = tmp_path / "encoder"
    encoder.save_pretrained(folder)
    with pytest.raises(ConfigError, match=r"need a folder of their own, but .* of an encoder"):
        save_network(folder, network, facts)
    assert NASGEMEncoder.from_pretrained(folder).dim == encoder.dim
    encoder.save_pretrained(folder)  # its own files are replaced

    (saved / "config.json").unlink()  # as if stopped between the two files
    save_network(saved, network, facts)
    assert load_network(saved)[1] == facts
