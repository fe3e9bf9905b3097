"""Architectures of any space as one line of text, and back."""

from __future__ import annotations

import re

from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.spaces.base import Space
from gnas.spaces.nasbench101 import NASBench101
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.nasgem import NASGEM
from gnas.spaces.notation import Notation
from gnas.spaces.toponas import TopoNAS
from gnas.spaces.toponas.genotype import Genotype

_MATRIX = re.compile(r'"(module_)?(matrix|adjacency)"\s*:')
_NUMBERS = re.compile(r"[\d,()\[\]_-]+")
_SPACES: tuple[type[Space], ...] = (NASBench101, NASBench201, NASGEM, TopoNAS)


def space_of(graph: Data) -> type[Space]:
    """The kind of space that an architecture is from: no two have graphs of one form.

    Raises:
        GraphError: no space has such graphs.
    """
    num_ops = graph.x.size(-1) if "x" in graph else 0
    for space in _SPACES:
        if num_ops == len(space.ops) and ("edge_op" in graph) == bool(space.edge_ops):
            return space
    raise GraphError(
        f"an architecture must have the operations of one of {[s.name for s in _SPACES]}, "
        f"but got a graph with {num_ops} columns of x"
    )


def notations() -> dict[str, tuple[type[Space], Notation]]:
    """Every foreign notation by its name, and the space whose architectures it writes."""
    return {n.name: (space, n) for space in _SPACES for n in space.notations}


def in_notation(text: str, name: str) -> tuple[Space, Data]:
    """The architecture in a foreign notation, and its space.

    Args:
        text: The architecture.
        name: A key of `notations`.

    Raises:
        ConfigError: there is no such notation.
        GraphError: the text is malformed, or its graph is not of the notation's space.
    """
    known = notations()
    if name not in known:
        raise ConfigError(f"unknown notation '{name}'; choose from {sorted(known)}")
    space, notation = known[name]
    return space(), notation.read(text)


def to_text(graph: Data) -> str:
    """The one line of text that `from_text` reads, in the space's own notation.

    Raises:
        GraphError: no space has such graphs.
    """
    return space_of(graph)().to_str(graph)


def from_text(text: str) -> Data:
    """The architecture in a text whose form says which space it is from.

    ``Genotype(normal=...)`` or its JSON: any pair of DARTS-like cells; ``|op~0|+|...``: a
    NAS-Bench-201 cell; ``op,op,...|hex``: a NAS-Bench-101 cell or a NASGEM cell of any size;
    JSON with ``matrix`` and ``ops``: a NAS-Bench-101 cell. White space does not matter, nor does
    what stands around a genotype or a NAS-Bench-201 cell; of several, as in a log, the last one
    counts. Other notations must be named: see `in_notation`.

    Raises:
        GraphError: the text is malformed, or its graph is not of that space.
    """
    if "Genotype(" in text:
        return Genotype.parse(text).to_graph()
    if text.lstrip().startswith("{"):
        if _MATRIX.search(text):
            return in_notation(text, "nasbench101-json")[1]
        return Genotype.parse(text).to_graph()
    if "|" in text and "~" in text:
        return NASBench201().find(text)
    text = "".join(text.split())
    if text.startswith("|"):
        return NASBench201().from_str(text)
    if _NUMBERS.fullmatch(text):
        raise GraphError(
            "projects number operations and edges differently: the notation must be named, one "
            f"of {sorted(notations())}, but got {text[:60]!r} alone"
        )
    names = text.partition("|")[0].split(",")
    if names[0] in NASBench101.ops:
        return NASBench101().from_str(text)
    if names[0] in NASGEM.ops:
        return NASGEM(num_nodes=len(names)).from_str(text)
    raise GraphError(
        "an architecture must be written 'Genotype(normal=...)', '|op~0|+|...' or "
        f"'op,op,...|hex', but got {text[:60]!r}"
    )
