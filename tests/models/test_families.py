from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.models import FAMILIES, NASBench101NetworkConfig, build_network, network_config
from gnas.spaces import SPACES, NASBench201
from gnas.spaces.texts import from_text, space_of, to_text

SMALL: dict[str, dict[str, Any]] = {
    "nasbench101": {"stem_channels": 4, "cells_per_stack": 1},
    "nasbench201": {"channels": 4, "cells_per_stage": 1},
    "nasgem": {"channels": 4},
    "toponas": {"channels": 4, "num_cells": 3},
}


def test_every_space_has_networks() -> None:
    assert FAMILIES.keys() == SPACES.keys() == SMALL.keys()


@pytest.mark.parametrize("name", SPACES)
def test_from_a_drawn_architecture_to_logits(name: str, rng: np.random.Generator) -> None:
    graph = SPACES[name]().sample(rng)
    assert space_of(graph) is SPACES[name]
    again = from_text(to_text(graph))
    assert torch.equal(again.x, graph.x)
    assert torch.equal(again.edge_index, graph.edge_index)
    config = network_config(again, num_classes=3, in_channels=1, stem=None, **SMALL[name])
    network = build_network(again, config).eval()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_texts_of_cells_beyond_the_default_spaces() -> None:
    cells = (
        "Genotype(normal=[[('skip_connect', 0)], [('sep_conv_3x3', 1)]], normal_concat=[3], "
        "reduce=[[('max_pool_3x3', 0)], [('dil_conv_5x5', 2)]], reduce_concat=[2, 3])"
    )
    assert to_text(from_text(cells)) == cells
    assert to_text(from_text(f"INFO genotype = {cells}")) == cells
    five = "conv_1x1,conv_1x1,dw_sep_conv_3x3,conv_1x1,conv_1x1|3ff"
    assert to_text(from_text(f" {five}\n")) == five


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "an architecture must be written"),
        ("resnet50", "an architecture must be written .* but got 'resnet50'"),
        ("Genotype(normal=3)", "a genotype must have exactly"),
        ("{}", "a genotype must have exactly"),
        ("|nor_conv_7x7~0|+|none~0|none~1|+|none~0|none~1|none~2|", "each entry must be one of"),
        ("input,conv5x5,output|7", "unknown operation 'conv5x5'"),
        ("conv_1x1,conv_1x1|zz", r"must be 'op,op,...\|hex' with 1 bits"),
    ],
)
def test_texts_that_are_no_architecture(text: str, message: str) -> None:
    with pytest.raises(GraphError, match=message):
        from_text(text)


def test_what_is_refused(rng: np.random.Generator) -> None:
    graph = NASBench201().sample(rng)
    with pytest.raises(ConfigError, match="must have a NASBench201NetworkConfig, but got a NASB"):
        build_network(graph, NASBench101NetworkConfig())
    with pytest.raises(ConfigError, match="networks of 'nasbench201' have no 'num_cells'; choose"):
        network_config(graph, num_cells=3)
    with pytest.raises(ConfigError, match="channels must be of the type of 16, but got '8'"):
        network_config(graph, channels="8")
    with pytest.raises(GraphError, match="a graph with 9 columns of x"):
        build_network(Data(x=torch.eye(9)))
    with pytest.raises(GraphError, match="a graph with 0 columns of x"):
        build_network(Data())
