"""Settings of the searchers: what ``--set`` of ``gnas search random|evolution|...`` takes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from gnas.config import Count, CountOrZero, check_named, configuration
from gnas.predictor_options import Prior

NASGEM_POOL = 50_000
"""The paper's pool (Cheng et al., AAAI 2021, section 3.3)."""
POPULATION, TOURNAMENT = 30, 10
"""Choice: sizes for some hundred evaluations; Real et al. have 100 and 25 for 20,000."""
STARTS = 10
"""Choice: random architectures of which the best starts a climb (the authors' code has 10)."""
START, EVERY = 10, 5
"""Choice: random architectures before the first fit, and scores between two fits."""
POOL = 2_000
"""Choice: random candidates; the neighbours of the best are what finds the last improvements."""
ELITE = 5
"""Choice: architectures whose neighbours join the pool."""

Start = Annotated[int, Field(ge=2, le=10_000_000)]


@configuration
class RandomSettings:
    """Random search has none."""


@configuration
class EvolutionSettings:
    """Settings of regularized evolution."""

    population: Count = POPULATION
    """Members alive."""
    tournament: Count = TOURNAMENT
    """Members drawn to choose one parent."""


@configuration
class LocalSettings:
    """Settings of local search."""

    starts: Count = STARTS
    """Random architectures of which the best starts a climb."""


@configuration
class NasgemSettings:
    """Settings of NASGEM's own search by bootstrap."""

    num_initial: Start = START
    """Random architectures at the beginning."""
    refit_every: Count = EVERY
    """Scores between two fits."""
    pool: Count = NASGEM_POOL
    """Random candidates."""


@configuration
class BayesSettings:
    """Settings of Bayesian optimisation."""

    num_initial: Start = START
    """Random architectures at the beginning."""
    refit_every: Count = EVERY
    """Scores between two fits."""
    pool: Count = POOL
    """Random candidates."""
    num_elites: CountOrZero = ELITE
    """Number of best architectures whose neighbours join the pool."""


@configuration
class PredictorSettings:
    """Settings of a search by a predictor."""

    num_initial: Start = START
    """Random architectures at the beginning."""
    refit_every: Count = EVERY
    """Scores between two fits."""
    pool: Count = POOL
    """Random candidates."""
    num_elites: CountOrZero = ELITE
    """Number of best architectures whose neighbours join the pool; 0 is NASGEM's bootstrap."""
    expected_improvement: bool | None = None
    """Rank by the expected improvement over the best predicted so far instead of by the
    prediction; None does where the predictor knows its uncertainty."""
    prior: Prior | None = None
    """Begin with the features that mattered for NAS-Bench-201's accuracies on CIFAR-100; see
    `gnas.predictors.default_predictor`."""


SETTINGS: dict[str, type] = {
    "random": RandomSettings,
    "evolution": EvolutionSettings,
    "local": LocalSettings,
    "bayes": BayesSettings,
    "nasgem": NasgemSettings,
    "predictor": PredictorSettings,
}
"""By the name of a searcher, a key of `gnas.search.samplers.SEARCHERS`."""

RANDOM_START = {
    "evolution": "population",
    "bayes": "num_initial",
    "nasgem": "num_initial",
    "predictor": "num_initial",
}
"""The setting that says how many architectures a searcher draws at random first."""


def check_searcher(text: str) -> None:
    """Check that there is a searcher of this name, or such a file.

    Args:
        text: A key of `SETTINGS`, or ``FILE.py:NAME``; see `gnas.search.samplers.make_searcher`.

    Raises:
        ConfigError: there is no such searcher.
        MissingDataError: there is no such file.

    Examples:
        >>> check_searcher("evolution2")
        Traceback (most recent call last):
        gnas.errors.ConfigError: unknown searcher 'evolution2'; did you mean evolution? ...
    """
    check_named("searcher", text, SETTINGS)
