"""The record of a predictor experiment: what the command prints, draws and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gnas.metrics import Interval

BEST_SAMPLE, RANDOM_PICK = "best of the samples", "random pick"
"""What the rows without a predictor are called in place of an encoder."""


@dataclass(frozen=True)
class Row:
    """One way to choose an architecture after n samples: means over seeds, 95% intervals.

    Accuracies and biases are fractions. What a row does not have (a random choice ranks nothing)
    is None.
    """

    predictor: str
    encoder: str
    """What the predictor sees: an encoder's name, or other features."""
    samples: int
    seeds: int
    kendall_tau: Interval | None
    """Predicted against mean test accuracy, over the candidates that were not samples."""
    spearman: Interval | None
    precision_at_1_percent: Interval | None
    n_at_10: Interval | None
    picked_test_acc: Interval
    """A_P: mean test accuracy of the choice."""
    global_bias: Interval
    """A_B - A_P."""
    kendall_tau_gain: Interval | None
    """Kendall tau minus that of the perceptron on the raw adjacency matrix, paired by seed."""
    kendall_tau_no_twins: Interval | None = None
    """Kendall tau over the candidates that compute what no sample computes; None where no two
    cells of the table compute the same."""


@dataclass(frozen=True)
class BenchResult:
    """A whole experiment; field by field the JSON object that ``--json`` writes."""

    command: str
    config: object
    table: Mapping[str, Any]
    """Name, path, sha256, rows and provenance of the table; cells used and candidates."""
    protocol: Mapping[str, str]
    """One sentence each on training, ranking, choice and intervals."""
    rows: tuple[Row, ...]
    ceiling: float
    """Kendall tau of mean validation against mean test accuracy over the cells used, or what
    ``protocol["ceiling"]`` says."""
    agreement_between_runs: float | None
    """Mean Kendall tau of validation accuracy between two runs; None where there is one run."""
    best_test_acc: float
    """A_B: best mean test accuracy among the cells used."""
    seconds: float
