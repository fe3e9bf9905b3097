"""The images and the network of a run, so that whatever follows it speaks of the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from gnas.data.files import FORMAT_ERRORS, as_data_error, read_text
from gnas.data.images.config import PROXY_IMAGE_SIZES, TrainImagesConfig
from gnas.data.images.names import TrainDataset
from gnas.errors import DataError
from gnas.retrain.config import NO_SIZES, PRESETS, SIZES
from gnas.spaces.names import network_config

DATASETS = {"imagenet-3pct": "imagenet"}
"""Data sets of a search that a training calls otherwise."""


@dataclass(frozen=True, kw_only=True)
class RunSource:
    """Images that a search or a training worked on."""

    folder: Path
    """The run's."""
    command: str
    """The command that made it."""
    dataset: TrainDataset
    """Name of the data set in a training's configuration."""
    data_dir: str | None
    """Folder of the images."""
    image_size: int
    """Height and width in pixels."""
    list_used: bool
    """Whether the run saw the images of a list only."""
    network: Mapping[str, Any]
    """Fields of the network's config that the run states."""
    own_space: bool = False
    """Whether the space is not built in: its networks have no other names for their size."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of their numbers, where the run states them."""
    mean: tuple[float, ...] = ()
    """Means of the channels of images in [0, 1], likewise."""
    std: tuple[float, ...] = ()
    """Deviations of the channels."""

    def settings(self) -> dict[str, Any]:
        """Settings of a training on the same images, of a network of the same size."""
        found: dict[str, Any] = {"data_dir": self.data_dir, "image_size": self.image_size}
        rest = {name: value for name, value in self.network.items() if value is not None}
        for field, names in SIZES.items():
            known = (field,) if self.own_space else names
            given = [rest.pop(name) for name in known if name in rest]
            if given:
                found[field] = (given[0],) if field == "layers" else given[0]
        rest = {name: value for name, value in rest.items() if name not in NO_SIZES}
        return {**found, "network": rest} if rest else found

    def line(self, images: TrainImagesConfig) -> str:
        """One line on ``images``, which are the run's but for what options changed."""
        where = "" if images.data_dir is None else f" in {images.data_dir}"
        size = images.image_size or self.image_size
        text = f"as in {self.folder} ({self.command}): {self.dataset}{where}, {size}x{size} pixels"
        return text + (", all images and not its list alone" if self.list_used else "")


def run_source(folder: Path) -> RunSource | None:
    """Images that the run in ``folder`` worked on; None without a run or without images.

    Raises:
        DataError: the run's files are damaged.
    """
    path = folder / "config.json"
    if not path.is_file():
        return None
    record = _read(path)
    config = record.get("config")
    if isinstance(config, dict) and isinstance(config.get("evaluator"), dict):
        with as_data_error(path, "the config of a run"):
            config = _flat(config)
    if not isinstance(config, dict) or not isinstance(config.get("images"), dict):
        return None
    try:
        images = config["images"]
        dataset = DATASETS.get(images["dataset"], images["dataset"])
        data = record.get("data") or _data_of_final(folder)
        size = data["image_size"] if data else config["image_size"]
        data_dir = images["data_dir"]
        if dataset not in PRESETS or type(size) is not int:
            raise ValueError(f"dataset {dataset!r:.60}, image_size {size!r:.60}")
        if not isinstance(data_dir, str | None):
            raise TypeError(f"data_dir {data_dir!r:.60}")
        return RunSource(
            folder=folder,
            command=str(config["command"]),
            dataset=cast(TrainDataset, dataset),
            data_dir=data_dir,
            image_size=size,
            list_used=images.get("images") is not None,
            network={**_network(folder, config), **_ends(data)},
            own_space="space" in config and network_config(config["space"]["name"]) is None,
            classes=tuple(map(str, data.get("class_names", ()))),
            mean=tuple(float(value) / 255 for value in data.get("mean", ())),
            std=tuple(float(value) / 255 for value in data.get("std", ())),
        )
    except FORMAT_ERRORS as error:
        raise DataError(f"{path} must be the config of a run, but: {error!r:.120}") from error


def _data_of_final(folder: Path) -> dict[str, Any]:
    """Record of the images of the training that several searches end with."""
    path = folder / "final" / "config.json"
    data = _read(path).get("data") if path.is_file() else None
    return data if isinstance(data, dict) else {}


def _flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a search by any searcher, in the form of the others' configs."""
    evaluator, plan = config["evaluator"], config.get("plan")
    images = evaluator.get("images")
    if not isinstance(images, dict):  # measured by a table or a function
        return {}
    folder = plan.get("data_dir") if isinstance(plan, dict) else None
    size = images.get("image_size") or PROXY_IMAGE_SIZES.get(images.get("dataset", ""))
    return {
        "command": config.get("command"),
        "images": {**images, "data_dir": folder},
        "image_size": size,
        "network": evaluator.get("network"),
        "space": config["space"],
    }


def _ends(data: Mapping[str, Any]) -> dict[str, int]:
    """The first and the last width of networks for the data that a run recorded."""
    names = {"in_channels": "in_channels", "num_classes": "classes"}
    return {field: int(data[name]) for field, name in names.items() if name in data}


def _network(folder: Path, config: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a training, or of the network of a finished search."""
    if isinstance(config.get("retrain"), dict):
        found = {name: config["retrain"].get(name) for name in SIZES}
        return {**config["retrain"].get("network", {}), **found}
    if isinstance(config.get("network"), dict):
        return dict(config["network"])
    path = folder / "result.json"
    network = _read(path).get("network") if path.is_file() else None
    return network if isinstance(network, dict) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(read_text(path, "a run's file"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path} must be a JSON file, but cannot be read as one") from error
    if not isinstance(record, dict):
        raise DataError(f"{path} must be a JSON object, but is {record!r:.60}")
    return record


def weights_folder(path: Path) -> Path:
    """``path``, or the last weights in it if it is the folder of a training."""
    return path / "weights" if (path / "weights").is_dir() else path
