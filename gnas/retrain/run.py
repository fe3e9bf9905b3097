"""Trainings from their images to their run folders: what the command line calls."""

from __future__ import annotations

import logging
import statistics
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gnas.data.files import FORMAT_ERRORS, read_json
from gnas.data.images.batch_size import FEWER
from gnas.data.images.parts import ImageParts, open_train_images
from gnas.errors import ConfigError, DataError
from gnas.geometric import Data
from gnas.loggers import RunLog, RunLogger, logging_run
from gnas.models.checks import check_network
from gnas.models.counting import num_macs, num_params
from gnas.models.saved import check_not_foreign
from gnas.retrain.card import save_trained
from gnas.retrain.loop import RetrainResult, retrain
from gnas.retrain.plan import RetrainPlan, network_of, planned, with_params
from gnas.retrain.state import RetrainState
from gnas.retrain.trainings import COMMAND, MAX_PARAMS, ended_before
from gnas.runs import NOTICE, environment, run_folder_lock, to_jsonable, write_config, write_result
from gnas.spaces import Space, space_record
from gnas.spaces.networks import NetworkConfig
from gnas.training.devices import oom_hint, own_generator
from gnas.training.distributed import SINGLE_PROCESS, DistributedContext
from gnas.training.recording import Progress, RunRecord

logger = logging.getLogger(__name__)

NEW, BEGUN, DONE = 0, 1, 2
NARROW = 64
"""Channels of the networks by which wider ones are judged."""


def run_retrain(
    plan: RetrainPlan,
    *,
    device: str = "cpu",
    context: DistributedContext = SINGLE_PROCESS,
    out: str | Path | None = None,
    resume: bool = False,
    report: Callable[[str, Progress], None] = lambda name, progress: None,
    loggers: Sequence[RunLogger] = (),
) -> dict[str, Any]:
    """Run the trainings of a plan; with ``out`` in a run folder, each in one of its own.

    Args:
        plan: What, how, and on which images.
        device: Torch device.
        context: This process among all that train together; the main one writes.
        out: The run's folder; None writes nothing.
        resume: Go on with what ``out`` holds: what is done stays, what was begun goes on.
        report: Called with the training's name after every step.
        loggers: Trackers that show every training in ``out``, see `gnas.loggers`.

    Returns:
        The content of ``result.json``.

    Raises:
        GnasError: see `open_train_images`, `RunRecord` and `retrain`.

    Examples:
        >>> from gnas.retrain import plan_retrain
        >>> from gnas.spaces import NASGEM
        >>> plan = plan_retrain(
        ...     NASGEM(), "conv_1x1|0", "digits", epochs=1, channels=4, num_stages=1,
        ...     batch_size=512, image_size=8, auxiliary_weight=0, drop_path=0,
        ... )
        >>> found = run_retrain(plan)
        >>> found["params"], 0 <= found["metrics"]["test_acc"] <= 1
        (118, True)
    """
    out = None if out is None else Path(out)
    with run_folder_lock(out if context.is_main else None):
        return _run(plan, device, context, out, resume, report, loggers)


def _run(
    plan: RetrainPlan,
    device: str,
    context: DistributedContext,
    out: Path | None,
    resume: bool,
    report: Callable[[str, Progress], None],
    loggers: Sequence[RunLogger],
) -> dict[str, Any]:
    images = open_train_images(plan.images)
    data, line = images.metadata(), images.line()
    wanted = plan.config.batch_size
    plan = plan.fitted(len(images.rows["train"]), context.size)
    plan = with_params(plan, in_channels=images.in_channels, num_classes=images.num_classes)
    trainings = plan.trainings()
    asked = {"architecture": plan.architecture, "trainings": trainings, "resume": resume}
    context.check_agreed({**asked, "data": data}, device)
    if not resume:
        _try_networks(plan, images)
    if context.is_main:
        logger.log(NOTICE, "%s", line)
        if plan.config.batch_size != wanted:
            logger.log(NOTICE, FEWER, plan.config.batch_size, wanted)
    if out is not None and context.is_main and not resume and len(trainings) > 1:
        if (out / "config.json").exists():
            raise ConfigError(
                f"a new run needs a folder of its own, but {out} has one; go on with --resume "
                f"{out}, or choose another"
            )
        write_config(out, _asked(plan), data={**data, "read": line}, device=device)
    if out is not None and context.is_main and resume and len(trainings) > 1:
        _note_epochs(out, plan, data={**data, "read": line}, device=device)
    results = []
    for name, config in trainings.items():
        single = replace(plan, config=config, repeats=1, layers=())
        folder = None if out is None else out / name
        notify = partial(report, name)
        own = folder if context.is_main else None
        with run_folder_lock(own), logging_run(own, loggers) as log:
            results.append(
                _one(single, images, data, device, context, folder, resume, notify, log)
            )
    if len(results) == 1:
        return results[0]
    facts = _together(plan, list(trainings), results)
    if out is not None and context.is_main:
        write_result(out, facts)
    return facts


def _try_networks(plan: RetrainPlan, images: ImageParts) -> None:
    """Build each network and show it two images, before anything is written.

    Raises:
        ConfigError: a network does not fit into memory, or not on images of this size.
    """
    space, graph = plan.space, plan.space.from_str(plan.architecture)
    shape = (images.in_channels, images.image_size, images.image_size)
    advice = "lower layers, channels or the image size"
    for layers in plan.layers or (plan.config.layers,):
        size = network_of(
            space,
            replace(plan.config, layers=layers),
            in_channels=images.in_channels,
            num_classes=images.num_classes,
        )
        try:
            _check_width(space, graph, size)
            with own_generator(), oom_hint(advice):
                network = space.network(graph, size)
        except ConfigError:
            raise
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"the network must be of a size that can be built, but: {reason}"
            ) from error
        check_network(network, shape, images.num_classes)


def _check_width(space: Space, graph: Data, size: NetworkConfig) -> None:
    """Check that a wide network is not absurdly large, by a narrow one: before it takes memory.

    Raises:
        ConfigError: it would have more than `MAX_PARAMS` parameters.
    """
    name = space.needed_networks().width
    width = NARROW if name is None else getattr(size, name)
    if name is None or width <= NARROW:
        return
    with own_generator():
        other = replace(size, **{name: NARROW})  # type: ignore[type-var]  # a field of each
        narrow = num_params(space.network(graph, other))
    params = narrow * width**2 // NARROW**2  # nearly all are in convolutions
    if params > MAX_PARAMS:
        raise ConfigError(
            f"networks must have at most {MAX_PARAMS:,} parameters, but with {width:,} channels "
            f"about {params:,} are needed; lower channels"
        )


def _one(
    plan: RetrainPlan,
    images: ImageParts,
    data: dict[str, Any],
    device: str,
    context: DistributedContext,
    out: Path | None,
    resume: bool,
    report: Callable[[Progress], None],
    log: RunLog,
) -> dict[str, Any]:
    """One training, or what an earlier start has of it."""
    state = _state(out, context, plan.config.epochs) if out is not None and resume else NEW
    if state == DONE and out is not None:
        log.update()
        return _finished(out, plan, data)
    graph = plan.space.from_str(plan.architecture)
    network_config = network_of(
        plan.space, plan.config, in_channels=images.in_channels, num_classes=images.num_classes
    )
    if out is not None and context.is_main:
        for kept in ("weights", "best"):
            check_not_foreign(out / kept)
    record = None
    if out is not None and (context.is_main or state == BEGUN):
        same = {"architecture": _of(plan), "config": plan.config, "data": data}
        record = RunRecord[RetrainState](
            out, same, resume=state == BEGUN, may_grow=("epochs",), log=log
        )
        told = {**data, "read": images.line()}
        if context.is_main and state == NEW:
            write_config(out, _asked(plan), data=told, device=device)
        elif context.is_main:
            _note_epochs(out, plan, data=told, device=device)
    result = retrain(
        plan.space,
        graph,
        network_config,
        images,
        plan.config,
        device=device,
        context=context,
        record=record,
        report=report,
    )
    facts = result_facts(result, plan, images, data, device, context)
    if out is not None and context.is_main:
        save_trained(out / "weights", result.network, plan.space, network_config, images, facts)
        if result.best is not None:
            save_trained(out / "best", result.best, plan.space, network_config, images, facts)
        write_result(out, facts)
    return facts


def _note_epochs(folder: Path, plan: RetrainPlan, *, data: dict[str, Any], device: str) -> None:
    """Write the plan of a resumed run anew if its epochs were raised."""
    if planned(folder).config.epochs < plan.config.epochs:
        write_config(folder, _asked(plan), data=data, device=device)


def _state(folder: Path, context: DistributedContext, epochs: int) -> int:
    """State of a training in a run to be resumed: the main process looks, all agree."""
    found = NEW
    if (folder / "result.json").exists() and not ended_before(folder, epochs):
        found = DONE
    elif any((folder / "checkpoint").glob("step-*.json")):
        found = BEGUN
    shared = torch.tensor(found)
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "nccl":
        shared = shared.cuda()
    context.broadcast([shared])
    return int(shared)


def _finished(folder: Path, plan: RetrainPlan, data: dict[str, Any]) -> dict[str, Any]:
    """The result of a training that is done.

    Raises:
        DataError: it is damaged, or of another training.
    """
    path = folder / "result.json"
    try:
        record: dict[str, Any] = read_json(path, "the result of a training")
        config, found = record["config"]["retrain"], dict(record["data"])
        found.pop("read", None)  # of files that do not matter, too
        _row([record])
    except (DataError, *FORMAT_ERRORS) as error:
        raise DataError(
            f"{path} must be the result of a training, but cannot be read as one ({error!r:.80}); "
            "remove it to have its last epochs trained again"
        ) from error
    if config != to_jsonable(plan.config) or found != to_jsonable(data):
        raise DataError(
            f"{path} must be of the training and the images that are asked for, but is of others"
        )
    return record


def result_facts(
    result: RetrainResult,
    plan: RetrainPlan,
    images: ImageParts,
    data: dict[str, Any],
    device: str,
    context: DistributedContext,
) -> dict[str, Any]:
    """Content of ``result.json`` and ``--json`` for one training."""
    shape = (images.in_channels, images.image_size, images.image_size)
    metrics = {**result.epochs[-1], **result.test.metrics("test")}
    if result.best_test is not None:
        metrics |= result.best_test.metrics("best_test") | {"best_epoch": result.best_epoch}
    facts = {
        "command": COMMAND,
        "config": _asked(plan),
        "data": {**data, "read": images.line()},
        **_of(plan),
        "valid": True,
        "metrics": metrics,
        "confusion": result.test.confusion,
        "unreadable_test_images": result.test.unreadable,
        "params": num_params(result.network),
        "macs": num_macs(result.network, shape),
        **environment(device),
        "threads": torch.get_num_threads(),
        "processes": context.size,
        "raised_after": result.raised_after,
        "seconds": result.seconds,
    }
    return {**facts, "rows": [_row([facts])]}


def _asked(plan: RetrainPlan) -> dict[str, Any]:
    return {
        "command": COMMAND,
        **_of(plan),
        "retrain": plan.config,
        "images": plan.images,
        "repeats": plan.repeats,
        "layers": plan.layers,
    }


def _of(plan: RetrainPlan) -> dict[str, Any]:
    """The architecture and its space."""
    return {"space": space_record(plan.space), "architecture": plan.architecture}


def _together(
    plan: RetrainPlan, names: Sequence[str], results: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """The result of several trainings: a row for each size, with means over the seeds."""
    size = plan.repeats
    rows = [_row(results[k : k + size]) for k in range(0, len(results), size)]
    single = rows[0] if len(rows) == 1 else {}
    return {
        "command": COMMAND,
        "config": _asked(plan),
        "data": results[0]["data"],
        **_of(plan),
        "valid": True,
        "metrics": {k: v for k, v in single.items() if k.startswith(("test", "best_test"))},
        "params": single.get("params"),
        "macs": single.get("macs"),
        "rows": rows,
        "runs": list(names),
        "seconds": sum(result["seconds"] for result in results),
    }


def _row(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One size: what it is, and each measure's mean and standard deviation over the seeds."""
    first = results[0]
    row: dict[str, Any] = {
        "layers": to_jsonable(first["config"]["retrain"])["layers"],
        "channels": to_jsonable(first["config"]["retrain"])["channels"],
        "params": first["params"],
        "macs": first["macs"],
        "repeats": len(results),
    }
    for name in ("test_acc", "test_top5", "best_test_acc"):
        values = [result["metrics"].get(name) for result in results]
        if all(value is not None for value in values):
            row[name] = {
                "mean": statistics.fmean(values),
                "std": statistics.stdev(values) if len(values) > 1 else None,
                "values": values,
            }
    return row
