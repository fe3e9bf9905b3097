"""What a worker of a NASGEM search does with a candidate: a short training and its score."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import torch

from gnas.config import from_record
from gnas.data.images import ImageSplits
from gnas.data.proxy import ProxyImagesConfig, open_proxy_images
from gnas.errors import ConfigError, DataError
from gnas.models import NasgemNetworkConfig, nasgem_network, num_macs, num_params
from gnas.search.nasgem.config import NasgemConfig, efficiency_score
from gnas.spaces import NASGEM
from gnas.studies import Job
from gnas.train import ProxyRecipe, fresh_network, train_proxy

STAGES = ("search", "final")


@dataclass(frozen=True)
class NasgemJob(Job):
    """Trains a cell's network on the proxy images and scores it (eq. 5)."""

    kind: ClassVar[str] = "nasgem"

    images: ProxyImagesConfig
    """What on."""
    images_sha256: str
    """Of all pixels and labels, split as they are."""
    network: NasgemNetworkConfig
    """Size and form."""
    recipes: Mapping[str, ProxyRecipe]
    """How, for each of `STAGES`."""
    lambda_: float
    """See `NasgemConfig`."""

    @classmethod
    def of(cls, config: NasgemConfig, images: ProxyImagesConfig, splits: ImageSplits) -> NasgemJob:
        """The job of a search.

        Args:
            config: How is searched.
            images: Which images.
            splits: The same, opened.

        Raises:
            ConfigError: the network leaves nothing of such small images.
        """
        halvings = config.num_stages - 1
        if splits.image_size < 2**halvings:
            raise ConfigError(
                f"images must have at least {2**halvings} pixels a side for {config.num_stages} "
                f"stages, but have {splits.image_size}; lower num_stages"
            )
        flip = images.dataset != "digits"
        return cls(
            images=images,
            images_sha256=splits.sha256,
            network=config.network(in_channels=splits.in_channels, num_classes=splits.num_classes),
            recipes={stage: config.recipe(stage, flip=flip) for stage in STAGES},
            lambda_=config.lambda_,
        )

    def facts(self) -> dict[str, Any]:
        """See `Job.facts`; without the folder of the images, which each machine has its own of."""
        record = asdict(self)
        del record["images"]["data_dir"]
        return record

    @classmethod
    def from_facts(cls, facts: dict[str, Any], *, data_dir: Path | None = None) -> Self:
        """See `Job.from_facts`.

        Raises:
            ConfigError: the facts are not those of such a job, or the images are in a folder and
                none is given.
        """
        try:
            record = dict(facts)
            folder = None if data_dir is None else str(data_dir)
            record["images"] = from_record(
                ProxyImagesConfig, {**facts["images"], "data_dir": folder}
            )
            record["network"] = from_record(NasgemNetworkConfig, facts["network"])
            record["recipes"] = {
                stage: from_record(ProxyRecipe, facts["recipes"][stage]) for stage in STAGES
            }
            return cls(**record)
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"a NASGEM study must be one of this version of gnas, but lacks: {error}"
            ) from error

    def open(self) -> Callable[[dict[str, Any]], dict[str, Any]]:
        """See `Job.open`; from then on this process works on one core.

        Raises:
            GnasError: see `open_proxy_images`.
            DataError: they are other images than the study's.
        """
        torch.set_num_threads(1)
        splits = open_proxy_images(self.images)
        if splits.sha256 != self.images_sha256:
            raise DataError(
                f"the images must be those that the search was begun with (sha256 "
                f"{self.images_sha256[:12]}...), but have {splits.sha256[:12]}..."
            )
        return partial(evaluate, self, splits)


def evaluate(job: NasgemJob, splits: ImageSplits, candidate: Mapping[str, Any]) -> dict[str, Any]:
    """Trains and scores one candidate.

    Args:
        job: How.
        splits: The job's images.
        candidate: ``architecture``, ``seed`` and ``stage``.

    Raises:
        DataError: the training diverged.
    """
    text = candidate["architecture"]
    graph = NASGEM(1 + text.partition("|")[0].count(",")).from_str(text)
    seed = candidate["seed"]
    network = fresh_network(partial(nasgem_network, graph, job.network), seed)
    shape = (splits.in_channels, splits.image_size, splits.image_size)
    macs, params = num_macs(network, shape), num_params(network)
    result = train_proxy(network, splits, job.recipes[candidate["stage"]], seed=seed)
    if not (math.isfinite(result.train_loss) and math.isfinite(result.val_loss)):
        raise DataError(
            f"a training must keep its losses finite, but they ended at "
            f"{result.train_loss} (training) and {result.val_loss} (validation)"
        )
    score = efficiency_score(result.val_acc, macs, job.lambda_)
    return {"score": score, **asdict(result), "macs": macs, "params": params}
