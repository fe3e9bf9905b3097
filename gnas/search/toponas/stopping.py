"""Early ends of a search: collapse to skip connections, and a sharp optimum in alpha."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gnas.search.toponas.arch import ArchParameters, DerivedCell
from gnas.search.toponas.config import EIGENVALUE_WINDOW, ToponasConfig

COLLAPSE_SHARE = 0.5
"""Choice: a normal cell with at least this share of skip connections is called collapsed."""


def smooth_eigenvalues(epochs: Sequence[Mapping[str, Any]]) -> list[float]:
    """Mean eigenvalue of every epoch and those before it, `EIGENVALUE_WINDOW` in all at most.

    Args:
        epochs: Metrics of every epoch.
    """
    values = [float(epoch["eigenvalue"]) for epoch in epochs]
    parts = [values[max(0, e + 1 - EIGENVALUE_WINDOW) : e + 1] for e in range(len(values))]
    return [sum(part) / len(part) for part in parts]


def sharpening(
    epochs: Sequence[Mapping[str, Any]], share: float, *, warmup: int = 0
) -> str | None:
    """Reason to stop and derive the cell of `EIGENVALUE_WINDOW` epochs ago, if there is one.

    Args:
        epochs: Metrics of every epoch.
        share: Share of the current eigenvalue below which that of then calls for a stop.
        warmup: First epochs, which do not count: the weights alone learned.
    """
    values = smooth_eigenvalues(epochs[warmup:])
    if len(values) <= EIGENVALUE_WINDOW:
        return None
    before, now = values[-1 - EIGENVALUE_WINDOW], values[-1]
    if not max(before, 0.0) < share * now:
        return None
    return (
        f"the largest eigenvalue of the validation loss' Hessian in alpha rose from {before:.3g} "
        f"to {now:.3g} in {EIGENVALUE_WINDOW} epochs, and stop_eigenvalue is {share:g}; the "
        f"architecture is that of epoch {len(epochs) - EIGENVALUE_WINDOW}"
    )


def early_end(
    config: ToponasConfig, epochs: Sequence[Mapping[str, Any]], cell: str
) -> tuple[str | None, int | None]:
    """Reason to stop after the last epoch, if there is one, and the epoch to derive instead.

    Args:
        config: When to stop.
        epochs: Metrics of every epoch.
        cell: Type of the cell whose skip connections count.
    """
    if len(epochs) <= config.warmup_epochs:
        return None, None
    share = epochs[-1][f"skip_share_{cell}"]
    if config.stop_skip_share is not None and share >= config.stop_skip_share:
        reason = (
            f"{share:.0%} of the {cell_text(cell)}'s edges are skip connections after epoch "
            f"{len(epochs)}, and stop_skip_share is {config.stop_skip_share:.0%}"
        )
        return reason, None
    if config.stop_eigenvalue is not None:
        sharper = sharpening(epochs, config.stop_eigenvalue, warmup=config.warmup_epochs)
        if sharper is not None:
            return sharper, len(epochs) - EIGENVALUE_WINDOW
    return None, None


def collapses(epochs: Sequence[Mapping[str, Any]], cell: str) -> bool:
    """Whether a cell first consists of skip connections after the last epoch.

    Args:
        epochs: Metrics of every epoch.
        cell: Type of the cell.
    """
    shares = [epoch[f"skip_share_{cell}"] for epoch in epochs[-2:]]
    before = shares[0] if len(shares) > 1 else 0.0
    return bool(shares[-1] >= COLLAPSE_SHARE > before)


def cell_text(name: str) -> str:
    """A type of cells in a sentence.

    Args:
        name: The type.

    Examples:
        >>> cell_text("normal"), cell_text("cell")
        ('normal cell', 'cell')
    """
    return name if name == "cell" else f"{name} cell"


def collapse_warning(arch: ArchParameters, name: str, cell: DerivedCell, epoch: int) -> str:
    """Warning of a cell that consists of skip connections.

    Args:
        arch: alpha and beta.
        name: Type of the cell.
        cell: The cell that they mean.
        epoch: Number of the epoch, from 0.
    """
    skip, best = arch.skip_advantage(name, cell.edges)
    edges = int(cell.edges.sum())
    return (
        f"the search collapses: after epoch {epoch + 1} {round(cell.skip_share * edges)} of "
        f"{edges} edges of the {cell_text(name)} are skip connections (mean weight there "
        f"{skip:.3f}, against {best:.3f} of the strongest convolution); fewer epochs, a lower "
        "arch_lr or stop_skip_share avoid it"
    )
