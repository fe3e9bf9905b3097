"""The search itself: steps, epochs, what is reported, and the architecture at the end."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from gnas.data.batches import Batch
from gnas.data.parts import SearchLoaders
from gnas.devices import explaining_memory
from gnas.distributed import ALONE, World
from gnas.errors import ConfigError, DataError, GnasError
from gnas.models.supernet import Supernet, SupernetConfig
from gnas.records import Progress
from gnas.search.toponas.arch import ArchParameters, DerivedCell, edge_codes, skip_advantage
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.record import RunRecord
from gnas.search.toponas.state import SearchState
from gnas.search.toponas.updates import Updater
from gnas.spaces.toponas import TopoNAS
from gnas.spaces.toponas.cells import CELL_TYPES, cells_graph
from gnas.spaces.toponas.genotype import Genotype

logger = logging.getLogger(__name__)

COLLAPSE_SHARE = 0.5
"""Choice: a normal cell with at least this share of skip connections is called collapsed."""
MIN_SIZE = {"cifar": 4, "imagenet": 32}
"""Smallest images that stem and reductions leave something of."""


@dataclass(frozen=True)
class SupernetSearchResult:
    """What a search found."""

    config: ToponasConfig
    architecture: Data
    """The derived architecture, of the space."""
    genotype: Genotype
    """The same in the DARTS family's notation."""
    valid: bool
    """Whether the space holds the architecture."""
    derived: dict[str, str]
    """How each cell was derived: "argmax" of every node's sets of edges, or "best valid" joint
    topology where that left a node without input."""
    metrics: dict[str, Any]
    """Of the last epoch."""
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


def toponas_space(config: ToponasConfig) -> TopoNAS:
    """The space that ``config`` derives its architecture in."""
    return TopoNAS(
        config.num_nodes,
        topology="arbitrary" if config.topology == "arbitrary" else "fixed",
        k=config.k,
        mode=config.mode,
    )


def search_toponas(
    space: TopoNAS,
    loaders: SearchLoaders,
    config: ToponasConfig,
    *,
    device: str = "cpu",
    world: World = ALONE,
    build: Callable[[SupernetConfig], nn.Module] = Supernet,
    record: RunRecord | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> SupernetSearchResult:
    """Learns operations and topology in a supernet and derives an architecture.

    On the CPU the same config, images and number of threads and processes give the same bits,
    whether the search was interrupted or not. The global generator is left as found.

    Args:
        space: What to derive in; `toponas_space` makes it.
        loaders: The images of w, alpha and beta, on ``device``.
        config: How to search.
        device: Where to search.
        world: This process among all that search together.
        build: Makes the supernet, with `Supernet`'s interface, from torch's global generator.
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
    with torch.random.fork_rng(devices=gpus), explaining_memory(_advice(config)):
        torch.manual_seed(config.seed)
        updater = _updater(loaders, config, device, world, build)
        state = SearchState(updater)
        if record is not None and record.resume:
            record.restore(state)
        own = record if world.is_main else None
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
    world: World,
    build: Callable[[SupernetConfig], nn.Module],
) -> Updater:
    supernet = build(
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
    world.broadcast([*supernet.state_dict().values(), *arch.state_dict().values()])
    if config.compile:
        supernet.compile()
    return Updater(supernet.train(), arch, config, world)


def _run(
    space: TopoNAS,
    loaders: SearchLoaders,
    state: SearchState,
    record: RunRecord | None,
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
        result = state.updater.step(*batches, lr=config.lr_at(epoch))
        if not result.is_finite:
            raise GnasError(
                f"losses must be finite, but in step {state.step % per_epoch + 1} of epoch "
                f"{epoch + 1} they are {result.train.loss} (training) and {result.val.loss} "
                f"(validation); lower lr ({config.lr}) or arch_lr ({config.arch_lr}), or search "
                f"in float32 ({config.precision} now)"
            )
        state.add(result)
        if state.step % per_epoch == 0:
            _end_epoch(space, state, epoch, per_epoch)
            if record is not None:
                record.epoch(state)
        report(Progress(state.step, total, state.epochs[-1] if state.epochs else {}))
        if record is not None:
            record.save(state, if_due=state.step < total and state.stopped is None)


def _end_epoch(space: TopoNAS, state: SearchState, epoch: int, per_epoch: int) -> None:
    arch, config = state.updater.arch, state.updater.config
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
    metrics["genotype"] = str(Genotype.from_graph(cells_graph(edge_codes(cells))))
    metrics["seconds"] = state.seconds
    share = cells["normal"].skip_share
    earlier = state.epochs[-1]["skip_share_normal"] if state.epochs else 0.0
    if share >= COLLAPSE_SHARE > earlier:
        logger.warning("%s", _collapse(arch, cells["normal"], epoch))
    state.epochs.append(metrics)
    state.snapshots.append(arch.snapshot())
    if config.stop_skip_share is not None and share >= config.stop_skip_share:
        state.stopped = (
            f"{share:.0%} of the normal cell's edges are skip connections after epoch "
            f"{epoch + 1}, and stop_skip_share is {config.stop_skip_share:.0%}"
        )
        logger.warning("stopped early: %s", state.stopped)


def _collapse(arch: ArchParameters, cell: DerivedCell, epoch: int) -> str:
    skip, best = skip_advantage(arch.op_weights("normal").detach(), cell.edges)
    edges = int(cell.edges.sum())
    return (
        f"the search collapses: after epoch {epoch + 1} {round(cell.skip_share * edges)} of "
        f"{edges} edges of the normal cell are skip connections (mean weight there {skip:.3f}, "
        f"against {best:.3f} of the strongest convolution); fewer epochs, a lower arch_lr or "
        "stop_skip_share avoid it"
    )


def _result(space: TopoNAS, state: SearchState) -> SupernetSearchResult:
    cells = state.updater.arch.derive()
    architecture = cells_graph(edge_codes(cells))
    space.validate(architecture)
    return SupernetSearchResult(
        config=state.updater.config,
        architecture=architecture,
        genotype=Genotype.from_graph(architecture),
        valid=True,
        derived={name: cells[name].how for name in CELL_TYPES},
        metrics=state.epochs[-1],
        epochs=state.epochs,
        history=state.history(),
        supernet_params=sum(p.numel() for p in state.updater.w),
        seconds=state.seconds,
        stopped=state.stopped,
    )


def _check(space: TopoNAS, loaders: SearchLoaders, config: ToponasConfig) -> None:
    wanted = toponas_space(config).codes
    if space.codes != wanted:
        raise ConfigError(f"the space must be {wanted} as in the config, but got {space.codes}")
    needs_beta = config.learns_topology and config.update == "alternating"
    if needs_beta != (loaders.beta is not None):
        raise ConfigError(
            f"beta must have batches of its own exactly if a topology is learned by alternating "
            f"updates, but got topology={config.topology!r}, update={config.update!r} and "
            f"{'no ' if loaders.beta is None else ''}loader of beta"
        )
    if loaders.image_size < MIN_SIZE[config.stem]:
        raise ConfigError(
            f"images must be at least {MIN_SIZE[config.stem]} pixels high and wide for the "
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
