"""Measures by a short training on a small set of images."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gnas.config import checked, from_record
from gnas.data.columns import COUNTED
from gnas.data.images.config import CandidateImages, ProxyImagesConfig, candidate_images
from gnas.data.images.parts import ImageParts, open_candidate_images
from gnas.errors import ConfigError, DataError
from gnas.evaluate.base import Evaluator, Measures
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.models import check_network, num_macs, num_params
from gnas.runs import to_jsonable
from gnas.spaces.base import Space
from gnas.training.devices import own_generator, own_settings
from gnas.training.evaluation import eval_mode
from gnas.training.recipe import ProxyRecipe
from gnas.training.short import fresh_network, train_proxy

TRAINED = ("val_acc", "test_acc", "val_loss", "train_loss", "train_time_s")
LATENCY = "latency_ms"
WARM_UPS, REPEATS = 3, 20
"""Choice: forward passes before and in a measurement of latency."""


class TrainingEvaluator(Evaluator):
    """Measures by a short training of the architecture's network, the same for all.

    ``macs`` and ``num_params`` are counted on the network, without training; ``latency_ms`` is the
    median time of one image through the untrained network on one core of the machine that
    evaluates, and the one measure that is not the same at every evaluation.

    Args:
        images: Images, or the name of a data set of `ProxyImagesConfig`.
        recipe: Training recipe; None takes `ProxyRecipe`, mirroring images except digits.
        network: Fields of the space's network config that differ from a small network's.
        latency: Also measure ``latency_ms``.
        stages: Recipes of further stages by name, longer ones for example; see `Evaluator.at`.
        splits: The images, where they are open already.

    Raises:
        ConfigError: impossible settings.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> evaluator = TrainingEvaluator("digits", ProxyRecipe(epochs=1))
        >>> evaluator.measures[:2]
        ('val_acc', 'test_acc')
        >>> evaluator.open(NASBench201())
        >>> counts = evaluator.count(NASBench201().enumerate()[:2], ["num_params"])
        >>> counts["num_params"].shape
        (2,)
    """

    kind: ClassVar[str] = "training"
    counted = COUNTED

    @checked
    def __init__(
        self,
        images: CandidateImages | str = "digits",
        recipe: ProxyRecipe | None = None,
        *,
        network: Mapping[str, Any] | None = None,
        latency: bool = False,
        stages: Mapping[str, ProxyRecipe] | None = None,
        splits: ImageParts | None = None,
    ) -> None:
        if isinstance(images, str):
            images = from_record(ProxyImagesConfig, {"dataset": images})
        self.images = images
        self.recipe = recipe or ProxyRecipe(flip=images.dataset != "digits")
        self.network = dict(network or {})
        self.latency = latency
        self.measures = (*TRAINED, *COUNTED, *((LATENCY,) if latency else ()))
        self.recipes = dict(stages or {})
        self.stages = tuple(self.recipes)
        self.images_sha256: str | None = None
        """Digest of all pixels and labels, known after `open`."""
        self._splits = splits
        self._space: Space | None = None
        self._build: Callable[[Data], nn.Module] | None = None
        self._counts: dict[bytes, tuple[float, float]] = {}

    def __getstate__(self) -> dict[str, Any]:
        loaded: dict[str, Any] = {"_space": None, "_splits": None, "_build": None, "_counts": {}}
        return {**self.__dict__, **loaded}

    @own_settings()
    def open(self, space: Space) -> None:
        """Read the images; from then on this process works on one core.

        Raises:
            GnasError: see `open_candidate_images`.
            ConfigError: architectures of ``space`` have no network, or none of this size.
            DataError: the images are others than those of the search's beginning.
        """
        torch.set_num_threads(1)
        splits = self._splits or open_candidate_images(self.images)
        if self.images_sha256 not in (None, splits.sha256):
            raise DataError(
                f"the images must be those that the search was begun with (sha256 "
                f"{str(self.images_sha256)[:12]}...), but have {splits.sha256[:12]}...; say where "
                "they are with --data-dir"
            )
        self.network = network_size(space, self.network)
        build = network_builder(
            space, self.network, in_channels=splits.in_channels, num_classes=splits.num_classes
        )
        self._space, self._splits, self._build = space, splits, build
        self.images_sha256 = splits.sha256

    @own_settings()
    def evaluate(self, graph: Data, *, seed: int) -> Measures:
        """See `Evaluator.evaluate`.

        Raises:
            DataError: the training diverged.
        """
        splits, build = self._opened()
        network = fresh_network(partial(build, graph), seed)
        shape = (splits.in_channels, splits.image_size, splits.image_size)
        check_network(network, shape, splits.num_classes)
        found = {"macs": float(num_macs(network, shape)), "num_params": float(num_params(network))}
        if self.latency:
            found[LATENCY] = latency_ms(network, shape)
        trained = train_proxy(network, splits, self.recipe, seed=seed)
        if not (math.isfinite(trained.train_loss) and math.isfinite(trained.val_loss)):
            raise DataError(
                f"a training must keep its losses finite, but they ended at "
                f"{trained.train_loss} (training) and {trained.val_loss} (validation)"
            )
        return {**asdict(trained), **found}

    def build(self, graph: Data) -> nn.Module:
        """The network of an architecture, with weights from torch's global generator."""
        return self._opened()[1](graph)

    def at(self, stage: str) -> TrainingEvaluator:
        """See `Evaluator.at`: trains by the stage's own recipe."""
        if stage not in self.recipes:
            return self
        longer = TrainingEvaluator.__new__(TrainingEvaluator)
        vars(longer).update(vars(self), recipe=self.recipes[stage])  # what is open stays open
        return longer

    @own_settings()
    def count(
        self, graphs: DenseBatch, names: Collection[str] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """MACs of one image and parameters of each network, float64 [N].

        Args:
            graphs: N architectures.
            names: Measures to count, of "macs" and "num_params"; None counts both.
        """
        splits, build = self._opened()
        wanted = [name for name in COUNTED if names is None or name in names]
        if wanted == ["macs"] and (macs := self.cost(graphs)) is not None:
            return {"macs": macs}
        shape = (splits.in_channels, splits.image_size, splits.image_size)
        rows = []
        for graph in graphs:
            key = _bytes_of(graph)
            if key not in self._counts:
                network = fresh_network(partial(build, graph), 0)
                self._counts[key] = float(num_macs(network, shape)), float(num_params(network))
            rows.append(self._counts[key])
        table = np.array(rows, dtype=np.float64).reshape(len(rows), len(COUNTED))
        return {name: table[:, COUNTED.index(name)] for name in wanted}

    def cost(self, graphs: DenseBatch) -> NDArray[np.float64] | None:
        """MACs, where the space can count them without networks."""
        if self._space is None:
            return None
        splits = self._opened()[0]
        config = self._space.network_config(
            **self.network, in_channels=splits.in_channels, num_classes=splits.num_classes
        )
        macs = self._space.count_macs(graphs, config, splits.image_size)
        return None if macs is None else macs.astype(np.float64)

    def data_facts(self) -> dict[str, Any] | None:
        """See `Evaluator.data_facts`: metadata of the images, and the digest of all parts."""
        splits = self._opened()[0]
        return {**splits.metadata(), "sha256": splits.sha256, "read": splits.line()}

    def metadata(self) -> dict[str, Any]:
        """Images, recipe and size; without the folder of the images, which may move."""
        return {
            "kind": self.kind,
            "images": self.images.metadata(),
            "images_sha256": self.images_sha256,
            "recipe": asdict(self.recipe),
            "network": self.network,
            "latency": self.latency,
            **({"stages": to_jsonable(self.recipes)} if self.recipes else {}),
        }

    @staticmethod
    def from_metadata(
        facts: Mapping[str, Any], *, data_dir: str | None = None
    ) -> TrainingEvaluator:
        """The evaluator that wrote the facts.

        Args:
            facts: Metadata returned by `metadata`.
            data_dir: Folder of the images on this machine.

        Raises:
            ConfigError: the facts are of another version.
        """
        try:
            images = candidate_images(facts["images"], data_dir)
            found = TrainingEvaluator(
                images,
                from_record(ProxyRecipe, facts["recipe"]),
                network=facts["network"],
                latency=facts["latency"],
                stages={
                    name: from_record(ProxyRecipe, recipe)
                    for name, recipe in facts.get("stages", {}).items()
                },
            )
            found.images_sha256 = facts["images_sha256"]
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"a search must be one of this version of gnas, but lacks: {error}"
            ) from error
        return found

    def _opened(self) -> tuple[ImageParts, Callable[[Data], nn.Module]]:
        if self._splits is None or self._build is None:
            raise ConfigError("an evaluator must be opened before it evaluates; call `open`")
        return self._splits, self._build


def network_size(space: Space, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Fields of the config of a space's small networks that differ from its defaults.

    Args:
        space: Space of the architectures.
        changes: Fields that differ from the defaults.

    Raises:
        UnsupportedError: architectures of the space have no network.
    """
    return {**space.needed_networks().small, **changes}


def network_builder(
    space: Space, size: Mapping[str, Any], *, in_channels: int, num_classes: int
) -> Callable[[Data], nn.Module]:
    """A function that builds the networks of a space's architectures.

    Args:
        space: Space of the architectures.
        size: See `network_size`.
        in_channels: Channels of the images.
        num_classes: Width of the classifier.

    Raises:
        ConfigError: networks of the space cannot have this size.
    """
    config = space.network_config(**size, in_channels=in_channels, num_classes=num_classes)
    return partial(space.network, config=config)


def latency_ms(network: nn.Module, shape: tuple[int, int, int]) -> float:
    """Median milliseconds of one image of shape [C, H, W] through the network, on one core.

    Args:
        network: The network.
        shape: Shape of one image, (C, H, W).
    """
    image = torch.zeros(1, *shape)
    times = []
    with eval_mode(network), own_generator(), torch.inference_mode():
        for _ in range(WARM_UPS + REPEATS):
            start = time.perf_counter()
            network(image)
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times[WARM_UPS:])


def _bytes_of(graph: Data) -> bytes:
    parts = [graph.x, graph.edge_index, *([graph.edge_op] if "edge_op" in graph else [])]
    parts += [graph.cell] if "cell" in graph else []
    return b"|".join(part.numpy().tobytes() for part in parts)
