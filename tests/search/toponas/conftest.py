"""Searches of a few milliseconds: little images, and a supernet that is two layers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gnas.data.images.config import SearchImagesConfig
from gnas.data.images.parts import ImageParts, SearchLoaders, open_search_images, search_loaders
from gnas.data.images.sources import ImageArray, ImageSource
from gnas.search.toponas import SupernetSearchResult, ToponasConfig, search_toponas, toponas_space
from gnas.spaces.supernets import MixedWeights, SupernetConfig
from gnas.topology import candidate_edges

TINY: dict[str, Any] = {
    "channels": 4,
    "num_cells": 3,
    "num_nodes": 5,
    "stem_multiplier": 1,
    "batch_size": 8,
    "epochs": 2,
    "lr": 0.1,
    "arch_lr": 0.05,
}


class SmallSupernet(nn.Module):
    """Smooth, with weights per edge and operation, and no image that depends on another one."""

    def __init__(self, config: SupernetConfig) -> None:
        super().__init__()
        edges, c = len(candidate_edges(config.num_nodes)), config.channels
        self.stem = nn.Conv2d(config.in_channels, c, 3, 2)
        self.normal = nn.Parameter(torch.randn(edges, 7, c, c) / c**0.5)
        self.reduce = nn.Parameter(torch.randn(edges, 7, c, c) / c**0.5)
        self.classifier = nn.Linear(c, config.num_classes)

    def forward(self, images: Tensor, normal: MixedWeights, reduce: MixedWeights) -> Tensor:
        x = torch.tanh(self.stem(images)).mean((2, 3))
        for weights, mixed in ((self.normal, normal), (self.reduce, reduce)):
            every = torch.tanh(torch.einsum("bc,eocd->eobd", x, weights))
            x = torch.einsum("eobd,eo,e->bd", every, mixed.ops, mixed.edges)
        logits: Tensor = self.classifier(x)
        return logits


def tiny(**changes: Any) -> ToponasConfig:
    return ToponasConfig(**{**TINY, **changes})


def make_images(
    count: int = 48, *, classes: int = 4, size: int = 8, num_parts: int = 3
) -> ImageParts:
    """Noise around a pattern of each class."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % classes
    patterns = torch.randint(0, 256, (classes, 3, size, size), generator=generator)
    noise = torch.randint(-40, 41, (count, 3, size, size), generator=generator)
    x = (patterns[y] + noise).clamp(0, 255).to(torch.uint8)
    source, config = ImageSource("digits", ImageArray(x, y)), SearchImagesConfig(image_size=size)
    return open_search_images(config, num_parts=num_parts, source=source)


def make_loaders(config: ToponasConfig, **changes: Any) -> SearchLoaders:
    return search_loaders(
        make_images(num_parts=config.num_parts),
        config.batch_size,
        seed=config.seed,
        joint=config.update == "joint",
        **changes,
    )


def search(config: ToponasConfig, **options: Any) -> SupernetSearchResult:
    options.setdefault("build", SmallSupernet)
    loaders = options.pop("loaders", None) or make_loaders(config)
    return search_toponas(toponas_space(config), loaders, config, **options)
