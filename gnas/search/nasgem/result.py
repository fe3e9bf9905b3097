"""Result of a NASGEM search."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from gnas.errors import DataError
from gnas.search.nasgem.searcher import NasgemSearch
from gnas.search.result import Evaluation, SearchResult, decoded

CLOCK = "_s"
"""Ends the names of measures that differ between two evaluations of one architecture."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An evaluated cell, without what depends on the clock."""

    architecture: str
    number: int
    """Its number among the evaluations."""
    rank: int | None = None
    """Its place in the order of the predictor; None of a random cell."""
    predicted_score: float | None = None
    """By the last fit; None of a random cell."""
    score: float | None = None
    """The objective; None if the evaluation failed."""
    val_acc: float | None = None
    test_acc: float | None = None
    macs: int | None = None
    params: int | None = None
    measures: Mapping[str, float]
    """All that was measured."""
    error: str | None = None
    """Reason of the failure."""


@dataclass(frozen=True)
class Learned:
    """Quality of the predictor at one moment, on cells it has not seen."""

    seen: int
    """Cells that it was fitted on."""
    unseen: int
    """Cells that came later."""
    kendall_tau: float | None
    r2: float | None


@dataclass(frozen=True)
class PredictorFacts:
    """Name of the predictor and its features."""

    name: str
    features: str
    encoder: Mapping[str, Any] | None
    """Name and digest of its encoder."""


@dataclass(frozen=True, kw_only=True)
class NasgemResult(SearchResult):
    """Everything that a search found; field by field the content of ``result.json``.

    Examples:
        >>> import pathlib, tempfile
        >>> from gnas.search.nasgem import plan_nasgem, run_nasgem
        >>> plan = plan_nasgem(
        ...     table=("nasgem-mini",), iterations=10, pool=100, top=2,
        ...     encoder="none", predict="score", update_every=10,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = run_nasgem(plan, out=pathlib.Path(folder) / "run")
        >>> len(found.finals), found.trained, found.pool
        (2, 10, 100)
    """

    chosen: Candidate
    """The best by its longer training; where there are no longer ones, the best of all."""
    argmax: Candidate
    """The best predicted: the paper's choice."""
    best_trained: Candidate
    """The best of the random cells."""
    finals: tuple[Candidate, ...] = field(repr=False)
    """The best predicted cells, in the predictor's order."""
    trained: int
    """Random cells that have a score."""
    pool: int
    """Cells that the predictor scored."""
    predictor: PredictorFacts
    learning: tuple[Learned, ...] = field(repr=False)
    """After every update of the predictor."""
    surface: Mapping[str, Mapping[str, float]] = field(repr=False)
    """`Surface.numbers` by the name of the surface."""
    network: Mapping[str, Any] | None = field(repr=False)
    """Size and form of the trained networks."""

    @staticmethod
    def from_record(record: Mapping[str, Any]) -> NasgemResult:
        """The result that ``result.json`` holds.

        Raises:
            KeyError, TypeError: it is that of something else.
        """
        found = decoded(record)
        for name in ("chosen", "argmax", "best_trained"):
            found[name] = Candidate(**record[name])
        found["finals"] = tuple(Candidate(**one) for one in record["finals"])
        found["learning"] = tuple(Learned(**one) for one in record["learning"])
        found["predictor"] = PredictorFacts(**record["predictor"])
        return NasgemResult(**found)


def nasgem_result(
    result: SearchResult,
    searcher: NasgemSearch,
    *,
    config: Mapping[str, Any],
    encoder: Mapping[str, Any] | None,
    surface: Mapping[str, Mapping[str, float]],
    network: Mapping[str, Any] | None,
) -> NasgemResult:
    """A search's result with what its searcher can say of it.

    Args:
        result: Result of `gnas.search.run_search`.
        searcher: Searcher of the search.
        config: Added to the config of ``result``.
        encoder: See `PredictorFacts`.
        surface: See `NasgemResult`.
        network: See `NasgemResult`.

    Raises:
        DataError: none of the best predicted cells could be evaluated.
    """
    random = [one for one in result.evaluations if one.number < searcher.num_initial]
    finals = [one for one in result.evaluations if one.number >= searcher.num_initial]
    if finals and all(one.measures is None for one in finals):
        raise DataError(
            f"at least one of the {len(finals)} chosen cells must be trained, but all failed, "
            f"the first so: {finals[0].error}"
        )
    goal = searcher.goal

    def told(one: Evaluation) -> Candidate:
        return candidate(one, goal.objectives[0].name, searcher.num_initial)

    chosen = told(result.evaluations[result.best])
    good = [one for one in random if one.measures is not None]
    first = max(good, key=lambda one: goal.values(one.measures or {}))
    names = {"score": chosen.score, "predicted_score": chosen.predicted_score}
    metrics = {**names, **chosen.measures}
    generic = {one.name: getattr(result, one.name) for one in fields(SearchResult)}
    generic |= {
        "config": {**result.config, **config},
        "metrics": {name: value for name, value in metrics.items() if value is not None},
        "params": chosen.params,
        "macs": chosen.macs,
    }
    return NasgemResult(
        **generic,
        chosen=chosen,
        argmax=told(finals[0]) if finals else chosen,
        best_trained=told(first),
        finals=tuple(told(one) for one in finals),
        trained=len(good),
        pool=len(searcher.scored_pool()[0]),
        predictor=PredictorFacts(
            searcher.predictor.name, searcher.predictor.features.name, encoder
        ),
        learning=tuple(Learned(**line) for line in searcher.learner.curve()),
        surface=surface,
        network=network,
    )


def candidate(one: Evaluation, objective: str, num_initial: int) -> Candidate:
    """Convert an evaluation to a reported candidate.

    Args:
        one: The evaluation.
        objective: Its measure that is the score.
        num_initial: The number of the first of the best predicted.
    """
    lasting = {k: v for k, v in (one.measures or {}).items() if not k.endswith(CLOCK)}
    macs, params = lasting.get("macs"), lasting.get("num_params")
    predicted = one.number >= num_initial
    return Candidate(
        architecture=one.architecture,
        number=one.number,
        rank=one.number - num_initial if predicted else None,
        predicted_score=one.expected if predicted else None,
        score=lasting.get(objective),
        val_acc=lasting.get("val_acc"),
        test_acc=lasting.get("test_acc"),
        macs=None if macs is None else round(macs),
        params=None if params is None else round(params),
        measures=lasting,
        error=one.error,
    )
