"""Base class of searchers: asked for architectures, and told their scores."""

from __future__ import annotations

import logging
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.config import check_seed
from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, as_batch
from gnas.graphs.dense import copied
from gnas.metrics import as_scores
from gnas.search.objectives import Goal
from gnas.spaces.base import Space, check_is_space, draw_batch

logger = logging.getLogger(__name__)

CountFunction = Callable[[DenseBatch, Collection[str] | None], Mapping[str, NDArray[np.float64]]]
"""From N architectures and names to measures that need no evaluation, each [N]; see
`gnas.evaluate.Evaluator.count`."""
DRAWS = (1, 4, 64, 1024, 8192, 8192)
"""Sizes of the batches drawn one after another until one holds a new architecture."""
MANY = 1024
"""That of the batch after which a search warns of bounds that keep out every architecture."""

ATTEMPTS = 20
"""Proposals of one `ask`, each by other random numbers, until one is new."""


class SpaceExhausted(ConfigError):
    """Every architecture of the space was asked for."""


@dataclass(frozen=True, eq=False)
class Scored:
    """An architecture with what it was found to be worth; equal to itself only.

    Examples:
        >>> from gnas.search import RandomSearch
        >>> from gnas.spaces import NASBench201
        >>> searcher = RandomSearch(NASBench201(), seed=0)
        >>> searcher.tell(searcher.ask(), 0.9)
        >>> [scored.score for scored in searcher.told]
        [0.9]
    """

    graph: Data
    key: int
    """`Searcher.key` of the graph."""
    values: tuple[float, ...]
    """Its objectives, signed so that larger is better."""
    violation: float = 0.0
    """By how much it breaks the bounds; see `Goal.violation`."""
    bounded: tuple[float, ...] = ()
    """Its measures that have a bound, in the order of the bounds."""

    @property
    def score(self) -> float:
        """The first objective."""
        return self.values[0]

    @property
    def merit(self) -> tuple[float, float]:
        """Larger is better where there is one objective: bounds first, then the score."""
        return -self.violation, self.values[0]


class Searcher(ABC):
    """Base class of searchers, which choose the next architecture to score.

    A higher score is better. The search loop calls `ask` and, when the score is known, `tell`.
    Several architectures may be asked for before the first is told, and any architecture of the
    space may be told, asked for or not. Functionally equal architectures are asked for once only.

    The state is what was told, in that order, and what was asked for and not told yet; the
    randomness of an `ask` depends on the seed and on how many came before. So `restore` can put a
    searcher anywhere, and what it asks for from there on is what a searcher that never stopped
    would have asked for.

    Subclasses say how to choose (`_propose`); those that keep more than ``told`` extend `_add` and
    `_forget`.

    Args:
        space: Space of the architectures.
        seed: Fixes every random choice.

    Raises:
        ConfigError: the seed is no whole number from 0 below 2^63.

    Examples:
        >>> class First(Searcher):
        ...     def _propose(self, rng):
        ...         return self._random(rng)
        >>> from gnas.spaces import NASBench201
        >>> searcher = First(NASBench201(), seed=0)
        >>> searcher.tell(searcher.ask(), 0.9)
        >>> searcher.told[0].score
        0.9
    """

    name: ClassVar[str] = ""
    """Name in run records of a searcher that was not created by its key in `SEARCHERS`."""
    may_repeat: ClassVar[bool] = False
    """Whether it asks for an architecture again; at an evaluator's later `stage` all do."""

    def __init__(self, space: Space, *, seed: int = 0) -> None:
        check_is_space(space)
        self.space = space
        self.seed = check_seed(seed)
        self.goal = Goal()
        """Objectives to maximise or minimise; set by `aim`."""
        self.asked = 0
        """Number of calls of `ask`."""
        self.told: list[Scored] = []
        """Everything that was told, oldest first."""
        self.notes: list[str] = []
        """Messages about the search, in chronological order."""
        self.is_random = False
        """Whether the last `ask` was a random draw, where nothing better was known."""
        self._is_warned = self._is_warned_of_bounds = False
        self._count: CountFunction | None = None
        self._counted: tuple[str, ...] = ()
        self._told: set[int] = set()
        self._pending: set[int] = set()
        self._dropped: set[int] = set()
        self._keys: dict[str, int] = {}

    def __repr__(self) -> str:
        facts = {**self.metadata(), "asked": self.asked}
        settings = [f"{name}={value!r}" for name, value in facts.items() if name != "kind"]
        return f"{type(self).__name__}({', '.join([repr(self.space), *settings])})"

    def ask(self) -> Data:
        """An architecture that was neither asked for nor told before.

        Raises:
            SpaceExhausted: there is none left.
            ConfigError: `_propose` returns known ones only.
        """
        for attempt in range(ATTEMPTS):
            again = (attempt,) if attempt else ()
            self.is_random = False
            found = self._propose(np.random.default_rng((self.seed, self.asked, *again)))
            graph = self.space.from_str(self.space.to_str(found))  # as it is after any restart
            key = self.key(graph)
            if self.may_repeat or self._is_new(key) or self.stage(self.asked):
                self.asked += 1
                self._pending.add(key)
                return graph
        raise ConfigError(
            f"`_propose` of {type(self).__name__} must return a new architecture, but {ATTEMPTS} "
            f"in a row were asked for before, the last {self.space.to_str(graph)!r:.80}; "
            "try `self._is_new(self.key(graph))`, or return `self._random(rng)`"
        )

    @property
    def random_start(self) -> int:
        """Architectures drawn at random until as many are told; 0 of a search without such."""
        return 0

    def needs(self, number: int, parallel: int) -> int:
        """Number of architectures to be told or dropped before architecture ``number`` is asked.

        All but the last ``parallel`` - 1 before it, and the whole random start before the first
        that is chosen: asked for earlier, it would be random as well.

        Args:
            number: In the order of asking, from 0.
            parallel: Architectures that may be under way at once.
        """
        start = self.random_start if number >= self.random_start else 0
        return max(number - parallel + 1, start)

    def stage(self, number: int) -> str:
        """The evaluator's stage for architecture ``number``; empty for the first one.

        Evaluators that know no such stage evaluate it like all others (`Evaluator.at`).
        """
        return ""

    def prepare(self) -> None:  # noqa: B027  most have nothing to prepare
        """Compute what needs no further result; called while evaluations are under way."""

    def expected(self, graph: Data) -> float | None:
        """The score that this searcher foresees of an architecture; None if it foresees none."""
        return None

    def aim(
        self, goal: Goal, count: CountFunction | None = None, counted: Collection[str] = ()
    ) -> None:
        """Set the objectives and reset the history.

        By default, a searcher maximises a single score.

        Args:
            goal: Objectives and bounds.
            count: Computes the measures named in ``counted`` exactly.
            counted: Measures that need no evaluation. Architectures that break a bound of such a
                measure are never asked for.
        """
        self._forget()
        self.goal = goal
        self._count = count
        self._counted = tuple(name for name in goal.names if name in counted)

    def tell(self, graph: Data, measures: float | Mapping[str, float]) -> None:
        """Record the score of an architecture; told twice, it counts twice.

        Args:
            graph: The architecture.
            measures: All measures of the ``goal``; where that has one objective and no bound, its
                value alone will do.

        Raises:
            ConfigError: a measure is missing or not finite.
            GraphError: the architecture is not of this space.
        """
        found = self._measures(measures)
        for name, value in found.items():
            if not math.isfinite(value):
                raise ConfigError(
                    f"a {name} must be finite, but got {value}; leave out what could not be "
                    "evaluated"
                )
        key = self.key(graph)
        if key not in self._pending:
            self.space.validate(graph)
        self._pending.discard(key)
        bounded = tuple(found[bound.name] for bound in self.goal.bounds)
        self._add(Scored(graph, key, self.goal.values(found), self.goal.violation(found), bounded))

    def drop(self, graph: Data, reason: str = "") -> None:
        """Record that an asked architecture cannot be evaluated, and the reason.

        Args:
            graph: The architecture.
            reason: Reason of the failure.
        """
        key = self.key(graph)
        self._pending.discard(key)
        self._dropped.add(key)

    def recall(self, graph: Data) -> None:
        """Count ``graph`` as the result of the next `ask`, as before an interruption."""
        self.asked += 1
        self._pending.add(self.key(graph))

    def _measures(self, measures: float | Mapping[str, float]) -> dict[str, float]:
        """The measures of the goal by name."""
        names = self.goal.names
        if not isinstance(measures, Mapping):
            if len(names) > 1:
                raise ConfigError(f"the measures {[*names]} must be told, but got one number")
            score = as_scores(measures, "the score")
            if score.size != 1:
                raise ConfigError(f"the score must be one number, but got {measures!r:.80}")
            return {names[0]: score.item()}
        missing = [name for name in names if name not in measures]
        if missing:
            raise ConfigError(
                f"the measure '{missing[0]}' must be told, but got {sorted(measures)}"
            )
        return {name: float(measures[name]) for name in names}

    def metadata(self) -> dict[str, Any]:
        """Kind and settings, for a run's record."""
        settings = {
            name: value
            for name, value in vars(self).items()
            if name[0] != "_" and name not in ("asked", "is_random", "notes") and _is_plain(value)
        }
        return {"kind": type(self).__name__, **settings}

    def restore(
        self,
        told: Sequence[Scored],
        *,
        asked: int,
        pending: Collection[int] = (),
        dropped: Collection[int] = (),
    ) -> None:
        """Restore the state of the searcher from a history; cheap if that only grew.

        Args:
            told: All scored architectures, oldest first.
            asked: Number of calls of `ask` so far: fixes the randomness of the next one.
            pending: Keys of architectures that are being evaluated.
            dropped: Keys of architectures that were asked for and will never be told, as their
                evaluation failed.
        """
        self.asked = asked
        self._pending, self._dropped = set(pending), set(dropped)
        if self.told != list(told[: len(self.told)]):
            self._forget()
        for scored in told[len(self.told) :]:
            self._add(scored)

    def key(self, graph: Data) -> int:
        """Equal for architectures that are the same network: see `Space.functional_form`."""
        text = self.space.to_str(graph)
        if text not in self._keys:
            self._keys[text] = self.keys(as_batch(graph))[0]
        return self._keys[text]

    def keys(self, batch: DenseBatch) -> list[int]:
        """`key` of every architecture of a batch, much faster."""
        found: list[int] = self.space.keys(batch).tolist()
        return found

    @abstractmethod
    def _propose(self, rng: np.random.Generator) -> Data:
        """The next architecture, one that `_is_new`; changes no state.

        Called again, with another ``rng``, if it is not new.
        `_random` gives one where there is nothing better to go by.
        """

    def _add(self, scored: Scored) -> None:
        """Learn from a told architecture."""
        self.told.append(scored)
        self._told.add(scored.key)

    def _forget(self) -> None:
        """Reset the history."""
        self.told, self._told = [], set()

    def _is_new(self, key: int) -> bool:
        """Whether no architecture with this key was asked for or told."""
        return not (key in self._told or key in self._pending or key in self._dropped)

    def _is_settled(self, key: int) -> bool:
        """Whether the architecture has been evaluated or discarded."""
        return key in self._told or key in self._dropped

    def _is_flat(self, scored: Sequence[Scored]) -> bool:
        """Whether architectures all have one score, from which nothing can be learned.

        The first time, a warning says so.
        """
        if any(one.values != scored[0].values for one in scored):
            return False
        if not self._is_warned:
            self._is_warned = True
            pairs = zip(self.goal.objectives, scored[0].values, strict=True)
            logger.warning(
                "all %d scores are equal (%s): a predictor cannot tell architectures apart, so "
                "they are chosen at random until scores differ; see whether what is measured "
                "depends on the architecture",
                len(scored),
                ", ".join(f"{one.name} {one.sign * value:g}" for one, value in pairs),
            )
        return True

    def _allowed(self, batch: DenseBatch) -> NDArray[np.bool_]:
        """Mask of architectures within the bounds of counted measures: bool [N]."""
        allowed = np.ones(len(batch), dtype=bool)
        bounds = [bound for bound in self.goal.bounds if bound.name in self._counted]
        if bounds and len(batch):
            measures = self._counted_of(batch)
            for bound in bounds:
                allowed &= bound.violation(measures[bound.name]) == 0
        return allowed

    def _counted_of(self, batch: DenseBatch) -> dict[str, NDArray[np.float64]]:
        """The counted measures of the goal, each float64 [N]; ConfigError if `count` gives others.

        A user may have written the `Evaluator.count` that they come from.
        """
        if self._count is None or not self._counted or not len(batch):
            return {name: np.zeros(0) for name in self._counted}
        found = self._count(copied(batch), self._counted)
        if not isinstance(found, Mapping) or not found.keys() >= {*self._counted}:
            raise ConfigError(
                f"`count` must return values of {', '.join(self._counted)} by name, but returned "
                f"{' '.join(repr(found).split()):.80}"
            )
        measures = {name: as_scores(found[name], f"{name} of `count`") for name in self._counted}
        for name, values in measures.items():
            if values.shape != (len(batch),) or np.isnan(values).any():
                raise ConfigError(
                    f"{name} of `count` must be {len(batch)} numbers for {len(batch)} "
                    f"architectures, but its shape is {list(values.shape)} and "
                    f"{int(np.isnan(values).sum())} are NaN"
                )
        return measures

    def _new_rows(self, batch: DenseBatch) -> list[int]:
        """The architectures that are new and keep the bounds of counted measures."""
        new = [row for row, key in enumerate(self.keys(batch)) if self._is_new(key)]
        kept = self._allowed(batch[torch.tensor(new, dtype=torch.int64)])
        return [row for row, allowed in zip(new, kept, strict=True) if allowed]

    def _is_allowed(self, graph: Data) -> bool:
        """Whether an architecture keeps the bounds of counted measures."""
        return bool(self._allowed(as_batch(graph))[0])

    def _within(self) -> str:
        bounds = [str(bound) for bound in self.goal.bounds if bound.name in self._counted]
        return f" and has at most {', '.join(bounds)}" if bounds else ""

    def _random(self, rng: np.random.Generator) -> Data:
        """A new architecture drawn from the space's own distribution; sets `is_random`.

        Raises:
            SpaceExhausted: there is none, or none in some 17,000 draws.
        """
        self.is_random = True
        for count in DRAWS:
            batch = draw_batch(self.space, count, rng)
            new = self._new_rows(batch)
            if new:
                return batch.data(new[0])
            if count == MANY and not self._is_warned_of_bounds:
                self._is_warned_of_bounds = True
                self._warn_of_bounds(batch)
        if self.space.size is not None:
            batch = self.space.enumerate()
            new = self._new_rows(batch)
            if new:
                return batch.data(new[int(rng.integers(len(new)))])
        known = len(self._told | self._pending | self._dropped)
        raise SpaceExhausted(
            f"space '{self.space.name}' must have an architecture that was not asked for yet"
            f"{self._within()}, but none is left after {known}; stop here"
        )

    def _warn_of_bounds(self, batch: DenseBatch) -> None:
        """Say that the bounds of counted measures are hardly kept, before hours of draws."""
        measures = self._counted_of(batch)
        found = [
            f"{bound.name}={measures[bound.name].min():g}"
            for bound in self.goal.bounds
            if bound.name in measures
        ]
        if found:
            logger.warning(
                "none of %d architectures drawn at random is new%s, the smallest being %s; going "
                "on to draw, which may take long",
                len(batch),
                self._within(),
                ", ".join(found),
            )


def _is_plain(value: object) -> bool:
    """Whether a setting is a number, a text, or a list of some."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str)
