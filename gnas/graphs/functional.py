"""Functional form: the graph of what a network computes, equal for equal functions.

Two cells can be drawn differently and yet be the same network: a branch that never reaches the
output changes nothing, and a skip connection into a sum is only another way to write an edge.
The functional form has neither. Its nodes are the inputs, the outputs and the operations that
compute something; an edge u -> v with multiplicity m says that v's input contains u's output m
times. So two cells have the same functional form exactly when, with equal weights in operations
that correspond, they compute the same sums of the same operations.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnas.errors import GraphError
from gnas.geometric import BaseTransform, Data
from gnas.graphs.canonical import canonical_order
from gnas.graphs.dense import DenseBatch, Graphs, as_batch, single, sound
from gnas.graphs.pruning import prune_batch
from gnas.graphs.transforms import edge_ops_to_node_ops

MAX_MULTIPLICITY = 255
"""Maximum multiplicity of an edge in a dense batch."""


def functional_form(
    batch: Graphs,
    num_edge_ops: int = 0,
    *,
    skips: Sequence[int] = (),
    sums: Sequence[int] = (),
    strided: Sequence[int] = (),
    to_output: bool = True,
    inputs: Sequence[int] = (),
    outputs: Sequence[int] = (),
    in_order: bool = True,
) -> DenseBatch:
    """The architectures with dead branches cut and identities contracted, nodes in fixed order.

    Where operations sit on edges, each first becomes a node (`edge_ops_to_node_ops`). Spaces
    know their own arguments: call `gnas.spaces.base.Space.functional_form`.

    Args:
        batch: N architectures.
        num_edge_ops: Size of the edge-op vocabulary; 0 where operations sit on nodes.
        skips: Edge operations that return their input.
        sums: Roles of the nodes that only add up what enters them.
        strided: Roles of the nodes after which a skip is no identity, since it halves the maps.
        to_output: Nodes must reach an output; False keeps all that an input reaches.
        inputs: Operations (or roles) of further inputs beside node 0.
        outputs: Operations (or roles) of further outputs beside the last node.
        in_order: Whether nodes are put in `canonical_order`; `graph_keys` do not depend on it.

    Shapes:
        N architectures -> N architectures; edge-op ones come back with operations on nodes
        (``num_ops`` R + num_edge_ops) and an ``edge_op`` that is the multiplicity - 1 of every
        edge, at most 254.

    Raises:
        GraphError: ``num_edge_ops`` does not fit the batch.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> text = "|skip_connect~0|+|none~0|none~1|+|none~0|nor_conv_3x3~1|none~2|"
        >>> cell = DenseBatch.from_data([NASBench201().from_str(text)])
        >>> form = functional_form(cell, num_edge_ops=4, skips=[0], sums=[1])
        >>> form.num_nodes, form.num_ops  # input, convolution and output; 3 roles and 4 operations
        (tensor([3]), 7)
    """
    batch = as_batch(batch)
    if batch.has_edge_ops != bool(num_edge_ops):
        raise GraphError(
            f"num_edge_ops must be 0 exactly where graphs carry no edge_op, but got "
            f"{num_edge_ops} and has_edge_ops={batch.has_edge_ops}"
        )
    if num_edge_ops:
        roles = batch.num_ops
        batch = edge_ops_to_node_ops(batch, num_edge_ops)
        batch = contracted(batch, _identities(batch, [roles + op for op in skips], sums, strided))
    batch = _tight(prune_batch(batch, to_output=to_output, inputs=inputs, outputs=outputs))
    return canonical_order(batch) if in_order else batch


def contracted(batch: DenseBatch, identities: Tensor) -> DenseBatch:
    """Remove ``identities``, connecting their predecessors directly to their successors.

    Args:
        batch: N architectures whose edges are 0 or 1, or 1 + ``edge_op`` = a multiplicity.
        identities: bool [N, n], the nodes that pass on the sum of what enters them.

    Shapes:
        N architectures -> N architectures with multiplicities (`MAX_MULTIPLICITY` at most) as edge
        ops.
    """
    counts = batch.adjacency.int()  # [N, n, n]
    for v in identities.any(0).nonzero().flatten().tolist():
        gone = identities[:, v].nonzero().flatten()  # [G]: graphs where node v is one
        through = counts[gone, :, v, None] * counts[gone, None, v, :]  # [G, n, n]: paths over v
        joined = (counts[gone] + through).clamp(max=MAX_MULTIPLICITY)
        joined[:, :, v] = 0
        joined[:, v, :] = 0
        counts[gone] = joined
    kept = ~identities & (batch.ops >= 0)  # [N, n]
    cut = DenseBatch(
        counts.to(torch.uint8),
        batch.ops.masked_fill(~kept, -1),
        kept.sum(1),
        batch.num_ops,
        has_edge_ops=True,
    )
    return sound(cut.reordered(torch.argsort((~kept).to(torch.uint8), dim=1, stable=True)))


def _identities(
    batch: DenseBatch, skips: Sequence[int], sums: Sequence[int], strided: Sequence[int]
) -> Tensor:
    """Sums, and skips except those that follow a strided node: bool [N, n]."""
    ops = batch.ops.long()  # [N, n]
    after = torch.isin(ops, torch.tensor(strided, dtype=torch.int64))  # [N, n]
    halved = (batch.adjacency.bool() & after[:, :, None]).any(1)  # [N, n]
    is_skip = torch.isin(ops, torch.tensor(skips, dtype=torch.int64))  # [N, n]
    return torch.isin(ops, torch.tensor(sums, dtype=torch.int64)) | (is_skip & ~halved)


def _tight(batch: DenseBatch) -> DenseBatch:
    """The same architectures padded only as far as the largest of them needs."""
    return batch.pad_to(int(batch.num_nodes.max())) if len(batch) else batch


class FunctionalForm(BaseTransform):  # type: ignore[misc]
    """`functional_form` as a PyG transform of one ``Data``.

    Args:
        num_edge_ops: As for `functional_form`, like the remaining options.
        options: ``skips``, ``sums``, ``strided``, ``to_output``, ``inputs``, ``outputs``.

    Examples:
        >>> from gnas.graphs import architecture
        >>> cell = architecture([[0, 1, 1], [0, 0, 0], [0, 0, 0]], ops=[0, 1, 2], num_ops=3)
        >>> FunctionalForm()(cell).num_nodes  # node 1 reaches no output
        2
    """

    def __init__(self, num_edge_ops: int = 0, **options: Sequence[int] | bool) -> None:
        self.num_edge_ops = num_edge_ops
        self.options = options

    def forward(self, data: Data) -> Data:
        """The functional form of one architecture."""
        batch = single(data)
        options: dict[str, object] = dict(self.options)
        return functional_form(batch, self.num_edge_ops, **options).data(0)  # type: ignore[arg-type]
