from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

from gnas.errors import ConfigError, GraphError
from gnas.models import NASBench101NetworkConfig
from gnas.spaces import SPACES, NASBench101, NASBench201, space_of_text

SMALL: dict[str, dict[str, Any]] = {
    "nasbench101": {"stem_channels": 4, "cells_per_stack": 1},
    "nasbench201": {"channels": 4, "cells_per_stage": 1},
    "nasgem": {"channels": 4},
    "toponas": {"channels": 4, "num_cells": 3},
}


@pytest.mark.parametrize("name", SPACES)
def test_from_a_drawn_architecture_to_logits(name: str, rng: np.random.Generator) -> None:
    space = SPACES[name]()
    graph = space.sample(rng)
    text = space.to_str(graph)
    assert type(space_of_text(text)) is type(space)
    again = space_of_text(text).from_str(text)
    assert torch.equal(again.x, graph.x)
    assert torch.equal(again.edge_index, graph.edge_index)
    config = space.network_config(num_classes=3, in_channels=1, stem=None, **SMALL[name])
    network = space.network(again, config).eval()
    assert network(torch.zeros(2, 1, 8, 8)).shape == (2, 3)


def test_texts_of_cells_beyond_the_default_spaces() -> None:
    cells = (
        "Genotype(normal=[[('skip_connect', 0)], [('sep_conv_3x3', 1)]], normal_concat=[3], "
        "reduce=[[('max_pool_3x3', 0)], [('dil_conv_5x5', 2)]], reduce_concat=[2, 3])"
    )
    assert round_trip(cells) == cells
    assert round_trip(f"INFO genotype = {cells}") == cells
    five = "conv_1x1,conv_1x1,dw_sep_conv_3x3,conv_1x1,conv_1x1|3ff"
    assert round_trip(f" {five}\n") == five


def round_trip(text: str) -> str:
    space = space_of_text(text)
    return space.to_str(space.from_str(text))


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
    with pytest.raises((GraphError, ConfigError), match=message):
        round_trip(text)


def test_what_is_refused(rng: np.random.Generator) -> None:
    space = NASBench201()
    graph = space.sample(rng)
    with pytest.raises(ConfigError, match="must have a NASBench201NetworkConfig, but got a NASB"):
        space.network(graph, NASBench101NetworkConfig())
    with pytest.raises(ConfigError, match="networks of 'nasbench201' have no 'num_cells'; choose"):
        space.network_config(num_cells=3)
    with pytest.raises(ConfigError, match="channels must be of the type of 16, but got '8'"):
        space.network_config(channels="8")
    with pytest.raises(GraphError):
        space.network(NASBench101().sample(rng))
    with pytest.raises(GraphError):
        space.network(Data())
