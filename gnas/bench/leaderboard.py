"""Leaderboard: results of one protocol from several files, ranked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from gnas.config import dict_diff, unknown_name
from gnas.data.files import as_data_error, read_json
from gnas.errors import ConfigError
from gnas.metrics import Interval
from gnas.search.objectives import known_direction

Better = Literal["higher", "lower"]
WHAT = "the result that a gnas bench wrote with --json"


@dataclass(frozen=True)
class Metric:
    """A metric reported for every row."""

    heading: str
    better: Better = "higher"
    is_acc: bool = False
    """Whether it is a fraction that is printed in percent, where scores are accuracies."""
    digits: int = 3
    """Decimal places of values that are not printed in percent."""


@dataclass(frozen=True)
class BenchKind:
    """Kind of benchmark: the names of its rows and its metrics, the default one first."""

    names: tuple[str, ...]
    """Fields that name a row."""
    metrics: Mapping[str, Metric]
    series: tuple[str, ...] = ()
    """Metrics that have a value after every query."""


PREDICTORS = BenchKind(
    ("predictor", "encoder"),
    {
        "kendall_tau": Metric("Kendall tau"),
        "spearman": Metric("Spearman"),
        "precision_at_1_percent": Metric("P@1%"),
        "n_at_10": Metric("N@10", "lower", digits=1),
        "picked_score": Metric("picked", is_acc=True),
        "global_bias": Metric("bias", "lower", is_acc=True),
        "kendall_tau_gain": Metric("gain of tau"),
        "kendall_tau_no_twins": Metric("tau, no twins"),
        "neighbours_r2": Metric("NN R2"),
    },
)
SEARCHERS = BenchKind(
    ("searcher",),
    {
        "test_acc": Metric("test acc", is_acc=True),
        "test_regret": Metric("test regret", "lower", is_acc=True),
        "val_regret": Metric("val regret", "lower", is_acc=True),
        "found_optimum": Metric("found optimum", is_acc=True),
        "median_queries": Metric("median queries", "lower", digits=1),
        "seconds": Metric("seconds", "lower", digits=1),
    },
    ("test_regret", "val_regret"),
)
METHODS = BenchKind(
    ("method",),
    {
        "test_acc": Metric("test acc", is_acc=True),
        "val_acc": Metric("val acc", is_acc=True),
        "other_acc": Metric("other acc", is_acc=True),
        "worst": Metric("worst", is_acc=True),
        "rank": Metric("rank", "lower", digits=0),
        "regret": Metric("regret", "lower", is_acc=True),
        "above_median": Metric("above median", is_acc=True),
        "tau": Metric("one-shot tau"),
        "seconds": Metric("seconds", "lower", digits=1),
    },
)
TOPOLOGIES = BenchKind(
    ("edges",),
    {
        "mean_acc": Metric("mean acc", is_acc=True),
        "best_acc": Metric("best acc", is_acc=True),
        "std_acc": Metric("deviation", "lower", is_acc=True),
    },
)
KINDS = {
    "bench nasbench101": PREDICTORS,
    "bench nasbench201": PREDICTORS,
    "bench darts": PREDICTORS,
    "bench nasgem": PREDICTORS,
    "bench predictors": PREDICTORS,
    "bench search": SEARCHERS,
    "bench supernet": METHODS,
    "bench topology": TOPOLOGIES,
}
"""Kind of benchmark by the ``command`` of a result."""
SAME = 1e-9
"""Means that differ by less, or by such a share, are equal: sums of the same numbers in another
order are not to the last bit."""
PICKED = "picked_score"
"""Metric in the unit of the scores, of which smaller may be better."""
GAIN = "kendall_tau_gain"
"""Metric of a row against the first row of its file."""
COMPETITORS = ("predictors", "encoders", "networks", "searchers", "methods")
"""Config fields that list the participants."""
PLACES = ("table", "data_dir", "table_dir", "train_column", "test_column")
"""Config fields with locations; the result's ``table`` has the digest and columns instead."""
TABLE_TEXTS = ("name", "path", "rows", "provenance", "source", "note")
"""Entries of a result's ``table`` that are prose or follow from the digest."""


@dataclass(frozen=True)
class BenchFile:
    """Result of a benchmark, read from a file."""

    path: str
    command: str
    table: Mapping[str, Any]
    protocol: Mapping[str, Any]
    facts: Mapping[str, Any]
    """Settings that all results of a leaderboard must share, by their name in messages."""
    rows: tuple[Mapping[str, Any], ...]
    are_accs: bool
    """Whether scores are accuracies."""
    smaller_is_better: bool
    """Whether the best score is the smallest."""

    @property
    def kind(self) -> BenchKind:
        """Kind of benchmark of the command."""
        return KINDS[self.command]

    @property
    def samples(self) -> set[int]:
        """Numbers of samples that occur in the rows."""
        return {row["samples"] for row in self.rows if "samples" in row}


@dataclass(frozen=True)
class LeaderboardRow:
    """A row of a leaderboard."""

    rank: int | None
    """Rank from 1; None without a value."""
    name: str
    files: tuple[str, ...]
    """Files with this row."""
    values: Mapping[str, Interval | None]
    """Values by metric; the bounds are NaN where there is no interval."""


@dataclass(frozen=True)
class Leaderboard:
    """Ranked rows of several results; the fields are those written by ``--json``."""

    command: str
    of: str
    """Command of the benchmark."""
    table: Mapping[str, Any]
    """Table of the first result."""
    protocol: Mapping[str, Any]
    facts: Mapping[str, Any]
    """Settings shared by all results."""
    metric: str
    better: Better
    samples: int | None
    """Number of training samples (predictors) or queries (searchers; None: the whole budget)."""
    are_accs: bool
    entries: tuple[LeaderboardRow, ...]

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Metrics of this kind of benchmark."""
        return KINDS[self.of].metrics


def read_bench(path: Path) -> BenchFile:
    """Read the result of a bench.

    Args:
        path: File of ``gnas bench ... --json FILE``, or ``result.json`` of its ``--out``.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is damaged or of something else.
    """
    record = read_json(path, WHAT)
    with as_data_error(path, WHAT):
        if not isinstance(record, dict) or not isinstance(record.get("command"), str):
            raise ValueError("it is not an object with a command")
        command = record["command"]
        if command not in KINDS:
            raise ValueError(f"it is of {command!r:.80}, and there are {', '.join(KINDS)}")
        table, config = dict(record["table"]), dict(record["config"] or {})
        if not all(isinstance(table[name], str) for name in ("name", "sha256")):
            raise ValueError("name and sha256 of its table must be texts")
        protocol = dict(record.get("protocol") or {})
        facts = {
            "command": command,
            **{f"table's {k}": v for k, v in table.items() if k not in TABLE_TEXTS},
            **{k: v for k, v in config.items() if k not in {*COMPETITORS, *PLACES, "samples"}},
            **{f"protocol of {k}": v for k, v in protocol.items()},
            **{f"data's {k}": v for k, v in dict(record.get("data") or {}).items()},
            **({"best score": record["best_score"]} if "best_score" in record else {}),
        }
        rows = tuple(dict(row) for row in record["rows"])
        if not rows:
            raise ValueError("it has no rows")
        if "seeds" in rows[0]:
            facts |= {"seeds": _seeds(rows)}
        quantity = str(record.get("quantity", "test_acc"))
        found = BenchFile(
            str(path), command, table, protocol, facts, rows,
            quantity.endswith("_acc"), known_direction(quantity) == "min",
        )  # fmt: skip
        for row in rows:
            _name(found.kind, row)
            if "samples" in row and type(row["samples"]) is not int:
                raise ValueError("samples must be a whole number")
            for metric in found.kind.metrics:
                _value(found.kind, row, metric, None)
    return found


def leaderboard(
    files: Sequence[BenchFile], metric: str | None = None, samples: int | None = None
) -> Leaderboard:
    """Rank the rows of results of one protocol.

    Args:
        files: The results.
        metric: Field of a row to sort by; None for the usual one of the bench.
        samples: For predictors, the number of samples, None for the largest that all results
            have; for regrets of searchers, the queries, None for the whole budget.

    Raises:
        ConfigError: the results are of different protocols, tables, columns, seeds or budgets,
            which is named; there is no such metric or number of samples; gains are over
            different predictors.
    """
    if not files:
        raise ConfigError("a leaderboard needs at least one result")
    first = files[0]
    for other in files[1:]:
        _check_same(first, other)
    kind = first.kind
    metric = next(iter(kind.metrics)) if metric is None else metric
    if metric not in kind.metrics:
        raise ConfigError(unknown_name("metric", metric, kind.metrics))
    samples = _samples(files, kind, metric, samples)
    references = {_name(kind, file.rows[0]): file.path for file in files}
    if metric == GAIN and len(references) > 1:
        found = ", ".join(f"{path} over {name}" for name, path in references.items())
        raise ConfigError(
            f"gains must be over one predictor, but are {found}; choose another metric"
        )
    entries: dict[tuple[Any, ...], LeaderboardRow] = {}
    for file in files:
        for row in file.rows:
            if "samples" in row and row["samples"] != samples:
                continue
            values = {m: _value(kind, row, m, samples) for m in kind.metrics}
            if kind is SEARCHERS and samples is not None:  # others are of the whole budget
                values = {m: v if m in kind.series else None for m, v in values.items()}
            if len(references) > 1 and GAIN in values:
                values[GAIN] = None
            name = _name(kind, row)
            key = (name, *(None if v is None else (v.mean, str(v.low)) for v in values.values()))
            known = entries.get(key)
            places = tuple(dict.fromkeys([*(known.files if known else ()), file.path]))
            entries[key] = LeaderboardRow(None, name, places, values)
    better = kind.metrics[metric].better
    if metric == PICKED and first.smaller_is_better:
        better = "lower"
    valued = [entry for entry in entries.values() if entry.values[metric] is not None]
    valued.sort(key=lambda entry: _mean(entry, metric), reverse=better == "higher")
    ranked = [
        LeaderboardRow(
            1 + sum(_beats(a, b, metric, better) for a in valued), b.name, b.files, b.values
        )
        for b in valued
    ]
    ranked += [entry for entry in entries.values() if entry.values[metric] is None]
    return Leaderboard(
        command="leaderboard",
        of=first.command,
        table=first.table,
        protocol=first.protocol,
        facts=first.facts,
        metric=metric,
        better=better,
        samples=samples,
        are_accs=first.are_accs,
        entries=tuple(ranked),
    )


def _check_same(first: BenchFile, other: BenchFile) -> None:
    for name, (was, now) in dict_diff(first.facts, other.facts).items():
        raise ConfigError(
            f"results of one leaderboard must be of one protocol and table, but {other.path} "
            f"differs from {first.path} in the {name}: {_shown(now)}, not {_shown(was)}"
        )


def _shown(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 80 else f"{text[:80]}..."


def _samples(
    files: Sequence[BenchFile], kind: BenchKind, metric: str, samples: int | None
) -> int | None:
    """The number of samples that rows are of, or of queries."""
    if kind is PREDICTORS:
        common = sorted(set.intersection(*(file.samples for file in files)))
        if samples is None and common:
            return common[-1]
        if samples is None or samples not in common:
            wanted = "a number of samples" if samples is None else f"{samples} samples"
            have = "; ".join(f"{f.path} has {sorted(f.samples)}" for f in files)
            raise ConfigError(f"all results must have {wanted} in common, but {have}")
        return samples
    if samples is None:
        return None
    if metric not in kind.series:
        raise ConfigError(
            f"--samples goes with results of predictors and regrets of searches, not with "
            f"{metric} of {files[0].command}"
        )
    longest = min(len(row[metric]) for file in files for row in file.rows)
    if not 1 <= samples <= longest:
        raise ConfigError(f"samples must be between 1 and the budget {longest}, not {samples}")
    return samples


def _mean(entry: LeaderboardRow, metric: str) -> float:
    value = entry.values[metric]
    assert value is not None
    return value.mean


def _beats(left: LeaderboardRow, right: LeaderboardRow, metric: str, better: Better) -> bool:
    ahead, behind = _mean(left, metric), _mean(right, metric)
    if math.isclose(ahead, behind, rel_tol=SAME, abs_tol=SAME):
        return False
    return ahead > behind if better == "higher" else ahead < behind


def _name(kind: BenchKind, row: Mapping[str, Any]) -> str:
    """Name of a row, for example ``default on path statistics``."""
    if kind is TOPOLOGIES:
        return ", ".join(f"{int(a)}-{int(b)}" for a, b in row["edges"]) or "no edges"
    parts = [row[name] for name in kind.names]
    if not all(isinstance(part, str) for part in parts):
        raise ValueError(f"{' and '.join(kind.names)} must be texts")
    return " on ".join(part for part in parts if part != "none") or "none"


def _value(
    kind: BenchKind, row: Mapping[str, Any], metric: str, samples: int | None
) -> Interval | None:
    """A metric of a row with its interval, if it has one.

    Raises:
        KeyError, TypeError or ValueError: it is something else.
    """
    if metric == "neighbours_r2" and metric not in row:  # of before it was measured
        return None
    value = row[metric]
    if metric in kind.series:
        if not isinstance(value, list) or not value:
            raise ValueError(f"{metric} must have a value for every query")
        value = value[-1 if samples is None else samples - 1]
    if value is None:
        return None
    if isinstance(value, Mapping):
        mean, low, high = (
            math.nan if value[k] is None else _number(metric, value[k])
            for k in ("mean", "low", "high")
        )
        return None if math.isnan(mean) else Interval(mean, low, high)
    return Interval(_number(metric, value), math.nan, math.nan)


def _seeds(rows: Sequence[Mapping[str, Any]]) -> int:
    """The number of seeds of all rows; of a supernet's the most, as some may be missing yet."""
    counts = {
        len(row["seeds"]) if isinstance(row["seeds"], list) else row["seeds"] for row in rows
    }
    if not all(type(count) is int for count in counts):
        raise ValueError("seeds must be whole numbers")
    return max(counts)


def _number(metric: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{metric} must be a number, not {value!r:.40}")
    return float(value)
