from __future__ import annotations

from typing import Any

import torch

from gnas.data.parts import ImagesConfig, SearchImages, SearchLoaders, search_loaders
from gnas.search.toponas import SearchResult, ToponasConfig, search_toponas, toponas_space
from tests.models.plain_supernet import PlainSupernet

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
"""A search of a few hundred milliseconds."""


def tiny(**changes: Any) -> ToponasConfig:
    return ToponasConfig(**{**TINY, **changes})


def images(count: int = 48, *, classes: int = 4, size: int = 8, num_parts: int = 3) -> SearchImages:
    """Noise around a pattern of each class."""
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(count) % classes
    patterns = torch.randint(0, 256, (classes, 3, size, size), generator=generator)
    noise = torch.randint(-40, 41, (count, 3, size, size), generator=generator)
    x = (patterns[y] + noise).clamp(0, 255).to(torch.uint8)
    config = ImagesConfig(image_size=size)
    return SearchImages(config, (x, y), num_parts=num_parts)


def loaders(config: ToponasConfig, **changes: Any) -> SearchLoaders:
    return search_loaders(
        images(num_parts=config.num_parts),
        config.batch_size,
        seed=config.seed,
        joint=config.update == "joint",
        **changes,
    )


def search(config: ToponasConfig, **options: Any) -> SearchResult:
    options.setdefault("build", PlainSupernet)
    return search_toponas(toponas_space(config), loaders(config), config, **options)
