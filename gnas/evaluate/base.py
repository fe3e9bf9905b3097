"""The interface of all evaluators."""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from gnas.errors import DataError, MissingMeasureError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.spaces.base import Space

Measures = dict[str, float]
"""Values by the name of the measure, unit included (``val_acc``, ``macs``, ``latency_ms``)."""


class Evaluator(ABC):
    """Base class of evaluators, which measure architectures.

    `gnas.search.run_search` calls `open` once in every process that evaluates, then `evaluate`
    for each architecture that was asked for, and `count` for as many as a searcher considers.
    Subclasses need `evaluate` and ``measures`` only; to be evaluated by other processes, they must
    be picklable before `open`.

    Examples:
        >>> class Edges(Evaluator):
        ...     measures = ("edges",)
        ...     def evaluate(self, graph, *, seed):
        ...         return {"edges": float(graph.num_edges)}
        >>> from gnas.spaces import NASBench201
        >>> Edges().evaluate(NASBench201().enumerate().data(9), seed=0)
        {'edges': 2.0}
    """

    kind: ClassVar[str] = "own"
    """Names the class in the record of a run."""
    instant: bool = False
    """Whether an evaluation costs next to nothing, so that no worker is needed for it."""
    measures: tuple[str, ...] = ()
    """Names of what `evaluate` returns; empty if that is not known before."""
    counted: tuple[str, ...] = ()
    """Those of ``measures`` that `count` gives exactly, without any evaluation."""
    stages: tuple[str, ...] = ()
    """Further kinds of evaluation, longer ones for example, the last of which counts (`at`)."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(measures={self.measures})"

    @abstractmethod
    def evaluate(self, graph: Data, *, seed: int) -> Measures:
        """Measure one architecture.

        Args:
            graph: The architecture.
            seed: Fixes every random choice of the evaluation.

        Raises:
            GnasError, RuntimeError, MemoryError or ArithmeticError: the architecture cannot be
                measured; it is recorded as failed for that reason and the search goes on.
        """

    def count(
        self, graphs: DenseBatch, names: Collection[str] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """Measures of N architectures that need no evaluation, each float64 [N].

        Args:
            graphs: The architectures.
            names: Some of ``counted``; None for all.
        """
        return {}

    def cost(self, graphs: DenseBatch) -> NDArray[np.float64] | None:
        """What evaluations of N architectures take, float64 [N] in any unit; None if not known.

        It is asked for by the way, so it must be cheap. Workers take the costly ones first where
        little is left to do.

        Args:
            graphs: The architectures.
        """
        return None

    def open(self, space: Space) -> None:  # noqa: B027  nothing to load is the usual case
        """Load what every evaluation needs, images for example.

        Args:
            space: The architectures that will be evaluated are of this space.
        """

    def at(self, stage: str) -> Evaluator:
        """The evaluator of one of ``stages``; this one for every other name."""
        return self

    def data_facts(self) -> dict[str, Any] | None:
        """Metadata of the evaluation data for the run record; None without data.

        The line ``read`` among it, if there is one, is shown when the run begins.
        """
        return None

    def reachable(self, space: Space) -> Space:
        """The part of ``space`` whose architectures can be evaluated."""
        return space

    def metadata(self) -> dict[str, Any]:
        """Everything that fixes the meaning of a measure, as JSON has it; no password.

        A run records them, and is resumed by equal facts only.
        """
        return {"kind": self.kind}


def check_measures(measures: Mapping[str, Any], wanted: Sequence[str] = ()) -> Measures:
    """The measures as finite floats.

    Args:
        measures: Measures returned by an evaluation.
        wanted: Names that must be among them.

    Raises:
        MissingMeasureError: one is missing.
        DataError: one is no number, or not finite.
    """
    missing = [name for name in wanted if name not in measures]
    if missing:
        raise MissingMeasureError(
            f"an evaluation must return the measure '{missing[0]}', "
            f"but returned {sorted(map(str, measures))}"
        )
    found: Measures = {}
    for name, value in measures.items():
        try:
            kind = str(getattr(value, "dtype", type(value).__name__))
            if re.search("str|byte|bool|complex", kind):  # which float() takes for numbers
                raise TypeError
            number = float(value)
        except (TypeError, ValueError):
            raise DataError(f"the measure '{name}' must be a number, but got {value!r}") from None
        if not math.isfinite(number):
            raise DataError(f"the measure '{name}' must be finite, but got {number}")
        found[str(name)] = number
    return found
