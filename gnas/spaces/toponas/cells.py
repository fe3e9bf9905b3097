"""DARTS-like cells as architecture graphs: roles, operations, and the way to and from edge codes.

An *edge code* is 0 where a candidate edge is absent and 1 + the index of its operation in
`PRIMITIVES` where it is present; candidate edges are in the order of
`gnas.topology.candidate_edges`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import Data
from gnas.graphs import DenseBatch, to_adjacency
from gnas.topology import MAX_NUM_NODES, candidate_edges, is_valid

CELL_TYPES = ("normal", "reduce")
PRIMITIVES = (
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)
"""Operations on edges between feature maps."""
EDGE_OPS = (*PRIMITIVES, "concat")
"""Names of the ``edge_op`` values; "concat" joins an intermediate node to the output."""
NODE_ROLES = ("c_{k-2}", "c_{k-1}", "node", "output")
ROLES = tuple(f"{cell}_{role}" for cell in CELL_TYPES for role in NODE_ROLES)
"""Names of the columns of ``x``. The two cells have separate roles, so that hashes, kernels and
encoders distinguish the cells and their inputs."""
_INPUTS = 2
_CONCAT = len(EDGE_OPS)  # as an edge code


def cell_roles(num_nodes: int) -> list[int]:
    """The roles of the normal cell's nodes; those of the reduction cell are 4 more."""
    return [0, 1, *[2] * (num_nodes - 3), 3]


def cells_batch(edge_codes: Tensor, concat: Tensor | None = None) -> DenseBatch:
    """Architectures of a normal and a reduction cell, as one dense batch.

    Args:
        edge_codes: The code of every candidate edge of both cells.
        concat: Intermediate nodes joined by the outputs; None joins all.

    Shapes:
        edge_codes int64 [N, 2, E], concat bool [N, 2, intermediate] -> N graphs of
        2 * num_nodes nodes.

    Raises:
        GraphError: E is not the number of candidate edges of any cell.
    """
    num_nodes = _num_nodes(edge_codes.size(-1))
    count, intermediate = len(edge_codes), num_nodes - 3
    if concat is None:
        concat = torch.ones(count, 2, intermediate, dtype=torch.bool)
    source, target = torch.tensor(candidate_edges(num_nodes)).unbind(1)  # [E] each
    adjacency = torch.zeros(count, 2 * num_nodes, 2 * num_nodes, dtype=torch.uint8)
    for cell in range(2):
        first = cell * num_nodes
        output = first + num_nodes - 1
        adjacency[:, first + source, first + target] = edge_codes[:, cell].to(torch.uint8)
        adjacency[:, first + _INPUTS : output, output] = concat[:, cell].to(torch.uint8) * _CONCAT
    normal = torch.tensor(cell_roles(num_nodes), dtype=torch.int8)
    ops = torch.cat([normal, normal + len(NODE_ROLES)]).repeat(count, 1)
    sizes = torch.full((count,), 2 * num_nodes, dtype=torch.int64)
    return DenseBatch(adjacency, ops, sizes, len(ROLES), has_edge_ops=True)


def cells_graph(edge_codes: Tensor, concat: Sequence[Sequence[int]] | None = None) -> Data:
    """The architecture of a normal and a reduction cell, checked, with ``cell``.

    Args:
        edge_codes: The code of every candidate edge of both cells.
        concat: For both cells the intermediate nodes that its output joins; None joins all.

    Shapes:
        edge_codes int64 [2, E] -> a graph of 2 * num_nodes nodes.

    Raises:
        GraphError: see `check_cells`.
    """
    codes = torch.as_tensor(edge_codes).long()
    if codes.dim() != 2 or codes.size(0) != 2:
        raise GraphError(f"edge codes must have shape [2, E], but got {tuple(codes.shape)}")
    if codes.numel() and not 0 <= int(codes.min()) <= int(codes.max()) <= len(PRIMITIVES):
        raise GraphError(f"edge codes must be in [0, {len(PRIMITIVES)}], got {codes.tolist()}")
    mask = None
    if concat is not None:
        mask = torch.zeros(1, 2, _num_nodes(codes.size(1)) - 3, dtype=torch.bool)
        for cell, nodes in enumerate(concat):
            mask[0, cell, [node - _INPUTS for node in nodes]] = True
    graph = with_cell(cells_batch(codes[None], mask).data(0))
    check_cells(graph)
    return graph


def with_cell(graph: Data) -> Data:
    """The same architecture with ``cell`` int64 [n]: 0 on nodes of the normal cell, else 1.

    ``cell`` says nothing that the roles do not say, so dense batches do not carry it.
    """
    graph = graph.clone()
    graph.cell = graph.x.argmax(1) // len(NODE_ROLES)
    return graph


def edge_codes(graph: Data) -> Tensor:
    """The code of every candidate edge of both cells, int64 [2, E]."""
    adjacency, ops = to_adjacency(graph)
    num_nodes = len(ops) // 2
    source, target = torch.tensor(candidate_edges(num_nodes)).unbind(1)
    rows = [adjacency[c + source, c + target] for c in (0, num_nodes)]
    return torch.stack(rows).long()


def batch_codes(batch: DenseBatch) -> tuple[Tensor, Tensor]:
    """What `cells_batch` makes a batch of: edge codes, and the nodes joined by the outputs.

    Shapes:
        N graphs of 2 * num_nodes nodes -> int64 [N, 2, E], bool [N, 2, intermediate].
    """
    num_nodes = batch.max_nodes // 2
    source, target = torch.tensor(candidate_edges(num_nodes)).unbind(1)
    cells = [batch.adjacency[:, c : c + num_nodes, c : c + num_nodes] for c in (0, num_nodes)]
    codes = [cell[:, source, target] for cell in cells]
    joined = [cell[:, _INPUTS:-1, -1] > 0 for cell in cells]
    return torch.stack(codes, 1).long(), torch.stack(joined, 1)


def concat_nodes(graph: Data) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """For both cells the intermediate nodes that the output joins, ascending."""
    adjacency, ops = to_adjacency(graph)
    num_nodes = len(ops) // 2
    normal, reduce = (
        tuple(adjacency[c : c + num_nodes, c + num_nodes - 1].nonzero().flatten().tolist())
        for c in (0, num_nodes)
    )
    return normal, reduce


def check_cells(graph: Data) -> None:
    """Check that ``graph``, sound as a graph, is a normal and a reduction cell.

    Any number of edges may enter and leave a node, and an output may join some intermediate
    nodes only; `TopoNAS` is stricter.

    Raises:
        GraphError: says which rule is broken and what was found.
    """
    adjacency, roles = to_adjacency(graph)
    num_nodes = len(roles) // 2
    possible = len(roles) % 2 == 0 and _INPUTS + 2 <= num_nodes <= MAX_NUM_NODES
    normal = cell_roles(num_nodes)
    if not possible or roles.tolist() != normal + [role + len(NODE_ROLES) for role in normal]:
        raise GraphError(
            "nodes must be a normal cell (two inputs, 1 or more intermediate nodes, output), then "
            f"a reduction cell of the same size, but got {[ROLES[role] for role in roles]}"
        )
    if "cell" in graph and not torch.equal(graph.cell, roles // len(NODE_ROLES)):
        raise GraphError(f"cell must be 0 on the normal nodes, else 1, got {graph.cell.tolist()}")
    codes, concat = edge_codes(graph), concat_nodes(graph)
    if int((codes > 0).sum()) + sum(map(len, concat)) != graph.edge_index.size(1):
        raise GraphError(
            "edges must join a node to a later intermediate one or to the output of its own cell, "
            f"but got {graph.edge_index.t().tolist()}"
        )
    outputs = adjacency[_INPUTS : num_nodes - 1, num_nodes - 1], adjacency[-num_nodes:, -1]
    if int(codes.max()) >= _CONCAT or any(set(o.tolist()) - {0, _CONCAT} for o in outputs):
        raise GraphError("'concat' must be on the edges into an output and on no others")
    for cell, row, joined in zip(CELL_TYPES, codes, concat, strict=True):
        if not bool(is_valid(row > 0, num_nodes)):
            entered = sorted({int(adjacency[:, v].any()) * v for v in range(2 * num_nodes)} - {0})
            raise GraphError(
                f"every intermediate node must have an input, but in the {cell} cell one has "
                f"none; of all {2 * num_nodes} nodes only {entered} have any"
            )
        if not joined:
            raise GraphError(f"the output of the {cell} cell must join at least one node")


def _num_nodes(num_edges: int) -> int:
    """Number of nodes of a cell with this many candidate edges."""
    for num_nodes in range(_INPUTS + 2, MAX_NUM_NODES + 1):
        if len(candidate_edges(num_nodes)) == num_edges:
            return num_nodes
    raise GraphError(
        f"edge codes must be one per candidate edge (2, 5, 9, 14, 20, ...), got {num_edges}"
    )
