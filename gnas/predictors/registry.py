"""Predictors by name, and predictors of a user's own file."""

from __future__ import annotations

from typing import Protocol

from gnas.errors import ConfigError, GnasError
from gnas.predictors.base import Predictor
from gnas.predictors.baselines import BoostedTrees, Forest, GaussianProcess
from gnas.predictors.defaults import (
    counting_features,
    default_predictor,
    extra_trees,
    pretrained_networks,
)
from gnas.predictors.features import OneHot
from gnas.predictors.gaussian_process import ARDGaussianProcess, WLGaussianProcess
from gnas.predictors.graph_network import GraphNetwork
from gnas.predictors.mlp import MLP
from gnas.predictors.names import check_predictor
from gnas.predictors.random_walks import RandomWalkStatistics
from gnas.predictors.wl import WLLabels
from gnas.spaces.base import Space, check_is_space
from gnas.user_code import Source, described, is_own


class PredictorFactory(Protocol):
    """Maker of unfitted predictors for the architectures of a space.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> def small_forest(space, *, random_state=0):
        ...     return Forest(OneHot(space.max_nodes, len(space.ops)), random_state=random_state)
        >>> factories: dict[str, PredictorFactory] = {**PREDICTORS, "small forest": small_forest}
        >>> factories["small forest"](NASBench201(), random_state=3).random_state
        3
    """

    def __call__(self, space: Space, *, random_state: int = 0) -> Predictor:
        """A new predictor.

        Args:
            space: Space of the architectures.
            random_state: See `Predictor`.

        Raises:
            ConfigError: the predictor does not suit the space.
        """
        ...


def make_predictor(name: str, space: Space, *, random_state: int = 0) -> Predictor:
    """An unfitted predictor by its name, for the architectures of a space.

    Args:
        name: A key of `PREDICTORS`; or ``FILE.py:NAME`` of a function that takes a space and
            returns a `Predictor`, or of a predictor. The file is run: name files that you trust
            only.
        space: Space of the architectures.
        random_state: See `Predictor`.

    Raises:
        ConfigError: there is no such predictor, it does not suit the space, or a file of a user's
            own makes none.
        MissingDataError: there is no such file.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> make_predictor("forest", NASBench201(), random_state=3)
        Forest(features=OneHot(max_nodes=4, num_ops=3, num_edge_ops=4, with_counts=True),
               random_state=3)
    """
    check_predictor(name)
    check_is_space(space)
    if is_own(name):
        return own_predictor(Source.parse(name), space, random_state=random_state)
    return PREDICTORS[name](space, random_state=random_state)


def own_predictor(source: Source, space: Space, *, random_state: int = 0) -> Predictor:
    """A predictor of a user's file; see `make_predictor`.

    Args:
        source: A function of the space, or a predictor.
        space: Space of the architectures.
        random_state: See `Predictor`.

    Raises:
        ConfigError: the file cannot be run, or what it names makes no predictor.
    """
    found = source.load()
    if isinstance(found, Predictor):
        return found.reseeded(random_state)
    try:
        made = found(space)
    except GnasError:
        raise
    except Exception as error:
        raise ConfigError(
            f"{source} must be a function of a space that returns a Predictor, but: "
            f"{described(error)}"
        ) from error
    if not isinstance(made, Predictor):
        raise ConfigError(f"{source} must return a Predictor, but returned {made!r:.60}")
    return made.reseeded(random_state)


def _raw(space: Space, *, with_counts: bool = False) -> OneHot:
    """The adjacency matrix and the operations."""
    return OneHot(space.max_nodes, len(space.ops), len(space.edge_ops), with_counts=with_counts)


def _mlp(space: Space, *, random_state: int = 0) -> Predictor:
    return MLP(_raw(space), random_state=random_state)


def _default(space: Space, *, random_state: int = 0) -> Predictor:
    return default_predictor(space, networks=False, random_state=random_state)


def _default_prior(space: Space, *, random_state: int = 0) -> Predictor:
    return default_predictor(space, prior="cifar100", networks=False, random_state=random_state)


def _ard_gp(space: Space, *, random_state: int = 0) -> Predictor:
    return ARDGaussianProcess(counting_features(space), random_state=random_state)


def _wl_gp(space: Space, *, random_state: int = 0) -> Predictor:
    return WLGaussianProcess(WLLabels(space), random_state=random_state)


def _gp(space: Space, *, random_state: int = 0) -> Predictor:
    return GaussianProcess(_raw(space), random_state=random_state)


def _forest(space: Space, *, random_state: int = 0) -> Predictor:
    return Forest(_raw(space, with_counts=True), random_state=random_state)


def _extra_trees(space: Space, *, random_state: int = 0) -> Predictor:
    return extra_trees(counting_features(space)).reseeded(random_state)


def _boosted_trees(space: Space, *, random_state: int = 0) -> Predictor:
    return BoostedTrees(counting_features(space), random_state=random_state)


def _graph_network(space: Space, *, random_state: int = 0) -> Predictor:
    found = pretrained_networks(space) or [GraphNetwork(space)]
    return found[0].reseeded(random_state)


def _mlp_walks(space: Space, *, random_state: int = 0) -> Predictor:
    return MLP(_walks(space, "mlp-walks"), random_state=random_state)


def _gp_walks(space: Space, *, random_state: int = 0) -> Predictor:
    features = _walks(space, "gp-walks")
    return GaussianProcess(features, kernel="matern", random_state=random_state)


def _walks(space: Space, name: str) -> RandomWalkStatistics:
    if space.edge_ops:
        raise ConfigError(
            f"predictor {name} reads operations on nodes, but '{space.name}' has them on edges"
        )
    return RandomWalkStatistics(len(space.ops))


PREDICTORS: dict[str, PredictorFactory] = {
    "mlp": _mlp,
    "default": _default,
    "default-networks": default_predictor,
    "default-prior": _default_prior,
    "ard-gp": _ard_gp,
    "wl-gp": _wl_gp,
    "gp": _gp,
    "forest": _forest,
    "extra-trees": _extra_trees,
    "boosted-trees": _boosted_trees,
    "graph-network": _graph_network,
    "mlp-walks": _mlp_walks,
    "gp-walks": _gp_walks,
}
"""Factories by name; `gnas.predictors.names.PREDICTOR_NAMES` says what each makes."""
