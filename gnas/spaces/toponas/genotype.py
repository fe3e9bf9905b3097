"""Genotypes: the DARTS family's notation of a pair of cells, for any in-degree."""

from __future__ import annotations

import ast
import json
import logging
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.spaces.toponas.cells import (
    CELL_TYPES,
    PRIMITIVES,
    cells_graph,
    check_cells,
    concat_nodes,
    edge_codes,
)
from gnas.topology import MAX_NUM_NODES, candidate_edges

Entry = tuple[str, int]
"""An operation and the node that it reads."""
CellEntries = tuple[tuple[Entry, ...], ...]
"""For every intermediate node what enters it."""
_MAX_TEXT = 20_000
_MAX_INTERMEDIATE = MAX_NUM_NODES - 3
_CALL = re.compile(r"\bGenotype\(")
_BRACKET = re.compile(r"[][()]")
_HOW = (
    "a genotype must be written 'Genotype(normal=[...], normal_concat=..., reduce=[...], "
    "reduce_concat=...)' or be a JSON object"
)

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Genotype:
    """A normal and a reduction cell in the DARTS family's notation.

    ``normal`` and ``reduce`` hold for every intermediate node (2, 3, ...) the pairs of operation
    and source node that enter it; ``..._concat`` the nodes that the cell's output joins. Lists
    and ranges are accepted and kept as tuples, and so is DARTS' flat list of exactly two pairs
    for every node.

    ``str(genotype)`` is DARTS' own text where every node of a cell has two inputs, and has one
    list for each node otherwise: ``normal=[[('skip_connect', 0)], ...]``.

    Raises:
        GraphError: not a pair of cells that a graph can hold; two operations from one source
            into one node are none.

    Source: Liu et al., DARTS, ICLR 2019, and its published code.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import TopoNAS
        >>> found = Genotype.from_graph(TopoNAS.darts().sample(np.random.default_rng(0)))
        >>> Genotype.parse(str(found)) == found
        True
    """

    normal: CellEntries
    normal_concat: tuple[int, ...]
    reduce: CellEntries
    reduce_concat: tuple[int, ...]

    def __post_init__(self) -> None:
        for cell in CELL_TYPES:
            entries = _entries(getattr(self, cell), cell)
            concat = _concat(getattr(self, f"{cell}_concat"), f"{cell}_concat", len(entries))
            object.__setattr__(self, cell, entries)
            object.__setattr__(self, f"{cell}_concat", concat)
        if len(self.normal) != len(self.reduce):
            raise GraphError(
                "both cells must have the same number of intermediate nodes, "
                f"but got {len(self.normal)} and {len(self.reduce)}"
            )

    @staticmethod
    def parse(text: str) -> Genotype:
        """The genotype of a JSON object or of the text ``Genotype(normal=..., ...)``.

        Whatever stands before and after the call, as in a log, is left out; of several genotypes
        the last one is taken, and their number logged. ``connectN=None, connects=None``, which
        some searches add, mean nothing. Nothing is evaluated.

        Raises:
            GraphError: the text is malformed, or its last genotype is.
        """
        found = [] if text.lstrip().startswith("{") else calls(text)
        if len(found) > 1:
            _LOG.warning("took the last of %d genotypes in the text", len(found))
        if found:
            text = found[-1]
        if len(text) > _MAX_TEXT:
            raise GraphError(
                f"a genotype must have at most {_MAX_TEXT} characters, but got {len(text)}"
            )
        values = _from_call(text) if found else _from_json(text)
        for name in ("connectN", "connects"):
            if name in values and values[name] is None:
                del values[name]
        names = [field.name for field in fields(Genotype)]
        if sorted(values) != sorted(names):
            found_names = _short(sorted(map(str, values)))
            raise GraphError(f"a genotype must have exactly {names}, but got {found_names}")
        return Genotype(**values)  # type: ignore[arg-type]  # checked by __post_init__

    @staticmethod
    def from_graph(graph: Data) -> Genotype:
        """The genotype of an architecture; the inputs of a node are in the order of the sources.

        Raises:
            GraphError: the graph is not a pair of cells.
        """
        check_cells(graph)
        edges = candidate_edges(len(graph.x) // 2)
        cells = []
        for row in edge_codes(graph).tolist():
            nodes: dict[int, list[Entry]] = {}
            for (source, target), code in zip(edges, row, strict=True):
                if code:
                    nodes.setdefault(target, []).append((PRIMITIVES[code - 1], source))
            cells.append(tuple(tuple(nodes[target]) for target in sorted(nodes)))
        normal_concat, reduce_concat = concat_nodes(graph)
        return Genotype(cells[0], normal_concat, cells[1], reduce_concat)

    def to_graph(self) -> Data:
        """The architecture, of 2 * (intermediate nodes + 3) nodes, with ``cell``."""
        edges = candidate_edges(len(self.normal) + 3)
        codes = torch.zeros(2, len(edges), dtype=torch.int64)
        for row, cell in zip(codes, (self.normal, self.reduce), strict=True):
            for target, entries in enumerate(cell, start=2):
                for op, source in entries:
                    row[edges.index((source, target))] = 1 + PRIMITIVES.index(op)
        return cells_graph(codes, (self.normal_concat, self.reduce_concat))

    def to_json(self) -> str:
        """One line of JSON; cells are lists of nodes, which are lists of pairs."""
        return json.dumps({field.name: getattr(self, field.name) for field in fields(self)})

    def __str__(self) -> str:
        parts = []
        for cell in CELL_TYPES:
            parts.append(f"{cell}={_written(getattr(self, cell))}")
            parts.append(f"{cell}_concat={list(getattr(self, f'{cell}_concat'))}")
        return f"Genotype({', '.join(parts)})"


def _written(cell: CellEntries) -> str:
    if all(len(entries) == 2 for entries in cell):
        return str([pair for entries in cell for pair in entries])
    return str([list(entries) for entries in cell])


def _is_list(value: object) -> bool:
    return isinstance(value, list | tuple)


def _entries(value: object, name: str) -> CellEntries:
    """The nodes of a cell, from the nested or the flat form."""
    if not isinstance(value, list | tuple) or not value or not all(map(_is_list, value)):
        raise GraphError(f"{name} must be a list of (operation, node) pairs, got {_short(value)}")
    nodes: Sequence[object] = value
    if any(item and isinstance(item[0], str) for item in value):
        if len(value) % 2:
            raise GraphError(
                f"a flat {name} must have two pairs for every node, but got {len(value)}; "
                "write one list for each node"
            )
        nodes = [value[i : i + 2] for i in range(0, len(value), 2)]
    if len(nodes) > _MAX_INTERMEDIATE:
        raise GraphError(
            f"{name} must have at most {_MAX_INTERMEDIATE} nodes, but got {len(nodes)}"
        )
    return tuple(_node(node, target, name) for target, node in enumerate(nodes, start=2))


def _node(value: object, target: int, name: str) -> tuple[Entry, ...]:
    """Inputs of one node."""
    where = f"node {target} of {name}"
    if not isinstance(value, list | tuple) or not value:
        raise GraphError(f"{where} must have at least one input, but got {_short(value)}")
    entries: list[Entry] = []
    for pair in value:
        if not (_is_list(pair) and len(pair) == 2 and isinstance(pair[0], str)):
            raise GraphError(f"{where} must hold (operation, node) pairs, but got {_short(pair)}")
        op, source = pair
        if op not in PRIMITIVES:
            raise GraphError(f"unknown operation {_short(op)} in {where}; known: {PRIMITIVES}")
        if type(source) is not int or not 0 <= source < target:
            raise GraphError(f"{where} must read nodes in [0, {target}), but got {_short(source)}")
        entries.append((op, source))
    if len({source for _, source in entries}) < len(entries):
        raise GraphError(
            f"{where} must read every source at most once (a graph has one edge from node to "
            f"node), but got {_short(value)}"
        )
    return tuple(entries)


def _concat(value: object, name: str, num_intermediate: int) -> tuple[int, ...]:
    """The nodes that an output joins."""
    allowed = range(2, 2 + num_intermediate)
    found = list(value[: len(allowed) + 1]) if isinstance(value, list | tuple | range) else []
    good = bool(found) and all(type(node) is int and node in allowed for node in found)
    if not good or len(set(found)) < len(found):
        raise GraphError(
            f"{name} must be different nodes in [2, {allowed.stop}), but got {_short(value)}"
        )
    return tuple(found)


def calls(text: str) -> list[str]:
    """Every ``Genotype(...)`` in a text, each to its closing bracket; the last may lack it.

    Raises:
        GraphError: there is none.
    """
    starts = [match.start() for match in _CALL.finditer(text)]
    if not starts:
        raise GraphError(f"{_HOW}, but got {_short(text[:_MAX_TEXT])}")
    ends = [*starts[1:], len(text)]
    return [text[a : _closing(text, a, b)] for a, b in zip(starts, ends, strict=True)]


def _closing(text: str, start: int, end: int) -> int:
    """End of the call that starts at a position; ``end`` if its brackets do not close."""
    depth = 0
    for bracket in _BRACKET.finditer(text, start, min(end, start + _MAX_TEXT + 1)):
        depth += 1 if bracket[0] in "([" else -1
        if depth == 0:
            return bracket.end()
    return end


def _from_json(text: str) -> dict[str, object]:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GraphError(f"a genotype must be valid JSON, but {_first_line(error)}") from None
    return dict(values)  # the text starts with a brace


def _from_call(text: str) -> dict[str, object]:
    """The keywords of the call ``Genotype(normal=..., ...)``, by walking its syntax tree."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the text's own style
            call = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        call = None
    if not (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "Genotype"
        and not call.args
    ):
        raise GraphError(f"{_HOW}, but got {_short(text)}")
    return {str(keyword.arg): _literal(keyword.value) for keyword in call.keywords}


def _literal(node: ast.expr) -> object:
    """The value of a string, a number, None, a list, a tuple or a range of two numbers."""
    if isinstance(node, ast.Constant) and type(node.value) in (str, int, type(None)):
        return node.value
    if isinstance(node, ast.List | ast.Tuple):
        return [_literal(item) for item in node.elts]
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range":
        bounds = [bound for bound in map(_literal, node.args) if isinstance(bound, int)]
        if len(bounds) == len(node.args) == 2 and not node.keywords:
            return range(bounds[0], bounds[1])
    raise GraphError(
        "a genotype must hold only strings, numbers, lists, tuples and range(a, b), "
        f"but got {_short(ast.unparse(node))}"
    )


def _short(value: object) -> str:
    """``value`` as it may stand in a message: one line, not endless."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _first_line(error: BaseException) -> str:
    return (str(error) or type(error).__name__).splitlines()[0][:80]
