"""Configuration of a self-made table."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import asdict, field
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from gnas.config import (
    Count,
    Seed,
    configuration,
    field_names,
    from_record,
    unknown_name,
)
from gnas.data.images.config import LARGEST, NumberedImagesConfig
from gnas.errors import ConfigError
from gnas.spaces.names import network_config
from gnas.training.recipe import ProxyRecipe

if TYPE_CHECKING:
    from gnas.data import BenchmarkTable
    from gnas.data.images.parts import ImageParts
    from gnas.graphs import DenseBatch
    from gnas.spaces import Space

SIZE_FIELDS = ("stem_channels", "num_stacks", "cells_per_stack")
"""Fields of ``network`` that older tables name beside all others."""
_DRAW = ("draw_seed", "num_train", "num_val", "num_test")
"""Settings of cells and images."""
_FROM_IMAGES = ("in_channels", "num_classes")
"""Sizes of networks that follow from the images."""


@configuration
class TabulateConfig:
    """Cells, images and recipe of the trainings: everything that determines the table.

    Examples:
        >>> config = TabulateConfig(space="nasbench201", cells=3, seeds=2)
        >>> len(config.plan()), config.network["channels"]
        (3, 8)
    """

    space: str = "nasbench101"
    """A space with networks: a key of `gnas.spaces.SPACES`, or ``FILE.py:NAME``."""
    dataset: str = "digits"
    """Image source of `gnas.data.images.load_images`."""
    cells: Count = 100
    """Number of cells, drawn without repetition: uniformly from a space that can be enumerated,
    from others by their own distribution."""
    cells_from: str | None = None
    """Draw the cells from this table instead of the whole space."""
    seeds: Annotated[int, Field(ge=1, le=1000)] = 2
    """Trainings of each cell; training k is run k of the table and has seed k."""
    draw_seed: Seed = 0
    """Seed of the draw; the first n cells are the same for every ``cells`` >= n."""
    image_size: Annotated[int, Field(ge=4, le=LARGEST)] | None = None
    """Height and width in pixels to which the images are reduced; None keeps them."""
    num_train: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """Training images; None takes all that validation leaves."""
    num_val: Count | None = None
    """Validation images, taken from the training part; None takes a quarter of it."""
    num_test: Count | None = None
    """Test images; None takes the whole test part."""
    network: Mapping[str, Any] = field(default_factory=dict)
    """Size and form of the networks; the rest as the space has it (`Networks.tabulated`)."""
    recipe: ProxyRecipe = field(default_factory=ProxyRecipe)
    """Training recipe of each network."""

    def __post_init__(self) -> None:
        networks = self.opened_space().needed_networks()
        whole = {**networks.small, **networks.tabulated, **self.network}
        networks.configured(self.space, **whole, in_channels=1, num_classes=2)  # for its checks
        object.__setattr__(self, "network", whole)

    @classmethod
    def like(cls, table: BenchmarkTable, **changes: Any) -> TabulateConfig:
        """The config that ``table`` was made with, but for ``changes``.

        Raises:
            ConfigError: the table was not made by `tabulate`.
        """
        from gnas.spaces import space_text

        made_with = dict(table.provenance.recipe or {})
        if not isinstance(made_with.get("recipe"), Mapping):
            raise ConfigError(
                f"a table made by `gnas tabulate` must be given, but {table.provenance.name} is "
                f"{table.provenance.kind} data without a recipe"
            )
        names = field_names(cls)
        kept = {name: value for name, value in made_with.items() if name in names}
        facts = table.provenance
        kept["space"] = space_text({"name": facts.space, "args": facts.space_args or {}})
        kept.setdefault("network", {k: made_with[k] for k in SIZE_FIELDS if k in made_with})
        try:
            kept["recipe"] = ProxyRecipe(**made_with["recipe"])
        except (TypeError, ConfigError) as error:
            raise ConfigError(
                f"the recipe of {table.provenance.name} must be one of this version of gnas, "
                f"but is {made_with['recipe']} ({error})"
            ) from error
        return cls(**{**kept, **changes})

    def with_settings(self, settings: Mapping[str, Any]) -> TabulateConfig:
        """This config with fields of its own, of the recipe or of the networks changed.

        Raises:
            ConfigError: there is no such field, or it cannot have this value.
        """
        sizes = self.opened_space().needed_networks().defaults
        draw, recipe, size = _divided(settings, sizes)
        return dataclasses.replace(
            self,
            **draw,
            recipe=from_record(ProxyRecipe, {**asdict(self.recipe), **recipe}),
            network={**self.network, **size},
        )

    def opened_space(self) -> Space:
        """The space."""
        from gnas.spaces import load_space

        return load_space(self.space)

    def images_config(self) -> NumberedImagesConfig:
        """Images to use."""
        is_folder = self.dataset != "digits"
        return NumberedImagesConfig(
            dataset="folder" if is_folder else "digits",
            data_dir=self.dataset if is_folder else None,
            image_size=self.image_size,
            num_train=self.num_train,
            num_val=self.num_val,
            num_test=self.num_test,
        )

    def images(self) -> ImageParts:
        """The images, read and reduced."""
        from gnas.data.images.parts import open_candidate_images

        return open_candidate_images(self.images_config())

    def graphs(self) -> DenseBatch:
        """The cells to train, in the order of the draw.

        Raises:
            ConfigError: fewer cells exist than are asked for, or ``cells_from`` is of another
                space.
        """
        import numpy as np
        import torch

        from gnas.data import load_table
        from gnas.search.draws import draw_candidates

        space = self.opened_space()
        if self.cells_from is None and space.size is None:
            return draw_candidates(space, self.cells, seed=self.draw_seed)
        if self.cells_from is None:
            graphs = space.enumerate()
        else:
            table = load_table(self.cells_from)
            table.provenance.opened_space(space)
            graphs = table.graphs
        if self.cells > len(graphs):
            raise ConfigError(f"cells must be at most {len(graphs)}, but got {self.cells}")
        order = np.random.default_rng(self.draw_seed).permutation(len(graphs))
        return graphs[torch.from_numpy(order[: self.cells])]

    def plan(self) -> list[str]:
        """`graphs` as strings of the space."""
        space = self.opened_space()
        return [space.to_str(graph) for graph in self.graphs()]


def check_settings(space: str, settings: Mapping[str, Any]) -> None:
    """Check settings of a built-in space's table; those of other spaces when it is loaded.

    Args:
        space: The space.
        settings: See `TabulateConfig.with_settings`.

    Raises:
        ConfigError: there is no such setting, or it cannot have this value.
    """
    network = network_config(space)
    if network is not None:
        _, recipe, size = _divided(settings, field_names(network))
        from_record(ProxyRecipe, recipe)
        from_record(network, size)


def _divided(settings: Mapping[str, Any], sizes: Iterable[str]) -> list[dict[str, Any]]:
    """Settings of cells and images, of the recipe, and of networks with these fields."""
    parts = ({*_DRAW}, field_names(ProxyRecipe), {*sizes} - {*_FROM_IMAGES})
    known = set[str]().union(*parts)
    for name in settings:
        if name not in known:
            raise ConfigError(unknown_name("setting", name, known))
    return [{k: v for k, v in settings.items() if k in part} for part in parts]


def tabulated_config(
    given: Mapping[str, Any], settings: Mapping[str, Any], like: BenchmarkTable | None
) -> TabulateConfig:
    """The config that a command asks for.

    Args:
        given: Fields of the config.
        settings: See `TabulateConfig.with_settings`.
        like: A table whose other fields are taken.

    Raises:
        ConfigError: impossible values.
    """
    config = TabulateConfig(**given) if like is None else TabulateConfig.like(like, **given)
    return config.with_settings(settings) if settings else config
