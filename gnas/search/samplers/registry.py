"""Searchers by name, and searchers of a user's own file."""

from __future__ import annotations

from collections.abc import Callable

from gnas.errors import ConfigError, GnasError
from gnas.search.samplers.base import Searcher
from gnas.search.samplers.evolution import RegularizedEvolution
from gnas.search.samplers.local_search import LocalSearch
from gnas.search.samplers.predictor_search import PredictorSearch, bayes_search, nasgem_search
from gnas.search.samplers.random_search import RandomSearch
from gnas.search.settings import check_searcher
from gnas.spaces.base import Space
from gnas.user_code import Source, described, is_own

SEARCHERS: dict[str, Callable[..., Searcher]] = {
    "random": RandomSearch,
    "evolution": RegularizedEvolution,
    "local": LocalSearch,
    "bayes": bayes_search,
    "nasgem": nasgem_search,
    "predictor": PredictorSearch,
}
"""Makers of searchers: each takes a space and ``seed=``, and settings of its own."""


def make_searcher(name: str, space: Space, *, seed: int = 0) -> Searcher:
    """A new searcher by its name.

    Args:
        name: A key of `SEARCHERS`; or ``FILE.py:NAME`` of a class or a function that takes a
            space and ``seed=``, and returns a `Searcher`. The file is run: name files that you
            trust only.
        space: The architectures that it may ask for.
        seed: Fixes every random choice.

    Raises:
        ConfigError: there is no such searcher, or a file of one's own makes none.
        MissingDataError: there is no such file.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> make_searcher("local", NASBench201(), seed=3).seed
        3
    """
    check_searcher(name)
    if not is_own(name):
        return SEARCHERS[name](space, seed=seed)
    source = Source.parse(name)
    make = source.load()
    try:
        made = make(space, seed=seed)
    except GnasError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{source} must take a space and seed=, and return a Searcher, but: {described(error)}"
        ) from error
    if not isinstance(made, Searcher):
        raise ConfigError(f"{source} must return a Searcher, but returned {made!r:.60}")
    return made
