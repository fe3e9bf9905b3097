"""Records of a search: every evaluation, and what came out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gnas.data.files import as_data_error, read_json
from gnas.errors import MissingDataError
from gnas.search.objectives import Bound, Goal, Objective


@dataclass(frozen=True)
class Evaluation:
    """One architecture that a searcher asked for, and its measures.

    Examples:
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> first = run_search(NASBench201(), "random", edges, budget=3).evaluations[0]
        >>> first.number, sorted(first.measures), first.error
        (0, ['score'], None)
    """

    number: int
    """Place in the order of asking, from 0."""
    architecture: str
    """In the space's notation."""
    measures: Mapping[str, float] | None
    """By name; None if it could not be evaluated."""
    error: str | None = None
    """Reason of a failed evaluation."""
    stage: str = ""
    """The evaluator's stage, a longer training for example; empty for the first."""
    expected: float | None = None
    """Searcher's prediction of the first objective, if it makes any."""
    is_random: bool | None = None
    """Whether the searcher drew it at random; None where that is not known."""
    runs: tuple[Mapping[str, float], ...] = ()
    """Measures by seed, if each architecture is evaluated with several seeds."""

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> Evaluation:
        """The evaluation that a line of ``metrics.jsonl`` or a ``result.json`` holds.

        A line's ``seconds``, which the search had taken by then, are left out.

        Raises:
            TypeError, ValueError, AttributeError: it is something else.
        """
        facts = {name: value for name, value in record.items() if name != "seconds"}
        found = Evaluation(**{**facts, "runs": tuple(record.get("runs", ()))})
        kinds = ((found.number, int), (found.architecture, str), (found.stage, str))
        maybe = ((found.error, str), (found.is_random, bool))
        if not (
            all(type(value) is kind for value, kind in kinds)
            and all(value is None or type(value) is kind for value, kind in maybe)
            and isinstance(found.expected, int | float | None)
        ):
            raise TypeError(f"an evaluation must have other values than {record!r:.200}")
        if (found.measures is None) == (found.error is None):
            raise ValueError("an evaluation must have either measures or an error")
        for measures in (found.measures or {}, *found.runs):
            if not all(isinstance(v, int | float | None) for v in measures.values()):
                raise TypeError("measures must be numbers")
        return found

    @staticmethod
    def from_records(records: Iterable[Mapping[str, Any]]) -> list[Evaluation]:
        """The evaluations that the lines of ``metrics.jsonl`` hold.

        Raises:
            TypeError, ValueError, AttributeError: a line is something else, or not in its place.
        """
        found = [Evaluation.from_record(record) for record in records]
        if [one.number for one in found] != list(range(len(found))):
            raise ValueError("its lines are not in order")
        return found


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """Everything that a search found; field by field the content of ``result.json``.

    Examples:
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> found = run_search(NASBench201(), "random", edges, budget=5)
        >>> found.evaluated, found.architecture == found.evaluations[found.best].architecture
        (5, True)
    """

    command: str
    """``search SEARCHER``."""
    config: Mapping[str, Any] = field(repr=False)
    """Settings of the search."""
    space: Mapping[str, Any] = field(repr=False)
    """Name of the space, and the digest of its file if it has one."""
    objectives: tuple[str, ...]
    """``NAME:max`` or ``NAME:min``."""
    bounds: tuple[str, ...]
    """``NAME=NUMBER``: at most that."""
    architecture: str
    """The best one: the first objective's among those that keep all bounds."""
    metrics: Mapping[str, float]
    """Its measures."""
    params: float | None
    """Parameters of its network, where the evaluator counts them."""
    macs: float | None
    """Multiply-accumulates of one image, where the evaluator counts them."""
    best: int
    """Its number among the evaluations."""
    feasible: bool
    """Whether it keeps all bounds; if not, it breaks them least."""
    front: tuple[int, ...] = field(repr=False)
    """Numbers of the evaluations that none other dominates, by the first objective."""
    evaluations: tuple[Evaluation, ...] = field(repr=False)
    """In the order of asking."""
    evaluated: int
    """Architectures that have measures."""
    failed: int
    """Architectures that could not be evaluated."""
    stopped: str | None
    """Reason why the search ended before its budget was spent."""
    seconds: float
    """Wall-clock time, of the last command if the search was resumed."""
    data: Mapping[str, Any] | None = field(default=None, repr=False)
    """The images that networks were trained on; None where none were."""

    @property
    def goal(self) -> Goal:
        """Objectives and bounds."""
        return Goal(
            tuple(Objective.parse(text) for text in self.objectives),
            tuple(Bound.parse(text) for text in self.bounds),
        )


Result = TypeVar("Result", bound=SearchResult)


def read_result(folder: str | Path) -> SearchResult:
    """The result of the search in a run's folder.

    Args:
        folder: Folder of the run.

    Raises:
        MissingDataError: the search has not ended, or there is none.
        DataError: its ``result.json`` is damaged.

    Examples:
        >>> import tempfile
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Path(folder) / "edges"
        ...     found = run_search(NASBench201(), "random", edges, budget=3, out=run)
        ...     read_result(run).architecture == found.architecture
        True
    """
    folder = Path(folder)
    path = folder / "result.json"
    if not path.exists():
        raise unfinished(folder)
    record = read_json(path, "the result of a search")
    with as_data_error(path, "the result of a search"):
        return checked(SearchResult(**decoded(record)))


def unfinished(folder: Path) -> MissingDataError:
    """The error where the result of a search is needed that has not ended.

    Args:
        folder: Folder of the run.
    """
    return MissingDataError(
        f"a search must have ended to be shown, but {folder} has no result; go on with "
        f"--resume {folder}, or look at what there is with `gnas report {folder}`"
    )


def checked(result: Result) -> Result:
    """The result, whose parts agree with each other.

    Raises:
        TypeError, ValueError, LookupError, AttributeError: they do not.
    """
    if not isinstance(result.architecture, str) or not isinstance(result.space["name"], str):
        raise TypeError("architecture and space must be texts")
    if not isinstance(result.goal, Goal):
        raise TypeError("objectives must be texts")
    for number in (result.best, *result.front):
        if type(number) is not int or result.evaluations[number].number != number:
            raise ValueError(f"{number!r:.40} must be the number of an evaluation")
    return result


def decoded(record: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a `SearchResult` in a ``result.json``, and what else that holds as it is.

    Raises:
        KeyError, TypeError: it is that of something else.
    """
    tuples = {name: tuple(record[name]) for name in ("objectives", "bounds", "front")}
    evaluations = tuple(map(Evaluation.from_record, record["evaluations"]))
    return {**record, **tuples, "evaluations": evaluations}
