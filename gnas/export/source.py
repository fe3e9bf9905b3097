"""A network as one readable Python file that needs PyTorch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gnas
from gnas.models import NetworkFacts
from gnas.spaces import parts
from gnas.spaces.nasbench101.source import nasbench101_blocks
from gnas.spaces.nasbench201.source import nasbench201_blocks
from gnas.spaces.nasgem.source import nasgem_blocks
from gnas.spaces.texts import space_of, to_text
from gnas.spaces.toponas.source import darts_blocks

BLOCKS: dict[str, Callable[..., list[str]]] = {
    "nasbench101": nasbench101_blocks,
    "nasbench201": nasbench201_blocks,
    "nasgem": nasgem_blocks,
    "toponas": darts_blocks,
}
"""By the name of the space: the functions and classes of a file from a graph and a config."""


def python_source(facts: NetworkFacts) -> str:
    """The text of a file with a class ``Network`` and a function ``load``.

    Only what the network needs is in it: no search, no other operations. Its parameters have the
    names of ours, so that the same weights fit.
    """
    graph = facts.graph
    config: Any = facts.config
    blocks = BLOCKS[space_of(graph).name](graph, config)
    return parts.module(to_text(graph), gnas.__version__, blocks)
