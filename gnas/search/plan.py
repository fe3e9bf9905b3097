"""Searches by their names: what the command line is given, and a run's folder keeps."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from typing import Any, get_args

from gnas.config import (
    Count,
    Seed,
    configuration,
    field_names,
    from_record,
    split_settings,
)
from gnas.data.images.config import ProxyImagesConfig
from gnas.data.images.names import ProxyDataset
from gnas.data.places import check_table, table_path
from gnas.errors import ConfigError
from gnas.runs import (
    check_same_config,
    kind_of_run,
    open_run_config,
    to_jsonable,
    wrong_command,
)
from gnas.search.objectives import Bound, Goal, Objective
from gnas.search.settings import RANDOM_START, SETTINGS
from gnas.spaces.names import check_space, network_config
from gnas.studies.places import check_study_name, resumed_storage
from gnas.training.recipe import ProxyRecipe
from gnas.user_code import Source

logger = logging.getLogger(__name__)

MAY_CHANGE = ("budget", "data_dir", "table", "evaluate", "space")
"""Fields of a plan that a resumed search may have otherwise: how much, and where files are."""
NEVER_GIVEN = ("settings", "training", "in_channels", "num_classes")
"""Fields without an option: groups of settings, and those derived from the images."""
NO_STUDY = "a search on a --table keeps no study; leave out --storage and --study"
BUDGET = 100
"""Choice: architectures that a search evaluates where nothing is said."""


@configuration
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
    budget: Count = BUDGET
    """Architectures that are evaluated."""
    parallel: Count | None = None
    """See `gnas.search.run_search`."""
    seed: Seed = 0
    """Seed of the searcher, the images' split and every evaluation."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings of the searcher."""
    training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Settings of ``images``, ``recipe`` and ``network``."""
    storage: str | None = None
    """See `gnas.search.run_search`."""
    study: str | None = None
    """See `gnas.search.run_search`."""

    def __post_init__(self) -> None:
        if self.searcher not in SETTINGS:
            raise ConfigError(
                f"unknown searcher '{self.searcher}'; choose from {sorted(SETTINGS)}"
            )
        check_space(self.space, file=False)
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
        if self.evaluate is not None and self.data_dir is not None:
            raise ConfigError("--evaluate reads no --data-dir; leave one of them out")
        if self.table and (self.storage is not None or self.study is not None):
            raise ConfigError(NO_STUDY)
        check_study_name(self.study)
        if self.objectives or self.at_most:
            Goal.of(self.objectives or ("val_acc",), self.at_most)
        SETTINGS[self.searcher](**self.settings)
        if not ways:
            self.images()
            self.recipe()
            if (network := network_config(self.space)) is not None:
                network(**self.training.get("network", {}))

    def check_files(self) -> None:
        """Check that the files that it names are there.

        Raises:
            GnasError: one is not.
        """
        check_space(self.space)
        if self.evaluate is not None:
            Source.parse(self.evaluate)
        for table in self.table:
            check_table(table_path(table, data_dir=self.data_dir), space=self.space)
        if not self.table and self.evaluate is None:
            self.images().check_folder()

    def warn_of_chance(self) -> None:
        """Warn where the budget is spent before the searcher chooses anything."""
        name = RANDOM_START.get(self.searcher)
        if name is None:
            return
        start = getattr(SETTINGS[self.searcher](**self.settings), name)
        if self.budget <= start:
            logger.warning(
                "all %d architectures will be drawn at random: a search by %s chooses after its "
                "first %d; raise --budget, or lower that number (--set %s=N)",
                self.budget, self.searcher, start, name,
            )  # fmt: skip

    def images(self) -> ProxyImagesConfig:
        """The images that candidates are trained on."""
        own = {"dataset": self.dataset, "data_dir": self.data_dir, "seed": self.seed}
        return from_record(ProxyImagesConfig, {**own, **self.training.get("images", {})})

    def recipe(self) -> ProxyRecipe:
        """Training recipe of candidates."""
        flip = {"flip": self.dataset != "digits"}
        return from_record(ProxyRecipe, {**flip, **self.training.get("recipe", {})})


def plan_search(searcher: str, **options: Any) -> SearchPlan:
    """The plan with these fields; other options are settings of the searcher or of trainings.

    Sizes of the networks of a space that is not built in are checked when it is loaded.

    Raises:
        ConfigError: unknown names or impossible values.
    """
    own = field_names(SearchPlan) - {*NEVER_GIVEN}
    named = {name: value for name, value in options.items() if name in own}
    plan = SearchPlan(searcher=searcher, **named)
    others = {name: value for name, value in options.items() if name not in own}
    groups = {"settings": SETTINGS[searcher]}
    rest = {}
    if not plan.table and plan.evaluate is None:
        groups |= {"images": ProxyImagesConfig, "recipe": ProxyRecipe}
        if (network := network_config(plan.space)) is not None:
            groups["network"] = network
        else:
            known = set().union(*map(field_names, groups.values()))
            rest = {name: others.pop(name) for name in {*others} - known}
    shares = split_settings(others, *groups.values(), own=NEVER_GIVEN)
    found = dict(zip(groups, shares, strict=True))
    if rest:
        found["network"] = rest
    plan = dataclasses.replace(plan, settings=found.pop("settings"), training=found)
    plan.check_files()
    return plan


def planned(folder: Path) -> SearchPlan:
    """The plan of the run in ``folder``.

    Args:
        folder: Folder of the run.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder) as record:
        plan = recorded_plan(record)
        for name in ("objectives", "at_most", "table"):
            plan[name] = tuple(plan[name])
        return SearchPlan(**plan)


def recorded_plan(record: Mapping[str, Any]) -> dict[str, Any]:
    """The plan in the record of a command's search.

    Raises:
        KeyError, TypeError, ValueError: there is none.
    """
    if "searcher" in record and record["plan"] is None:
        raise ValueError("a program called run_search, and goes on with it by `resume`")
    return dict(record["plan"])


def _effective(plan: SearchPlan, record: Mapping[str, Any]) -> dict[str, Any]:
    """Every option of a search, with its value in a run."""
    found = to_jsonable(SETTINGS[plan.searcher](**plan.settings))
    if not plan.table and plan.evaluate is None:
        network = network_config(plan.space)
        found |= {**to_jsonable(plan.images()), **to_jsonable(plan.recipe())}
        found |= {
            **({} if network is None else to_jsonable(network())),
            **record["evaluator"]["network"],
        }
    found |= to_jsonable(vars(plan))
    found |= {"objectives": record["objectives"], "at_most": record["bounds"]}
    found |= {"parallel": record["parallel"]}
    return {name: value for name, value in found.items() if name not in NEVER_GIVEN}


def resumed_plan(
    folder: Path, searcher: str, options: Mapping[str, Any], *, storage: str | None = None
) -> SearchPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        searcher: Its searcher.
        options: Options given on resuming, as for `plan_search`.
        storage: The storage again, where it is a database: runs keep no passwords.

    Raises:
        ConfigError: names what differs; or a database's URL is not given again.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    if kind_of_run(folder) != "search":
        with open_run_config(folder) as record:
            found = record.get("command")
        raise wrong_command(folder, f"search {searcher}", found)
    plan = planned(folder)
    if plan.searcher != searcher:
        raise ConfigError(f"{folder} holds a search by '{plan.searcher}', not by '{searcher}'")
    moved = {name: value for name, value in options.items() if name in MAY_CHANGE}
    with open_run_config(folder) as record:
        was = _effective(plan, record)
    asked = {name: value for name, value in options.items() if name not in MAY_CHANGE}
    for name, kind in (("objectives", Objective), ("at_most", Bound)):
        if name in asked:
            asked[name] = [str(kind.parse(text)) for text in asked[name]]
    check_same_config(folder, was, asked)
    where = resumed_storage(folder, plan.storage, storage)
    plan = dataclasses.replace(plan, **moved, storage=where)
    plan.check_files()
    return plan
