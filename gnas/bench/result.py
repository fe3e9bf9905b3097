"""Result record of a predictor experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gnas.metrics import Interval, Quantiles
from gnas.search.objectives import known_direction

BEST_SAMPLE, RANDOM_PICK = "best of the samples", "random pick"
"""Labels of the rows without a predictor, in the encoder column."""


@dataclass(frozen=True)
class Row:
    """Metrics of one predictor at one number of samples: means over seeds, 95% intervals.

    Accuracies and their biases are fractions. Values that a row lacks are None: a random choice
    ranks nothing.
    """

    predictor: str
    encoder: str
    """Input of the predictor: an encoder's name, or other features."""
    samples: int
    seeds: int
    kendall_tau: Interval | None
    """Predicted against true scores, over the candidates that were not samples."""
    spearman: Interval | None
    precision_at_1_percent: Interval | None
    n_at_10: Interval | None
    picked_score: Interval
    """A_P: true score of the choice."""
    global_bias: Interval
    """A_B - A_P, or A_P - A_B of scores of which smaller is better."""
    kendall_tau_gain: Interval | None
    """Kendall tau minus that of the first predictor, paired by seed; unless predictors are named,
    that is the perceptron on the raw adjacency matrix."""
    kendall_tau_no_twins: Interval | None = None
    """Kendall tau over the candidates that are not functionally equal to a sample; None where all
    cells of the table differ."""
    neighbours_r2: Interval | None = None
    """Cross-validated R2 of the mean score of the nearest samples: smoothness of the score over
    the predictor's features. None where it is not measured."""
    global_bias_spread: Quantiles | None = None
    """Quantiles of the bias over seeds; None for fewer than five seeds."""

    @property
    def label(self) -> str:
        """Label in figures and tables."""
        return self.encoder if self.predictor == "none" else f"{self.predictor}: {self.encoder}"


@dataclass(frozen=True)
class BenchResult:
    """Complete result; its fields are those of the JSON object written by ``--json``."""

    command: str
    config: object
    table: Mapping[str, Any]
    """Name, path, sha256, rows and provenance of the table; cells used and candidates; the names
    of the scores that predictors learn (``train_column``) and that their rankings are compared
    with (``test_column``)."""
    quantity: str
    """Quantity of ``test_column``, for example "val_acc"; see `gnas.data.Column.quantity`."""
    protocol: Mapping[str, str]
    """One sentence each on training, ranking, choice and intervals; ``ceiling`` and ``agreement``
    say what the two numbers below are."""
    rows: tuple[Row, ...]
    ceiling: float
    """Kendall tau with ``test_column`` of what ``protocol["ceiling"]`` says."""
    agreement_between_runs: float | None
    """Mean Kendall tau between two runs; None where there is one run."""
    best_score: float
    """A_B: best true score among the cells used."""
    seconds: float

    @property
    def label(self) -> str:
        """Quantity as a heading, for example "val acc"."""
        return self.quantity.replace("_", " ")

    @property
    def smaller_is_better(self) -> bool:
        """Whether the best score is the smallest."""
        return known_direction(self.quantity) == "min"

    @property
    def is_accuracy(self) -> bool:
        """Whether scores are fractions that are printed in percent."""
        return self.quantity.endswith("_acc")
