"""Measures by a user's own function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from functools import partial
from typing import Any, ClassVar

from gnas.errors import ConfigError, DataError
from gnas.evaluate.base import Evaluator, Measures, check_measures
from gnas.geometric import Data
from gnas.spaces.base import Space
from gnas.studies.job import FAILURES
from gnas.user_code import TERMINATED, Source, bound_to, described

SCORE = "score"
"""The measure that a single number is."""

Worth = Callable[..., float | Mapping[str, float]]


class FunctionEvaluator(Evaluator):
    """Measures by a function ``worth(graph, *, seed) -> float | Mapping[str, float]``.

    A single number is the measure ``score``, of which more is better. Whatever exception the
    function raises, the architecture is recorded as failed for that reason.

    Args:
        worth: The function, or ``FILE.py:FUNCTION`` or its `Source`, which other processes can
            load too.

    Raises:
        ConfigError: ``worth`` cannot be called so, or its text has another form.
        MissingDataError: there is no such file.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> import numpy as np
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> cell = NASBench201().sample(np.random.default_rng(0))
        >>> FunctionEvaluator(edges).evaluate(cell, seed=0) == {"score": float(cell.num_edges)}
        True
    """

    kind: ClassVar[str] = "function"

    def __init__(self, worth: Worth | str | Source) -> None:
        self.source = Source.parse(worth) if isinstance(worth, str) else None
        if isinstance(worth, Source):
            self.source = worth
        self._worth: Worth | None = None
        if self.source is None:
            self._worth = _callable_so(worth, "an evaluation")

    def __getstate__(self) -> dict[str, Any]:
        # what was loaded from a file cannot be pickled, and is loaded again
        return {"source": self.source, "_worth": None if self.source else self._worth}

    def open(self, space: Space) -> None:
        """Load the function from its file."""
        if self._worth is None:
            assert self.source is not None
            self._worth = _callable_so(self.source.load(), str(self.source))

    def evaluate(self, graph: Data, *, seed: int) -> Measures:
        """See `Evaluator.evaluate`."""
        if self._worth is None:
            raise ConfigError("an evaluator must be opened before it evaluates; call `open`")
        try:
            with nullcontext() if self.source is None else self.source.importable():
                found = self._worth(graph.clone(), seed=seed)  # may call importlib
        except FAILURES:
            raise  # what workers record as a failure of the architecture
        except SystemExit as error:
            if error.code == TERMINATED:  # requested by the process that stops the worker
                raise
            raise DataError(f"it ends the program by {described(error)}") from error
        except Exception as error:
            raise DataError(described(error)) from error
        return check_measures(found if isinstance(found, Mapping) else {SCORE: found})

    def metadata(self) -> dict[str, Any]:
        """The name of the function and its bound arguments, or its file's content and name."""
        if self.source is None:
            worth, bound = self._worth, {}
            if isinstance(worth, partial):
                worth, bound = worth.func, {"arguments": bound_to(worth)}
            name = getattr(worth, "__qualname__", type(worth).__name__)
            return {"kind": self.kind, "function": name, **bound}
        return {"kind": self.kind, "function": self.source.name, "sha256": self.source.sha256}


def _callable_so(found: Any, what: str) -> Worth:
    """A function, if it can be called with a graph and a seed.

    Args:
        found: The function.
        what: Its name, for messages.

    Raises:
        ConfigError: it cannot.
    """
    if not callable(found):
        raise ConfigError(f"{what} must be a function (graph, *, seed), but is {found!r:.60}")
    worth: Worth = found
    try:
        signature = inspect.signature(worth)
    except (TypeError, ValueError):  # some of C have none
        return worth
    try:
        signature.bind(None, seed=0)
    except TypeError as error:
        raise ConfigError(
            f"{what} must take the arguments (graph, *, seed), but takes {signature!s:.200}: "
            f"{error}; change them, and give all others defaults"
        ) from error
    return worth
