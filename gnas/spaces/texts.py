"""Architectures of any space as one line of text, and back."""

from __future__ import annotations

from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.spaces.base import Space
from gnas.spaces.nasbench101 import NASBench101
from gnas.spaces.nasbench201 import NASBench201
from gnas.spaces.nasgem import NASGEM
from gnas.spaces.toponas import TopoNAS
from gnas.spaces.toponas.genotype import Genotype

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


def to_text(graph: Data) -> str:
    """The one line of text that `from_text` reads, in the space's own notation.

    Raises:
        GraphError: no space has such graphs.
    """
    return space_of(graph)().to_str(graph)


def from_text(text: str) -> Data:
    """The architecture in a text whose form says which space it is from.

    ``Genotype(normal=...)`` or its JSON: any pair of DARTS-like cells; ``|op~0|+|...``: a
    NAS-Bench-201 cell; ``op,op,...|hex``: a NAS-Bench-101 cell or a NASGEM cell of any size.
    White space does not matter.

    Raises:
        GraphError: the text is malformed, or its graph is not of that space.
    """
    if "Genotype(" in text or text.lstrip().startswith("{"):
        return Genotype.parse(text).to_graph()
    text = "".join(text.split())
    if text.startswith("|"):
        return NASBench201().from_str(text)
    names = text.partition("|")[0].split(",")
    if names[0] in NASBench101.ops:
        return NASBench101().from_str(text)
    if names[0] in NASGEM.ops:
        return NASGEM(num_nodes=len(names)).from_str(text)
    raise GraphError(
        "an architecture must be written 'Genotype(normal=...)', '|op~0|+|...' or "
        f"'op,op,...|hex', but got {text[:60]!r}"
    )
