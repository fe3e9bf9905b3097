"""Plan of a retraining: one architecture, one recipe, some sizes and some seeds."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from gnas.config import checked
from gnas.data.images.names import TrainDataset
from gnas.errors import ConfigError
from gnas.models import counting
from gnas.retrain.config import CELL_SIZES, NO_SIZES, RetrainConfig
from gnas.retrain.trainings import (
    COMMAND,
    Trainings,
    of_networks,
    plan_trainings,
    recorded_trainings,
    resumed_trainings,
)
from gnas.runs import NOTICE, check_same_config, open_run_config
from gnas.spaces import Space, space_of_record, space_record
from gnas.spaces.networks import NetworkConfig
from gnas.training.devices import own_generator, suited_threads

logger = logging.getLogger(__name__)

FIRST_CHANNELS = 16
"""From where channels for a number of parameters are looked for."""
FORECASTS = 4
"""Steps before they are looked for one by one."""


@dataclass(frozen=True, kw_only=True)
class RetrainPlan(Trainings):
    """Trainings of one architecture.

    Examples:
        >>> from gnas.retrain import plan_retrain
        >>> from gnas.spaces import NASGEM
        >>> plan = plan_retrain(
        ...     NASGEM(), "conv_1x1|0", repeats=2, layers=(1, 2), auxiliary_weight=0, drop_path=0
        ... )
        >>> list(plan.trainings())
        ['layers-1/seed-0', 'layers-1/seed-1', 'layers-2/seed-0', 'layers-2/seed-1']
    """

    space: Space
    """The architecture's."""
    architecture: str
    """Text of the architecture, in the notation of the space."""


@checked
def plan_retrain(
    space: Space,
    architecture: str,
    dataset: TrainDataset = "digits",
    *,
    repeats: int = 1,
    layers: Sequence[int] | int = (),
    num_params: int | None = None,
    **changes: Any,
) -> RetrainPlan:
    """The preset of ``dataset`` with changes.

    Shifts and cutout of the preset grow and shrink with the size of the images.

    Args:
        space: The architecture's.
        architecture: Text of the architecture, in the notation of the space.
        dataset: Image data set.
        repeats: Trainings of each size.
        layers: Numbers of layers, one or several.
        num_params: Parameters that the network shall have; its channels follow from it.
        changes: Fields of `RetrainConfig` and `TrainImagesConfig`, and of the space's networks.

    Raises:
        GraphError: the architecture is malformed.
        ConfigError: unknown names or impossible values.
        UnsupportedError: the space does not say how its networks are built.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> plan = plan_retrain(
        ...     NASGEM(), "conv_1x1|0", "digits",
        ...     epochs=5, channels=8, auxiliary_weight=0, drop_path=0,
        ... )
        >>> plan.config.epochs, plan.config.channels, plan.config.lr
        (5, 8, 0.1)
    """
    changes = of_networks(changes, _options(space))
    asked = plan_trainings(
        dataset, repeats=repeats, layers=layers, num_params=num_params, **changes
    )
    plan = RetrainPlan(
        **{**vars(asked), "config": _sized(space, dataset, asked.config)},
        space=space,
        architecture=space.to_str(space.from_str(architecture)),
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
    if on_files and networks is not None and "stem" not in known:
        raise ConfigError(
            f"networks of '{space.name}' have no 'stem' for large images; set stem=cifar"
        )
    size: dict[str, Any] = {"stem": config.stem} if "stem" in known else {}
    if "auxiliary" in known:
        size["auxiliary"] = config.auxiliary_weight > 0
    settings = {"stem": "stem", "auxiliary": "auxiliary_weight"}
    if networks is not None:
        depth, width = networks.depth or "layers", networks.width or "channels"
        settings |= {depth: "layers", width: "channels"}
        size |= {depth: config.layers, width: config.channels}
        if on_files:
            size = {**networks.large, **{k: v for k, v in size.items() if v is not None}}
    for name in sorted(settings.keys() & config.network.keys()):
        raise ConfigError(
            f"network must have fields without a setting of their own, but has {name}; "
            f"set {settings[name]}"
        )
    size |= config.network
    sized: NetworkConfig = space.network_config(
        **{**size, "in_channels": in_channels, "num_classes": num_classes}
    )
    return sized


def threads_for(plan: RetrainPlan) -> int | None:
    """Number of threads that suits the trainings on a CPU; see `suited_threads`.

    Args:
        plan: The trainings. Where channels are yet to be found for a number of parameters, it is
            left to torch.
    """
    networks = plan.space.networks
    if networks is None or plan.num_params is not None:
        return None
    size = network_of(plan.space, plan.config, in_channels=3, num_classes=10)
    channels = getattr(size, networks.width or "channels", None)
    if not isinstance(channels, int):
        return None
    return suited_threads(plan.config.batch_size, channels, plan.images.size)


def with_params(plan: RetrainPlan, *, in_channels: int, num_classes: int) -> RetrainPlan:
    """``plan`` with the even number of channels nearest to ``plan.num_params`` parameters.

    The paper's Table 5 compares cells of different numbers of edges in networks of as many
    parameters (Huang et al. 2020).

    Raises:
        ConfigError: networks of the space have no width, or two channels are too many.
        UnsupportedError: the space does not say how its networks are built.
    """
    wanted = plan.num_params
    if wanted is None:
        return plan
    if plan.space.needed_networks().width is None:
        raise ConfigError(
            f"num_params must go with networks that have a number of channels, but those of "
            f"'{plan.space.name}' have none"
        )
    graph = plan.space.from_str(plan.architecture)

    @cache
    def count(channels: int) -> int:
        config = dataclasses.replace(plan.config, channels=channels)
        size = network_of(plan.space, config, in_channels=in_channels, num_classes=num_classes)
        with own_generator():
            return counting.num_params(plan.space.network(graph, size))

    def distance(channels: int) -> int:
        return abs(count(channels) - wanted)

    channels = FIRST_CHANNELS
    for _ in range(FORECASTS):  # parameters grow about as the square
        channels = max(2, 2 * round(channels / 2 * math.sqrt(wanted / count(channels))))
    while (nearer := min(max(2, channels - 2), channels + 2, key=distance)) != channels:
        if distance(nearer) >= distance(channels):
            break
        channels = nearer
    if channels == 2 and count(2) > wanted:
        raise ConfigError(
            f"num_params must be at least {count(2):,}, the parameters of two channels, but got "
            f"{wanted:,}"
        )
    logger.log(NOTICE, "%d channels: %s parameters", channels, f"{count(channels):,}")
    config = dataclasses.replace(plan.config, channels=channels)
    return dataclasses.replace(plan, config=config, num_params=None)


def planned(folder: Path) -> RetrainPlan:
    """The plan of the run in ``folder``.

    Args:
        folder: Folder of the run.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder, COMMAND) as record:
        return RetrainPlan(
            **vars(recorded_trainings(record)),
            space=space_of_record(record["space"], run=True),
            architecture=record["architecture"],
        )


def resumed_plan(
    folder: Path, asked_for: tuple[Space, str] | None, changes: Mapping[str, Any]
) -> RetrainPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        asked_for: The space and the text of the architecture that was; None if none was.
        changes: What was asked for beside resuming; see `resumed_trainings`.

    Raises:
        ConfigError: names what differs.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    plan = planned(folder)
    asked = resumed_trainings(folder, changes, _options(plan.space))
    plan = dataclasses.replace(plan, **vars(asked))
    if asked_for is not None:
        was = {"space": space_record(plan.space), "architecture": plan.architecture}
        wanted = {"space": space_record(asked_for[0]), "architecture": asked_for[1]}
        check_same_config(folder, was, wanted)
    return plan


def _options(space: Space) -> dict[str, Any]:
    """The options of a space's networks beside their depth and width, with their defaults."""
    networks = space.networks
    if networks is None:
        return {}
    sizes = (*NO_SIZES, networks.depth, networks.width)
    return {name: value for name, value in networks.defaults.items() if name not in sizes}


def _sized(space: Space, dataset: TrainDataset, config: RetrainConfig) -> RetrainConfig:
    """``config`` with the size that fits the space, and without what its networks lack."""
    networks = space.networks
    if networks is not None and "auxiliary" in networks.defaults:
        layers, channels = CELL_SIZES[dataset]
        return _with_size(config, layers, channels)
    if config.auxiliary_weight or config.drop_path:
        logger.warning(
            "networks of '%s' have neither an auxiliary head nor paths to drop; "
            "training without them",
            space.name,
        )
    if networks is not None:
        usual = {**networks.defaults, **(networks.large if config.stem == "imagenet" else {})}
        found = (usual.get(name or "") for name in (networks.depth, networks.width))
        config = _with_size(config, *(one if type(one) is int else None for one in found))
    return dataclasses.replace(config, auxiliary_weight=0.0, drop_path=0.0)


def _with_size(config: RetrainConfig, layers: int | None, channels: int | None) -> RetrainConfig:
    """``config`` with this size where it has none."""
    return dataclasses.replace(
        config,
        layers=layers if config.layers is None else config.layers,
        channels=channels if config.channels is None else config.channels,
    )
