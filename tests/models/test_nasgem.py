from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from gnas.errors import ConfigError, GraphError
from gnas.graphs import architecture
from gnas.models import (
    NasgemNetworkConfig,
    nasgem_imagenet,
    nasgem_network,
    num_macs,
    num_params,
)
from gnas.spaces import NASGEM, NASBench201, nasgem_space
from gnas.spaces.nasgem import OPS
from gnas.spaces.nasgem.network import GEMNET_A_SIZED, GEMNET_B_SIZED, NasgemCell, wiring

SMALL = NasgemNetworkConfig(channels=4, num_classes=7, in_channels=1)


@pytest.mark.parametrize(
    ("text", "params", "macs"),
    [(GEMNET_A_SIZED, 4_291_216, 463_808_352), (GEMNET_B_SIZED, 4_523_608, 562_772_832)],
)
def test_the_published_sizes_are_reached(text: str, params: int, macs: int) -> None:
    network = nasgem_network(NASGEM().from_str(text), nasgem_imagenet())
    assert num_params(network) == params
    assert num_macs(network, (3, 224, 224)) == macs
    published = {GEMNET_A_SIZED: (4.3e6, 463e6), GEMNET_B_SIZED: (4.5e6, 563e6)}[text]
    assert (params, macs) == pytest.approx(published, rel=0.01)


def test_hand_drawn_wiring() -> None:
    # 0 -> 1 -> 2, 0 -> 2, 0 -> 3
    adjacency = np.zeros((4, 4), dtype=int)
    for i, j in ((0, 1), (1, 2), (0, 2), (0, 3)):
        adjacency[i, j] = 1
    found = wiring(architecture(adjacency, [0, 1, 1, 0], 2))
    assert found.ops == ("conv_1x1", "dw_sep_conv_3x3", "dw_sep_conv_3x3", "conv_1x1")
    assert found.inputs == ((), (0,), (0, 1), (0,))
    assert found.outputs == (2, 3)


def built_edges(cell: NasgemCell, num_nodes: int) -> tuple[set[tuple[int, int]], set[int]]:
    """What a built cell's forward pass reads, found without its own description of it.

    Every node's module is replaced by one that returns a map marked with its own number, so that
    what arrives at a module, and at the output, says which maps were joined.
    """
    edges: set[tuple[int, int]] = set()
    convolutions = [[m for m in node.modules() if isinstance(m, nn.Conv2d)] for node in cell.nodes]
    channels = convolutions[0][-1].out_channels
    calls: list[int] = []

    def marked(node: int) -> Callable[[nn.Module, tuple[Tensor], Tensor], Tensor]:
        def hook(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
            calls.append(node)
            assert inputs[0].size(1) == convolutions[node][0].in_channels
            for k in range(0, inputs[0].size(1), channels):
                mark = set(inputs[0][0, k : k + channels].flatten().tolist())
                assert len(mark) == 1  # one whole map after another
                edges.add((int(mark.pop()), node))
            return torch.full_like(output, float(node))

        return hook

    handles = [m.register_forward_hook(marked(j)) for j, m in enumerate(cell.nodes)]
    width = convolutions[0][0].in_channels
    output = cell(torch.full((1, width, 2, 2), -1.0))
    for handle in handles:
        handle.remove()
    assert calls == list(range(num_nodes))
    joined = [int(output[0, k].mean()) for k in range(0, output.size(1), channels)]
    assert len(joined) == len(set(joined))
    return edges, set(joined)


@pytest.mark.parametrize(
    ("space", "count"),
    [
        (NASGEM(), 50),
        (nasgem_space("barabasi-albert", spread=True), 20),
        (nasgem_space("watts-strogatz"), 20),
    ],
    ids=["density", "barabasi-albert", "watts-strogatz"],
)
def test_every_edge_of_drawn_and_mutated_cells_is_built_and_no_other(
    space: NASGEM, count: int, rng: np.random.Generator
) -> None:
    drawn = list(space.sample_batch(count, rng))
    config = NasgemNetworkConfig(channels=1, num_stages=2)
    for graph in (*drawn, *(space.mutate(graph, rng) for graph in drawn[:20])):
        edges = {(i, j) for i, j in graph.edge_index.t().tolist()}
        leaves = set(range(len(graph.x))) - {i for i, _ in edges}
        network = nasgem_network(graph, config).eval()
        cells = [layer for layer in network.layers if isinstance(layer, NasgemCell)]
        assert len(cells) == 2
        with torch.no_grad():
            for cell in cells:
                found, output = built_edges(cell, len(graph.x))
                assert found - {(-1, 0)} == edges and (-1, 0) in found
                assert output == leaves
        kinds = [[m for m in node.modules() if isinstance(m, nn.Conv2d)] for node in cell.nodes]
        depthwise = ["dw_sep_conv_3x3" if len(kind) == 2 else "conv_1x1" for kind in kinds]
        assert depthwise == [OPS[k] for k in graph.x.argmax(1).tolist()]


def test_cells_of_other_caps_are_built_whole() -> None:
    n = 12
    full = architecture(np.triu(np.ones((n, n), dtype=int), 1), [0] * n, 2)
    assert [len(inputs) for inputs in wiring(full).inputs] == list(range(n))


def test_hand_counted_network() -> None:
    adjacency = [[0, 1, 1], [0, 0, 0], [0, 0, 0]]
    cell = architecture(adjacency, [0, 1, 0], 2)
    config = NasgemNetworkConfig(channels=4, num_stages=2, num_classes=5)
    stem = 3 * 4 * 9 + 8
    first = (4 * 4 + 8) + (4 * 9 + 4 * 4 + 8) + (4 * 4 + 8)
    halving = 8 * 9 + 8 * 8 + 16  # 2 leaves of 4 channels, to 8
    second = (8 * 8 + 16) + (8 * 9 + 8 * 8 + 16) + (8 * 8 + 16)
    network = nasgem_network(cell, config)
    assert num_params(network) == stem + first + halving + second + 16 * 5 + 5
    full = 64 * (108 + 16 + 36 + 16 + 16)
    half = 16 * (72 + 64 + 64 + 72 + 64 + 64)
    assert num_macs(network, (3, 8, 8)) == full + half + 80


@pytest.mark.parametrize("size", [8, 9])
def test_networks_run_forward_and_learn(rng: np.random.Generator, size: int) -> None:
    for graph in NASGEM().sample_batch(3, rng):
        network = nasgem_network(graph, SMALL)
        logits = network(torch.randn(2, 1, size, size))
        assert logits.shape == (2, 7)
        logits.square().sum().backward()
        assert all(parameter.grad is not None for parameter in network.parameters())


def test_what_is_refused(rng: np.random.Generator) -> None:
    with pytest.raises(GraphError, match="x must have 2 columns, but got 3"):
        nasgem_network(NASBench201().sample(rng))
    adjacency = np.zeros((3, 3), dtype=int)
    adjacency[1, 2] = 1
    with pytest.raises(GraphError, match=r"reached from node 0.*but node 1 has no input"):
        nasgem_network(architecture(adjacency, [1, 0, 0], 2))
    with pytest.raises(ConfigError, match="num_stages must be at least 1, but got 0"):
        NasgemNetworkConfig(num_stages=0)
    with pytest.raises(ConfigError, match="stem must be one of cifar, imagenet, but got 'big'"):
        NasgemNetworkConfig(stem="big")  # type: ignore[arg-type]
