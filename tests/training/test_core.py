"""The training core by itself: schedules, order, the step, and a state that can be resumed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gnas.errors import ConfigError, DataError, GnasError
from gnas.training.batching import batch_sizes, micro_batches, shuffled_batches
from gnas.training.loop import run_epochs, seeded
from gnas.training.recording import RunRecord
from gnas.training.schedules import decay, warmup
from gnas.training.state import TrainState
from gnas.training.step import autocast, loss_scaler, minimize, momentum_sgd, optimizer_step

EPOCHS, STEPS = 3, 4


def test_cosine_decay_is_that_of_torch() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for step in range(10):
        assert decay("cosine", step, 10) == pytest.approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()
    assert [warmup(step, 4) for step in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    assert warmup(0, 0) == 1


@pytest.mark.parametrize(("rest", "sizes"), [(False, [4, 4]), (True, [4, 4, 2])])
def test_every_pass_has_each_row_once(rest: bool, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    batches = list(shuffled_batches(10, 4, generator, epochs=2, keep_rest=rest))
    assert [len(rows) for rows in batches] == 2 * sizes
    first, second = torch.cat(batches[: len(sizes)]), torch.cat(batches[len(sizes) :])
    assert len(torch.unique(first)) == len(torch.unique(second)) == sum(sizes)
    assert not torch.equal(first, second)
    assert batch_sizes(9, 4) == [4, 4]  # a single row has no batch statistics


def test_pieces_must_be_equal() -> None:
    x, y = torch.zeros(6, 1), torch.zeros(6)
    assert [piece[1].shape for piece in micro_batches((x, y), 2)] == [(3,), (3,)]
    with pytest.raises(ConfigError, match="a multiple of accumulate, but got 6 images and acc"):
        micro_batches((x, y), 4)


@pytest.mark.parametrize("nesterov", [False, True])
def test_momentum_of_weights_that_rest_in_some_steps(nesterov: bool) -> None:
    network, plain = nn.ModuleList([nn.Linear(1, 1), nn.Linear(1, 1)]), nn.ModuleList()
    plain.extend([nn.Linear(1, 1), nn.Linear(1, 1)])
    plain.load_state_dict(network.state_dict())
    for part, optimizer in (
        (
            network,
            momentum_sgd(network, lr=0.1, momentum=0.9, weight_decay=0.1, nesterov=nesterov),
        ),
        (plain, torch.optim.SGD(plain.parameters(), 0.1, 0.9, 0, 0.1, nesterov)),
    ):
        for step in range(5):
            x = torch.full((1, 1), 1.0 + step)
            outputs = [layer(x) for layer in part[: 1 + step % 2]]
            torch.autograd.backward(torch.cat(outputs).sum())
            optimizer_step(optimizer)
    for own, other in zip(network.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(own, other)


def descended(*, by_hand: bool) -> tuple[list[float], list[tuple[int, float]]]:
    """Weights and losses after five steps."""
    data = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    w, losses = nn.Parameter(torch.ones(3)), []
    optimizer = torch.optim.AdamW([w], lr=0.5)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=6)
    if by_hand:
        for step, row in enumerate(data, 1):
            optimizer.zero_grad()
            loss = (row @ w).square()
            loss.backward()
            nn.utils.clip_grad_norm_([w], 0.1)
            optimizer.step()
            scheduler.step()
            losses.append((step, loss.item()))
    else:
        minimize(
            data,
            lambda row: (row @ w).square(),
            optimizer,
            clip_norm=0.1,
            scheduler=scheduler,
            report=lambda step, loss: losses.append((step, loss)),
        )
    return w.tolist(), losses


def test_minimize_is_the_loop_written_out() -> None:
    assert descended(by_hand=False) == descended(by_hand=True)


class Noisy(TrainState):
    """Learns from what its generator draws; its weights have another memory format."""

    def __init__(self) -> None:
        self.network = nn.Conv2d(2, 2, 2).to(memory_format=torch.channels_last)
        self.adam = torch.optim.Adam(self.network.parameters(), lr=0.1)
        super().__init__(
            {"w": self.network}, {"adam": self.adam}, loss_scaler("cpu", "float32"), "cpu"
        )

    def learn(self, batch: Tensor, epoch: int) -> None:
        loss = self.network(batch).square().mean()
        torch.autograd.backward(loss)
        optimizer_step(self.adam, scaler=self.scaler)
        self.sums += torch.stack([loss.detach().double(), loss.detach().double()])
        self.step += 1

    def end(self, epoch: int) -> None:
        self.epochs.append({"epoch": epoch + 1, **self.take_means(STEPS)})


def batches(start: int) -> Iterator[Tensor]:
    for number in count(start):
        yield torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(number))


def trained(record: RunRecord[Noisy] | None = None, *, stop_at: int = -1) -> Noisy:
    with seeded(0, "cpu", "use less"):
        state = Noisy()

        def step(batch: Tensor, epoch: int) -> None:
            if state.step == stop_at:
                raise KeyboardInterrupt
            state.learn(batch, epoch)

        run_epochs(
            state, epochs=EPOCHS, steps_per_epoch=STEPS, batches=batches, step=step,
            end_epoch=lambda _, epoch: state.end(epoch), record=record,
        )  # fmt: skip
    return state


def test_a_resumed_training_has_the_bits_of_a_whole_one(tmp_path: Path) -> None:
    before, whole = torch.get_rng_state(), trained()
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(KeyboardInterrupt):
        trained(RunRecord(tmp_path, {}, every_s=0), stop_at=6)
    resumed = trained(RunRecord(tmp_path, {}, resume=True))
    assert resumed.step == EPOCHS * STEPS and resumed.epochs == whole.epochs
    expected, found = whole.tensors(), resumed.tensors()
    assert {"sums", "w.weight", "adam.0.exp_avg", "adam.1.step"} <= expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    moment = resumed.adam.state[resumed.network.weight]["exp_avg"]
    assert moment.is_contiguous(memory_format=torch.channels_last)


def test_a_state_says_what_is_wrong() -> None:
    state = Noisy()
    with pytest.raises(DataError, match="a checkpoint must fit the network, but: Error"):
        state.load({"w.weight": torch.zeros(1)}, {})
    state.sums[0] = float("nan")
    with pytest.raises(GnasError, match="must be finite, but up to step 0 one is not; lower the"):
        state.check_finite()


@pytest.mark.parametrize(
    ("program", "step"),
    [
        (nullcontext, lambda: autocast("cpu", "bfloat16")),
        (lambda: torch.autocast("cpu", torch.bfloat16), lambda: autocast("cpu", "bfloat16")),
        (nullcontext, lambda: torch.autocast("cpu", torch.bfloat16)),  # a user's network has one
    ],
    ids=["alone", "in a context of the program's", "of a network"],
)
def test_half_precision_sees_the_weights_of_every_step(
    program: Callable[[], AbstractContextManager[object]],
    step: Callable[[], AbstractContextManager[object]],
) -> None:
    """PyTorch keeps cast weights until the outermost context of autocast ends."""
    layer = nn.Linear(2, 1, bias=False)
    with program(), seeded(0, "cpu", ""):
        for weight in (1.0, 2.0):
            with torch.no_grad():
                layer.weight.fill_(weight)
            with step():
                assert layer(torch.ones(1, 2)).item() == 2 * weight
