"""How, on what and how often an architecture is to be trained, whichever it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Self, get_args

from gnas.config import check_used, field_names, from_record, split_settings
from gnas.data.files import as_data_error, read_json
from gnas.data.images.batch_size import suited_batch
from gnas.data.images.config import IMAGE_SIZES, TrainImagesConfig
from gnas.data.images.names import TrainDataset
from gnas.errors import ConfigError
from gnas.retrain.config import NO_SIZES, PRESETS, SIZES, RetrainConfig
from gnas.runs import check_same_config, open_run_config, to_jsonable
from gnas.spaces.names import SPACE_HOMES, network_config

COMMAND = "retrain"
MAX_TRAININGS = 1000
"""More trainings in one run are taken for a mistake."""
MAX_PARAMS = 10**9
"""Larger networks are taken for a mistake: weights, gradients and momenta would need 12 GB."""
MAY_CHANGE = ("data_dir", "workers")
"""Settings of a resumed run that may differ from its first ones."""


@dataclass(frozen=True, kw_only=True)
class Trainings:
    """One training, or one for each number of layers and each seed.

    Raises:
        ConfigError: too many of them, or settings that do not go together.
    """

    config: RetrainConfig
    """Recipe of each training; ``seed`` is the first one."""
    images: TrainImagesConfig
    """Images to train and test on."""
    repeats: int = 1
    """Trainings of each size, with seeds ``seed``, ``seed + 1``, ..."""
    layers: tuple[int, ...] = ()
    """Numbers of layers; empty for ``config.layers`` alone."""
    num_params: int | None = None
    """Parameters that the network shall have, by its channels; see `plan.with_params`."""
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
        if self.num_params is not None and not 1 <= self.num_params <= MAX_PARAMS:
            raise ConfigError(
                f"num_params must be from 1 to {MAX_PARAMS:,}, but got {self.num_params:,}"
            )
        if self.num_params is not None and self.layers:
            raise ConfigError(
                f"num_params must go with one number of layers, but got {self.layers}"
            )
        if len(set(self.layers)) < len(self.layers):
            raise ConfigError(f"layers must be different numbers, but got {self.layers}")

    def fitted(self, count: int, processes: int) -> Self:
        """These with a batch size that suits the images, checked.

        Args:
            count: Images for training.
            processes: Processes that train together.

        Raises:
            ConfigError: batches cannot be made of the images, or shared out.
        """
        size = suited_batch(
            self.config.batch_size,
            count,
            accumulate=self.config.accumulate,
            processes=processes,
            chosen="batch_size" not in self.follows,
        )
        config = dataclasses.replace(self.config, batch_size=size)
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


def plan_trainings(
    dataset: TrainDataset = "digits",
    *,
    repeats: int = 1,
    layers: Sequence[int] | int = (),
    num_params: int | None = None,
    **changes: Any,
) -> Trainings:
    """The preset of ``dataset`` with changes.

    Shifts and cutout of the preset grow and shrink with the size of the images.

    Args:
        dataset: Image data set.
        repeats: Trainings of each size.
        layers: Numbers of layers, one or several.
        num_params: Parameters that the network shall have; its channels follow from it.
        changes: Fields of `RetrainConfig` and `TrainImagesConfig`, and of networks' configs.

    Raises:
        ConfigError: unknown names or impossible values.
    """
    if num_params is not None and "channels" in changes:
        raise ConfigError("channels must not be given beside num_params, which decides them")
    if dataset not in PRESETS:
        raise ConfigError(
            f"unknown dataset '{dataset}'; choose from {sorted(get_args(TrainDataset))}"
        )
    sizes = _sizes(layers)
    training, seeing = split_settings(
        of_networks(changes), RetrainConfig, TrainImagesConfig, own=("dataset",)
    )
    images = TrainImagesConfig(dataset=dataset, **seeing)
    preset = PRESETS[dataset]()
    scale = images.size / IMAGE_SIZES[dataset]
    preset = dataclasses.replace(
        preset, padding=round(preset.padding * scale), cutout=round(preset.cutout * scale)
    )
    config = dataclasses.replace(preset, **training)
    for size in reversed(sizes):  # each is checked, and the first one stays
        config = dataclasses.replace(config, layers=size)
    return Trainings(
        config=config,
        images=images,
        repeats=repeats,
        layers=sizes if len(sizes) > 1 else (),
        num_params=num_params,
        follows=() if "batch_size" in training else ("batch_size",),
    )


def check_options(plan: Trainings, chosen: Iterable[str]) -> None:
    """Check that settings that somebody chose do something in these trainings.

    Args:
        plan: The trainings.
        chosen: Names of settings.

    Raises:
        ConfigError: one does nothing.
    """
    reads_files = plan.images.dataset == "imagenet"
    from_files = reads_files, "images that are read from files, --dataset imagenet"
    needs = {
        "workers": from_files,
        "jitter": from_files,
        "padding": (not reads_files, "images in memory, not --dataset imagenet"),
        "split_seed": (plan.images.val_share > 0, "val_share above 0"),
    }
    check_used(chosen, needs, "training")


def of_networks(changes: Mapping[str, Any], options: Iterable[str] = ()) -> dict[str, Any]:
    """Changes with the fields of networks' configs in the one change ``network``.

    Args:
        changes: Settings of trainings and networks.
        options: Settings that are the networks' where they are not the trainings', beside the
            fields of built-in spaces' networks.
    """
    configs = [config for config in map(network_config, SPACE_HOMES) if config is not None]
    others = set().union(*map(field_names, configs)) - {*NO_SIZES, *chain(*SIZES.values())}
    trainings = field_names(RetrainConfig) | field_names(TrainImagesConfig)
    others |= {*options} - {*NO_SIZES, "repeats", "num_params"} - trainings
    named = {name: value for name, value in changes.items() if name in others}
    found = {name: value for name, value in changes.items() if name not in others}
    if named:
        found["network"] = {**found.get("network", {}), **named}
    return found


def recorded_trainings(record: Mapping[str, Any]) -> Trainings:
    """Trainings in the ``config.json`` of a run."""
    return Trainings(
        config=from_record(RetrainConfig, record["retrain"]),
        images=TrainImagesConfig(**record["images"]),
        repeats=record["repeats"],
        layers=tuple(record["layers"]),
    )


def resumed_trainings(
    folder: Path, changes: Mapping[str, Any], options: Mapping[str, Any] | None = None
) -> Trainings:
    """The trainings of the run in ``folder``, if they are what was asked for.

    Args:
        folder: The run's.
        changes: What was asked for beside resuming. Where the images lie and who reads them may
            change; their content is checked when a training goes on. ``epochs`` may be raised
            when the run has ended: the learning rate then goes on where the longer schedule has
            it, so that the result is not that of one longer training.
        options: Options of the networks of a space that is not built in, with their defaults;
            None where it is not loaded yet: unknown changes then pass.

    Raises:
        ConfigError: names what differs.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder, COMMAND) as record:
        plan = recorded_trainings(record)
        networks = network_config(record["space"]["name"])
    if networks is not None:
        options = of_networks(to_jsonable(networks())).get("network", {})
    moved = {name: value for name, value in changes.items() if name in MAY_CHANGE}
    plan = dataclasses.replace(plan, images=dataclasses.replace(plan.images, **moved))
    was: dict[str, Any] = {
        **to_jsonable(options or {}),
        **to_jsonable(plan.config.network),
        **to_jsonable(plan.images),
        **to_jsonable(plan.config),
        "repeats": plan.repeats,
    }
    was["layers"] = list(plan.layers) or [plan.config.layers]
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
    if "layers" in asked:
        asked["layers"] = list(_sizes(asked["layers"]))
    if options is None:
        asked = {name: value for name, value in asked.items() if name in was}
    check_same_config(folder, was, asked)
    return plan


def _sizes(layers: Sequence[int] | int) -> tuple[int, ...]:
    """Numbers of layers, of which ``--set layers=8`` gives a single one."""
    given: object = layers  # a setting may be anything
    if isinstance(given, str) or not isinstance(given, int | Iterable):
        raise ConfigError(f"layers must be a whole number, or several, but got {layers!r:.80}")
    return (layers,) if isinstance(layers, int) else tuple(layers)


def ended_before(folder: Path, epochs: int) -> bool:
    """Whether the result in a run's folder is of a training of fewer epochs."""
    path, what = folder / "result.json", "the result of a training"
    if not path.exists():
        return False
    with as_data_error(path, what):
        return bool(read_json(path, what)["config"]["retrain"]["epochs"] < epochs)
