"""What a self-made table is built from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from gnas.config import check_seed
from gnas.data import BenchmarkTable, load_table
from gnas.data.images import ImageSplits, load_images
from gnas.errors import ConfigError
from gnas.spaces import NASBench101
from gnas.train import ProxyRecipe


@dataclass(frozen=True, kw_only=True)
class TabulateConfig:
    """Which cells are trained, on what and how: all that determines the table's content."""

    dataset: str = "digits"
    """Image source of `gnas.data.images.load_images`."""
    cells: int = 2000
    """Number of cells, drawn uniformly without repetition."""
    cells_from: str | None = None
    """Draw the cells from this table instead of the whole space."""
    seeds: int = 2
    """Trainings of each cell; training k is run k of the table and has seed k."""
    draw_seed: int = 0
    """Seed of the draw; the first n cells are the same for every ``cells`` >= n."""
    image_size: int | None = None
    """Height and width in pixels to which the images are reduced; None keeps them."""
    num_train: int | None = None
    """Training images; None takes all that validation leaves."""
    num_val: int | None = None
    """Validation images, taken from the training part; None takes a quarter of it."""
    num_test: int | None = None
    """Test images; None takes the whole test part."""
    stem_channels: int = 16
    """Channels of the first stack."""
    num_stacks: int = 3
    """Stacks of the network."""
    cells_per_stack: int = 1
    """Cells in each stack."""
    recipe: ProxyRecipe = field(default_factory=ProxyRecipe)
    """How each network is trained."""

    def __post_init__(self) -> None:
        check_seed(self.draw_seed, "draw_seed")
        for name in ("cells", "seeds", "stem_channels", "num_stacks", "cells_per_stack"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, but got {getattr(self, name)}")

    @classmethod
    def like(cls, table: BenchmarkTable, **changes: Any) -> TabulateConfig:
        """The config that ``table`` was made with, but for ``changes``.

        Raises:
            ConfigError: the table was not made by `tabulate`.
        """
        made_with = dict(table.provenance.recipe or {})
        if not isinstance(made_with.get("recipe"), Mapping):
            raise ConfigError(
                f"a table made by `gnas tabulate` must be given, but {table.provenance.name} is "
                f"{table.provenance.kind} data without a recipe"
            )
        names = {field.name for field in fields(cls)}
        kept = {name: value for name, value in made_with.items() if name in names}
        try:
            kept["recipe"] = ProxyRecipe(**made_with["recipe"])
        except (TypeError, ConfigError) as error:
            raise ConfigError(
                f"the recipe of {table.provenance.name} must be one of this version of gnas, "
                f"but is {made_with['recipe']} ({error})"
            ) from error
        return cls(**{**kept, **changes})

    def images(self) -> ImageSplits:
        """The images, read and reduced."""
        return load_images(
            self.dataset,
            image_size=self.image_size,
            num_train=self.num_train,
            num_val=self.num_val,
            num_test=self.num_test,
        )

    def plan(self) -> list[str]:
        """The cells to train, as strings of the space, in the order of the draw.

        Raises:
            ConfigError: fewer cells exist than are asked for.
        """
        space = NASBench101()
        if self.cells_from is None:
            graphs = space.enumerate()
        else:
            graphs = load_table(self.cells_from).graphs
        if self.cells > len(graphs):
            raise ConfigError(f"cells must be at most {len(graphs)}, but got {self.cells}")
        order = np.random.default_rng(self.draw_seed).permutation(len(graphs))
        return [space.to_str(graphs.data(int(i))) for i in order[: self.cells]]
