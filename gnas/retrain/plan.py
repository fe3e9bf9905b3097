"""Plan of a retraining: one architecture, one recipe, some sizes and some seeds."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gnas.config import shared_out
from gnas.data.batches import check_batch, fitting_batch
from gnas.data.files import decoding, read_json
from gnas.data.train_test import IMAGE_SIZE, Dataset, TrainTestConfig
from gnas.errors import ConfigError
from gnas.retrain.config import CELL_SIZES, PRESETS, RetrainConfig
from gnas.runs import check_unchanged, plain, reading_config
from gnas.spaces import Space, space_of_record, space_record
from gnas.spaces.networks import NetworkConfig

logger = logging.getLogger(__name__)

COMMAND = "retrain"
MAX_TRAININGS = 1000
"""More trainings in one run are taken for a mistake."""
MAY_CHANGE = ("data_dir", "workers")
"""Settings of a resumed run that may differ from its first ones."""


@dataclass(frozen=True, kw_only=True)
class RetrainPlan:
    """One training, or one for each number of layers and each seed."""

    space: Space
    """The architecture's."""
    architecture: str
    """Text of the architecture, in the notation of the space."""
    config: RetrainConfig
    """How each is trained; ``seed`` is the first one."""
    images: TrainTestConfig
    """What on."""
    repeats: int = 1
    """Trainings of each size, with seeds ``seed``, ``seed + 1``, ..."""
    layers: tuple[int, ...] = ()
    """Numbers of layers; empty for ``config.layers`` alone."""
    follows: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """Settings that nobody chose and that `fitted` may lower for few images."""

    def __post_init__(self) -> None:
        if type(self.repeats) is not int or self.repeats < 1:
            raise ConfigError(f"repeats must be at least 1, but got {self.repeats!r}")
        trainings = self.repeats * max(1, len(self.layers))
        if trainings > MAX_TRAININGS:
            raise ConfigError(
                f"repeats times the numbers of layers must be at most {MAX_TRAININGS:,} "
                f"trainings, but got {trainings:,}"
            )
        for name in ("padding", "cutout"):
            if getattr(self.config, name) > self.images.size:
                raise ConfigError(
                    f"{name} must be at most the {self.images.size} pixels of the images, but "
                    f"got {getattr(self.config, name)}"
                )
        if len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers must be different numbers, but got {self.layers}")

    def fitted(self, count: int, processes: int) -> RetrainPlan:
        """This plan with a batch size that suits the images, checked.

        Args:
            count: Images for training.
            processes: Processes that train together.

        Raises:
            ConfigError: batches cannot be made of the images, or shared out.
        """
        config, pieces = self.config, self.config.accumulate
        if "batch_size" in self.follows:
            size = fitting_batch(config.batch_size, count, accumulate=pieces, processes=processes)
            config = dataclasses.replace(config, batch_size=size)
        check_batch(config.batch_size, count, accumulate=pieces, processes=processes)
        return dataclasses.replace(self, config=config, follows=())

    def trainings(self) -> dict[str, RetrainConfig]:
        """Every single training by the name of its folder; "" for a plan of one."""
        found = {}
        for layers in self.layers or (self.config.layers,):
            for seed in range(self.config.seed, self.config.seed + self.repeats):
                parts = [f"layers-{layers}"] if len(self.layers) > 1 else []
                parts += [f"seed-{seed}"] if self.repeats > 1 else []
                config = dataclasses.replace(self.config, layers=layers, seed=seed)
                found["/".join(parts)] = config
        return found


def plan_retrain(
    space: Space,
    architecture: str,
    dataset: Dataset = "digits",
    *,
    repeats: int = 1,
    layers: Sequence[int] | int = (),
    **changes: Any,
) -> RetrainPlan:
    """The preset of ``dataset`` with changes.

    Shifts and cutout of the preset grow and shrink with the size of the images.

    Args:
        space: The architecture's.
        architecture: Text of the architecture, in the notation of the space.
        dataset: Which images.
        repeats: Trainings of each size.
        layers: Numbers of layers, one or several.
        changes: Fields of `RetrainConfig` and `TrainTestConfig`.

    Raises:
        GraphError: the architecture is malformed.
        ConfigError: unknown names or impossible values.
        UnsupportedError: the space does not say how its networks are built.
    """
    if dataset not in PRESETS:
        raise ConfigError(f"unknown dataset '{dataset}'; choose from {sorted(get_args(Dataset))}")
    layers = (layers,) if isinstance(layers, int) else layers  # --set layers=8
    if "layers" in changes or len(set(layers)) < len(layers):
        raise ConfigError(f"layers must be different numbers, but got {tuple(layers)}")
    training, seeing = shared_out(changes, RetrainConfig, TrainTestConfig, own="dataset")
    architecture = space.to_str(space.from_str(architecture))
    images = TrainTestConfig(dataset=dataset, **seeing)
    preset = PRESETS[dataset]()
    scale = images.size / IMAGE_SIZE[dataset]
    preset = dataclasses.replace(
        preset, padding=round(preset.padding * scale), cutout=round(preset.cutout * scale)
    )
    config = dataclasses.replace(preset, **training)
    if layers:
        config = dataclasses.replace(config, layers=layers[0])
    config = _sized(space, dataset, config)
    several = tuple(layers) if len(layers) > 1 else ()
    plan = RetrainPlan(
        space=space,
        architecture=architecture,
        config=config,
        images=images,
        repeats=repeats,
        layers=several,
        follows=() if "batch_size" in training else ("batch_size",),
    )
    for each in plan.trainings().values():
        network_of(space, each, in_channels=3, num_classes=10)
    return plan


def network_of(
    space: Space, config: RetrainConfig, *, in_channels: int, num_classes: int
) -> NetworkConfig:
    """Size and form of the network that ``config`` trains.

    Raises:
        ConfigError: such networks cannot have this size.
        UnsupportedError: the space does not say how its networks are built.
    """
    networks = space.networks
    known = {} if networks is None else networks.defaults
    on_files = config.stem == "imagenet"
    size: dict[str, Any] = {"stem": config.stem} if "stem" in known or on_files else {}
    if "auxiliary" in known:
        size["auxiliary"] = config.auxiliary_weight > 0
    if networks is not None:
        size |= {networks.depth or "layers": config.layers}
        size |= {networks.width or "channels": config.channels}
        if on_files:
            size = {**networks.large, **{k: v for k, v in size.items() if v is not None}}
    sized: NetworkConfig = space.network_config(
        **{**size, "in_channels": in_channels, "num_classes": num_classes}
    )
    return sized


def planned(folder: Path) -> RetrainPlan:
    """The plan of the run in ``folder``.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with reading_config(folder, COMMAND) as record:
        return RetrainPlan(
            space=space_of_record(record["space"], run=True),
            architecture=record["architecture"],
            config=RetrainConfig.from_dict(record["retrain"]),
            images=TrainTestConfig(**record["images"]),
            repeats=record["repeats"],
            layers=tuple(record["layers"]),
        )


def ended_before(folder: Path, epochs: int) -> bool:
    """Whether the result in a run's folder is of a training of fewer epochs."""
    path, what = folder / "result.json", "the result of a training"
    if not path.exists():
        return False
    with decoding(path, what):
        return bool(read_json(path, what)["config"]["retrain"]["epochs"] < epochs)


def resumed_plan(
    folder: Path, asked_for: tuple[Space, str] | None, changes: Mapping[str, Any]
) -> RetrainPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        asked_for: The space and the text of the architecture that was; None if none was.
        changes: What was asked for beside resuming. Where the images lie and who reads them may
            change; their content is checked when a training goes on. ``epochs`` may be raised
            when the run has ended: the learning rate then goes on where the longer schedule has
            it, so that the result is not that of one longer training.

    Raises:
        ConfigError: names what differs.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    plan = planned(folder)
    moved = {name: value for name, value in changes.items() if name in MAY_CHANGE}
    plan = dataclasses.replace(plan, images=dataclasses.replace(plan.images, **moved))
    was = {**plain(plan.images), **plain(plan.config), "repeats": plan.repeats}
    was |= {"space": space_record(plan.space), "architecture": plan.architecture}
    was["layers"] = list(plan.layers)
    if not plan.layers:
        was["layers"] = [plan.config.layers]
    raised = changes.get("epochs", 0)
    if type(raised) is int and raised > plan.config.epochs:
        if not (folder / "result.json").exists() or ended_before(folder, plan.config.epochs):
            raise ConfigError(
                f"epochs may be raised when a run has ended, but {folder} has not; go on with it "
                f"without --epochs first"
            )
        plan = dataclasses.replace(plan, config=dataclasses.replace(plan.config, epochs=raised))
        was["epochs"] = raised
    asked = dict(changes)
    if asked_for is not None:
        asked |= {"space": space_record(asked_for[0]), "architecture": asked_for[1]}
    check_unchanged(folder, was, asked)
    return plan


def _sized(space: Space, dataset: Dataset, config: RetrainConfig) -> RetrainConfig:
    """``config`` with the size that fits the space, and without what its networks lack."""
    if space.networks is not None and "auxiliary" in space.networks.defaults:
        layers, channels = CELL_SIZES[dataset]
        return dataclasses.replace(
            config,
            layers=layers if config.layers is None else config.layers,
            channels=channels if config.channels is None else config.channels,
        )
    if config.auxiliary_weight or config.drop_path:
        logger.warning(
            "networks of '%s' have neither an auxiliary head nor paths to drop; "
            "training without them",
            space.name,
        )
    return dataclasses.replace(config, auxiliary_weight=0.0, drop_path=0.0)
