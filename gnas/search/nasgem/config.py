"""Configuration of a NASGEM search, with a preset for each data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from gnas.config import Count, NotNegative, Rate, Seed, configuration, from_record
from gnas.errors import ConfigError
from gnas.search.settings import NASGEM_POOL
from gnas.spaces.nasgem.config import NasgemNetworkConfig, WiringPrior, wiring_parameters
from gnas.training.recipe import ProxyRecipe

if TYPE_CHECKING:
    from gnas.spaces.nasgem import NASGEM

DEFAULT_ENCODER = "nasgem-30"
NO_ENCODER = "none"
MIN_SUCCESSES = 10
"""A search with fewer trained candidates than this (or all, if it plans fewer) ends in an error:
a predictor fitted on them would choose at random."""


@configuration
class NasgemConfig:
    """A search by Cheng et al., NASGEM: Neural Architecture Search via Graph Embedding Method.

    AAAI 2021. What the paper gives are its 30 nodes, lambda, pool and predictor, and the tenth of
    CIFAR-10; it says neither how many cells are trained nor how. Those are choices here.

    Raises:
        ConfigError: an option is outside its range; the message names it.

    Examples:
        >>> config = NasgemConfig(num_nodes=12, iterations=40)
        >>> config.floor, config.space().max_nodes
        (6, 12)
    """

    num_nodes: Annotated[int, Field(ge=2, le=127)] = 30
    """Most nodes of a cell."""
    min_nodes: Count | None = None
    """Fewest nodes of a cell; draws with fewer are drawn again. Choice: None takes half of
    ``num_nodes``. Without a floor the score's penalty makes a single convolution the best cell."""
    prior: WiringPrior = "density"
    """Random graphs to train and score: the space's own, with a spread of densities, or
    those of randomly wired networks (`gnas.spaces.nasgem.wiring`)."""
    spread: bool = False
    """Draw a random graph's parameters anew for each cell instead of RandWire's fixed ones."""

    iterations: Annotated[int, Field(ge=2, le=10_000_000)] = 80
    """T of Algorithm 1: cells that are trained to fit the predictor. Choice."""
    pool: Count = NASGEM_POOL
    """Cells that the fitted predictor scores (section 3.3)."""
    top: Count = 5
    """Best predicted cells that are trained longer, to choose among them. Choice: the paper takes
    the first; results report it separately."""
    lambda_: NotNegative = 0.1
    """Weight of ln(MACs / 10^6) against accuracy in the score S (eq. 5). Choice: natural log."""

    encoder: str = DEFAULT_ENCODER
    """Encoder of the perceptron and figure 3: a shipped one, an encoder's file, or "none": the
    perceptron reads the raw adjacency matrix, the paper's control."""
    predict: Literal["score", "accuracy"] = "accuracy"
    """Target of the predictor: the score S, as in the paper, or the accuracy alone, from which
    the penalty of the exactly counted MACs is taken (`gnas.search.nasgem.accuracy`)."""
    predictor: Literal["mlp", "default", "walks"] = "mlp"
    """The paper's two-layer perceptron on the embedding ("mlp"); or, without an embedding, the
    extra trees and Gaussian process of `gnas.predictors.default_predictor` on path statistics
    ("default") or on `gnas.predictors.RandomWalkStatistics` ("walks")."""
    members: Annotated[int, Field(ge=1, le=1000)] = 1
    """Perceptrons of which the mean predicts."""
    ops: bool = True
    """Give the predictor each node's operation beside an embedding, as the raw adjacency matrix
    has it, unless the embedding holds them. Choice: the paper's encoder sees the wiring alone, but
    operations differ in MACs."""
    update_every: Count = 10
    """Trained cells between two updates of the predictor. Choice: the paper updates after each;
    the last fit, which alone chooses, is the same."""

    epochs: Count = 3
    """Passes over the training images for each of the ``iterations``. Choice."""
    final_epochs: Count = 9
    """Passes for each of the ``top``. Choice."""
    batch_size: Count = 64
    """Images a step."""
    lr: Rate = 0.1
    """Peak learning rate of SGD."""
    weight_decay: NotNegative = 5e-4
    """L2 penalty on all weights."""
    channels: Annotated[int, Field(ge=1, le=4096)] = 8
    """Channels of every node in the first stage. Choice."""
    num_stages: Annotated[int, Field(ge=1, le=16)] = 3
    """Stages of the network. Choice."""
    cells_per_stage: Annotated[int, Field(ge=1, le=1000)] = 1
    """Cells of each stage. Choice."""
    seed: Seed = 0
    """Seed of cells, weights, order of images, predictor and pool."""

    def __post_init__(self) -> None:
        _check_together(self)
        self.recipe("search", flip=False)
        self.network(in_channels=1, num_classes=1)

    @property
    def floor(self) -> int:
        """Fewest live nodes."""
        return (self.num_nodes + 1) // 2 if self.min_nodes is None else self.min_nodes

    def space(self) -> NASGEM:
        """Space from which cells are drawn."""
        from gnas.spaces.nasgem.wiring import nasgem_space

        return nasgem_space(self.prior, self.num_nodes, spread=self.spread)

    def recipe(self, stage: str, *, flip: bool) -> ProxyRecipe:
        """Training recipe of a stage, "search" or "final"."""
        return ProxyRecipe(
            epochs=self.epochs if stage == "search" else self.final_epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            weight_decay=self.weight_decay,
            flip=flip,
        )

    def network(self, *, in_channels: int, num_classes: int) -> NasgemNetworkConfig:
        """Size and form of the candidates' networks."""
        return NasgemNetworkConfig(
            in_channels=in_channels,
            num_classes=num_classes,
            channels=self.channels,
            num_stages=self.num_stages,
            cells_per_stage=self.cells_per_stage,
        )

    @staticmethod
    def from_dict(record: Mapping[str, Any]) -> NasgemConfig:
        """The config that `dataclasses.asdict` or JSON wrote.

        Raises:
            ConfigError: unknown fields or impossible values.
        """
        return from_record(NasgemConfig, record)


def nasgem_digits() -> NasgemConfig:
    """A search that two CPU cores end in a few minutes."""
    return NasgemConfig()


def nasgem_cifar10() -> NasgemConfig:
    """On a tenth of CIFAR-10, the paper's proxy. Choice: everything the paper leaves open."""
    return dataclasses.replace(
        nasgem_digits(), iterations=200, epochs=10, final_epochs=30, channels=16
    )


PRESETS = {"digits": nasgem_digits, "cifar10": nasgem_cifar10, "folder": nasgem_cifar10}
"""The preset of every kind of images (`gnas.data.images.config.ProxyDataset`)."""


def _check_together(config: NasgemConfig) -> None:
    floor = config.min_nodes
    if floor is not None and floor > config.num_nodes:
        raise ConfigError(
            f"min_nodes must be in [1, num_nodes={config.num_nodes}], but got {floor!r}"
        )
    if config.top > config.pool:
        raise ConfigError(
            f"top must be at most the pool's {config.pool} cells, but got {config.top}"
        )
    if config.spread and config.prior == "density":
        raise ConfigError(
            "spread is for the priors of random graphs, but prior is density, which has a "
            "spread of its own; leave spread out"
        )
    if config.prior != "density":
        wiring_parameters(config.prior, config.num_nodes, spread=config.spread)
    if config.predictor != "mlp" and config.encoder not in (DEFAULT_ENCODER, NO_ENCODER):
        raise ConfigError(
            f"predictor {config.predictor} reads no embedding, but encoder is {config.encoder}; "
            f"leave one of them out, or take predictor mlp"
        )
