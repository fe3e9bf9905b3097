"""Dead nodes: find them and cut them away."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from gnas.geometric import Data
from gnas.graphs.dense import DenseBatch, Graphs, as_batch, single, sound


def input_nodes(batch: Graphs, inputs: Sequence[int] = ()) -> Tensor:
    """Input nodes: node 0 and nodes with an operation in ``inputs``, bool [N, n].

    Args:
        batch: N architectures.
        inputs: Operations (or roles) of further inputs beside node 0.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> input_nodes(NASBench201().enumerate()[:1]).tolist()
        [[True, False, False, False]]
    """
    nodes = _with_op(as_batch(batch), inputs)
    nodes[:, 0] = True
    return nodes


def live_nodes(
    batch: Graphs,
    *,
    to_output: bool = True,
    inputs: Sequence[int] = (),
    outputs: Sequence[int] = (),
) -> Tensor:
    """Nodes on paths from node 0 (to the last node): bool [N, n].

    Args:
        batch: N architectures.
        to_output: Require a path to the graph's last node too; False suits spaces whose output
            joins all leaves (NASGEM).
        inputs: Operations (or roles) of further nodes at which data enters.
        outputs: Operations (or roles) of further nodes that count as the last one does.

    Examples:
        >>> from gnas.graphs import architecture
        >>> cell = architecture([[0, 1, 1], [0, 0, 0], [0, 0, 0]], ops=[0, 1, 2], num_ops=3)
        >>> live_nodes(DenseBatch.from_data([cell])).tolist()  # node 1 has no path to node 2
        [[True, False, True]]
    """
    batch = as_batch(batch)
    n = batch.max_nodes
    edges = batch.adjacency.numpy() > 0  # [N, n, n]; of few graphs torch takes thrice as long
    forward = _with_op(batch, inputs).numpy()  # [N, n]
    forward[:, 0] = True
    for j in range(1, n):
        forward[:, j] |= (forward[:, :j] & edges[:, :j, j]).any(1)  # [N]
    if not to_output:
        return torch.from_numpy(forward)
    backward = torch.nn.functional.one_hot(batch.num_nodes - 1, n).bool()  # [N, n]
    backward |= _with_op(batch, outputs)
    ahead = backward.numpy()
    for i in range(n - 2, -1, -1):
        ahead[:, i] |= (ahead[:, i + 1 :] & edges[:, i, i + 1 :]).any(1)
    return torch.from_numpy(forward & ahead)


def _with_op(batch: DenseBatch, ops: Sequence[int]) -> Tensor:
    """The nodes whose operation is in ``ops``, bool [N, n]."""
    return torch.isin(batch.ops.long(), torch.tensor(ops, dtype=torch.int64))


def prune_batch(
    batch: Graphs,
    *,
    to_output: bool = True,
    inputs: Sequence[int] = (),
    outputs: Sequence[int] = (),
) -> DenseBatch:
    """The batch without dead nodes; node 0 (and the last node, if ``to_output``) always stay.

    Args:
        batch: N architectures.
        to_output: As for `live_nodes`.
        inputs: As for `live_nodes`.
        outputs: As for `live_nodes`.

    Examples:
        >>> from gnas.graphs import architecture
        >>> cell = architecture([[0, 1, 1], [0, 0, 0], [0, 0, 0]], ops=[0, 1, 2], num_ops=3)
        >>> prune_batch(DenseBatch.from_data([cell])).ops.tolist()  # without node 1; -1 is padding
        [[0, 2, -1]]
    """
    batch = as_batch(batch)
    live = live_nodes(batch, to_output=to_output, inputs=inputs, outputs=outputs)  # [N, n]
    live[:, 0] = True
    if to_output:
        live[torch.arange(len(batch)), batch.num_nodes - 1] = True
    edges = batch.adjacency * (live[:, :, None] & live[:, None, :])  # [N, n, n]
    ops = batch.ops.masked_fill(~live, -1)
    cut = DenseBatch(edges, ops, live.sum(1), batch.num_ops, batch.has_edge_ops)
    return sound(cut.reordered(torch.argsort((~live).to(torch.uint8), dim=1, stable=True)))


def prune(data: Data, *, to_output: bool = True) -> Data:
    """The architecture without dead nodes (see `prune_batch`); the caller's graph is untouched.

    Args:
        data: One architecture.
        to_output: Whether a node must reach the last node to stay, too.

    Examples:
        >>> from gnas.graphs import architecture
        >>> edges = [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]]
        >>> cell = architecture(edges, ops=[0, 1, 2, 4], num_ops=5)
        >>> prune(cell).num_nodes
        3
    """
    return prune_batch(single(data), to_output=to_output).data(0)
