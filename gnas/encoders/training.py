"""Train an encoder on fresh pairs, and judge it on held-out ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from gnas.encoders.base import Encoder
from gnas.encoders.config import EncoderConfig
from gnas.encoders.features import kernel_graphs
from gnas.encoders.nasgem import NASGEMEncoder
from gnas.encoders.pairs import independent_pairs, near_pairs, permuted, space_of
from gnas.graphs import DenseBatch
from gnas.kernels import wl_features, wl_kernel, wl_pairs
from gnas.spaces.base import Space, draw_batch
from gnas.training.devices import own_settings
from gnas.training.step import minimize

Pairs = tuple[DenseBatch, DenseBatch]
RARE = 0.3
"""Smallest deviation that an input count is standardised by."""


@dataclass(frozen=True)
class PairQuality:
    """Agreement of cosines with kernel values on one kind of pairs.

    Examples:
        >>> from gnas.encoders import encoder_quality, load_encoder
        >>> encoder = load_encoder("nasgem-nasbench201")
        >>> rng = np.random.default_rng(1)
        >>> near = encoder_quality(encoder, encoder.config, rng, pairs=50).near
        >>> near.pairs, abs(near.r2 - (1 - near.loss / near.constant_loss)) < 1e-9
        (50, True)
    """

    loss: float
    """Mean squared error of the cosine (eq. 3)."""
    constant_loss: float
    """The same of the best constant: the variance of the kernel values."""
    correlation: float
    """Pearson correlation of cosine and kernel value."""
    r2: float
    """1 - loss / constant_loss: 0 for the constant predictor, 1 for a perfect encoder."""
    pairs: int
    """Number of pairs."""


@dataclass(frozen=True)
class EncoderQuality:
    """Quality on independent and on near pairs, never pooled.

    Examples:
        >>> from gnas.encoders import load_encoder
        >>> encoder = load_encoder("nasgem-nasbench201")
        >>> quality = encoder_quality(encoder, encoder.config, np.random.default_rng(1), pairs=50)
        >>> quality.independent.pairs, quality.near.loss < quality.near.constant_loss
        (50, True)
    """

    independent: PairQuality
    near: PairQuality
    permuted_cosine: float
    """Mean cosine between embeddings of isomorphic copies; the kernel says 1."""

    def summary(self) -> str:
        """One line for a person."""
        parts = [
            f"{name} pairs {pairs.r2:.3f} (loss {pairs.loss:.5f}, correlation "
            f"{pairs.correlation:.3f})"
            for name, pairs in (("independent", self.independent), ("near", self.near))
        ]
        return f"R2 against the constant predictor: {', '.join(parts)}"


@own_settings()
def fit_encoder(
    config: EncoderConfig,
    name: str = "nasgem",
    *,
    space: Space | None = None,
    progress: Callable[[int, float], None] | None = None,
) -> NASGEMEncoder:
    """A trained encoder: squared error of cosine against kernel value on fresh pairs (eq. 3-4).

    Args:
        config: The recipe; the same recipe gives the same weights on one machine.
        name: Name of the encoder in results.
        space: The recipe's space, where it is one of the user's own.
        progress: Called after every step with its number and its loss.

    Raises:
        ConfigError: the space is not given but is none of gnas, or is not the recipe's.

    Examples:
        >>> from gnas.encoders import encoder_config
        >>> from gnas.spaces import DagSpace
        >>> space = DagSpace(ops=("conv", "pool"), max_nodes=5)
        >>> config = encoder_config(space, pool=50, steps=5, dim=8, batch_size=16)
        >>> fit_encoder(config, space=space).dim
        8
    """
    space = space_of(config, space)
    rng = np.random.default_rng(config.seed)
    encoder = NASGEMEncoder(config, name)
    _standardise(encoder, draw_batch(space, 4096, rng))
    optimizer = torch.optim.Adam(encoder.parameters(), lr=config.learning_rate)
    if config.pool:
        batch_loss: Callable[..., Tensor] = _KernelMap(encoder, space, rng)
    else:
        batch_loss = _all_pairs_loss if config.all_pairs else _pairs_loss
    minimize(
        range(config.steps),
        lambda _: batch_loss(encoder, space, rng),
        optimizer,
        scheduler=torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.1
        ),
        report=progress,
    )
    return encoder.half().float()  # what a file in half precision gives back


class _KernelMap:
    """Squared distance to the kernel's principal coordinates, over graphs drawn once.

    The coordinates of a graph are the projections of its WL features, of norm 1, on their first
    principal axes, turned at random: products of two graphs' coordinates are kernel values. Pairs
    alone say little of all axes but the first few (an error of a kernel value is squared), and it
    is the further ones that tell good architectures from better ones.

    The linear part of the encoder, if it has one, is set to least squares and stays, so that the
    perceptron learns what is left.

    Args:
        encoder: Gives recipe and input vectors; its linear part is set.
        space: Space of the graphs.
        rng: Source of randomness.
    """

    def __init__(self, encoder: NASGEMEncoder, space: Space, rng: np.random.Generator) -> None:
        config = encoder.config
        graphs = DenseBatch.concat(near_pairs(space, config, config.pool, rng))
        seen = permuted(graphs, rng) if config.augment else graphs
        self.batch_size = 2 * config.batch_size
        self.inputs = encoder.features(seen).to(torch.uint8)  # [2P, F], counts of nodes
        self.coordinates = principal_coordinates(graphs, config, rng)  # [2P, d]
        # A label that is rare or never seen here must not be a huge input, or no input at all.
        spread = self.inputs.float().std(0)
        encoder.shift.copy_(self.inputs.float().mean(0))
        encoder.scale.copy_(torch.where(spread > 0, 1 / spread.clamp_min(RARE), 0))
        if encoder.sketch is not None:
            weight, bias = _least_squares(self.inputs, self.coordinates)
            encoder.sketch.weight.data = weight
            encoder.sketch.weight.requires_grad_(False)
            encoder.layers[-1].bias.data = bias

    def __call__(self, encoder: NASGEMEncoder, space: Space, rng: np.random.Generator) -> Tensor:
        """The loss of a batch."""
        rows = rng.integers(len(self.inputs), size=self.batch_size)
        z = encoder(self.inputs[rows].float())
        loss: Tensor = (z - self.coordinates[rows]).square().sum(1).mean()
        return loss


def principal_coordinates(
    graphs: DenseBatch, config: EncoderConfig, rng: np.random.Generator
) -> Tensor:
    """The best ``config.dim`` coordinates of the target kernel for these graphs.

    Without the rotation, and where the kernel has few dimensions, later columns hold hardly
    anything; with it all hold alike, which is what predictors that standardise columns need.

    Args:
        graphs: N architectures, which decide the axes.
        config: Gives the kernel and the dimension d.
        rng: Draws the rotation.

    Shapes:
        N architectures -> float32 [N, d].
    """
    from scipy.sparse.linalg import svds

    features = kernel_features(graphs, config)
    rank = min(config.dim, min(features.shape) - 1)
    left, values, _ = svds(features, k=rank, rng=np.random.default_rng(0))
    turn, _ = np.linalg.qr(rng.standard_normal((config.dim, config.dim)))
    return torch.from_numpy((left * values) @ turn[:rank]).float()


def _least_squares(inputs: Tensor, targets: Tensor, ridge: float = 1.0) -> tuple[Tensor, Tensor]:
    """The linear map and the constant of least squares, with a little ridge.

    Shapes: [N, F], [N, d] -> [d, F], [d].
    """
    width = inputs.size(1)
    gram = torch.zeros(width, width, dtype=torch.float64)
    cross = torch.zeros(width, targets.size(1), dtype=torch.float64)
    mean, constant = inputs.double().mean(0), targets.double().mean(0)
    for x, y in zip(inputs.split(4096), targets.split(4096), strict=True):  # type: ignore[no-untyped-call]
        centred = x.double() - mean
        gram += centred.t() @ centred
        cross += centred.t() @ (y.double() - constant)
    gram.diagonal().add_(ridge)
    weight = torch.linalg.solve(gram, cross)  # [F, d]
    return weight.t().float().contiguous(), (constant - mean @ weight).float()


def kernel_features(graphs: DenseBatch, config: EncoderConfig) -> sparse.csr_array:
    """Counts of WL labels, of norm 1: products of two rows are values of the target kernel.

    Shapes: N architectures -> float64 [N, number of labels].
    """
    counts = wl_features(
        kernel_graphs(graphs, config),
        config.n_iter,
        labels=config.labels,
        direction=config.direction,
    )
    norms = np.sqrt(np.asarray(counts.multiply(counts).sum(1)).reshape(-1))
    return sparse.csr_array(counts.multiply(1 / norms[:, None]))


def _pairs_loss(encoder: NASGEMEncoder, space: Space, rng: np.random.Generator) -> Tensor:
    """Mean squared error on a fresh batch of near and independent pairs."""
    config = encoder.config
    num_near = round(config.near_share * config.batch_size)
    pairs = _joined(
        independent_pairs(space, config.batch_size - num_near, rng),
        near_pairs(space, config, num_near, rng),
    )
    target = kernel_values(pairs, config).float()
    left, right = _embedded(encoder, pairs, rng)
    return torch.nn.functional.mse_loss(torch.cosine_similarity(left, right), target)


def _all_pairs_loss(encoder: NASGEMEncoder, space: Space, rng: np.random.Generator) -> Tensor:
    """The same where every two graphs of the batch are a pair; see `EncoderConfig.all_pairs`."""
    config = encoder.config
    pairs = near_pairs(space, config, config.batch_size, rng)
    options: dict[str, Any] = {"labels": config.labels, "direction": config.direction}
    left, right = (torch.nn.functional.normalize(z) for z in _embedded(encoder, pairs, rng))
    near = ((left * right).sum(1) - kernel_values(pairs, config)).square().mean()
    apart = ~torch.eye(config.batch_size, dtype=torch.bool)
    independent = [
        (z @ z.T - wl_kernel(kernel_graphs(graphs, config), config.n_iter, **options))[apart]
        .square()
        .mean()
        for z, graphs in zip((left, right), pairs, strict=True)
    ]
    share = config.near_share
    return (share * near + (1 - share) * sum(independent) / 2).float()


def _embedded(
    encoder: NASGEMEncoder, pairs: Pairs, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Both graphs' embeddings, of renumbered copies if the recipe says so: [P, d] each."""
    first, second = pairs
    if encoder.config.augment:
        first, second = permuted(first, rng), permuted(second, rng)
    return encoder(encoder.features(first)), encoder(encoder.features(second))


def encoder_quality(
    encoder: Encoder,
    config: EncoderConfig,
    rng: np.random.Generator,
    pairs: int = 4096,
    *,
    space: Space | None = None,
) -> EncoderQuality:
    """Quality of an encoder on ``pairs`` held-out pairs of each kind.

    Args:
        encoder: Any encoder of the config's space.
        config: Gives space, kernel and what a near pair is.
        rng: Source of the held-out pairs; use another seed than the training's.
        pairs: Pairs of each kind.
        space: The config's space, where it is one of the user's own.

    Raises:
        ConfigError: the space is not given but is none of gnas, or is not the config's.

    Examples:
        >>> from gnas.encoders import load_encoder
        >>> encoder = load_encoder("nasgem-nasbench201")
        >>> quality = encoder_quality(encoder, encoder.config, np.random.default_rng(1), pairs=50)
        >>> quality.independent.correlation > 0.5, round(quality.permuted_cosine, 3)
        (True, 1.0)
    """
    space = space_of(config, space)
    sample = draw_batch(space, pairs, rng)
    copies = _cosines(encoder, (sample, permuted(sample, rng)))
    return EncoderQuality(
        independent=pair_quality(encoder, config, independent_pairs(space, pairs, rng)),
        near=pair_quality(encoder, config, near_pairs(space, config, pairs, rng)),
        permuted_cosine=float(copies.mean()),
    )


def pair_quality(encoder: Encoder, config: EncoderConfig, pairs: Pairs) -> PairQuality:
    """Agreement of cosines with kernel values on the given pairs."""
    target = kernel_values(pairs, config)
    cosine = _cosines(encoder, pairs).double()
    loss = float(((cosine - target) ** 2).mean())
    constant_loss = float(target.var(correction=0))
    correlation = float(torch.corrcoef(torch.stack([cosine, target]))[0, 1])
    return PairQuality(loss, constant_loss, correlation, 1 - loss / constant_loss, len(target))


def kernel_values(pairs: Pairs, config: EncoderConfig) -> Tensor:
    """The exact target of every pair: float64 [P]."""
    count = len(pairs[0])
    index = np.arange(2 * count).reshape(2, count).T
    return wl_pairs(
        kernel_graphs(DenseBatch.concat(pairs), config),
        index,
        config.n_iter,
        labels=config.labels,
        direction=config.direction,
    )


def _cosines(encoder: Encoder, pairs: Pairs) -> Tensor:
    return torch.cosine_similarity(encoder.encode(pairs[0]), encoder.encode(pairs[1]))


def _joined(first: Pairs, second: Pairs) -> Pairs:
    return DenseBatch.concat([first[0], second[0]]), DenseBatch.concat([first[1], second[1]])


def _standardise(encoder: NASGEMEncoder, sample: DenseBatch) -> None:
    """Set the input's shift and scale so that every feature of ``sample`` has mean 0, std 1."""
    features = encoder.features(sample)
    encoder.shift.copy_(features.mean(0))
    encoder.scale.copy_(1 / features.std(0).clamp_min(0.05))
