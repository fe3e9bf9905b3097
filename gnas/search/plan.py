"""Searches by their names: what the command line is given, and a run's folder keeps."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from gnas.config import check_seed, field_names, from_record
from gnas.data.proxy import ProxyDataset, ProxyImagesConfig
from gnas.data.tables import BenchmarkTable, load_table
from gnas.errors import ConfigError
from gnas.evaluate import (
    Evaluator,
    FunctionEvaluator,
    TableEvaluator,
    TrainingEvaluator,
)
from gnas.evaluate.table import IMAGES
from gnas.evaluate.training import LATENCY
from gnas.runs import plain, reading_config
from gnas.search.objectives import Goal
from gnas.search.result import SearchResult
from gnas.search.run import Draw, Report, run_search
from gnas.search.samplers import SEARCHERS
from gnas.spaces import Space, load_space, space_record
from gnas.studies import shown
from gnas.train import ProxyRecipe
from gnas.user_code import Source

MAY_CHANGE = ("budget", "data_dir", "table", "evaluate", "space")
"""Fields of a plan that a resumed search may have otherwise: how much, and where files are."""
BUDGET = 100
"""Choice: architectures that a search evaluates where nothing is said."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """A searcher, a space and an evaluator by their names.

    Raises:
        ConfigError: unknown names, or not exactly one way to evaluate.
    """

    searcher: str
    """Key of `gnas.search.SEARCHERS`."""
    space: str
    """Key of `gnas.spaces.SPACES`, or ``FILE.py:NAME``."""
    dataset: str | None = None
    """Images to train on; of a table, the images that its measures are of."""
    data_dir: str | None = None
    """Folder of the images, or of tables to look in first."""
    table: tuple[str, ...] = ()
    """Files or names of tables of the same architectures; the first has the word."""
    evaluate: str | None = None
    """``FILE.py:FUNCTION``."""
    objectives: tuple[str, ...] = ()
    """See `gnas.search.objectives.Objective.parse`; empty for the evaluator's own."""
    at_most: tuple[str, ...] = ()
    """See `gnas.search.objectives.Bound.parse`."""
    budget: int = BUDGET
    """Architectures that are evaluated."""
    parallel: int | None = None
    """See `gnas.search.run_search`."""
    seed: int = 0
    """Of the searcher, the images' split and every evaluation."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the searcher."""
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of ``images``, ``recipe`` and ``network``."""
    storage: str | None = None
    """See `gnas.search.run_search`."""
    study: str | None = None
    """See `gnas.search.run_search`."""

    def __post_init__(self) -> None:
        if self.searcher not in SEARCHERS:
            raise ConfigError(
                f"unknown searcher '{self.searcher}'; choose from {sorted(SEARCHERS)}"
            )
        ways = [way for way in (self.table, self.evaluate) if way]
        if len(ways) > 1 or not (ways or self.dataset):
            raise ConfigError(
                "architectures must be evaluated in one way: trained on a --dataset, looked up in "
                "a --table, or by --evaluate FILE.py:FUNCTION"
            )
        if not ways and self.dataset not in get_args(ProxyDataset):
            raise ConfigError(
                f"unknown dataset '{self.dataset}'; choose from {sorted(get_args(ProxyDataset))}"
            )
        if self.evaluate is not None and self.dataset is not None:
            raise ConfigError("--evaluate sees no --dataset; leave one of them out")
        check_seed(self.seed)


def plan_search(searcher: str, **options: Any) -> SearchPlan:
    """The plan with these fields; other options are settings of the searcher or of trainings.

    Raises:
        ConfigError: unknown names or impossible values.
    """
    own = field_names(SearchPlan) - {"settings", "training"}
    named = {name: value for name, value in options.items() if name in own}
    plan = SearchPlan(searcher=searcher, **named)
    others = {name: value for name, value in options.items() if name not in own}
    groups = {"settings": _settings_of(searcher)}
    if not plan.table and plan.evaluate is None:
        groups |= _training_fields(load_space(plan.space))
    known = set().union(*groups.values())
    unknown = sorted(set(others) - known)
    if unknown:
        raise ConfigError(
            f"unknown setting '{unknown[0]}'; choose from {', '.join(sorted(known))}"
        )
    found = {
        group: {name: value for name, value in others.items() if name in names}
        for group, names in groups.items()
    }
    return dataclasses.replace(plan, settings=found.pop("settings"), training=found)


def run_plan(
    plan: SearchPlan,
    *,
    out: Path,
    workers: int = 1,
    resume: bool = False,
    report: Report = lambda progress: None,
    figures: Draw | None = None,
) -> SearchResult:
    """Searches by ``plan`` in a run folder; see `gnas.search.run_search`.

    Args:
        plan: What to search for, where and how.
        out: The run's folder.
        workers: Processes of this machine that evaluate; 0 leaves all to ``gnas worker``.
        resume: Go on with the run in ``out``.
        report: Called after every evaluation.
        figures: Draws the result.

    Raises:
        GnasError: see `gnas.search.run_search`.
    """
    space = load_space(plan.space)
    source = Source.parse(plan.space) if ":" in plan.space else None
    evaluator = open_evaluator(plan, space)
    return run_search(
        space,
        plan.searcher,
        evaluator,
        budget=plan.budget,
        objectives=plan.objectives or None,
        constraints=plan.at_most,
        settings=plan.settings,
        seed=plan.seed,
        parallel=plan.parallel,
        workers=workers,
        out=out,
        resume=resume,
        storage=plan.storage,
        study=plan.study,
        source=source,
        plan=plain(
            {**vars(plan), "storage": None if plan.storage is None else shown(plan.storage)}
        ),
        report=report,
        figures=figures,
    )


def open_evaluator(plan: SearchPlan, space: Space) -> Evaluator:
    """The plan's evaluator.

    Raises:
        GnasError: a file is missing or damaged, or settings are impossible.
    """
    if plan.evaluate is not None:
        return FunctionEvaluator(plan.evaluate)
    goal = Goal.of(plan.objectives or ("val_acc",), plan.at_most)
    if plan.table:
        return _open_tables(plan, space, goal)
    parts = {name: dict(values) for name, values in plan.training.items()}
    images = from_record(
        ProxyImagesConfig,
        {"dataset": plan.dataset, "data_dir": plan.data_dir, "seed": plan.seed}
        | parts.get("images", {}),
    )
    recipe = from_record(ProxyRecipe, {"flip": plan.dataset != "digits"} | parts.get("recipe", {}))
    return TrainingEvaluator(
        images, recipe, network=parts.get("network"), latency=LATENCY in goal.names
    )


def _open_tables(plan: SearchPlan, space: Space, goal: Goal) -> TableEvaluator:
    tables = [load_table(path, data_dir=plan.data_dir) for path in plan.table]
    left, opened = list(goal.names), list[TableEvaluator]()
    for table in tables:
        name = space_record(space)["name"]
        if table.provenance.space != name:
            raise ConfigError(
                f"the table must hold '{name}' architectures, but "
                f"{table.provenance.name} holds '{table.provenance.space}'"
            )
        has = {column.quantity for column in table.columns}
        own = [name for name in left if name in has]
        if table is tables[-1]:
            own = left  # so that what no table has is named
        dataset = plan.dataset or _images_of(table)
        opened.append(TableEvaluator.from_table(space, table, own, dataset=dataset))
        left = [name for name in left if name not in own]
    evaluator = opened[0]
    for other in opened[1:]:
        evaluator = evaluator.join(other)
    return evaluator


def planned(folder: Path) -> SearchPlan:
    """The plan of the run in ``folder``.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with reading_config(folder) as record:
        plan = dict(record["plan"])
        for name in ("objectives", "at_most", "table"):
            plan[name] = tuple(plan[name])
        return SearchPlan(**plan)


def resumed_plan(
    folder: Path, searcher: str, options: Mapping[str, Any], *, storage: str | None = None
) -> SearchPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        searcher: Its searcher.
        options: What was asked for beside resuming, as for `plan_search`.
        storage: The storage again, where it is a database: runs keep no passwords.

    Raises:
        ConfigError: names what differs; or a database's URL is not given again.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    plan = planned(folder)
    if plan.searcher != searcher:
        raise ConfigError(f"{folder} holds a search by '{plan.searcher}', not by '{searcher}'")
    moved = {name: value for name, value in options.items() if name in MAY_CHANGE}
    was = {**plain(vars(plan)), **plan.settings}
    for values in plan.training.values():
        was |= values
    for name, value in options.items():
        if name not in MAY_CHANGE and plain(value) != was.get(name):
            raise ConfigError(
                f"a resumed search goes on as it began, but in {folder} {name} is "
                f"{was.get(name)!r}, not {plain(value)!r}; leave it out, or start a new run"
            )
    if storage is not None and shown(storage) != plan.storage:
        raise ConfigError(
            f"a resumed search goes on in its own storage, which is "
            f"{plan.storage or 'a file in its folder'}, but got {shown(storage)}"
        )
    if storage is None and "://" in (plan.storage or ""):
        raise ConfigError(
            f"the candidates of {folder} are in {plan.storage}; runs keep no passwords, so give "
            "the whole URL again with --storage"
        )
    return dataclasses.replace(plan, **moved, storage=storage or plan.storage)


def _settings_of(searcher: str) -> set[str]:
    """Settings of a searcher that are numbers or yes or no."""
    parameters = inspect.signature(SEARCHERS[searcher]).parameters
    return {*parameters} - {"space", "seed", "predictor"}


def _training_fields(space: Space) -> dict[str, set[str]]:
    """Settings of a training, by what they are of."""
    groups = {
        "images": field_names(ProxyImagesConfig) - {"dataset", "data_dir", "seed"},
        "recipe": field_names(ProxyRecipe),
    }
    if space.networks is not None:
        groups["network"] = {*space.networks.defaults} - {"in_channels", "num_classes"}
    return groups


def _images_of(table: BenchmarkTable) -> str | None:
    """The first images of `IMAGES` that a table has, if it has several."""
    datasets = {column.dataset for column in table.columns if column.quantity == "val_acc"}
    if len(datasets) < 2:
        return None
    return next((name for name, (val, _) in IMAGES.items() if val in datasets), None)
