"""Plans of supernet searches: how, where, and in which images."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from gnas.config import (
    Count,
    CountOrZero,
    check_used,
    configuration,
    from_record,
    split_settings,
)
from gnas.data.images.batch_size import suited_batch
from gnas.data.images.config import SearchImagesConfig
from gnas.data.images.names import SearchDataset
from gnas.errors import ConfigError
from gnas.runs import check_same_config, open_run_config, to_jsonable
from gnas.search.toponas.config import (
    BASELINES,
    DARTS,
    EIGENVALUE_WINDOW,
    PRESETS,
    SIZES,
    SPACE_OF_DARTS,
    ToponasConfig,
)
from gnas.spaces.names import is_own_space

COMMAND = "search toponas"
SELECT_COMMAND = "search toponas --select"
_OF_BASELINES = {
    "topology": "no topology variables",
    "method": "a method of its own",
    "mode": "a mode of its own",
    "relaxation": "a relaxation of its own",
}
"""Fields by which each of `BASELINES` is what it is, and what is said of them."""
MAY_CHANGE = ("data_dir", "images", "workers")
"""Settings of a resumed search that may differ from its first ones."""


@dataclass(frozen=True)
class ToponasPlan:
    """Config of a search, and its images."""

    config: ToponasConfig
    images: SearchImagesConfig
    follows: tuple[str, ...] = field(default=(), compare=False)
    """Settings that nobody chose and that `fitted` may lower for few images."""

    def fitted(self, count: int, processes: int) -> ToponasPlan:
        """This plan with a batch size that suits the images, checked.

        Args:
            count: Images of the smallest part.
            processes: Processes that search together.

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
        return ToponasPlan(config, self.images)


@configuration
class Selection:
    """Protocol by which cells are chosen and compared.

    Raises:
        ConfigError: a number is out of its range.
    """

    seeds: Count = 4
    """Searches, with the seeds of the plan's and those that follow (the paper: 4)."""
    repeats: Count = 10
    """Trainings of the chosen cell on all training images (the paper: 10)."""
    random: CountOrZero = 0
    """Cells drawn from the same space, each trained once by the same recipe."""
    recipe: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the trainings that differ from `gnas retrain`'s: epochs, channels, ...."""

    def __post_init__(self) -> None:
        for name in ("val_share", "repeats", "seed", "layers"):
            if name in self.recipe and (name != "layers" or type(self.recipe[name]) is not int):
                raise ConfigError(f"the trainings' {name} follows from the protocol; leave it out")


def plan_search(
    dataset: SearchDataset = "digits",
    *,
    space: str = DARTS,
    size: str | None = None,
    baseline: str | None = None,
    **changes: Any,
) -> ToponasPlan:
    """The preset of ``dataset`` or of ``space``, with changes.

    Args:
        dataset: Image data set.
        space: Where to search; see `ToponasConfig.space`. "toponas" means "darts" too.
        size: One of the presets of the space in `SIZES`; None takes the first where there are
            any, else the preset of the images.
        baseline: One of `BASELINES`, to be changed in turn by ``changes``.
        changes: Fields of `ToponasConfig` and `SearchImagesConfig`; ``seed`` is both's.

    Raises:
        ConfigError: unknown names or impossible values.
        UnsupportedError: the space has no supernet.
    """
    if dataset not in PRESETS:
        raise ConfigError(
            f"unknown dataset '{dataset}'; choose from {sorted(get_args(SearchDataset))}"
        )
    if baseline is not None and baseline not in BASELINES:
        raise ConfigError(f"unknown baseline '{baseline}'; choose from {sorted(BASELINES)}")
    space = DARTS if space == SPACE_OF_DARTS else space
    searching, seeing = split_settings(
        changes, ToponasConfig, SearchImagesConfig, own=("dataset",)
    )
    start = _preset(dataset, space, size)
    fields = {**(BASELINES[baseline] if baseline else {}), **searching}
    if space not in SIZES and space != DARTS:  # a space of one's own says how many nodes it has
        start = dataclasses.replace(start, space=space)
        from gnas.search.toponas.where import search_space

        form = search_space(start).supernets
        fields.setdefault("num_nodes", form.num_nodes if form is not None else start.num_nodes)
    config = dataclasses.replace(start, space=space, **fields)
    if space != DARTS:
        from gnas.search.toponas.where import supernets_of

        supernets_of(config)
    return ToponasPlan(
        config,
        SearchImagesConfig(dataset=dataset, **seeing),
        follows=() if "batch_size" in fields else ("batch_size",),
    )


def check_options(plan: ToponasPlan, chosen: Iterable[str], baseline: str | None) -> None:
    """Check that settings that somebody chose do something in this search.

    Args:
        plan: The search.
        chosen: Names of settings.
        baseline: The baseline that was chosen with them.

    Raises:
        ConfigError: one does nothing, or is against the baseline.
    """
    config, images = plan.config, plan.images
    for name, what in _OF_BASELINES.items() if baseline is not None else ():
        own = BASELINES[str(baseline)].get(name, getattr(ToponasConfig(), name))
        if getattr(config, name) != own:
            raise ConfigError(
                f"--baseline {baseline} has {what}, so {name} must be '{own}', but got "
                f"'{getattr(config, name)}'; leave one of the two out"
            )
    learned = config.learns_topology, "topology variables, which no --baseline has"
    several = config.epochs > 1, "epochs of at least 2, as it changes from epoch to epoch"
    warm = config.warmup_epochs
    gumbel = config.relaxation == "gumbel", "--relaxation gumbel"
    needs = {
        "k": (
            config.topology == "fixed" or (config.topology == "none" and _prunes(config)),
            "--topology fixed, or a --baseline on darts",
        ),
        "update": learned,
        "regulariser": learned,
        "beta_lr": learned,
        "samples": gumbel,
        "temperature": gumbel,
        "val_weight": (config.method == "milenas", "--method milenas"),
        "alpha_penalty": several,
        "lr_min": several,
        "warmup_share": (
            warm > 0 or config.warmup_share == 0,
            f"at least one whole epoch, but is {config.warmup_share:g} of {config.epochs}",
        ),
        "stop_eigenvalue": (
            config.epochs - warm > EIGENVALUE_WINDOW,
            f"more than {EIGENVALUE_WINDOW} epochs, which it compares"
            + (f", after the {warm} in which alpha does not learn" if warm else ""),
        ),
        "stem_multiplier": (
            config.stem == "cifar" and (config.space == DARTS or is_own_space(config.space)),
            "--space darts with stem=cifar",
        ),
        "percent": (
            images.dataset == "imagenet-3pct" and images.images is None,
            "--dataset imagenet-3pct without --images",
        ),
        "workers": (images.dataset == "imagenet-3pct", "--dataset imagenet-3pct"),
    }
    check_used(chosen, needs, "search")


def _prunes(config: ToponasConfig) -> bool:
    """Whether, where no topology is learned, every node keeps its k strongest edges."""
    if config.space == DARTS:
        return True
    from gnas.search.toponas.where import supernets_of

    return supernets_of(config).prunes


def _preset(dataset: SearchDataset, space: str, size: str | None) -> ToponasConfig:
    """The config that changes are made to."""
    sizes = SIZES.get(space, {})
    if size is not None and size not in sizes:
        known = f"choose from {[*sizes]}" if sizes else (
            f"searches in '{space}' have none, those in {', '.join(SIZES)} do"
        )  # fmt: skip
        raise ConfigError(f"unknown preset '{size}' of searches; {known}")
    if size is None and not sizes:
        return PRESETS[dataset]()
    return sizes[size or next(iter(sizes))]()


def images_to_train(plan: ToponasPlan) -> dict[str, Any]:
    """The images of a search as settings of trainings."""
    found: dict[str, Any] = {"image_size": plan.images.size}
    if plan.images.data_dir is not None:
        found["data_dir"] = plan.images.data_dir
    return found


def check_recipe(plan: ToponasPlan, selection: Selection) -> None:
    """Check that the trainings of a protocol can be begun, before searches of hours.

    Args:
        plan: How the first seed searches, in which images.
        selection: The protocol.

    Raises:
        ConfigError: there is no such field of a training, or it cannot have this value.
    """
    from gnas.retrain.source import DATASETS
    from gnas.retrain.trainings import plan_trainings

    dataset = DATASETS.get(plan.images.dataset, plan.images.dataset)
    plan_trainings(
        dataset,  # type: ignore[arg-type]  # a training has all images that searches have
        **{**images_to_train(plan), **selection.recipe},
        repeats=selection.repeats,
    )


def planned(folder: Path) -> ToponasPlan:
    """The plan of the run in ``folder``.

    Args:
        folder: Folder of the run.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder, COMMAND) as record:
        return plan_of(record)


def plan_of(record: Mapping[str, Any]) -> ToponasPlan:
    """The plan in the config of a run."""
    return ToponasPlan(
        from_record(ToponasConfig, record["search"]), SearchImagesConfig(**record["images"])
    )


def with_moved(plan: ToponasPlan, changes: Mapping[str, Any]) -> ToponasPlan:
    """The plan with those of the changes that a resumed search may have."""
    moved = {name: value for name, value in changes.items() if name in MAY_CHANGE}
    return ToponasPlan(plan.config, dataclasses.replace(plan.images, **moved))


def resumed_plan(folder: Path, changes: Mapping[str, Any]) -> ToponasPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        changes: What was asked for beside resuming. Where the images lie and who reads them may
            change; their content is checked when they are opened.

    Raises:
        ConfigError: names what differs.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    plan = with_moved(planned(folder), changes)
    check_same_config(folder, {**to_jsonable(plan.images), **to_jsonable(plan.config)}, changes)
    return plan


def resumed_selection(
    folder: Path, search: Mapping[str, Any], selection: Mapping[str, Any]
) -> tuple[ToponasPlan, Selection]:
    """The plan and the protocol of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        search: Settings of the search that were asked for beside resuming; where the images lie
            may differ.
        selection: Fields of `Selection` that were asked for.

    Raises:
        ConfigError: names what differs.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder, SELECT_COMMAND) as record:
        plan, found = plan_of(record), Selection(**record["selection"])
    plan = with_moved(plan, search)
    was = {**to_jsonable(plan.images), **to_jsonable(plan.config), **to_jsonable(found)}
    check_same_config(folder, was, {**search, **selection})
    return plan, found
