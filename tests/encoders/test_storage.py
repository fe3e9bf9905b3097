from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save, save_file

import gnas
from gnas.encoders import (
    GRAPH_PRESETS,
    PRESETS,
    NASGEMEncoder,
    encoder_metadata,
    load_encoder,
    save_encoder,
)
from gnas.encoders.config import WEIGHTS, EncoderConfig
from gnas.encoders.pairs import independent_pairs, near_pairs, space_of
from gnas.encoders.recipes import train_preset
from gnas.encoders.storage import _digest, save_embeddings
from gnas.encoders.training import pair_quality
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.spaces import SPACES, NASBench101


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    config = replace(PRESETS["nasgem-nasbench101-paper"](), hidden=(8,), dim=4)
    path = tmp_path / "mine.safetensors"
    save_encoder(NASGEMEncoder(config, "mine"), path, command="made by a test")
    return path


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_shipped_encoders_have_the_quality_in_their_header(name: str) -> None:
    encoder, metadata = load_encoder(name), encoder_metadata(name)
    config = encoder.config
    assert isinstance(config, EncoderConfig)
    assert config == PRESETS[name](), "train again: the recipe changed"
    quality = json.loads(metadata["quality"])
    space, rng = space_of(config), np.random.default_rng(17)
    for kind, pairs in (
        ("independent", independent_pairs(space, 4096, rng)),
        ("near", near_pairs(space, config, 4096, rng)),
    ):
        measured = pair_quality(encoder, config, pairs)
        assert measured.loss == pytest.approx(quality[kind]["loss"], rel=0.15)


def test_no_cell_has_an_outlying_embedding() -> None:
    """Norms of a kernel map are at most 1; a rare label must not make a huge input."""
    for name in ("nasgem-nasbench101", "nasgem-nasbench201", "nasgem-toponas"):
        encoder = load_encoder(name)
        cells = SPACES[encoder.space]().sample_batch(6000, np.random.default_rng(8))
        norms = encoder.encode(cells).norm(dim=1)
        assert 0.7 < float(norms.min()) and float(norms.max()) < 1.15, name


def test_names_of_the_package() -> None:
    assert gnas.load_encoder("nasgem-nasbench201").dim == 64
    assert gnas.list_encoders() == gnas.encoders.list_encoders()
    assert "import_module" not in dir(gnas) and {"encoders", "load_encoder"} <= set(dir(gnas))


def test_thirty_node_encoder_reaches_its_targets() -> None:
    quality = json.loads(encoder_metadata("nasgem-30")["quality"])
    assert quality["independent"]["r2"] >= 0.95
    assert quality["near"]["r2"] >= 0.80
    assert quality["permuted_cosine"] == pytest.approx(1, abs=1e-5)


def test_shipped_weights_are_small() -> None:
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < 12e6
    assert gnas.encoders.list_encoders() == [*sorted(PRESETS), *sorted(GRAPH_PRESETS)]


def test_round_trip(weights: Path, rng: np.random.Generator) -> None:
    batch = NASBench101().sample_batch(5, rng)
    encoder = load_encoder(weights)
    assert encoder.name == "mine"
    assert encoder.dim == 4
    assert torch.equal(encoder.encode(batch), load_encoder(str(weights)).encode(batch))
    assert encoder_metadata(weights)["command"] == "made by a test"
    assert [path.name for path in weights.parent.iterdir()] == ["mine.safetensors"]


def test_names_need_not_be_utf8(weights: Path) -> None:
    other = weights.with_name("\udcff.safetensors")
    other.write_bytes(weights.read_bytes())
    assert load_encoder(other).config == load_encoder(weights).config


def test_names_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"unknown encoder 'bert'; choose from .'nasgem-30'"):
        load_encoder("bert")
    with pytest.raises(MissingDataError, match="weights not found at"):
        load_encoder(tmp_path / "none.safetensors")


def test_every_damage_is_found(weights: Path) -> None:
    sound = weights.read_bytes()
    for size in (0, 4, 100, len(sound) // 2, len(sound) - 1):
        weights.write_bytes(sound[:size])
        with pytest.raises(DataError):
            load_encoder(weights)
    for position in range(0, len(sound), len(sound) // 97):
        flipped = bytearray(sound)
        flipped[position] ^= 0x10
        weights.write_bytes(bytes(flipped))
        try:
            encoder = load_encoder(weights)
        except DataError:
            continue
        assert position < len(sound) - 4 * sum(p.numel() for p in encoder.parameters())


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_must_be_finite(weights: Path, value: float) -> None:
    encoder, header = load_encoder(weights), encoder_metadata(weights)
    next(encoder.parameters()).data.view(-1)[0] = value
    with pytest.raises(ConfigError, match="an encoder's weights must be finite numbers"):
        save_encoder(encoder, weights)
    for wrong in (encoder.state_dict(), {k: v.int() for k, v in load_file(weights).items()}):
        save_file(wrong, weights, {**header, "sha256": _digest(wrong)})
        with pytest.raises(DataError, match="an encoder's weights must be finite numbers"):
            load_encoder(weights)


def test_an_unreadable_file(weights: Path, unreadable: Callable[[Path], Path]) -> None:
    load_encoder(weights)  # now every module is imported
    closed = unreadable(weights)
    with pytest.raises(DataError, match="must be readable, but got: Permission denied"):
        load_encoder(closed)


def test_foreign_safetensors_are_refused(weights: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file(load_file(weights), other)
    with pytest.raises(DataError, match="must hold an encoder of this version"):
        load_encoder(other)
    nameless = {k: v for k, v in encoder_metadata(weights).items() if k != "name"}
    save_file(load_file(weights), other, nameless)
    with pytest.raises(DataError, match="its header must have 'name', but lacks it"):
        load_encoder(other)
    save_file(load_file(weights), other, {**encoder_metadata(weights), "sha256": "0"})
    with pytest.raises(DataError, match="do not match the checksum"):
        load_encoder(other)


def test_train_preset_writes_a_loadable_encoder(tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    steps: list[int] = []
    record = train_preset(
        "nasgem-nasbench101-paper",
        path,
        steps=3,
        seed=5,
        report=lambda done, total: steps.append(done),
    )
    assert steps == [1, 2, 3]
    assert load_encoder(path).config.seed == 5
    assert json.loads(encoder_metadata(path)["quality"]) == asdict(record.quality)
    assert "independent pairs" in record.summary()
    with pytest.raises(ConfigError, match="unknown encoder 'x'"):
        train_preset("x", path)
    with pytest.raises(ConfigError, match=r"must end in \.safetensors"):
        train_preset("nasgem-30", tmp_path / "new.bin")


def test_embeddings_on_disk(tmp_path: Path) -> None:
    values = torch.arange(6.0).reshape(2, 3)
    save_embeddings(values, tmp_path / "e.npy", encoder="mine", source="table")
    save_embeddings(values, tmp_path / "e.safetensors", encoder="mine", source="table")
    assert np.array_equal(np.load(tmp_path / "e.npy"), values.numpy())
    assert torch.equal(load_file(tmp_path / "e.safetensors")["embeddings"], values)
    if Path("/dev/full").is_char_device():
        (tmp_path / "full.npy").symlink_to("/dev/full")
        with pytest.raises(DataError, match="No space left on device"):
            save_embeddings(values, tmp_path / "full.npy", encoder="mine", source="table")
        (tmp_path / "full.npy").unlink()
    with pytest.raises(ConfigError, match=r"\.npy or \.safetensors file, but got .*csv"):
        save_embeddings(values, tmp_path / "e.csv", encoder="mine", source="table")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("dag-nasbench201", "width", 2.5, "width must be a whole number"),
        ("dag-nasbench201", "dim", 10**9, "dim must be at most 100000"),
        ("dag-nasbench201", "dim", 99_999, "sizes must be whole numbers in"),
        ("dag-nasbench201", "layers", 99_999, "sizes must be whole numbers in"),
        ("gps-nasbench201", "width", 47, "width must be a multiple of 4"),
        (
            "dag-nasbench201",
            "vocabulary",
            {"ops": ["a"]},
            "a vocabulary must have the field",
        ),
        ("dag-nasbench201", "inputs", ["a"], r"inputs must be a tuple .* in \[0, 3\), but got"),
        ("dag-nasbench201", "skip_ops", 0, r"skip_ops must be a tuple of .*, but got 0"),
        ("dag-nasbench201", "max_nodes", 10**9, "max_nodes must be at most 10000"),
        ("dag-nasbench201", "max_nodes", 4.5, "at least one operation and one node, .*=4.5"),
        ("dag-nasbench201", "max_edges", "x", "max_edges must be a whole number from 0 or None"),
        ("dag-nasbench201", "to_output", 1, "to_output must be true or false, but got 1"),
        ("dag-nasbench201", "ops", 5, "ops must be a tuple of names, but got 5"),
        ("dag-nasbench201", "width", ..., "must have the field width, but lacks it"),
        ("nasgem-nasbench101", "functional", ..., "must have the field functional, but lacks it"),
        ("nasgem-nasbench101", "features", 3, "features must be a list, but got 3"),
        ("nasgem-nasbench101", "dim", 128, r"needs 'layers.2.bias' of shape \[128\], but the"),
        ("nasgem-nasbench101", "hidden", ["a"], "must be a whole number, but got 'a'"),
        ("nasgem-nasbench101", "wl_buckets", 10**9, "wl_buckets must be at most 1000000"),
    ],
)
def test_headers_that_were_edited_are_refused(
    tmp_path: Path, name: str, field: str, value: object, message: str
) -> None:
    with safe_open(WEIGHTS / f"{name}.safetensors", framework="pt") as file:
        header = dict(file.metadata())
        tensors = {key: file.get_tensor(key) for key in file.keys()}
    config = json.loads(header["config"])
    part = config["vocabulary"] if field in config.get("vocabulary", {}) else config
    part[field] = value
    if value is ...:
        del part[field]
    header["config"] = json.dumps(config)
    path = tmp_path / "hostile.safetensors"
    path.write_bytes(save(tensors, header))
    with pytest.raises(DataError, match=message):
        load_encoder(path)
