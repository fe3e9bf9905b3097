"""How workers train the cells of a table."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from gnas.data.images import ImageSplits
from gnas.errors import ConfigError, DataError
from gnas.models import NASBench101NetworkConfig, nasbench101_network, num_macs, num_params
from gnas.spaces import NASBench101
from gnas.studies import Job
from gnas.studies.job import Evaluate
from gnas.tabulate.config import TabulateConfig
from gnas.train import ProxyRecipe, fresh_network, train_proxy

NOT_FACTS = ("cells", "seeds")
"""Fields of the config that say how much is planned, not how it is trained."""


@dataclass(frozen=True)
class TabulateJob(Job):
    """Trains one cell with one seed, on one core."""

    kind: ClassVar[str] = "tabulate"
    config: TabulateConfig
    images_sha256: str
    data_dir: Path | None = None
    """Where this machine has the images, if not where the config says."""

    def facts(self) -> dict[str, Any]:
        """See `Job.facts`."""
        fixed = {k: v for k, v in asdict(self.config).items() if k not in NOT_FACTS}
        return {**fixed, "images_sha256": self.images_sha256}

    @classmethod
    def from_facts(cls, facts: dict[str, Any], *, data_dir: Path | None = None) -> Self:
        """See `Job.from_facts`."""
        fields = dict(facts)
        try:
            sha256, recipe = fields.pop("images_sha256"), ProxyRecipe(**fields.pop("recipe"))
            return cls(TabulateConfig(**fields, recipe=recipe), sha256, data_dir)
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"the study must be of this version of gnas, but its facts do not fit: {error}"
            ) from error

    def open(self) -> Evaluate:
        """See `Job.open`.

        Raises:
            DataError: the images here are not those that the study is about.
        """
        torch.set_num_threads(1)
        config = self.config
        if self.data_dir is not None:
            config = replace(config, dataset=str(self.data_dir))
        images = config.images()
        if images.sha256 != self.images_sha256:
            raise DataError(
                f"the images must be those that the study was begun with, but {images.source} "
                "has others; say where they are with --data-dir"
            )
        return partial(train_cell, config, images)


def train_cell(
    config: TabulateConfig, images: ImageSplits, candidate: dict[str, Any]
) -> dict[str, Any]:
    """Trains the cell ``candidate["architecture"]`` with ``candidate["seed"]``."""
    seed = candidate["seed"]
    graph = NASBench101().from_str(candidate["architecture"])
    size = NASBench101NetworkConfig(
        in_channels=images.in_channels,
        num_classes=images.num_classes,
        stem_channels=config.stem_channels,
        num_stacks=config.num_stacks,
        cells_per_stack=config.cells_per_stack,
    )
    network = fresh_network(partial(nasbench101_network, graph, size), seed)
    result = asdict(train_proxy(network, images, config.recipe, seed=seed))
    shape = (images.in_channels, images.image_size, images.image_size)
    counts = {"num_params": num_params(network), "macs": num_macs(network, shape)}
    return {**result, **counts, "score": result["val_acc"]}
