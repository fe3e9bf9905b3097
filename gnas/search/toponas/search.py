"""The supernet search: Algorithm 1 of TopoNAS, from batches to the architecture at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from torch import nn

from gnas.data.images.loading import Batch
from gnas.data.images.parts import SearchLoaders
from gnas.errors import ConfigError, DataError
from gnas.search.toponas.arch import ArchParameters, derived_codes
from gnas.search.toponas.bilevel import BilevelOptimizer
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.hessian import alpha_eigenvalue
from gnas.search.toponas.result import SupernetSearchResult, search_result
from gnas.search.toponas.state import SearchRecord, SearchState
from gnas.search.toponas.stopping import collapse_warning, collapses, early_end
from gnas.search.toponas.where import search_space, supernets_of
from gnas.spaces.base import Space
from gnas.spaces.supernets import SupernetConfig
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.loop import run_epochs, seeded
from gnas.training.recording import Progress

logger = logging.getLogger(__name__)

Batches = tuple[Batch, Batch, Batch | None]
"""A batch of w, one of alpha, and one of beta where it has its own."""
MIN_SIZE = 32
"""Smallest images that the ImageNet stem and the reductions leave something of."""


def search_toponas(
    space: Space,
    loaders: SearchLoaders,
    config: ToponasConfig,
    *,
    device: str = "cpu",
    context: DistributedContext = SINGLE_PROCESS,
    build: Callable[[SupernetConfig], nn.Module] | None = None,
    record: SearchRecord | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> SupernetSearchResult:
    """Learn operations and topology in a supernet, and derive an architecture.

    Every step takes a batch of each stream and updates alpha, beta and w by gradient descent
    (`BilevelOptimizer.step`); after the last epoch the most probable operations and topology are
    the result (`ArchParameters.derive`).

    On the CPU the same config, images and number of threads and processes give the same bits,
    whether the search was interrupted or not. The global generator is left as found.

    Args:
        space: What to derive in; `search_space` makes it.
        loaders: The images of w, alpha and beta, on ``device``.
        config: The configuration.
        device: Torch device.
        context: This process among all that search together.
        build: Makes the supernet from torch's global generator, with the interface of those of
            the space; None takes the space's own.
        record: Where the main process writes what happens, and a resumed search starts from.
        report: Called after every step.

    Returns:
        The architecture, and everything that was learned on the way to it.

    Raises:
        ConfigError: space, images and config do not fit together, the record is of another
            search, or the memory does not suffice.
        DataError: batches are not what the loaders say.
        GnasError: a loss is not finite.

    Source: Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020, Algorithm 1.

    Example:
        >>> from gnas.search.toponas.plan import plan_search
        >>> from gnas.data.images import open_search_images, search_loaders
        >>> from gnas.spaces import NASBench201
        >>> plan = plan_search(
        ...     "digits", space="nasbench201",
        ...     epochs=1, channels=2, num_cells=1, batch_size=400, image_size=8,
        ... )
        >>> loaders = search_loaders(open_search_images(plan.images), plan.config.batch_size)
        >>> found = search_toponas(NASBench201(), loaders, plan.config)
        >>> found.epoch, found.history["alpha.cell"].shape  # before and after the only epoch
        (1, torch.Size([2, 6, 4]))
    """
    _check(space, loaders, config)
    with seeded(config.seed, device, _advice(config)):
        bilevel = _bilevel(loaders, config, device, context, build)
        state = SearchState(bilevel)

        def step(batches: Batches, epoch: int) -> None:
            _check_batches(batches, loaders)
            state.add(bilevel.step(*batches, lr=config.lr_at(epoch), epoch=epoch))

        run_epochs(
            state,
            epochs=config.epochs,
            steps_per_epoch=loaders.train.batches_per_epoch,
            batches=lambda start: _streams(loaders, start),
            step=step,
            end_epoch=lambda batches, epoch: _end_epoch(space, state, epoch, batches[1]),
            record=record,
            report=report,
        )
    return search_result(space, state)


def _streams(loaders: SearchLoaders, start: int) -> Iterator[Batches]:
    """Batches of w, alpha and beta."""
    beta = loaders.beta.iter_from(start) if loaders.beta is not None else repeat(None)
    train, alpha = loaders.train.iter_from(start), loaders.alpha.iter_from(start)
    yield from zip(train, alpha, beta, strict=True)


def _bilevel(
    loaders: SearchLoaders,
    config: ToponasConfig,
    device: str,
    context: DistributedContext,
    build: Callable[[SupernetConfig], nn.Module] | None,
) -> BilevelOptimizer:
    supernet = (build or supernets_of(config).build)(
        SupernetConfig(
            in_channels=loaders.in_channels,
            num_classes=loaders.num_classes,
            channels=config.channels,
            num_cells=config.num_cells,
            num_nodes=config.num_nodes,
            stem=config.stem,
            stem_multiplier=config.stem_multiplier,
            partial=config.partial,
            kernels=config.kernels,
            recompute=config.recompute,
        )
    ).to(device)
    arch = ArchParameters(config).to(device)
    context.broadcast([*supernet.state_dict().values(), *arch.state_dict().values()])
    if config.compile:
        supernet.compile()
    return BilevelOptimizer(supernet.train(), arch, config, context)


def _end_epoch(space: Space, state: SearchState, epoch: int, batch: Batch) -> None:
    """Add the metrics of an epoch, and decide whether to stop; ``batch`` is alpha's last one."""
    arch, config = state.bilevel.arch, state.bilevel.config
    cells = arch.derive()
    metrics: dict[str, Any] = {
        "epoch": epoch + 1,
        "step": state.step,
        "lr": config.lr_at(epoch),
        **state.take_means(state.step // (epoch + 1)),
        **arch.statistics(),
    }
    for name, cell in cells.items():
        metrics[f"edges_{name}"] = int(cell.edges.sum())
        metrics[f"skip_share_{name}"] = cell.skip_share
    if config.stop_eigenvalue is not None:
        metrics["eigenvalue"] = alpha_eigenvalue(state.bilevel, batch)
    metrics["genotype"] = space.to_str(arch.form.graph(derived_codes(cells)))
    metrics["seconds"] = state.seconds
    state.epochs.append(metrics)
    state.snapshots.append(arch.snapshot())
    main = arch.form.cells[0]
    if collapses(state.epochs, main):
        logger.warning("%s", collapse_warning(arch, main, cells[main], epoch))
    state.stopped, state.chosen = early_end(config, state.epochs, main)
    if state.stopped is not None:
        logger.warning("stopped early: %s", state.stopped)


def _check(space: Space, loaders: SearchLoaders, config: ToponasConfig) -> None:
    wanted = search_space(config)
    if space != wanted:
        raise ConfigError(f"the space must be {wanted!r} as in the config, but got {space!r}")
    smallest = MIN_SIZE if config.stem == "imagenet" else supernets_of(config).smallest
    needs_beta = config.learns_topology and config.update == "alternating"
    if needs_beta != (loaders.beta is not None):
        raise ConfigError(
            f"beta must have batches of its own exactly if a topology is learned by alternating "
            f"updates, but got topology={config.topology!r}, update={config.update!r} and "
            f"{'no ' if loaders.beta is None else ''}loader of beta"
        )
    if loaders.image_size < smallest:
        raise ConfigError(
            f"images must be at least {smallest} pixels high and wide for the "
            f"{config.stem} stem, but are {loaders.image_size}"
        )


def _check_batches(batches: Batches, loaders: SearchLoaders) -> None:
    size = loaders.image_size
    for x, y in (batch for batch in batches if batch is not None):
        if x.shape[1:] != (loaders.in_channels, size, size) or y.shape != x.shape[:1]:
            raise DataError(
                f"batches must hold images [B, {loaders.in_channels}, {size}, {size}] and labels "
                f"[B], but got {list(x.shape)} and {list(y.shape)}"
            )


def _advice(config: ToponasConfig) -> str:
    """Advice for where the memory does not suffice."""
    return (
        f"raise accumulate (now {config.accumulate}: pieces that a batch of "
        f"{config.batch_size} is taken in), set recompute (now {config.recompute}), or lower "
        f"batch_size, channels (now {config.channels}) or the image size"
    )
