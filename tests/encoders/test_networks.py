from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import GINConv
from torch_geometric.utils import dense_to_sparse

from gnas.encoders.networks import (
    NETWORKS,
    DAGNetwork,
    GINNetwork,
    Sweep,
    structural_encodings,
)

WIDTH = 8


def graphs(size: int = 6, n: int = 7) -> tuple[Tensor, Tensor, Tensor]:
    """Random states, edges with multiplicities and reality of graphs of 1 to n nodes."""
    generator = torch.Generator().manual_seed(0)
    num_nodes = torch.arange(size) % n + 1
    real = (torch.arange(n) < num_nodes[:, None]).float()[:, :, None]
    edges = torch.randint(0, 3, (size, n, n), generator=generator).float().triu(1)
    edges = edges * real * real.transpose(1, 2)
    return torch.randn(size, n, WIDTH, generator=generator) * real, edges, real


def naive_sweep(sweep: Sweep, x: Tensor, edges: Tensor) -> Tensor:
    """A sweep over one graph, node by node and edge by edge: [n, inputs], [n, n] -> [n, w]."""
    states: list[Tensor] = []
    for j in range(len(x)):
        total, count = torch.zeros(sweep.self_proj.out_features), 0.0
        for i, state in enumerate(states):
            for _ in range(int(edges[i, j])):
                total, count = total + state, count + 1
        heard = sweep.message_proj(torch.cat([total, total / max(count, 1)]))
        value = sweep.self_proj(x[j]) + torch.sigmoid(sweep.gate(x[j])) * heard
        states.append(torch.log1p(value.relu()))
    return torch.stack(states)


@torch.no_grad()
def test_a_sweep_is_what_a_loop_over_nodes_and_edges_gives() -> None:
    x, edges, _ = graphs()
    sweep = Sweep(WIDTH, 5)
    found = sweep(x, edges)
    for i in range(len(x)):
        assert torch.allclose(found[i], naive_sweep(sweep, x[i], edges[i]), atol=1e-6)


@torch.no_grad()
def test_the_dag_network_sweeps_back_with_what_it_heard_on_the_way_forth() -> None:
    x, edges, real = graphs()
    network = DAGNetwork(WIDTH, 2)
    found = network(x, edges, real)
    for i, n in enumerate(real.sum((1, 2)).int().tolist()):
        states, wiring = x[i, :n], edges[i, :n, :n]
        for forth, back in zip(network.forward_layers, network.backward_layers, strict=True):
            assert isinstance(forth, Sweep)
            assert isinstance(back, Sweep)
            down = naive_sweep(forth, states, wiring)
            told = torch.cat([states, down], 1).flip(0)
            up = naive_sweep(back, told, wiring.t().flip(0, 1)).flip(0)
            states = torch.cat([down, up], 1)
        assert torch.allclose(found[i, :n], states, atol=1e-5)
        assert not found[i, n:].any()


@torch.no_grad()
def test_gin_is_the_sparse_one_of_pyg() -> None:
    x, edges, real = graphs()
    edges = (edges > 0).float()
    network = GINNetwork(WIDTH, 1)
    found = network(x, edges, real)
    forth, back = network.forward_layers[0], network.backward_layers[0]
    for i, n in enumerate(real.sum((1, 2)).int().tolist()):
        edge_index, _ = dense_to_sparse(edges[i, :n, :n])
        parts = []
        for conv, index in ((forth, edge_index), (back, edge_index.flip(0))):
            sparse = GINConv(copy.deepcopy(conv.nn))  # draws its weights anew
            sparse.load_state_dict(conv.state_dict())
            parts.append(sparse(x[i, :n], index))
        expected = torch.cat(parts, 1).relu().log1p()
        assert torch.allclose(found[i, :n], expected, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@torch.no_grad()
def test_padding_neither_changes_nor_is_changed(name: str) -> None:
    x, edges, real = graphs()
    network = NETWORKS[name](WIDTH, 2).eval()
    found = network(x, edges, real)
    assert found.shape == (*x.shape[:2], network.out_width)
    assert not (found * (1 - real)).any()
    for i, n in enumerate(real.sum((1, 2)).int().tolist()):
        alone = network(x[i : i + 1, :n], edges[i : i + 1, :n, :n], real[i : i + 1, :n])
        assert torch.allclose(found[i, :n], alone[0], atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
@torch.no_grad()
def test_the_numbering_of_nodes_does_not_matter(name: str) -> None:
    """Nodes 1 and 2 are not joined, so they can change places."""
    x, edges, real = graphs(4, 5)
    edges[:, 1, 2] = 0
    order = [0, 2, 1, 3, 4]
    network = NETWORKS[name](WIDTH, 2).eval()
    moved = network(x[:, order], edges[:, order][:, :, order], real[:, order])
    assert torch.allclose(network(x, edges, real)[:, order], moved, atol=1e-5)


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_multiplicity_and_direction_matter(name: str) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name](WIDTH, 2).eval()
    x, real = torch.randn(1, 3, WIDTH).repeat(3, 1, 1), torch.ones(3, 3, 1)
    edges = torch.zeros(3, 3, 3)
    edges[0, 0, 1] = edges[0, 1, 2] = 1
    edges[1, 0, 1] = 1
    edges[1, 1, 2] = 2  # twice
    edges[2, 0, 2] = edges[2, 1, 2] = 1  # the first edge turned away from node 1
    found = network(x, edges, real).sum(1)
    assert torch.pdist(found).min() > 1e-4


def test_structural_encodings_of_a_path_and_a_lone_node() -> None:
    edges = torch.zeros(2, 3, 3)
    edges[0, 0, 1] = edges[0, 1, 2] = 1
    found = structural_encodings(edges, 4)
    assert torch.allclose(found[0, :, 0], torch.tensor([0.0, 1.0, 2.0]).log1p())
    assert torch.allclose(found[0, :, 1], torch.tensor([2.0, 1.0, 0.0]).log1p())
    assert torch.allclose(found[0, :, 2], torch.tensor([0.5, 1.0, 0.5]))  # back after two steps
    assert not found[0, :, 3].any()  # never after three
    assert not found[1].any()
