"""One search from its images to its run folder: what the command line calls."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gnas.data.images.batch_size import FEWER
from gnas.data.images.parts import ImageParts, open_search_images, search_loaders
from gnas.loggers import RunLog, RunLogger, logging_run
from gnas.models import num_macs, num_params
from gnas.retrain.config import CELL_SIZES, DARTS_SIZE
from gnas.runs import (
    NOTICE,
    SavableFigure,
    run_folder_lock,
    write_config,
    write_result,
)
from gnas.search.toponas.arch import uniform_entropies
from gnas.search.toponas.config import DARTS, ToponasConfig
from gnas.search.toponas.plan import COMMAND, ToponasPlan
from gnas.search.toponas.result import SupernetSearchResult
from gnas.search.toponas.search import search_toponas
from gnas.search.toponas.state import SearchRecord
from gnas.search.toponas.where import search_space
from gnas.spaces import Space, space_record
from gnas.training.devices import own_generator
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.recording import Progress

logger = logging.getLogger(__name__)

IMAGE_LIST = "images.txt"
"""The list of an ImageNet search that was drawn for it, in the run's folder."""
UNDECIDED = 0.95
"""Choice: with a larger share of the uniform distribution's entropy nothing was decided."""


@dataclass(frozen=True)
class RandomCell:
    """A cell drawn from the space, in the network of the cell that was found."""

    architecture: str
    params: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class ToponasResult:
    """Everything that a search found; field by field the content of ``result.json``."""

    command: str
    config: Mapping[str, Any] = field(repr=False)
    """Config of the search, and its images."""
    data: Mapping[str, Any] = field(repr=False)
    """The images as they were read."""
    space: Mapping[str, Any] = field(repr=False)
    """Name of the space, and the digest of its file if it has one."""
    architecture: str
    """In the space's notation."""
    genotype: Mapping[str, Any] | None
    """The same as JSON, for DARTS' cells."""
    genotype_text: str | None
    """The same as tools of that family read it, for DARTS' cells."""
    derived: Mapping[str, str]
    """Derivation of each cell; see `SupernetSearchResult`."""
    stopped: str | None
    """Reason for an early stop, if any."""
    metrics: Mapping[str, Any]
    """Metrics of the epoch derived."""
    undecided: Mapping[str, float]
    """See `undecided`."""
    random: RandomCell
    network: Any
    """Config of the network that ``gnas retrain`` trains of the cells on these images."""
    params: int
    """Parameters of that network."""
    macs: int
    """Multiply-accumulates of that network for one image of the size that was searched on."""
    supernet_params: int
    device: str
    threads: int
    processes: int
    seconds: float


def run_search(
    plan: ToponasPlan,
    *,
    device: str = "cpu",
    context: DistributedContext = SINGLE_PROCESS,
    out: str | Path | None = None,
    resume: bool = False,
    report: Callable[[Progress], None] = lambda progress: None,
    figures: Callable[[SupernetSearchResult], Mapping[str, SavableFigure]] | None = None,
    loggers: Sequence[RunLogger] = (),
) -> ToponasResult:
    """Search by ``plan``; with ``out`` in a run folder.

    Args:
        plan: How, and in which images.
        device: Torch device.
        context: This process among all that search together; the main one writes.
        out: The run's folder; None writes nothing.
        resume: Go on from the checkpoint in ``out``.
        report: Called after every step.
        figures: Draws the result.
        loggers: Trackers that show the run in ``out``, see `gnas.loggers`.

    Raises:
        GnasError: see `open_search_images`, `SearchRecord` and `search_toponas`.
    """
    out = None if out is None else Path(out)
    own = out if context.is_main else None
    with run_folder_lock(own), logging_run(own, loggers) as log:
        return _run(plan, device, context, out, resume, report, figures, log)


def _run(
    plan: ToponasPlan,
    device: str,
    context: DistributedContext,
    out: Path | None,
    resume: bool,
    report: Callable[[Progress], None],
    figures: Callable[[SupernetSearchResult], Mapping[str, SavableFigure]] | None,
    log: RunLog,
) -> ToponasResult:
    space = search_space(plan.config)
    images = open_search_images(
        plan.images,
        num_parts=plan.config.num_parts,
        new_list=out / IMAGE_LIST if out is not None and (context.is_main or resume) else None,
    )
    wanted = plan.config.batch_size
    plan = plan.fitted(min(map(len, images.rows.values())), context.size)
    config = plan.config
    loaders = search_loaders(
        images,
        config.batch_size,
        seed=config.seed,
        joint=config.update == "joint",
        device=device,
        rank=context.rank,
        world=context.size,
    )
    data = images.metadata()
    context.check_agreed({"config": config, "data": data, "resume": resume}, device)
    if context.is_main:
        logger.log(NOTICE, "%s", images.line())
        if config.batch_size != wanted:
            logger.log(NOTICE, FEWER, config.batch_size, wanted)
    record = None
    if out is not None and (context.is_main or resume):
        record = SearchRecord(out, {"config": config, "data": data}, resume=resume, log=log)
        if context.is_main and not resume:
            whole = {"command": COMMAND, "search": config, "images": plan.images}
            write_config(out, whole, data={**data, "read": images.line()}, device=device)
    found = search_toponas(
        space,
        loaders,
        config,
        device=device,
        context=context,
        record=record,
        report=report,
    )
    result = result_of(found, plan, images, device, context)
    if out is not None and context.is_main:
        write_result(out, result, figures(found) if figures is not None else None)
    return result


def result_of(
    result: SupernetSearchResult,
    plan: ToponasPlan,
    images: ImageParts,
    device: str,
    context: DistributedContext,
) -> ToponasResult:
    """Result of a search, with the network that ``gnas retrain`` makes of it."""
    space = search_space(plan.config)
    size = network_config(space, plan.config, images)
    shape = (images.in_channels, images.image_size, images.image_size)
    is_darts = plan.config.space == DARTS
    other = space.sample(np.random.default_rng(plan.config.seed))
    with own_generator():
        network, random = (space.network(g, size) for g in (result.architecture, other))
    return ToponasResult(
        command=COMMAND,
        config={"search": plan.config, "images": plan.images},
        data={**images.metadata(), "read": images.line()},
        space=space_record(space),
        architecture=result.text,
        genotype=json.loads(result.genotype.to_json()) if is_darts else None,
        genotype_text=result.text if is_darts else None,
        derived=result.derived,
        stopped=result.stopped,
        metrics=result.metrics,
        undecided=undecided(result),
        random=RandomCell(space.to_str(other), num_params(random), num_macs(random, shape)),
        network=size,
        params=num_params(network),
        macs=num_macs(network, shape),
        supernet_params=result.supernet_params,
        device=device,
        threads=torch.get_num_threads(),
        processes=context.size,
        seconds=result.seconds,
    )


def undecided(result: SupernetSearchResult) -> dict[str, float]:
    """Entropies at the end in parts of the uniform distribution's, where that is nearly reached.

    Their names are "operations" and "edges"; each is the mean over the types of cells.
    """
    found = {}
    uniform = uniform_entropies(result.config)
    for name, start in {"operations": "alpha_entropy_", "edges": "beta_entropy_"}.items():
        own = [key for key in uniform if key.startswith(start)]
        largest = sum(uniform[key] for key in own)  # 0 where there is nothing to choose
        share = sum(result.metrics[key] for key in own) / largest if largest else 0.0
        if share > UNDECIDED:
            found[name] = share
    return found


def network_config(space: Space, config: ToponasConfig, images: ImageParts) -> Any:
    """The network that ``gnas retrain`` trains of the cells found on these images."""
    ends = {"in_channels": images.in_channels, "num_classes": images.num_classes}
    size = network_size(config, images.source.dataset)
    if not size:
        return space.network_config(**ends)
    return space.network_config(
        num_cells=size["layers"], channels=size["channels"], stem=config.stem, **ends
    )


def network_size(config: ToponasConfig, dataset: str) -> dict[str, int]:
    """Layers and channels of the network of the cells found, where the paper gives any.

    Of DARTS' cells as in the paper's appendices A.2 and A.4: 12 cells of 32 channels where a
    topology was learned, DARTS' 20 of 36 where not, 14 of 48 on ImageNet; on digits a small one of
    5 and 16. Networks of other spaces have a size of their own.
    """
    if config.space != DARTS:
        return {}
    layers, channels = CELL_SIZES["imagenet" if config.stem == "imagenet" else dataset]
    if not config.learns_topology and dataset in ("cifar10", "folder"):
        layers, channels = DARTS_SIZE
    return {"layers": layers, "channels": channels}
