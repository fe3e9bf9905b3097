"""The efficiency score: accuracy less a penalty of the network's multiply-accumulates."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gnas.config import check_number, checked
from gnas.errors import ConfigError
from gnas.evaluate.base import Evaluator, Measures
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.spaces.base import Space

SCORE = "score"
ACCURACY, MACS = "val_acc", "macs"
WEIGHT = "lambda_"
"""The fact that tells this evaluator from the one that it is made of."""


@checked
def efficiency_score(val_acc: float, macs: float, lambda_: float = 0.1) -> float:
    """S(G) = ACC - lambda ln(MACs / 10^6), eq. 5 of Cheng et al., NASGEM, AAAI 2021.

    Args:
        val_acc: Validation accuracy, a fraction.
        macs: Multiply-accumulates of the network for one image.
        lambda_: Weight of the penalty.

    Raises:
        ConfigError: ``macs`` are not positive.

    Examples:
        >>> round(efficiency_score(0.9, 463_000_000), 3)
        0.286
    """
    return val_acc - lambda_ * math.log(check_number(macs, "macs") / 1e6)


class EfficiencyEvaluator(Evaluator):
    """Another evaluator with one more measure, ``score``: the efficiency score.

    Args:
        evaluator: Gives ``val_acc`` and counts ``macs``: a `TrainingEvaluator`, or a
            `TableEvaluator` of a table that has both.
        lambda_: See `efficiency_score`.

    Raises:
        ConfigError: the evaluator gives no accuracy or counts no MACs.

    Source: Cheng et al., NASGEM, AAAI 2021, eq. 5.

    Examples:
        >>> from gnas.data import load_table
        >>> from gnas.evaluate import TableEvaluator
        >>> from gnas.spaces import NASGEM
        >>> table = load_table("nasgem-mini")
        >>> evaluator = EfficiencyEvaluator(TableEvaluator.from_table(NASGEM(), table))
        >>> sorted(evaluator.evaluate(table.graphs.data(0), seed=0))[:4]
        ['macs', 'num_params', 'score', 'test_acc']
    """

    @checked
    def __init__(self, evaluator: Evaluator, lambda_: float = 0.1) -> None:
        if ACCURACY not in evaluator.measures or MACS not in evaluator.counted:
            raise ConfigError(
                f"the efficiency score needs {ACCURACY} and counted {MACS}, but this evaluation "
                f"gives {', '.join(evaluator.measures)}"
            )
        self.evaluator, self.lambda_ = evaluator, lambda_
        self.instant = evaluator.instant
        self.measures = (SCORE, *evaluator.measures)
        self.counted, self.stages = evaluator.counted, evaluator.stages

    def evaluate(self, graph: Data, *, seed: int) -> Measures:
        """See `Evaluator.evaluate`."""
        found = self.evaluator.evaluate(graph, seed=seed)
        return {SCORE: efficiency_score(found[ACCURACY], found[MACS], self.lambda_), **found}

    def count(
        self, graphs: DenseBatch, names: Collection[str] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """See `Evaluator.count`."""
        return self.evaluator.count(graphs, names)

    def cost(self, graphs: DenseBatch) -> NDArray[np.float64] | None:
        """See `Evaluator.cost`."""
        return self.evaluator.cost(graphs)

    def open(self, space: Space) -> None:
        """See `Evaluator.open`."""
        self.evaluator.open(space)

    def at(self, stage: str) -> EfficiencyEvaluator:
        """See `Evaluator.at`."""
        return EfficiencyEvaluator(self.evaluator.at(stage), self.lambda_)

    def reachable(self, space: Space) -> Space:
        """See `Evaluator.reachable`."""
        return self.evaluator.reachable(space)

    def data_facts(self) -> dict[str, Any] | None:
        """See `Evaluator.data_facts`."""
        return self.evaluator.data_facts()

    def metadata(self) -> dict[str, Any]:
        """Those of the other evaluator, and the weight."""
        return {**self.evaluator.metadata(), WEIGHT: self.lambda_}
