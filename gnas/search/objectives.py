"""Objectives of a search: measures to maximise or minimise, and bounds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias, cast

from gnas.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Values: TypeAlias = NDArray[np.float64]

Direction = Literal["min", "max"]

_LARGER = re.compile(r"(.*_)?(acc|accuracy|score)(_.*)?")
_SMALLER = re.compile(
    r"macs|flops|num_params|params|(.*_)?(loss|error|latency|energy|time)(_.*)?|.*_(ms|s|mj|mb)"
)
_TURNING = {
    "change", "delta", "diff", "drop", "fps", "gain", "gap", "images", "img", "imgs", "inverse",
    "neg", "negative", "per", "ratio", "reduction", "samples", "saved", "speed", "speedup", "std",
    "throughput", "tokens", "var",
}  # fmt: skip
"""Words that say something of a measure: of images_per_s and acc_drop the other way is better."""


def known_direction(name: str) -> Direction | None:
    """Which way a measure of this name is better; None where the name does not say.

    Args:
        name: The measure.

    Examples:
        >>> known_direction("val_acc"), known_direction("latency_ms"), known_direction("acc_drop")
        ('max', 'min', None)
    """
    larger, smaller = _LARGER.fullmatch(name), _SMALLER.fullmatch(name)
    if bool(larger) == bool(smaller) or _TURNING & {*name.split("_")}:  # both of "score_error"
        return None
    return "max" if larger else "min"


@dataclass(frozen=True)
class Objective:
    """A measure and which way is better.

    Examples:
        >>> Objective("latency_ms", "min").sign
        -1.0
        >>> Objective.parse("val_acc")
        Objective(name='val_acc', direction='max')
    """

    name: str
    direction: Direction

    @staticmethod
    def parse(text: str) -> Objective:
        """``name`` where its direction is known, else ``name:min`` or ``name:max``.

        Raises:
            ConfigError: the direction is not known, or another word.

        Examples:
            >>> Objective.parse("val_acc").direction, Objective.parse("macs").direction
            ('max', 'min')
            >>> Objective.parse("smoothness:max")
            Objective(name='smoothness', direction='max')
        """
        name, colon, direction = text.partition(":")
        if not name or (colon and direction not in ("min", "max")):
            raise ConfigError(f"an objective must be NAME, NAME:min or NAME:max, but got {text!r}")
        if colon:
            return Objective(name, cast(Direction, direction))
        if (known := known_direction(name)) is not None:
            return Objective(name, known)
        bare = name.lstrip("+-")
        raise ConfigError(
            f"the direction of '{bare}' must be said; write {bare}:max or {bare}:min"
        )

    def __str__(self) -> str:
        return f"{self.name}:{self.direction}"

    @property
    def sign(self) -> float:
        """1 where larger is better, else -1."""
        return 1.0 if self.direction == "max" else -1.0


@dataclass(frozen=True)
class Bound:
    """A measure that must not be larger than a number.

    Examples:
        >>> bool(Bound.parse("macs=50e6").violation(60e6) > 0)
        True
    """

    name: str
    at_most: float

    @staticmethod
    def parse(text: str) -> Bound:
        """``name=value``.

        Raises:
            ConfigError: the text has another form, or the value is not finite.
        """
        name, _, number = text.partition("=")
        try:
            value = float(number)
        except ValueError:
            value = math.nan
        if not name or not math.isfinite(value):
            raise ConfigError(f"a bound must be NAME=NUMBER, but got {text!r}")
        return Bound(name, value)

    def __str__(self) -> str:
        short = f"{self.at_most:g}"  # 6 digits; the bound of a record must be the same number
        return f"{self.name}={short if float(short) == self.at_most else self.at_most}"

    def violation(self, value: Values | float) -> Values:
        """By how much a value is too large, as a share of the bound; 0 where it is kept."""
        import numpy as np

        excess = (np.asarray(value, dtype=np.float64) - self.at_most) / max(
            abs(self.at_most), 1e-12
        )
        kept: Values = np.maximum(excess, 0.0)
        return kept


@dataclass(frozen=True)
class Goal:
    """One or several objectives and any bounds.

    Raises:
        ConfigError: no objective, or a name is there twice.

    Examples:
        >>> goal = Goal((Objective.parse("val_acc"), Objective.parse("macs")))
        >>> goal.values({"val_acc": 0.9, "macs": 1e6})
        (0.9, -1000000.0)
    """

    objectives: tuple[Objective, ...] = (Objective("score", "max"),)
    bounds: tuple[Bound, ...] = ()

    def __post_init__(self) -> None:
        for kind, items in (("objective", self.objectives), ("bound", self.bounds)):
            names = [item.name for item in items]
            if len(set(names)) < len(names):
                raise ConfigError(f"every {kind} must have another name, but got {names}")
        if not self.objectives:
            raise ConfigError("a search must have an objective, but has none")

    @staticmethod
    def of(
        objectives: Sequence[str | Objective], bounds: Sequence[str | Bound] | None = None
    ) -> Goal:
        """The goal that texts describe; see `Objective.parse` and `Bound.parse`.

        Args:
            objectives: Objectives, or texts such as "val_acc:max".
            bounds: Bounds, or texts such as "macs=50e6".

        Raises:
            ConfigError: there is no objective, or something else than these.
        """
        objectives = [objectives] if isinstance(objectives, str) else objectives
        bounds = [bounds] if isinstance(bounds, str) else bounds or ()
        for given in (objectives, bounds):
            if not isinstance(given, Sequence):
                raise ConfigError(
                    f"objectives and bounds must be lists of texts, but one is {given!r:.80}"
                )
        wrong: list[object] = [o for o in objectives if not isinstance(o, str | Objective)]
        wrong += [b for b in bounds if not isinstance(b, str | Bound)]
        wrong += [] if objectives else [objectives]
        if wrong:
            raise ConfigError(
                "objectives must be at least one text such as 'val_acc:max', and bounds texts "
                f"such as 'macs=50e6', but got {wrong[0]!r:.80}"
            )
        return Goal(
            tuple(Objective.parse(o) if isinstance(o, str) else o for o in objectives),
            tuple(Bound.parse(b) if isinstance(b, str) else b for b in bounds),
        )

    @property
    def names(self) -> tuple[str, ...]:
        """All measures that matter, each once."""
        return tuple(
            dict.fromkeys([o.name for o in self.objectives] + [b.name for b in self.bounds])
        )

    def values(self, measures: Mapping[str, float]) -> tuple[float, ...]:
        """The objectives, signed so that larger is better."""
        return tuple(o.sign * measures[o.name] for o in self.objectives)

    def violation(self, measures: Mapping[str, float]) -> float:
        """The sum of `Bound.violation`; 0 where all bounds are kept."""
        return float(sum(bound.violation(measures[bound.name]) for bound in self.bounds))
