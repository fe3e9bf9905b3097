"""Pretrain a graph network on unlabelled cells, and judge it on cells that it did not see."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gnas.encoders.graph import GraphEncoder, pack_graphs, unpack_graphs
from gnas.encoders.graph_config import GraphEncoderConfig
from gnas.encoders.tasks import MAKERS, Task, TaskBatch
from gnas.errors import ConfigError, GraphError
from gnas.graphs import DenseBatch, Graphs, graph_keys
from gnas.spaces import SPACES
from gnas.training.devices import own_generator, own_settings
from gnas.training.step import minimize

HELD_OUT = 20
"""Functions whose `graph_keys` are divisible by this are held out of pretraining."""
_MAX_JUDGED = 1024
_MAX_NORM = 1.0  # of gradients
_WEIGHT_DECAY = 1e-4


@dataclass(frozen=True)
class GraphEncoderQuality:
    """Quality of an encoder and its heads on held-out functions.

    Examples:
        >>> quality = GraphEncoderQuality({"properties": 0.02}, held_out=300, which="functions")
        >>> quality.summary()
        'loss on 300 functions (1 says a constant): properties 0.0200'
    """

    losses: dict[str, float]
    """By task: the loss as the task defines it, 1 for a constant answer and 0 for right ones."""
    held_out: int
    """Number of these functions."""
    which: str
    """Description of the held-out functions."""

    def summary(self) -> str:
        """One line for a person."""
        losses = ", ".join(f"{name} {value:.4f}" for name, value in self.losses.items())
        return f"loss on {self.held_out} {self.which} (1 says a constant): {losses}"


@own_settings()
def pretrain(
    encoder: GraphEncoder,
    graphs: Graphs,
    *,
    progress: Callable[[int, float], None] | None = None,
) -> GraphEncoderQuality:
    """Train an encoder in place on architectures without labels.

    Every function that occurs is taken once, except one in `HELD_OUT`, by which the encoder is
    judged.

    Args:
        encoder: Its config says which tasks, how many steps and which seed.
        graphs: The pool: a whole space, a sample of it, or graphs of one's own.
        progress: Called after every step with its number and its loss.

    Returns:
        Losses of the tasks on functions that the encoder has not seen.

    Raises:
        GraphError: architectures of another vocabulary, or fewer than two functions.

    Examples:
        >>> from gnas.encoders import GraphEncoder, GraphEncoderConfig
        >>> from gnas.spaces import NASBench201, Vocabulary
        >>> space = NASBench201()
        >>> config = GraphEncoderConfig(
        ...     vocabulary=Vocabulary.of(space), dim=8, width=8, steps=3, batch_size=16
        ... )
        >>> encoder = GraphEncoder(config)
        >>> quality = pretrain(encoder, space.sample_batch(200, np.random.default_rng(0)))
        >>> sorted(quality.losses), quality.held_out > 0
        (['properties'], True)
    """
    config = encoder.config
    forms = _distinct(encoder.forms(graphs))
    held_out = torch.from_numpy(graph_keys(forms) % np.uint64(HELD_OUT) == 0)
    held_out &= ~held_out.all()  # of a handful all may be multiples
    ops, edges = unpack_graphs(pack_graphs(forms))
    generator = torch.Generator().manual_seed(config.seed)
    with own_generator(config.seed):
        tasks: dict[str, Task] = {name: MAKERS[name](encoder, forms) for name in config.tasks}
    parameters = [*encoder.parameters(), *(p for t in tasks.values() for p in t.parameters())]
    optimizer = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=_WEIGHT_DECAY)
    seen = (~held_out).nonzero().flatten()
    encoder.train()
    minimize(
        (
            seen[torch.randint(len(seen), (config.batch_size,), generator=generator)]
            for _ in range(config.steps)
        ),
        lambda rows: _loss(encoder, tasks, ops, edges, rows, generator),
        optimizer,
        clip_norm=_MAX_NORM,
        scheduler=torch.optim.lr_scheduler.OneCycleLR(
            optimizer, config.learning_rate, total_steps=config.steps + 1, pct_start=0.1
        ),
        report=progress,
    )
    encoder.eval()
    return _quality(encoder, tasks, ops, edges, held_out.nonzero().flatten()[:_MAX_JUDGED])


def pool_of(config: GraphEncoderConfig) -> DenseBatch:
    """The cells that a recipe pretrains on: all of a small space, else a seeded sample.

    Args:
        config: The recipe.

    Raises:
        ConfigError: the recipe names no space.

    Examples:
        >>> from gnas.encoders import graph_preset
        >>> len(pool_of(graph_preset("dag-nasbench201")))
        15625
    """
    if config.space not in SPACES:
        raise ConfigError(f"space must be one of {sorted(SPACES)}, but got {config.space!r}")
    space = SPACES[config.space]()
    if space.size is not None and space.size <= config.pool:
        return space.enumerate()
    return space.sample_batch(config.pool, np.random.default_rng(config.seed))


def _distinct(forms: DenseBatch) -> DenseBatch:
    """One form of each function, in order of keys."""
    _, first = np.unique(graph_keys(forms), return_index=True)
    if len(first) < 2:
        raise GraphError(
            f"pretraining needs at least 2 architectures that compute different functions, but "
            f"got {len(first)}"
        )
    return forms[torch.from_numpy(first)]


def _loss(
    encoder: GraphEncoder,
    tasks: dict[str, Task],
    ops: Tensor,
    edges: Tensor,
    rows: Tensor,
    generator: torch.Generator,
) -> Tensor:
    batch = TaskBatch(encoder, ops[rows], edges[rows], rows, generator)
    return torch.stack([task.loss(batch) for task in tasks.values()]).sum()


@torch.no_grad()
def _quality(
    encoder: GraphEncoder, tasks: dict[str, Task], ops: Tensor, edges: Tensor, rows: Tensor
) -> GraphEncoderQuality:
    """Every task's loss on some rows; NaN where there are fewer than two."""
    batch = TaskBatch(encoder, ops[rows], edges[rows], rows, torch.Generator().manual_seed(0))
    enough = len(rows) > 1
    losses = {name: task.loss(batch).item() if enough else np.nan for name, task in tasks.items()}
    return GraphEncoderQuality(
        losses, len(rows), f"functions of the pool whose key is a multiple of {HELD_OUT}"
    )
