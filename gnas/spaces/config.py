"""Arguments of the ready-made spaces."""

from __future__ import annotations

from collections.abc import Iterable

from gnas.errors import ConfigError
from gnas.spaces.vocabulary import operation_names


def check_dag(
    *,
    ops: Iterable[str],
    max_nodes: int,
    learned: Iterable[str] = (),
    max_edges: int | None = None,
    build: object = None,
    name: object = None,
) -> tuple[str, ...]:
    """Check the arguments of a `gnas.spaces.DagSpace`, and return its operations.

    Raises:
        ConfigError: one is impossible.
    """
    names = operation_names(ops, learned)
    if {"input", "output"} & set(names):
        raise ConfigError(
            f"'input' and 'output' are nodes of every architecture; leave them out of {names}"
        )
    if type(max_nodes) is not int or not 3 <= max_nodes <= 127:
        raise ConfigError(f"max_nodes must be in [3, 127], but got {max_nodes!r}")
    if max_edges is not None and (type(max_edges) is not int or max_edges < 3):
        raise ConfigError(f"max_edges must be at least 3, but got {max_edges!r}")
    check_named(name, build)
    return names


def check_edge_ops(
    *,
    num_nodes: int,
    edge_ops: Iterable[str],
    none: str | None = None,
    skip: str | None = None,
    learned: Iterable[str] = (),
    build: object = None,
    name: object = None,
) -> tuple[str, ...]:
    """Check the arguments of a `gnas.spaces.EdgeOpSpace`, and return its operations.

    Raises:
        ConfigError: one is impossible.
    """
    names = operation_names(edge_ops, learned)
    if type(num_nodes) is not int or not 2 <= num_nodes <= 64:
        raise ConfigError(f"num_nodes must be in [2, 64], but got {num_nodes!r}")
    special = [op for op in (none, skip) if op is not None]
    if set(special) - set(names) or len(set(special)) < len(special):
        raise ConfigError(
            f"none and skip must be two of the operations {names!r:.80}, but got {none!r} and "
            f"{skip!r}"
        )
    if set(special) & set(learned):
        raise ConfigError(f"{none!r} and {skip!r} have no weights, but are among the learned")
    if len(names) < 2:
        raise ConfigError(f"edge_ops must be at least two operations, but got {names}")
    check_named(name, build)
    return names


def check_named(name: object, build: object) -> None:
    """Check a name and a builder of networks that a space is given.

    Raises:
        ConfigError: the name is no text, or the builder no function.
    """
    if name is not None and (not isinstance(name, str) or not name.strip()):
        raise ConfigError(f"a space's name must be a text, but got {name!r:.60}")
    if build is not None and not callable(build):
        raise ConfigError(
            f"build must be a function that makes a network of a graph, but got "
            f"{build!r:.60}; a space that was recorded with one is given by "
            "`--space FILE.py:NAME`"
        )


ARGUMENTS = {"DagSpace": check_dag, "EdgeOpSpace": check_edge_ops}
"""See `gnas.spaces.names.check_space`."""
