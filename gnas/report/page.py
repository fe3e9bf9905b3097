"""Content of a report: sections of facts, drawings, charts and tables, free of any markup."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from markupsafe import Markup

Format = Literal["plain", "percent", "count"]
"""Number format of an axis: plain, percent, or counts such as 1.2 M."""


def _check(*values: float | None) -> None:
    """Raise TypeError or OverflowError if a value is no number that a page can show."""
    for value in values:
        if isinstance(value, str):
            raise TypeError(f"{value!r:.40} must be a number")
        if value is not None:
            float(value)


@dataclass(frozen=True)
class Tile:
    """A number that stands out at the top of a report."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Labels with their values."""

    kind: ClassVar[str] = "facts"
    pairs: tuple[tuple[str, str], ...]
    title: str = ""
    folded: bool = False
    """Whether they are shown on demand only."""


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    kind: ClassVar[str] = "text"
    text: str
    is_warning: bool = False


@dataclass(frozen=True)
class Code:
    """Text to be copied: an architecture, or a command."""

    kind: ClassVar[str] = "code"
    text: str
    label: str = ""


@dataclass(frozen=True)
class Drawing:
    """An inline SVG."""

    kind: ClassVar[str] = "drawing"
    svg: Markup
    """See `gnas.report.drawing.inline_svg`."""
    caption: str = ""


@dataclass(frozen=True)
class Axis:
    """An axis of a chart."""

    label: str
    form: Format = "plain"
    log: bool = False
    names: tuple[str, ...] = ()
    """Categories from top to bottom, if the axis is categorical; points give their indices."""


@dataclass(frozen=True)
class Series:
    """Points of a chart that belong together.

    Kinds: "dots"; "line"; "step", which keeps its value until the next point; "intervals", from
    ``low`` to ``high`` with a dot between them; "band", a line with ``low`` and ``high`` around
    it; "bars", from ``low`` to ``high`` on the horizontal axis; "guide", a thin dashed line.
    """

    name: str
    kind: Literal["dots", "line", "step", "intervals", "band", "guide", "bars"]
    x: Sequence[float | None]
    y: Sequence[float | None]
    colour: int = 0
    """Place in the page's palette; see the variables ``--c0``, ... of its style sheet."""
    low: Sequence[float | None] = ()
    high: Sequence[float | None] = ()
    cells: Sequence[int | None] = ()
    """Index of each point's architecture in `Page.cells`."""
    labels: Sequence[str] = ()
    """Label of each point."""
    symbol: Literal["circle", "square", "diamond", "star", "times"] = "circle"
    style: int = 0
    """Style of a line, for lines that may lie on each other: 0 is drawn through."""

    def __post_init__(self) -> None:
        """Check what came from a run's files: OverflowError or TypeError."""
        _check(*self.x, *self.y, *self.low, *self.high)


@dataclass(frozen=True)
class Chart:
    """A chart that the page's script draws."""

    kind: ClassVar[str] = "chart"
    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    caption: str = ""
    wide: bool = False
    """Whether it spans the whole width of the page."""


@dataclass(frozen=True)
class Cell:
    """A cell of a table."""

    text: str
    value: float | None = None
    """By which it is sorted; None sorts by the text."""
    architecture: int | None = None
    """Number in `Page.cells` of what is shown on demand."""
    strong: bool = False

    def __post_init__(self) -> None:
        """See `Series.__post_init__`."""
        _check(self.value)


@dataclass(frozen=True)
class Table:
    """A table that can be sorted and, when it is long, filtered."""

    kind: ClassVar[str] = "table"
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str = ""
    marked: frozenset[int] = frozenset()
    """Rows that stand out."""

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Indices of the numeric columns."""
        return tuple(
            any(row[k].value is not None for row in self.rows) for k in range(len(self.columns))
        )


Block = Facts | Text | Code | Drawing | Chart | Table


@dataclass(frozen=True)
class Section:
    """A part of a report under a heading."""

    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Architecture:
    """An architecture that points and rows of tables refer to."""

    text: str
    svg: Markup | None = None
    """A small drawing; None where there is none."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Values of a run that are compared with other runs."""

    group: str
    """Key shared by runs that differ only in their seed; see `gnas.report.outcomes`."""
    seed: int
    measures: Mapping[str, float] = field(default_factory=dict)
    protocol: str = ""
    """Results may be compared between runs that have this in common."""
    curve: Sequence[float | None] = ()
    """The best value so far after evaluations 0, 1, ..., None before the first that counts; or the
    value after each epoch."""
    curve_measure: str = ""
    curve_step: str = ""
    """Unit of the curve's steps: "evaluation" or "epoch"."""


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything that is said of one run."""

    name: str
    command: str
    about: str
    """One line below the name."""
    ended: bool
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    cells: tuple[Architecture, ...] = ()
    outcome: Outcome | None = None


@dataclass(frozen=True, kw_only=True)
class Page:
    """A whole report."""

    title: str
    subtitle: str
    live: bool
    """Whether the run is still in progress."""
    runs: tuple[RunReport, ...]
    comparison: tuple[Section, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Version and time of the report."""
