"""What is to be searched: how, in which images, and where its candidates are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gnas.config import shared_out
from gnas.data.batches import fitting_batch
from gnas.data.proxy import ProxyDataset, ProxyImagesConfig
from gnas.errors import ConfigError
from gnas.runs import check_unchanged, plain, reading_config
from gnas.search.nasgem.config import PRESETS, NasgemConfig
from gnas.studies.storage import shown

COMMAND = "search nasgem"
STUDY_FILE = "study.db"
"""The study of a search that was given no storage, in the run's folder."""
MAY_CHANGE = ("data_dir",)
"""Settings of a resumed search that may differ from its first ones."""


@dataclass(frozen=True, kw_only=True)
class SearchPlan:
    """How to search, in which images, and in which study."""

    config: NasgemConfig
    images: ProxyImagesConfig
    storage: str | None = None
    """A file or a database's URL; None for a file in the run's folder."""
    study: str | None = None
    """The study's name there; None for the name of the run's folder."""
    follows: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """Settings that nobody chose and that `fitted` may lower for few images."""

    def fitted(self, count: int) -> SearchPlan:
        """This plan with a batch size that suits ``count`` training images."""
        config = self.config
        if "batch_size" in self.follows:
            size = fitting_batch(config.batch_size, count)
            config = dataclasses.replace(config, batch_size=size)
        return dataclasses.replace(self, config=config, follows=())


def plan_search(
    dataset: ProxyDataset = "digits",
    *,
    storage: str | None = None,
    study: str | None = None,
    **changes: Any,
) -> SearchPlan:
    """The preset of ``dataset`` with changes.

    An ``encoder`` (or "none") without a ``predictor`` takes the paper's perceptron, which alone
    reads it.

    Args:
        dataset: Which images.
        storage: See `SearchPlan`.
        study: See `SearchPlan`.
        changes: Fields of `NasgemConfig` and `ProxyImagesConfig`; ``seed`` is both's.

    Raises:
        ConfigError: unknown names or impossible values.
    """
    if dataset not in PRESETS:
        raise ConfigError(
            f"unknown dataset '{dataset}'; choose from {sorted(get_args(ProxyDataset))}"
        )
    if "encoder" in changes:
        changes.setdefault("predictor", "mlp")
    searching, seeing = shared_out(changes, NasgemConfig, ProxyImagesConfig, own="dataset")
    return SearchPlan(
        config=dataclasses.replace(PRESETS[dataset](), **searching),
        images=ProxyImagesConfig(dataset=dataset, **seeing),
        storage=storage,
        study=study,
        follows=() if "batch_size" in searching else ("batch_size",),
    )


def config_record(plan: SearchPlan, study: str) -> dict[str, Any]:
    """What ``config.json`` says of a plan; no password."""
    return {
        "command": COMMAND,
        "search": plan.config,
        "images": plan.images,
        "storage": None if plan.storage is None else shown(plan.storage),
        "study": study,
    }


def planned(folder: Path) -> SearchPlan:
    """The plan of the run in ``folder``.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with reading_config(folder, COMMAND) as record:
        return SearchPlan(
            config=NasgemConfig.from_dict(record["search"]),
            images=ProxyImagesConfig(**record["images"]),
            storage=record["storage"],
            study=record["study"],
        )


def resumed_plan(
    folder: Path, changes: Mapping[str, Any], *, storage: str | None = None
) -> SearchPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        changes: What was asked for beside resuming. Where the images lie may change; their
            content is checked when they are opened.
        storage: The storage again, where it is a database: runs keep no passwords.

    Raises:
        ConfigError: names what differs; or a database's URL is not given again.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    plan = planned(folder)
    moved = {name: value for name, value in changes.items() if name in MAY_CHANGE}
    plan = dataclasses.replace(plan, images=dataclasses.replace(plan.images, **moved))
    check_unchanged(folder, {**plain(plan.images), **plain(plan.config)}, changes)
    was = plan.storage
    if storage is not None:
        if shown(storage) != was:
            raise ConfigError(
                f"a resumed search goes on in its own storage, which is "
                f"{was or 'a file in its folder'}, but got {shown(storage)}"
            )
        return dataclasses.replace(plan, storage=storage)
    if was is not None and "://" in was:
        raise ConfigError(
            f"the candidates of {folder} are in {was}; runs keep no passwords, so give the whole "
            "URL again with --storage"
        )
    return plan
