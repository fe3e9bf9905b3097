"""Options of the topology of a cell; see `gnas.topology`."""

from __future__ import annotations

from typing import Literal, get_args

from gnas.config import check_choice, check_count

TopologySpace = Literal["fixed", "arbitrary"]
"""Number of edges kept per node: given ("fixed") or any positive number ("arbitrary")."""
Mode = Literal["output", "input"]
"""Edges chosen by nodes: outgoing ("output") or incoming ("input")."""
NUM_INPUTS = 2
"""The outputs of the two previous cells."""
MAX_NUM_NODES = 14
"""Codes and sets of covered nodes grow as 2^num_nodes; the exact sums still take a second here."""


def check_num_nodes(num_nodes: object, num_inputs: object = NUM_INPUTS) -> None:
    """Check the number of nodes of a cell.

    Args:
        num_nodes: Nodes, inputs and output included.
        num_inputs: Those that are inputs.

    Raises:
        ConfigError: a number is out of its range.
    """
    least = check_count(num_inputs, "num_inputs") + 2
    check_count(num_nodes, "num_nodes", least, MAX_NUM_NODES)


def check_codes(
    num_nodes: object,
    space: object,
    k: object,
    mode: object,
    num_inputs: object = NUM_INPUTS,
    *,
    name: str = "space",
) -> None:
    """Check the fields of `gnas.topology.TopologyCodes`.

    Args:
        num_nodes: See `check_num_nodes`.
        space: A `TopologySpace`.
        k: Edges of a node.
        mode: A `Mode`.
        num_inputs: See `check_num_nodes`.
        name: Name of ``space``, for messages.

    Raises:
        ConfigError: one is impossible.
    """
    check_num_nodes(num_nodes, num_inputs)
    check_choice(space, name, get_args(TopologySpace))
    check_count(k, "k")
    check_choice(mode, "mode", get_args(Mode))
