"""Small networks of every space, and odd ones, that the tests export."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from gnas.graphs import architecture
from gnas.models import NetworkMetadata
from gnas.spaces import NASGEM, SPACES, space_of_text

SMALL: dict[str, dict[str, Any]] = {
    "nasbench101": {"stem_channels": 8, "cells_per_stack": 1},
    "nasbench201": {"channels": 4, "cells_per_stage": 1},
    "nasgem": {"channels": 4},
    "toponas": {"channels": 4, "num_cells": 4},
}
_BAND = np.triu(np.ones((30, 30), dtype=int), 1) - np.triu(np.ones((30, 30), dtype=int), 7)
_FULL = NASGEM().to_str(architecture(_BAND, [0, 1] * 15, 2))  # six inputs each, the most
_DARTS = SMALL["toponas"]
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "cells that read only the one before last": (
        "Genotype(normal=[[('sep_conv_5x5', 0)], [('dil_conv_3x3', 0)]], normal_concat=[3], "
        "reduce=[[('sep_conv_3x3', 0)], [('avg_pool_3x3', 0)]], reduce_concat=[2, 3])",
        {**_DARTS, "num_cells": 6},
    ),
    "no separable convolution": (
        "Genotype(normal=[('skip_connect', 0), ('max_pool_3x3', 1)], normal_concat=[2], "
        "reduce=[('skip_connect', 0), ('avg_pool_3x3', 1)], reduce_concat=[2])",
        {**_DARTS, "stem": "imagenet", "auxiliary": True},
    ),
    "many inputs": (
        "Genotype(normal="
        + str([[("sep_conv_3x3", i) for i in range(n)] for n in range(2, 10)])
        + ", normal_concat=[9], reduce="
        + str([[("skip_connect", 1)]] * 8)
        + ", reduce_concat=[8, 9])",
        _DARTS,
    ),
    "input joined to the output": ("input,output|1", SMALL["nasbench101"]),
    "unequal widths": (
        "input,conv1x1-bn-relu,conv3x3-bn-relu,maxpool3x3,output|3bd",
        SMALL["nasbench101"],
    ),
    "zero maps": (
        "|none~0|+|none~0|nor_conv_1x1~1|+|skip_connect~0|none~1|avg_pool_3x3~2|",
        SMALL["nasbench201"],
    ),
    "nothing at all": (
        "|none~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        SMALL["nasbench201"],
    ),
    "as many edges as possible": (_FULL, {**SMALL["nasgem"], "stem": "imagenet"}),
    "one node": ("dw_sep_conv_3x3|0", {**SMALL["nasgem"], "cells_per_stage": 2}),
}
"""Architectures at the edges of their spaces, and sizes."""


def drawn(name: str, seed: int) -> NetworkMetadata:
    """A drawn architecture of a space, with a small network."""
    space = SPACES[name]()
    text = space.to_str(space.sample(np.random.default_rng(seed)))
    config = space.network_config(num_classes=7, in_channels=2, **SMALL[name])
    return NetworkMetadata(space=space, architecture=text, config=config, image_size=16)


def odd(case: str) -> NetworkMetadata:
    """One of `CASES`."""
    text, size = CASES[case]
    space = space_of_text(text)
    config = space.network_config(**size)
    return NetworkMetadata(space=space, architecture=text, config=config, image_size=16)


def trained(facts: NetworkMetadata) -> nn.Module:
    """The network of the facts, with running statistics and shifts as a training leaves them."""
    torch.manual_seed(0)
    network = facts.space.network(facts.graph, facts.config)
    network(torch.randn(4, *facts.input_shape))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.bias)
    return network
