"""Numbers and settings as a report writes them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from gnas.metrics import Interval
from gnas.report.page import Axis, Cell, Format

NOTHING = "–"  # noqa: RUF001
"""Placeholder for a missing value."""
MAX_DIGITS = 6
"""Decimals from which on a number is written by its significant digits."""
COUNTS = ("macs", "num_params", "params", "flops")
LONGEST_VALUE = 300
"""Characters of the longest setting that is shown whole."""
_NAMES = {
    "val_acc": "validation accuracy",
    "test_acc": "test accuracy",
    "train_acc": "training accuracy",
    "val_loss": "validation loss",
    "train_loss": "training loss",
    "num_params": "parameters",
    "macs": "multiply-accumulates",
    "train_time_s": "training time (s)",
    "latency_s": "latency (s)",
}


def name_of(measure: str) -> str:
    """A measure in words, where it is one that gnas makes.

    Examples:
        >>> name_of("num_params"), name_of("smoothness")
        ('parameters', 'smoothness')
    """
    return _NAMES.get(measure, measure)


def format_of(measure: str) -> Format:
    """Number format of a measure."""
    if measure.endswith("_acc") or measure == "acc":
        return "percent"
    return "count" if measure in COUNTS else "plain"


def format_number(value: float | None, form: Format = "plain", digits: int = 4) -> str:
    """A number as text.

    Args:
        value: The number; None and NaN give a placeholder.
        form: Number format.
        digits: Significant digits.

    Examples:
        >>> format_number(0.91234, "percent"), format_number(1234567, "count")
        ('91.23 %', '1.235 M')
        >>> format_number(0.000123)
        '0.000123'
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if form == "percent":
        return f"{100 * value:.2f} %"
    if form == "count" and abs(value) >= 1000:
        for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
            if abs(value) >= size:
                return f"{float(f'{value / size:.{digits}g}'):g} {unit}"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{float(f'{value:.{digits}g}'):g}"  # 100, not 1e+02


def format_measure(name: str, value: float | None) -> str:
    """The value of a measure as text.

    Args:
        name: Name of the measure.
        value: Its value, if any.
    """
    return format_number(value, format_of(name))


def format_interval(value: Interval, form: Format = "plain") -> str:
    """A mean, with half of its interval where it has one.

    Args:
        value: Mean and interval.
        form: Number format.

    Examples:
        >>> format_interval(Interval(0.5, 0.48, 0.52), "percent")
        '50.00 ± 2.00 %'
        >>> format_interval(Interval(3, 0.46, 5.54)), format_interval(Interval(7 / 3, -1.5, 6.1))
        ('3.0 ± 2.5', '2.3 ± 3.8')
    """
    mean = format_number(value.mean, form)
    if not math.isfinite(value.high):
        return mean
    half = value.high - value.mean
    if form == "percent":
        return f"{100 * value.mean:.2f} ± {100 * half:.2f} %"
    digits = 1 - math.floor(math.log10(half)) if half > 0 else 0
    if form == "plain" and 0 < digits <= MAX_DIGITS:  # both as exact as the interval is told
        return f"{value.mean:,.{digits}f} ± {half:.{digits}f}"
    return f"{mean} ± {format_number(half, form, 2)}"


def mean_name(ends: Iterable[float | None]) -> str:
    """Name of means in a chart, some of which may have an interval.

    Args:
        ends: Lower ends of the intervals, None or NaN where there is none.

    Examples:
        >>> mean_name([0.1, None]), mean_name([None])
        ('mean and 95% interval', 'mean')
    """
    some = any(end is not None and math.isfinite(end) for end in ends)
    return "mean and 95% interval" if some else "mean"


def format_share(share: Mapping[str, Any]) -> str:
    """A share in percent, with the deviation of one training where there are several.

    Args:
        share: Its "mean" and "std".

    Examples:
        >>> format_share({"mean": 0.5, "std": 0.0123})
        '50.00 ± 1.23 %'
    """
    spread = "" if share["std"] is None else f" ± {100 * share['std']:.2f}"
    return f"{100 * share['mean']:.2f}{spread} %"


def told_trainings(count: int) -> str:
    """What `format_share` is over."""
    return f"{count} trainings: mean ± deviation" if count > 1 else "one training"


def duration(seconds: float | None) -> str:
    """A time as a clock shows it.

    Examples:
        >>> duration(7.4), duration(3725)
        ('7.4 s', '1 h 2 min')
    """
    if seconds is None or not math.isfinite(seconds):
        return NOTHING
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"


def axis(name: str, *, log: bool = False) -> Axis:
    """The axis of a measure."""
    return Axis(name_of(name), format_of(name), log)


def cell(name: str, value: float | None, *, strong: bool = False) -> Cell:
    """The cell of a measure in a table."""
    known = value is not None and math.isfinite(value)
    return Cell(
        format_measure(name, value),
        float(value) if known and value is not None else None,
        strong=strong,
    )


def settings(record: Any, above: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of a configuration by dotted names.

    Examples:
        >>> list(settings({"seed": 0, "images": {"size": [8, 8], "folder": None}}))
        [('seed', '0'), ('images.size', '8, 8'), ('images.folder', '–')]
    """
    if isinstance(record, Mapping) and record:
        for name, value in record.items():
            yield from settings(value, f"{above}.{name}" if above else str(name))
    elif isinstance(record, list | tuple) and any(isinstance(part, Mapping) for part in record):
        for place, part in enumerate(record):
            yield from settings(part, f"{above}.{place}")
    else:
        yield above, _value(record)


def _value(value: Any) -> str:
    if value is None or value == {} or value == []:
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Sequence) and not isinstance(value, str):
        text = ", ".join(map(_value, value))
    else:
        text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]} …"
