"""Encoders on disk: safetensors with the recipe, the quality and the command in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from gnas.data.files import FORMAT_ERRORS, atomic_write, utf8_path
from gnas.encoders.config import (
    PRESETS,
    WEIGHTS,
    EncoderConfig,
    check_embeddings_path,
    check_encoder_path,
)
from gnas.encoders.features import feature_widths
from gnas.encoders.graph import GraphEncoder
from gnas.encoders.graph_config import GRAPH_PRESETS, GraphEncoderConfig
from gnas.encoders.nasgem import NASGEMEncoder
from gnas.encoders.pretraining import GraphEncoderQuality
from gnas.encoders.training import EncoderQuality
from gnas.errors import ConfigError, DataError, GnasError, MissingDataError

_NASGEM, _GRAPH = "nasgem", "graph network"


def list_encoders() -> list[str]:
    """Names of the encoders that ship with the package.

    Examples:
        >>> "nasgem-nasbench101" in list_encoders()
        True
    """
    return sorted(PRESETS) + sorted(GRAPH_PRESETS)


def load_encoder(name: str | Path) -> NASGEMEncoder | GraphEncoder:
    """A trained encoder: a shipped one by its name, or one's own by the path of its file.

    Args:
        name: Name of a shipped encoder, or a ``.safetensors`` file.

    Raises:
        ConfigError: no shipped encoder has this name.
        MissingDataError: the file does not exist.
        DataError: the file is damaged or holds no encoder.

    Examples:
        >>> load_encoder("nasgem-nasbench101").dim
        256
    """
    if not isinstance(name, str | Path):
        raise ConfigError(f"an encoder must be a name or a file, but got {name!r:.80}")
    if str(name) in list_encoders():
        path = WEIGHTS / f"{name}.safetensors"
    elif Path(name).suffix == ".safetensors":
        path = Path(name)
    else:
        raise ConfigError(
            f"unknown encoder '{name}'; choose from {list_encoders()} or pass a file's path"
        )
    if not path.is_file():
        raise MissingDataError(
            f"encoder weights not found at {path}; train with `gnas encoder train`"
        )
    metadata, tensors = _read(path)
    try:
        encoder = encoder_from_tensors(metadata, tensors)
    except (*FORMAT_ERRORS, GnasError, RuntimeError) as error:
        raise DataError(f"{path} must hold an encoder of this version of gnas: {error}") from error
    if _digest(tensors) != metadata.get("sha256"):
        raise DataError(f"weights in {path} do not match the checksum in its header; get it again")
    return encoder


def save_encoder(
    encoder: NASGEMEncoder | GraphEncoder,
    path: str | Path,
    *,
    quality: EncoderQuality | GraphEncoderQuality | None = None,
    command: str = "",
) -> None:
    """Write an encoder, first beside ``path`` and then over it in one step.

    Args:
        encoder: Encoder to save.
        path: File to write; its name ends in ``.safetensors``.
        quality: Held-out quality, kept in the header.
        command: The command that reproduces the file, kept in the header.

    Raises:
        ConfigError: ``path`` does not end in ``.safetensors``, or a weight is not finite.
        DataError: the file cannot be written.

    Examples:
        >>> import tempfile
        >>> encoder = load_encoder("nasgem-nasbench201")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_encoder(encoder, Path(folder) / "mine.safetensors")
        ...     again = load_encoder(Path(folder) / "mine.safetensors")
        >>> again.config == encoder.config
        True
    """
    path = Path(path)
    check_encoder_path(path)
    facts, tensors = encoder_tensors(encoder)
    metadata = {
        **facts,
        "quality": json.dumps(asdict(quality)) if quality is not None else "{}",
        "command": command,
        "sha256": _digest(tensors),
    }
    with atomic_write(path) as temporary:
        temporary.write_bytes(save(tensors, metadata))


def encoder_tensors(
    encoder: NASGEMEncoder | GraphEncoder,
) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata (kind, name and recipe) and weights that define an encoder.

    Args:
        encoder: Encoder to write.

    Returns:
        What `encoder_from_tensors` takes. Weights are in half precision where that is exact.

    Raises:
        ConfigError: a weight is not finite.
    """
    facts = {
        "kind": _GRAPH if isinstance(encoder, GraphEncoder) else _NASGEM,
        "name": encoder.name,
        "config": encoder.config.to_json(),
    }
    weights = encoder.state_dict()
    _check_weights(weights)
    return facts, {key: _narrow(value) for key, value in weights.items()}


def encoder_from_tensors(
    metadata: dict[str, str], tensors: dict[str, Tensor]
) -> NASGEMEncoder | GraphEncoder:
    """The encoder that `encoder_tensors` wrote down, in evaluation mode.

    Args:
        metadata: Kind, name and recipe.
        tensors: The weights, in any floating-point type.

    Raises:
        ConfigError: there is no such kind, the recipe is impossible, or the weights do not fit it
            or are not finite.
        ValueError: the recipe asks for more than the weights hold.
    """
    for name in ("name", "config"):
        if name not in metadata:
            raise ConfigError(f"its header must have '{name}', but lacks it")
    encoder = _untrained(metadata, tensors)
    wanted, found = _shapes(encoder.state_dict()), _shapes(tensors)
    for name in sorted(wanted.keys() | found.keys()):
        if wanted.get(name) != found.get(name):
            raise ConfigError(
                f"its config needs '{name}' of shape {wanted.get(name)}, but the weights have "
                f"{found.get(name)}"
            )
    _check_weights(tensors)
    encoder.load_state_dict(tensors)
    return encoder.eval()


def encoder_metadata(name: str | Path) -> dict[str, str]:
    """The header of a shipped or own encoder's file: kind, name, config, quality, ....

    Args:
        name: Name of a shipped encoder, or a ``.safetensors`` file.

    Examples:
        >>> encoder_metadata("nasgem-nasbench101")["name"]
        'nasgem-nasbench101'
    """
    path = WEIGHTS / f"{name}.safetensors" if str(name) in list_encoders() else Path(name)
    return _read(path)[0]


def save_embeddings(embeddings: Tensor, path: Path, *, encoder: str, source: str) -> None:
    """Write embeddings as ``.npy`` or ``.safetensors``, whole or not at all.

    Args:
        embeddings: Embeddings to write; in a safetensors file under the name "embeddings".
        path: The file; its suffix chooses the format.
        encoder: Name of the encoder, kept in a safetensors header.
        source: Source of the graphs, also stored.

    Shapes:
        embeddings [N, d].

    Raises:
        ConfigError: the suffix is neither.
        DataError: the file cannot be written.
    """
    check_embeddings_path(path)
    with atomic_write(path) as temporary:
        if path.suffix == ".npy":
            array = np.ascontiguousarray(embeddings.numpy())
            with temporary.open("wb") as file:
                # np.save would hide why a disk takes no more
                np.lib.format.write_array_header_1_0(
                    file, np.lib.format.header_data_from_array_1_0(array)
                )
                file.write(array.data)
        else:
            header = {"encoder": encoder, "source": source}
            temporary.write_bytes(save({"embeddings": embeddings.contiguous()}, header))


def _untrained(
    metadata: dict[str, str], tensors: dict[str, Tensor]
) -> NASGEMEncoder | GraphEncoder:
    """The encoder of a header, with random weights; ValueError if larger than what is stored."""
    kind = metadata.get("kind", _NASGEM)
    largest = max((side for tensor in tensors.values() for side in tensor.shape), default=0)
    if kind == _GRAPH:
        recipe = GraphEncoderConfig.from_json(metadata["config"])
        _check_sizes([recipe.width, recipe.dim], largest)
        _check_sizes([recipe.layers], len(tensors))
        return GraphEncoder(recipe, metadata["name"])
    if kind == _NASGEM:
        config = EncoderConfig.from_json(metadata["config"])
        _check_sizes([*config.hidden, config.dim, *feature_widths(config).values()], largest)
        return NASGEMEncoder(config, metadata["name"])
    raise ConfigError(f"its kind is {kind!r}")


def _check_weights(tensors: Mapping[str, Tensor]) -> None:
    """Raise ConfigError unless all weights are real and finite, as those of a training are."""
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or not bool(tensor.float().isfinite().all()):
            raise ConfigError(
                f"an encoder's weights must be finite numbers, but those of '{name}' "
                f"({str(tensor.dtype).removeprefix('torch.')}) are not"
            )


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, list[int]]:
    return {name: [*tensor.shape] for name, tensor in tensors.items()}


def _check_sizes(sizes: Sequence[int], most: int) -> None:
    """Raise ValueError if a header asks for more than its file holds: it could be all memory."""
    if any(type(size) is not int or not 1 <= size <= most for size in sizes):
        raise ValueError(f"sizes must be whole numbers in [1, {most}], but are {[*sizes]}")


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        path.open("rb").close()  # of a file that may not be read, safetensors says it is absent
    except OSError as error:
        raise DataError(f"{path} must be readable, but got: {error.strerror}") from error
    try:
        with utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            return file.metadata() or {}, {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{path} must be a sound safetensors file, but: {error}") from error


def _narrow(tensor: Tensor) -> Tensor:
    """The same values in half precision, if they all are; what `fit_encoder` gives is so."""
    half = tensor.to(torch.float16)
    exact = tensor.dtype == torch.float32 and torch.equal(half.to(tensor.dtype), tensor)
    return (half if exact else tensor).contiguous()


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for key in sorted(tensors):
        digest.update(key.encode())
        digest.update(tensors[key].detach().to(torch.float32).numpy().tobytes())
    return digest.hexdigest()
