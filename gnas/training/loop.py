"""The loop around the steps of a training that is recorded, and can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from gnas.training.devices import gpus_of, oom_hint, own_generator, own_settings
from gnas.training.recording import Progress, RunRecord, State

T = TypeVar("T")


@contextmanager
def seeded(seed: int, device: str, advice: str) -> Iterator[None]:
    """Global generators at ``seed`` inside, with `own_settings`, and as they were afterwards.

    Args:
        seed: Seed of the generators of PyTorch, NumPy and Python.
        device: Device whose generator is seeded beside those.
        advice: See `oom_hint`.
    """
    with own_generator(seed, gpus_of(device)), oom_hint(advice), own_settings():
        yield


def run_epochs(
    state: State,
    *,
    epochs: int,
    steps_per_epoch: int,
    batches: Callable[[int], Iterator[T]],
    step: Callable[[T, int], None],
    end_epoch: Callable[[T, int], None],
    record: RunRecord[State] | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    report_every: int = 1,
) -> None:
    """Step until all epochs are done, from wherever ``state`` or its record is.

    Args:
        state: Counts the steps, and is written to the record.
        epochs: Epochs in all.
        steps_per_epoch: Steps of one epoch.
        batches: Makes the batches from that of a step on, without end.
        step: Does a step on a batch in an epoch (from 0), and counts it in ``state``.
        end_epoch: Adds the metrics of an epoch to ``state``, given its last batch and number.
        record: Where the main process writes what happens, and a resumed training starts from.
        report: Called after every ``report_every`` steps and at the end of an epoch.
        report_every: More than 1 where looking at the state would wait for a device.
    """
    if record is not None and record.resume:
        record.restore(state)
    own = record if state.context.is_main else None
    if own is not None:
        own.start(state)
    total = epochs * steps_per_epoch
    try:
        stream = batches(state.step)
        while state.step < total and state.stopped is None:
            epoch = state.step // steps_per_epoch
            batch = next(stream)
            step(batch, epoch)
            ended = state.step % steps_per_epoch == 0
            if not ended and state.step % report_every:
                continue
            state.check_finite()
            if ended:
                end_epoch(batch, epoch)
                if own is not None:
                    own.epoch(state)
            report(Progress(state.step, total, state.epochs[-1] if state.epochs else {}))
            if own is not None:
                own.save(state, if_due=state.step < total and state.stopped is None)
    finally:
        if own is not None:
            own.close()
