"""Figures of trainings: loss, accuracy and learning rate by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gnas.config import checked
from gnas.style import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PARTS = {"train": "training", "val": "validation", "test": "test"}
"""Parts of the images: the beginnings of metrics' names, and what is printed."""
STYLES = ("-", "--", ":")


@checked
def training_figures(trainings: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Figure]:
    """Figures by name: "training" is loss, accuracy and learning rate by epoch.

    Args:
        trainings: By name the metrics of every epoch: ``epoch``, ``train_loss``, ``train_acc``
            (a fraction), ``lr``, and ``val_acc`` and ``test_acc`` where they were measured.

    Examples:
        >>> epochs = [
        ...     {"epoch": 1, "train_loss": 2.3, "train_acc": 0.2, "lr": 0.1, "test_acc": 0.25},
        ...     {"epoch": 2, "train_loss": 1.2, "train_acc": 0.6, "lr": 0.05, "test_acc": 0.55},
        ... ]
        >>> figure = training_figures({"small network": epochs})["training"]
        >>> [axes.get_title() for axes in figure.axes]
        ['training loss', 'accuracy', 'learning rate']
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 3.2), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for number, (name, epochs) in enumerate(trainings.items()):
        colour = COLOURS[(number + 4) % len(COLOURS)]
        steps = [metrics["epoch"] for metrics in epochs]
        marker = "o" if len(steps) == 1 else None
        loss.plot(steps, [m["train_loss"] for m in epochs], color=colour, marker=marker)
        rate.plot(steps, [m["lr"] for m in epochs], color=colour, marker=marker)
        for (part, shown), style in zip(PARTS.items(), STYLES, strict=True):
            known = [m for m in epochs if m.get(f"{part}_acc") is not None]
            if known:
                accuracy.plot(
                    [m["epoch"] for m in known],
                    [100 * m[f"{part}_acc"] for m in known],
                    style,
                    color=colour,
                    marker="o" if len(known) == 1 else None,
                    label=f"{name} {shown}".strip(),
                )
    loss.set(title="training loss", ylabel="loss", ylim=(0, None))
    accuracy.set(title="accuracy", ylabel="%")
    rate.set(title="learning rate", ylim=(0, None))
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        axes.grid(alpha=0.3)
    if len(accuracy.lines) <= 9:
        accuracy.legend(fontsize="small")
    return {"training": figure}
