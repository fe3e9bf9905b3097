"""Configuration of an encoder: its input, its network, its target and its training."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gnas.config import (
    Config,
    Count,
    CountOrZero,
    Rate,
    Seed,
    Share,
    configuration,
    field_names,
    from_record,
    unknown_name,
)
from gnas.data.files import FORMAT_ERRORS
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.graph_limits import MAX_NODES
from gnas.kernel_options import Direction, Labels
from gnas.spaces.vocabulary import Vocabulary

if TYPE_CHECKING:
    from gnas.spaces import Space

WEIGHTS = Path(__file__).parent / "weights"
"""Folder of the shipped encoders, one ``<name>.safetensors`` each."""
_LONGEST_HEAD = 100_000_000
"""Bytes of the longest head of a file; safetensors allows no longer one."""

Feature = Literal["adjacency", "ops", "degrees", "wl"]
"""Input features of an encoder's network."""


@configuration
class EncoderConfig:
    """The recipe of one encoder; written beside its weights.

    Raises:
        ConfigError: an option is outside its range; the message names it.

    Examples:
        >>> EncoderConfig(space="nasgem", num_nodes=30, num_ops=8, dim=64).hidden
        (512, 256)
        >>> EncoderConfig(space="nasgem", num_nodes=30, num_ops=8, dim=0)
        Traceback (most recent call last):
        gnas.errors.ConfigError: dim must be ...
    """

    space: str
    """Name of the space that training pairs are drawn from: a key in `gnas.spaces.SPACES`, or that
    of a space of one's own."""
    num_nodes: Annotated[int, Field(ge=1, le=MAX_NODES)]
    """Most nodes of a graph; smaller ones are padded."""
    num_ops: Annotated[int, Field(ge=1, le=10000)]
    """Width of the one-hot ``x``."""
    num_edge_ops: Annotated[int, Field(ge=0, le=10000)] = 0
    """Size of the edge-op vocabulary; 0 where operations sit on nodes."""
    vocabulary: Vocabulary | None = None
    """Vocabulary of a custom space; None for a space in `gnas.spaces.SPACES`."""
    features: tuple[Feature, ...] = ("adjacency",)
    """Input features of the network: the upper triangle of the adjacency matrix, op
    one-hots, degree histograms, hashed histograms of Weisfeiler-Lehman labels."""
    canonical: bool = False
    """Sort the nodes first (`canonical_order`), so that numbering hardly matters."""
    augment: bool = False
    """Renumber the nodes of every training graph at random (topological order kept)."""
    wl_buckets: Annotated[int, Field(ge=1, le=1000000)] = 256
    """Buckets that the labels of one round are hashed into, from round 1 on."""
    sketch: bool = False
    """Add to the network's output a linear map of the input, which starts as a random projection
    of the label histograms (so that training starts at an estimate of the kernel)."""
    hidden: tuple[Annotated[int, Field(ge=1, le=100_000)], ...] = (512, 256)
    """Widths of the hidden layers."""
    dim: Annotated[int, Field(ge=1, le=100000)] = 128
    """Width d of the embedding."""
    labels: Labels = "degree"
    """First labels of the target kernel (`gnas.kernels`)."""
    n_iter: Annotated[int, Field(ge=0, le=1000)] = 3
    """Rounds of the target kernel."""
    direction: Direction = "out"
    """Neighbours that relabel a node in the target kernel (`gnas.kernels`)."""
    functional: bool = False
    """The target kernel compares what architectures compute (`Space.functional_form`,
    multiplicities left out) instead of their graphs as they are; so do label histograms among
    ``features``."""
    near: Literal["flips", "mutations"] = "flips"
    """Perturbation that makes the second graph of a near pair: edge flips or mutations."""
    max_edits: Count = 40
    """A near pair is 1 to this many edits apart, each number equally likely."""
    near_share: Share = 0.5
    """Share of near pairs in a training batch; the rest is independent."""
    all_pairs: bool = False
    """Draw near pairs only, and count every two first graphs of a batch, and every two second
    ones, as an independent pair: far more pairs for the same network passes. ``near_share`` is
    then the weight of the near pairs in the loss."""
    pool: CountOrZero = 0
    """Near pairs that are drawn once; training then is regression on the kernel's principal
    coordinates of their graphs. 0 draws fresh pairs at every step, and fits their cosines."""
    steps: Count = 1500
    """Optimiser steps, each on fresh pairs."""
    batch_size: Count = 256
    """Pairs per step."""
    learning_rate: Rate = 1e-3
    """Peak of the one-cycle schedule."""
    seed: Seed = 0
    """Seed of initial weights and of pairs."""

    @property
    def reading(self) -> Vocabulary:
        """Vocabulary of the graphs.

        Raises:
            ConfigError: the space is none of gnas, and no vocabulary is given.
        """
        from gnas.spaces import SPACES

        if self.vocabulary is not None:
            return self.vocabulary
        if self.space not in SPACES:
            raise ConfigError(
                f"an encoder of '{self.space}', which is no space of gnas, needs its vocabulary; "
                "make its config by `encoder_config(space)`"
            )
        return SPACES[self.space]().vocabulary

    def __post_init__(self) -> None:
        if not self.features:
            raise ConfigError("features must be at least one, but got none")

    def to_json(self) -> str:
        """One line of JSON that `from_json` reads back."""
        return json.dumps(asdict(self))

    @staticmethod
    def from_json(text: str) -> EncoderConfig:
        """The config that `to_json` wrote.

        Raises:
            ConfigError: the text is no JSON object, or its fields do not fit.
        """
        return recipe_from_json(EncoderConfig, text)


def recipe_from_json(config: type[Config], text: str) -> Config:
    """The recipe of an encoder that was written as JSON, with every field.

    No default stands in for a missing one: weights may have been trained with another value.

    Args:
        config: Class of the recipe.
        text: The JSON object.

    Raises:
        ConfigError: the text is no JSON object, or its fields do not fit.
    """
    try:
        record = json.loads(text)
    except ValueError:
        record = None
    if not isinstance(record, dict):
        raise ConfigError(f"an encoder config must be a JSON object, but got {text!r:.80}")
    missing = field_names(config) - {"vocabulary", *record}
    if missing:
        raise ConfigError(f"an encoder config must have the field {min(missing)}, but lacks it")
    if isinstance(record.get("vocabulary"), dict):
        record["vocabulary"] = Vocabulary.from_record(record["vocabulary"])
    return from_record(config, record)


def _kernel_map(space: str, num_nodes: int, num_ops: int, **changes: Any) -> EncoderConfig:
    """Settings shared by all encoders other than the paper's.

    They read histograms of WL labels, so that numbering does not matter, and learn the kernel's
    principal coordinates. Labels begin with operations and are relabelled from either side of a
    node on its own: with degrees, or one label for both sides, nearly all graphs are unlike each
    other.
    """
    recipe: dict[str, Any] = {
        "features": ("wl",),
        "wl_buckets": 256,
        "sketch": True,
        "hidden": (256,),
        "labels": "op",
        "n_iter": 1,
        "direction": "both",
        "near": "mutations",
        "max_edits": 3,
        "pool": 20_000,
        "steps": 2000,
        "batch_size": 128,
        **changes,
    }
    return EncoderConfig(space=space, num_nodes=num_nodes, num_ops=num_ops, **recipe)


def encoder_config(space: Space, **changes: Any) -> EncoderConfig:
    """The recipe of an encoder for any space, such as a user's own.

    The embedding's cosines approach a Weisfeiler-Lehman kernel of what architectures compute, so
    that architectures of one function share their embedding.

    Args:
        space: Space of the training pairs; pass it to `fit_encoder` too.
        changes: Fields of `EncoderConfig` that differ.

    Examples:
        >>> from gnas.spaces import DagSpace
        >>> config = encoder_config(DagSpace(ops=("conv", "pool"), max_nodes=6), steps=100)
        >>> config.space, config.num_ops, config.steps
        ('dag', 4, 100)
    """
    from gnas.spaces import SPACES

    made = SPACES.get(space.name)
    known = made is not None and made().vocabulary == space.vocabulary
    recipe: dict[str, Any] = {
        "functional": True,
        "num_edge_ops": len(space.edge_ops),
        "vocabulary": None if known else space.vocabulary,
        "pool": 8_000,
        **changes,
    }
    return _kernel_map(space.name, space.max_nodes, len(space.ops), **recipe)


def nasgem_30() -> EncoderConfig:
    """30-node cells, by what is built of them: nodes that no data reaches are cut away first."""
    return _kernel_map("nasgem", 30, 2, functional=True, near="flips", max_edits=20)


def nasgem_nasbench101() -> EncoderConfig:
    """NAS-Bench-101."""
    return _kernel_map("nasbench101", 7, 5, n_iter=2, wl_buckets=512, dim=256, steps=3000)


def nasgem_nasbench201() -> EncoderConfig:
    """NAS-Bench-201, by what cells compute: cells of one function share their embedding."""
    return _kernel_map("nasbench201", 4, 3, num_edge_ops=4, functional=True, dim=64, pool=8_000)


def nasgem_toponas() -> EncoderConfig:
    """Pairs of DARTS cells of at most 14 nodes in all; every edge's operation is a node."""
    return _kernel_map("toponas", 14, 8, num_edge_ops=8, pool=8_000)


def nasgem_30_paper() -> EncoderConfig:
    """30-node cells: the paper's fully connected network on the flattened adjacency matrix.

    Depth is what a raw matrix needs: the kernel reacts sharply to a few edges.
    """
    return EncoderConfig(
        space="nasgem",
        num_nodes=30,
        num_ops=2,
        hidden=(512, 256, 256, 256),
        all_pairs=True,
        steps=4000,
    )


def nasgem_nasbench101_paper() -> EncoderConfig:
    """NAS-Bench-101 by topology alone, as in the paper: adjacency matrix in, degree labels."""
    return EncoderConfig(
        space="nasbench101",
        num_nodes=7,
        num_ops=5,
        hidden=(256, 256),
        dim=64,
        near="mutations",
        max_edits=3,
    )


PRESETS = {
    "nasgem-nasbench101": nasgem_nasbench101,
    "nasgem-nasbench201": nasgem_nasbench201,
    "nasgem-toponas": nasgem_toponas,
    "nasgem-30": nasgem_30,
    "nasgem-nasbench101-paper": nasgem_nasbench101_paper,
    "nasgem-30-paper": nasgem_30_paper,
}
"""Name of every shipped encoder and the function that returns its recipe."""

GraphNetworkName = Literal["dag", "gin", "gps"]
"""Keys of `gnas.encoders.networks.NETWORKS`."""


def check_encoder(name: str, *, file: bool = True) -> None:
    """Check that an encoder is there, without loading it.

    Args:
        name: Name of a shipped encoder, or path of a ``.safetensors`` file.
        file: Whether it may be a file.

    Raises:
        ConfigError: none has this name.
        MissingDataError: there is no such file.
    """
    known = [path.stem for path in WEIGHTS.glob("*.safetensors")]
    if file and name.endswith(".safetensors"):
        if not Path(name).is_file():
            raise MissingDataError(f"an encoder's file must be there, but {name} is none")
    elif name not in known:
        raise ConfigError(
            unknown_name("encoder", name, known)
            + (", or give a .safetensors file" if file else "")
        )


def encoder_space(name: str) -> str:
    """Name of the space whose graphs an encoder takes, by the head of its file.

    Args:
        name: Name of a shipped encoder, or path of a ``.safetensors`` file.

    Returns:
        The name; empty where the file does not say it.

    Raises:
        DataError: the file is no encoder's.

    Examples:
        >>> encoder_space("nasgem-30")
        'nasgem'
    """
    path = Path(name) if name.endswith(".safetensors") else WEIGHTS / f"{name}.safetensors"
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            head = json.loads(file.read(min(length, _LONGEST_HEAD)))
        config = json.loads(head["__metadata__"]["config"])
        found = config.get("space")
    except (OSError, *FORMAT_ERRORS):
        raise DataError(
            f"{path} must be an encoder that gnas encoder train wrote, but is damaged or of "
            "something else"
        ) from None
    return found if isinstance(found, str) else ""


def check_encoder_path(path: Path) -> None:
    """Check the name of an encoder's file; ConfigError if it does not end in .safetensors."""
    if path.suffix != ".safetensors":
        raise ConfigError(f"an encoder's file must end in .safetensors, but got {path}")


def check_embeddings_path(path: Path) -> None:
    """Check the suffix of a file for `save_embeddings`, before hours of work.

    Raises:
        ConfigError: the suffix is neither ``.npy`` nor ``.safetensors``.
    """
    if path.suffix not in (".npy", ".safetensors"):
        raise ConfigError(f"embeddings go to a .npy or .safetensors file, but got {path}")
