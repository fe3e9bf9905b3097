"""The space that a config searches in, and its supernet."""

from __future__ import annotations

from gnas.errors import ConfigError, UnsupportedError
from gnas.search.toponas.config import DARTS, NO_SUPERNET, ToponasConfig
from gnas.spaces.base import Space
from gnas.spaces.registry import load_space
from gnas.spaces.supernets import Supernets
from gnas.spaces.toponas import TopoNAS


def toponas_space(config: ToponasConfig) -> TopoNAS:
    """The space of DARTS' cells that ``config`` derives its architecture in.

    Args:
        config: Number of nodes, topology, k and mode of the search.

    Examples:
        >>> from gnas.search.toponas import ToponasConfig
        >>> toponas_space(ToponasConfig(num_nodes=5)).num_nodes
        5
    """
    return TopoNAS(
        config.num_nodes,
        topology="arbitrary" if config.topology == "arbitrary" else "fixed",
        k=config.k,
        mode=config.mode,
    )


def search_space(config: ToponasConfig) -> Space:
    """The space that ``config`` derives its architecture in.

    Args:
        config: Settings of the search.

    Raises:
        ConfigError: there is no such space.

    Examples:
        >>> search_space(ToponasConfig(space="nasbench201", num_nodes=4)).name
        'nasbench201'
    """
    return toponas_space(config) if config.space == DARTS else load_space(config.space)


def supernets_of(config: ToponasConfig, space: Space | None = None) -> Supernets:
    """Supernet of the config's space, or of ``space``.

    Args:
        config: Settings of the search, which must fit the supernet.
        space: Space of one's own; None takes that of the config.

    Raises:
        UnsupportedError: the space has no supernet.
        ConfigError: the config does not fit it.

    Examples:
        >>> form = supernets_of(ToponasConfig())
        >>> form.cells, len(form.edges), len(form.ops)
        (('normal', 'reduce'), 14, 7)
    """
    space = search_space(config) if space is None else space
    form = space.supernets
    if form is None:
        raise UnsupportedError(NO_SUPERNET.format(space.name))
    if config.num_nodes != form.num_nodes:
        raise ConfigError(
            f"num_nodes must be {form.num_nodes} on '{space.name}', but got {config.num_nodes}"
        )
    if config.topology == "none" and config.mode == "output" and not form.prunes:
        raise ConfigError(
            f"without topology variables the cells of '{space.name}' lose edges to `none`, not to "
            "other edges of a node, so mode must be 'input'; choose --baseline darts"
        )
    return form
