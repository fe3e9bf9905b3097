"""The search itself: steps, epochs, what is reported, and the architecture at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnas.data.batches import Batch
from gnas.data.parts import SearchLoaders
from gnas.errors import ConfigError, DataError, GnasError
from gnas.search.toponas.arch import ArchParameters, DerivedCell, edge_codes
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.record import SearchRecord
from gnas.search.toponas.state import SearchState
from gnas.search.toponas.updates import Updater
from gnas.search.toponas.where import search_space, supernets_of
from gnas.spaces.base import Space
from gnas.spaces.supernets import SupernetConfig
from gnas.spaces.toponas.genotype import Genotype
from gnas.training.devices import oom_hint
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.recording import Progress

logger = logging.getLogger(__name__)

COLLAPSE_SHARE = 0.5
"""Choice: a normal cell with at least this share of skip connections is called collapsed."""
EIGENVALUE_WINDOW = 5
"""Epochs that eigenvalues are averaged over, and compared across (DARTS-ES, section 4.3)."""
MIN_SIZE = 32
"""Smallest images that the ImageNet stem and the reductions leave something of."""


@dataclass(frozen=True)
class SupernetSearchResult:
    """What a search found."""

    config: ToponasConfig
    architecture: Data
    """The derived architecture, of the space."""
    text: str
    """The same in the space's notation."""
    derived: dict[str, str]
    """How each cell was derived: "argmax" of every node's sets of edges, or "best valid" joint
    topology where that left a node without input."""
    epoch: int
    """The epoch, from 1, whose architecture was derived: the last one, unless `stop_eigenvalue`
    went back to an earlier one."""
    metrics: dict[str, Any]
    """Of the epoch derived."""
    epochs: list[dict[str, Any]]
    """Of every epoch."""
    history: dict[str, Tensor]
    """alpha, beta and s (``alpha.normal``, ...) before the first and after every epoch:
    [epochs + 1, ...]."""
    supernet_params: int
    """Weights of the supernet."""
    seconds: float
    """Time spent on the steps."""
    stopped: str | None
    """Why the search ended early, if it did."""
    updater: Updater
    """The supernet with its weights, and alpha and beta as they derive the architecture."""

    @property
    def genotype(self) -> Genotype:
        """The architecture in the DARTS family's notation.

        Raises:
            GraphError: it is of another space.
        """
        return Genotype.from_graph(self.architecture)


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
    """Learns operations and topology in a supernet and derives an architecture.

    On the CPU the same config, images and number of threads and processes give the same bits,
    whether the search was interrupted or not. The global generator is left as found.

    Args:
        space: What to derive in; `search_space` makes it.
        loaders: The images of w, alpha and beta, on ``device``.
        config: How to search.
        device: Where to search.
        context: This process among all that search together.
        build: Makes the supernet from torch's global generator, with the interface of those of
            the space; None takes the space's own.
        record: Where the main process writes what happens, and a resumed search starts from.
        report: Called after every step.

    Raises:
        ConfigError: space, images and config do not fit together, the record is of another
            search, or the memory does not suffice.
        DataError: batches are not what the loaders say.
        GnasError: a loss is not finite.

    Source: Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020, Algorithm 1.
    """
    _check(space, loaders, config)
    gpus = [torch.device(device)] if device.startswith("cuda") else []
    with torch.random.fork_rng(devices=gpus), oom_hint(_advice(config)):
        torch.manual_seed(config.seed)
        updater = _updater(loaders, config, device, context, build)
        state = SearchState(updater)
        if record is not None and record.resume:
            record.restore(state)
        own = record if context.is_main else None
        if own is not None:
            own.start(state)
        try:
            _run(space, loaders, state, own, report)
        finally:
            if own is not None:
                own.close()
    return _result(space, state)


def _updater(
    loaders: SearchLoaders,
    config: ToponasConfig,
    device: str,
    context: DistributedContext,
    build: Callable[[SupernetConfig], nn.Module] | None,
) -> Updater:
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
    return Updater(supernet.train(), arch, config, context)


def _run(
    space: Space,
    loaders: SearchLoaders,
    state: SearchState,
    record: SearchRecord | None,
    report: Callable[[Progress], None],
) -> None:
    config = state.updater.config
    per_epoch = loaders.train.per_pass
    total = per_epoch * config.epochs
    train, alpha, beta = (
        loader.stream(state.step) if loader is not None else None
        for loader in (loaders.train, loaders.alpha, loaders.beta)
    )
    assert train is not None and alpha is not None
    while state.step < total and state.stopped is None:
        epoch = state.step // per_epoch
        batches = next(train), next(alpha), next(beta) if beta is not None else None
        _check_batches(batches, loaders, config)
        result = state.updater.step(*batches, lr=config.lr_at(epoch), epoch=epoch)
        if not result.is_finite:
            raise GnasError(
                f"losses must be finite, but in step {state.step % per_epoch + 1} of epoch "
                f"{epoch + 1} they are {result.train.loss} (training) and {result.val.loss} "
                f"(validation); lower lr ({config.lr}) or arch_lr ({config.arch_lr}), or search "
                f"in float32 ({config.precision} now)"
            )
        state.add(result)
        if state.step % per_epoch == 0:
            _end_epoch(space, state, epoch, per_epoch, batches[1])
            if record is not None:
                record.epoch(state)
        report(Progress(state.step, total, state.epochs[-1] if state.epochs else {}))
        if record is not None:
            record.save(state, if_due=state.step < total and state.stopped is None)


def _end_epoch(space: Space, state: SearchState, epoch: int, per_epoch: int, batch: Batch) -> None:
    """What an epoch showed; ``batch`` is alpha's last one."""
    updater = state.updater
    arch, config = updater.arch, updater.config
    cells = arch.derive()
    metrics: dict[str, Any] = {
        "epoch": epoch + 1,
        "step": state.step,
        "lr": config.lr_at(epoch),
        **state.take_means(per_epoch),
        **arch.facts(),
    }
    for name, cell in cells.items():
        metrics[f"edges_{name}"] = int(cell.edges.sum())
        metrics[f"skip_share_{name}"] = cell.skip_share
    if config.stop_eigenvalue is not None:
        metrics["eigenvalue"] = updater.alpha_eigenvalue(batch)
    metrics["genotype"] = space.to_str(arch.form.graph(edge_codes(cells)))
    metrics["seconds"] = state.seconds
    main = arch.form.cells[0]
    share = cells[main].skip_share
    earlier = state.epochs[-1][f"skip_share_{main}"] if state.epochs else 0.0
    if share >= COLLAPSE_SHARE > earlier:
        logger.warning("%s", _collapse(arch, main, cells[main], epoch))
    state.epochs.append(metrics)
    state.snapshots.append(arch.snapshot())
    if config.stop_skip_share is not None and share >= config.stop_skip_share:
        state.stopped = (
            f"{share:.0%} of the {main} cell's edges are skip connections after epoch "
            f"{epoch + 1}, and stop_skip_share is {config.stop_skip_share:.0%}"
        )
    elif config.stop_eigenvalue is not None:
        state.stopped = _sharpening(state.epochs, config.stop_eigenvalue)
        if state.stopped is not None:
            state.chosen = len(state.epochs) - EIGENVALUE_WINDOW
    if state.stopped is not None:
        logger.warning("stopped early: %s", state.stopped)


def smooth_eigenvalues(epochs: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean eigenvalue of every epoch and those before it, `EIGENVALUE_WINDOW` in all at most."""
    values = [float(epoch["eigenvalue"]) for epoch in epochs]
    parts = [values[max(0, e + 1 - EIGENVALUE_WINDOW) : e + 1] for e in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def _sharpening(epochs: Sequence[Mapping[str, Any]], share: float) -> str | None:
    """Why to stop and derive the cell of `EIGENVALUE_WINDOW` epochs ago, if that is so."""
    values = smooth_eigenvalues(epochs)
    if len(values) <= EIGENVALUE_WINDOW:
        return None
    before, now = values[-1 - EIGENVALUE_WINDOW], values[-1]
    if not before < share * now:
        return None
    return (
        f"the largest eigenvalue of the validation loss' Hessian in alpha rose from {before:.3g} "
        f"to {now:.3g} in {EIGENVALUE_WINDOW} epochs, and stop_eigenvalue is {share:g}; the "
        f"architecture is that of epoch {len(values) - EIGENVALUE_WINDOW}"
    )


def _collapse(arch: ArchParameters, name: str, cell: DerivedCell, epoch: int) -> str:
    skip, best = arch.skip_advantage(name, cell.edges)
    edges = int(cell.edges.sum())
    return (
        f"the search collapses: after epoch {epoch + 1} {round(cell.skip_share * edges)} of "
        f"{edges} edges of the {name} cell are skip connections (mean weight there {skip:.3f}, "
        f"against {best:.3f} of the strongest convolution); fewer epochs, a lower arch_lr or "
        "stop_skip_share avoid it"
    )


def _result(space: Space, state: SearchState) -> SupernetSearchResult:
    updater = state.updater
    chosen = state.chosen or len(state.epochs)
    if state.chosen is not None:
        updater.arch.restore(state.snapshots[chosen])
    cells = updater.arch.derive()
    architecture = updater.arch.form.graph(edge_codes(cells))
    space.validate(architecture)
    return SupernetSearchResult(
        config=updater.config,
        architecture=architecture,
        text=space.to_str(architecture),
        derived={name: cell.how for name, cell in cells.items()},
        epoch=chosen,
        metrics=state.epochs[chosen - 1],
        epochs=state.epochs,
        history=state.history(),
        supernet_params=sum(p.numel() for p in updater.w),
        seconds=state.seconds,
        stopped=state.stopped,
        updater=updater,
    )


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


def _check_batches(
    batches: tuple[Batch | None, ...], loaders: SearchLoaders, config: ToponasConfig
) -> None:
    size = loaders.image_size
    for x, y in (batch for batch in batches if batch is not None):
        if x.shape[1:] != (loaders.in_channels, size, size) or y.shape != x.shape[:1]:
            raise DataError(
                f"batches must hold images [B, {loaders.in_channels}, {size}, {size}] and labels "
                f"[B], but got {list(x.shape)} and {list(y.shape)}"
            )
        if len(y) % config.accumulate:
            raise ConfigError(
                f"each process's share of a batch must be a multiple of accumulate, "
                f"but got {len(y)} images and accumulate={config.accumulate}"
            )


def _advice(config: ToponasConfig) -> str:
    """What helps where the memory does not suffice."""
    return (
        f"raise accumulate (now {config.accumulate}: pieces that a batch of "
        f"{config.batch_size} is taken in), set recompute (now {config.recompute}), or lower "
        f"batch_size, channels (now {config.channels}) or the image size"
    )
