"""Configuration of a supernet search, with the paper's values as presets."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field

from gnas.config import (
    BelowOne,
    Count,
    NotNegative,
    Positive,
    Precision,
    Rate,
    Seed,
    check_pieces,
    configuration,
)
from gnas.errors import ConfigError, UnsupportedError
from gnas.spaces.names import SPACE_HOMES, parsed_space, supernet_sizes
from gnas.topology_options import Mode
from gnas.training.schedules import decay

DARTS = "darts"
"""The name of the space of DARTS' cells, whose wiring the config's own fields say."""
SPACE_OF_DARTS = "toponas"
"""The same cells among `gnas.spaces.SPACES`; there the name alone says no wiring."""
NO_SUPERNET = (
    "a supernet search needs a space with a supernet, but '{}' has none; choose darts or "
    "nasbench201, or define the property `supernets` of your own"
)
EIGENVALUE_WINDOW = 5
"""Epochs that eigenvalues are averaged over, and compared across (DARTS-ES, section 4.3)."""
Method = Literal["darts", "milenas"]
Update = Literal["alternating", "joint"]
Topology = Literal["arbitrary", "fixed", "none"]
RelaxationName = Literal["softmax", "gumbel", "dirichlet"]


@configuration
class ToponasConfig:
    """A search by Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020.

    Defaults are the paper's for CIFAR-10 (TopoNAS-arbitrary-DARTS). Not the method of arXiv
    2408.01311, which shares the name.

    Raises:
        ConfigError: an option is outside its range; the message names it.
        UnsupportedError: the space has no supernet.

    Examples:
        >>> config = ToponasConfig(epochs=10, num_nodes=8)
        >>> config.num_parts, config.lr_at(0)
        (3, 0.025)
        >>> ToponasConfig(order=3)
        Traceback (most recent call last):
        gnas.errors.ConfigError: order must be ...
    """

    space: str = "darts"
    """Search space: darts (whose wiring topology, k, mode and num_nodes say), nasbench201, or
    another space that has a supernet, by name or as FILE.py:NAME."""
    method: Method = "darts"
    """alpha and beta descend on validation losses alone, or (milenas) on the training loss plus
    ``val_weight`` times them."""
    order: Annotated[int, Field(ge=1, le=2)] = 1
    """1 takes w as it is; 2 takes it one step ahead (DARTS eq. 7)."""
    update: Update = "alternating"
    """alpha and beta each from a batch and part of their own, or from the same batch (Table 8)."""
    topology: Topology = "arbitrary"
    """Sets of edges to choose from: any, those with k edges, or none (the baselines: operations
    with `none`, edges by the largest weight)."""
    k: Annotated[int, Field(ge=1, le=100)] = 2
    """Edges per node where the topology is not arbitrary (Table 5)."""
    mode: Mode = "output"
    """Nodes choose among their output or their input edges (Table 7)."""
    regulariser: NotNegative = 10.0
    """Weight of r(beta) in beta's validation loss (eq. 15)."""
    val_weight: NotNegative = 1.0
    """milenas: eta * lambda of eq. 22-23, the weight of the validation loss. Choice: MiLeNAS'
    published code has 1."""
    relaxation: RelaxationName = "softmax"
    """Meaning of alpha for a batch: weights of all operations (softmax; DARTS), sampled operations
    (gumbel; GDAS, SNAS), or a point drawn near them (dirichlet; DrNAS)."""
    samples: Annotated[int, Field(ge=0, le=100)] = 1
    """gumbel: operations drawn on every edge (GDAS: 1); 0 weighs all by the relaxed sample
    (SNAS)."""
    temperature: tuple[Positive, Positive] = (10.0, 0.1)
    """gumbel: temperature of the first and of the last epoch, falling linearly (GDAS)."""
    edge_norm: bool = False
    """Learn a weight of every edge too, by a softmax over the edges that enter a node (PC-DARTS,
    section 3.3)."""
    alpha_penalty: NotNegative = 0.0
    """Weight of the mean log sum exp of alpha in alpha's loss in the last epoch, growing linearly
    from 0 (beta-DARTS)."""
    warmup_share: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the epochs, the first ones, in which only w learns (PC-DARTS: 15 of 50)."""

    channels: Annotated[int, Field(ge=2, le=1024)] = 16
    """Channels of the first cells."""
    num_cells: Annotated[int, Field(ge=1, le=1000)] = 8
    """Cells, of which those at 1/3 and 2/3 reduce; on nasbench201 the cells of each of three
    stages."""
    num_nodes: Annotated[int, Field(ge=4, le=14)] = 7
    """Nodes of a cell with its inputs and its output (Table 6: 7, 8, 9, 11); 4 on nasbench201."""
    stem: Literal["cifar", "imagenet"] = "cifar"
    """One convolution, or three with stride 2."""
    stem_multiplier: Annotated[int, Field(ge=1, le=64)] = 3
    """Channels of the CIFAR stem per channel of the first cells."""
    partial: Annotated[int, Field(ge=1, le=64)] = 1
    """Operations see 1/partial of the channels (PC-DARTS has 4)."""

    epochs: Count = 50
    """Passes over the training part."""
    batch_size: Count = 64
    """Images a step, of all processes together."""
    accumulate: Count = 1
    """Pieces that a process takes its share of a batch in: less memory. Batch norm sees one piece
    of one process at a time, so processes * accumulate, not either alone, decides what comes
    out."""
    lr: Rate = 0.025
    """First learning rate of w; a cosine to ``lr_min``, lowered after every epoch."""
    lr_min: NotNegative = 0.001
    """Last learning rate of w. Choice: DARTS'."""
    momentum: BelowOne = 0.9
    """Momentum of SGD for the supernet weights w."""
    weight_decay: NotNegative = 3e-4
    """Weight decay of the supernet weights w."""
    gradient_clip: Positive = 5.0
    """Largest norm of w's gradient. Choice: DARTS'."""
    arch_lr: Rate = 3e-4
    """Learning rate of Adam for alpha and beta."""
    beta_lr: Rate | None = None
    """Learning rate of beta alone; None takes ``arch_lr``."""
    arch_weight_decay: NotNegative = 1e-3
    """Weight decay of alpha and beta."""
    arch_betas: tuple[BelowOne, BelowOne] = (0.5, 0.999)
    """Adam's running averages for alpha and beta. Choice: DARTS'."""
    stop_skip_share: Annotated[float, Field(gt=0, le=1)] | None = None
    """Stop after an epoch in which at least this share of the normal cell's edges are skip
    connections; None never stops."""
    stop_eigenvalue: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Stop when the largest eigenvalue of the validation loss' Hessian in alpha, a mean over five
    epochs, was this share of today's five epochs ago, and derive the cell of then (DARTS-ES has
    0.75); None never computes it."""

    precision: Precision = "float32"
    """Autocast to this type; float16 scales the loss."""
    kernels: Literal["auto", "native", "torch"] = "auto"
    """Implementation of the supernet's operations: C code on CPUs, PyTorch, or C where it can."""
    recompute: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    compile: bool = False
    """Run the supernet through torch.compile."""
    seed: Seed = 0
    """Seed of initial values, order of images and augmentation."""

    def __post_init__(self) -> None:
        _check_together(self)

    @property
    def learns_topology(self) -> bool:
        """Whether topology has parameters of its own (beta)."""
        return self.topology != "none"

    @property
    def warmup_epochs(self) -> int:
        """The first epochs, in which only w learns."""
        return int(self.warmup_share * self.epochs)

    def learns_arch(self, epoch: int) -> bool:
        """Whether alpha and beta learn in epoch 0, 1, ..."""
        return epoch >= self.warmup_epochs

    def temperature_at(self, epoch: int) -> float:
        """Temperature of the Gumbel softmax in epoch 0, 1, ..."""
        first, last = self.temperature
        return first + (last - first) * self._progress(epoch)

    def alpha_penalty_at(self, epoch: int) -> float:
        """Weight of alpha's penalty in epoch 0, 1, ..."""
        return self.alpha_penalty * self._progress(epoch)

    def _progress(self, epoch: int) -> float:
        """0 in the first epoch, 1 in the last."""
        return min(epoch / max(self.epochs - 1, 1), 1.0)

    @property
    def num_parts(self) -> int:
        """Parts that the images are split in: without beta, two halves as in DARTS."""
        return 3 if self.learns_topology else 2

    def lr_at(self, epoch: int) -> float:
        """Learning rate of w in epoch 0, 1, ..."""
        share = decay("cosine", epoch, self.epochs)
        return self.lr_min + (self.lr - self.lr_min) * share


def toponas_cifar10() -> ToponasConfig:
    """CIFAR-10 as in the paper, appendix A.1.

    Examples:
        >>> toponas_cifar10().epochs, toponas_cifar10().lr_at(0)
        (50, 0.025)
    """
    return ToponasConfig()


def toponas_imagenet() -> ToponasConfig:
    """3% of ImageNet as in the paper, appendix A.3; what it leaves open is as for CIFAR-10.

    Examples:
        >>> toponas_imagenet().batch_size, toponas_imagenet().lr_at(0)
        (1024, 0.5)
    """
    return ToponasConfig(
        stem="imagenet",
        batch_size=1024,
        lr=0.5,
        arch_lr=0.05,
        arch_weight_decay=3e-4,
    )


def toponas_digits() -> ToponasConfig:
    """A search that two CPU cores end in a few minutes; all but the sizes as for CIFAR-10.

    Choice: a smaller supernet, and 210 steps in place of 13,000. With the larger rate alpha and
    beta can go as far in them.

    Examples:
        >>> toponas_digits().epochs, toponas_digits().channels
        (15, 8)
    """
    return ToponasConfig(channels=8, num_cells=5, epochs=15, batch_size=32, arch_lr=0.02)


PRESETS = {
    "digits": toponas_digits,
    "cifar10": toponas_cifar10,
    "folder": toponas_cifar10,
    "imagenet-3pct": toponas_imagenet,
}
"""The preset of every kind of images (`gnas.data.images.names.SearchDataset`) on DARTS' space."""

SIZES: dict[str, dict[str, Callable[[], ToponasConfig]]] = {
    space: {size: partial(ToponasConfig, space=space, **own) for size, own in sizes.items()}
    for space, sizes in supernet_sizes().items()
}
"""Presets by size, and the sizes by space; the first is the space's default."""

_NO_TOPOLOGY: dict[str, Any] = {"method": "darts", "topology": "none", "mode": "input"}
BASELINES: dict[str, dict[str, Any]] = {
    "darts": _NO_TOPOLOGY,
    "darts-outputs": {**_NO_TOPOLOGY, "mode": "output"},
    "milenas": {**_NO_TOPOLOGY, "method": "milenas"},
    "snas": {**_NO_TOPOLOGY, "relaxation": "gumbel", "samples": 0, "temperature": (1.0, 0.03)},
    "gdas": {**_NO_TOPOLOGY, "relaxation": "gumbel", "samples": 1},
    "drnas": {**_NO_TOPOLOGY, "relaxation": "dirichlet"},
    "pc-darts": {**_NO_TOPOLOGY, "partial": 4, "edge_norm": True, "warmup_share": 0.3},
    "beta-darts": {**_NO_TOPOLOGY, "alpha_penalty": 50.0},
    "darts-es": {**_NO_TOPOLOGY, "stop_eigenvalue": 0.75},
}
"""Options that make a config a published method without topology variables: DARTS proper with
its top-k input edges, DARTS with top-k output edges (Table 7), MiLeNAS, and those with other
relaxations, penalties or ends."""


def _check_together(config: ToponasConfig) -> None:
    if config.space == SPACE_OF_DARTS:
        raise ConfigError(
            f"space must be '{DARTS}' for DARTS' cells, whose wiring the config says, but got "
            f"'{config.space}'"
        )
    name, _ = parsed_space(config.space)
    if name in SPACE_HOMES and name not in supernet_sizes():
        raise UnsupportedError(NO_SUPERNET.format(name))
    if config.order == 2 and config.precision == "float16":
        raise ConfigError("order 2 needs float32 or bfloat16, but precision is float16")
    if config.channels % (2 * config.partial):
        raise ConfigError(
            f"channels must be a multiple of {2 * config.partial} with "
            f"partial={config.partial}, but got {config.channels}"
        )
    if config.precision == "float16" and config.stop_eigenvalue is not None:
        raise ConfigError("stop_eigenvalue needs float32 or bfloat16, but precision is float16")
    if config.compile and config.stop_eigenvalue is not None:
        raise ConfigError(
            "stop_eigenvalue needs second derivatives, which torch.compile has none of: leave out "
            "one of stop_eigenvalue and compile"
        )
    if config.lr_min > config.lr:
        raise ConfigError(f"lr_min must be at most lr, but got {config.lr_min} and {config.lr}")
    check_pieces(config.batch_size, config.accumulate)
