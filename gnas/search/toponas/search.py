"""The supernet search: Algorithm 1 of TopoNAS, from batches to the architecture at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from itertools import repeat
from typing import Any

from torch import nn

from gnas.data.images.loading import Batch
from gnas.data.images.parts import SearchLoaders
from gnas.search.toponas.arch import ArchParameters, derived_codes
from gnas.search.toponas.bilevel import BilevelOptimizer
from gnas.search.toponas.checks import Batches, check_batches, check_search, memory_advice
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.hessian import alpha_eigenvalue
from gnas.search.toponas.result import SupernetSearchResult, search_result
from gnas.search.toponas.state import SearchRecord, SearchState
from gnas.search.toponas.stopping import collapse_warning, collapses, early_end
from gnas.search.toponas.where import supernets_of
from gnas.spaces.base import Space
from gnas.spaces.supernets import SupernetConfig
from gnas.training.devices import seed_numpy_and_python, step_seed
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.loop import run_epochs, seeded
from gnas.training.recording import Progress

logger = logging.getLogger(__name__)


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

    Examples:
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
    check_search(space, loaders, config)
    with seeded(config.seed, device, memory_advice(config)):
        bilevel = _bilevel(loaders, config, device, context, build)
        state = SearchState(bilevel)

        def step(batches: Batches, epoch: int) -> None:
            check_batches(batches, loaders)
            seed_numpy_and_python(step_seed(config.seed, state.step, context.rank))
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
