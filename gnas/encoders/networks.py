"""Networks on dense batches of graphs: a state for every node, from its kind and the wiring.

All have one interface: ``network(states [N, n, w], edges [N, n, n], real [N, n, 1])`` gives new
states [N, n, w']. Nodes are in topological order, ``edges`` holds multiplicities (0 where no edge
is), and ``real`` is 0 on padding, where every network keeps the state at zero. None of them
depends on how a graph's nodes are numbered.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Sweep(nn.Module):
    """One pass over the nodes in topological order, with messages along the edges.

    The state of node j is log1p(relu(U x_j + g_j * V [sum, mean])) where sum and mean run over the
    states of those that feed j, as often as they do, and the gate g_j is a sigmoid of x_j: an
    operation lets through only a part. The logarithm keeps states in range although the number
    of paths, which the sum follows, may double at every node.

    Args:
        inputs: Width of x.
        width: Width of a state.
    """

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.self_proj = nn.Linear(inputs, width)
        self.gate = nn.Linear(inputs, width)
        self.message_proj = nn.Linear(2 * width, width, bias=False)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """States [N, n, width] of nodes x [N, n, inputs] in topological order."""
        own = self.self_proj(x).unbind(1)  # n of [N, width]
        gate = torch.sigmoid(self.gate(x)).unbind(1)  # n of [N, width]
        arriving = edges.transpose(1, 2)  # [N, n, n]: row j has the edges into j
        share = 1 / edges.sum(1).clamp(min=1)  # [N, n]
        states = [_squeezed(own[0])]
        for j in range(1, x.size(1)):
            before = torch.stack(states, 1)  # [N, j, width]
            total = torch.bmm(arriving[:, j : j + 1, :j], before)[:, 0]  # [N, width]
            both = torch.cat([total, total * share[:, j, None]], 1)  # [N, 2 width]
            states.append(_squeezed(own[j] + gate[j] * self.message_proj(both)))
        return torch.stack(states, 1)  # [N, n, width]


class DAGNetwork(nn.Module):
    """Messages along the edges, then, knowing these, against them; ``layers`` times.

    In the spirit of GATES: operations gate what flows along the data's own direction. Different
    from it on purpose: there is a backward flow, sums are kept beside means, so that paths can be
    counted, and every edge has a multiplicity.

    Args:
        width: Width of both directions' states; the output has twice as many.
        layers: Forward and backward sweeps.

    Source: Ning et al., A Generic Graph-based Neural Architecture Encoding Scheme (GATES), ECCV
    2020, section 3.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.out_width = 2 * width
        sizes = [width] + [2 * width] * (layers - 1)
        self.forward_layers = nn.ModuleList(Sweep(size, width) for size in sizes)
        self.backward_layers = nn.ModuleList(Sweep(size + width, width) for size in sizes)

    def forward(self, x: Tensor, edges: Tensor, real: Tensor) -> Tensor:
        """See the module."""
        reverse = edges.transpose(1, 2).flip(1, 2)
        for forward, backward in zip(self.forward_layers, self.backward_layers, strict=True):
            down = forward(x, edges) * real  # [N, n, width]
            known = torch.cat([x, down], 2).flip(1)  # [N, n, w + width], last node first
            up = backward(known, reverse).flip(1) * real  # [N, n, width]
            x = torch.cat([down, up], 2)  # [N, n, 2 width]
        return x


class GINNetwork(nn.Module):
    """Graph isomorphism network, where those that feed a node and those that it feeds are apart.

    Each layer is PyG's `DenseGINConv` along the edges and another one against them, joined.

    Args:
        width: Width of both directions' states; the output has twice as many.
        layers: Rounds of messages.

    Source: Xu et al., How Powerful are Graph Neural Networks?, ICLR 2019, eq. 4.1.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        from torch_geometric.nn import DenseGINConv

        self.out_width = 2 * width
        sizes = [width] + [2 * width] * (layers - 1)

        def conv(size: int) -> nn.Module:
            inner = nn.Sequential(nn.Linear(size, width), nn.ReLU(), nn.Linear(width, width))
            return DenseGINConv(inner)  # type: ignore[no-any-return]

        self.forward_layers = nn.ModuleList(conv(size) for size in sizes)
        self.backward_layers = nn.ModuleList(conv(size) for size in sizes)

    def forward(self, x: Tensor, edges: Tensor, real: Tensor) -> Tensor:
        """See the module."""
        arriving = edges.transpose(1, 2)  # [N, n, n]
        for forward, backward in zip(self.forward_layers, self.backward_layers, strict=True):
            parts = [_squeezed(forward(x, arriving)), _squeezed(backward(x, edges))]
            x = torch.cat(parts, 2) * real  # [N, n, 2 width]
        return x


class GPSNetwork(nn.Module):
    """Graph transformer: PyG's `GPSConv`, messages along edges beside attention among all nodes.

    Structural encodings, which attention needs to know where a node lies: depth from the sources
    and from the sinks, and the probability that a random walk (edges both ways, by multiplicity)
    is back after 2, 3, ... `WALK` steps. Messages are PyG's `GINEConv`, which sees every edge's
    multiplicity and direction.

    Args:
        width: Width of states, a multiple of `HEADS`.
        layers: Blocks.

    Source: Rampasek et al., Recipe for a General, Powerful, Scalable Graph Transformer, NeurIPS
    2022.
    """

    WALK = 6
    HEADS = 4

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        from torch_geometric.nn import GINEConv, GPSConv

        self.out_width = width
        self.pos_proj = nn.Linear(2 + self.WALK - 1, width)

        def block() -> nn.Module:
            inner = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
            options = {"heads": self.HEADS, "norm": "layer_norm", "norm_kwargs": {"mode": "node"}}
            return GPSConv(width, GINEConv(inner, edge_dim=2), **options)  # type: ignore[no-any-return]

        self.blocks = nn.ModuleList(block() for _ in range(layers))

    def forward(self, x: Tensor, edges: Tensor, real: Tensor) -> Tensor:
        """See the module."""
        size, n, width = x.shape
        x = x + self.pos_proj(structural_encodings(edges, self.WALK)) * real
        kept = real[:, :, 0].flatten() > 0  # [N n]
        place = kept.cumsum(0) - 1  # of every node among the real ones
        graph, source, target = edges.nonzero().unbind(1)
        ends = place[torch.stack([graph * n + source, graph * n + target])]  # [2, e]
        times = edges[graph, source, target]  # [e]
        along = torch.cat([ends, ends.flip(0)], 1)  # [2, 2 e]: both ways
        none = torch.zeros_like(times)
        kinds = torch.cat([torch.stack([times, none], 1), torch.stack([none, times], 1)])
        batch = torch.arange(size).repeat_interleave(n)[kept]  # [real nodes]: their graph
        states = x.flatten(0, 1)[kept]  # [real nodes, width]
        for block in self.blocks:
            states = block(states, along, batch, edge_attr=kinds)
        found = states.new_zeros(size * n, width)
        found[kept] = states
        return found.view(size, n, width)


NETWORKS: dict[str, type[DAGNetwork] | type[GINNetwork] | type[GPSNetwork]] = {
    "dag": DAGNetwork,
    "gin": GINNetwork,
    "gps": GPSNetwork,
}
"""By the name that encoder configs take."""


def structural_encodings(edges: Tensor, walk: int) -> Tensor:
    """Depth from the sources, depth from the sinks, and return probabilities of random walks.

    Shapes: edges [N, n, n] -> [N, n, 2 + walk - 1].
    """
    once = (edges > 0).to(edges.dtype)
    both = edges + edges.transpose(1, 2)  # [N, n, n], undirected
    step = both / both.sum(2, keepdim=True).clamp(min=1)  # [N, n, n], rows sum to 1
    power, back = step, []
    for _ in range(walk - 1):
        power = power @ step
        back.append(power.diagonal(dim1=1, dim2=2))  # [N, n]
    depths = [_depth(once), _depth(once.transpose(1, 2).flip(1, 2)).flip(1)]
    return torch.stack([depth.log1p() for depth in depths] + back, 2)


def _depth(once: Tensor) -> Tensor:
    """Edges on the longest path that ends at each node: [N, n, n] -> [N, n]."""
    depths = [once.new_zeros(len(once))]
    for j in range(1, once.size(1)):
        before = torch.stack(depths, 1) + 1  # [N, j]
        depths.append((before * once[:, :j, j]).amax(1))
    return torch.stack(depths, 1)


def _squeezed(values: Tensor) -> Tensor:
    return torch.log1p(values.relu())
