"""Plan of a NASGEM search: its settings, its images, and where candidates are kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from gnas.config import check_used, from_record, split_settings
from gnas.data.images.batch_size import fitting_batch
from gnas.data.images.config import ProxyImagesConfig
from gnas.data.images.names import ProxyDataset
from gnas.encoders.config import check_encoder
from gnas.errors import ConfigError
from gnas.runs import check_same_config, open_run_config, to_jsonable
from gnas.search.nasgem.config import NO_ENCODER, PRESETS, NasgemConfig
from gnas.search.plan import NO_STUDY, recorded_plan
from gnas.studies.places import check_study_name, resumed_storage

COMMAND = "search nasgem"
MAY_CHANGE = ("data_dir", "table", "evaluate", "space")
"""Settings that may change on resuming: locations of files with the same content."""
OF_CELLS = (
    "num_nodes", "min_nodes", "prior", "spread", "channels", "num_stages", "cells_per_stage",
)  # fmt: skip
"""Settings of the NASGEM space and its networks, which other spaces have not."""
OF_TRAININGS = (
    "epochs", "final_epochs", "batch_size", "lr", "weight_decay", "channels", "num_stages",
    "cells_per_stage", "image_size", "percent",
)  # fmt: skip
"""Settings of candidates' trainings and of their images."""
KEPT = ("space", "evaluate", "dataset", "objective", "storage", "study")
"""Fields of a plan that its record has as they are."""


OWN_SPACE = "nasgem"
"""The space that the search is made for."""


@dataclass(frozen=True, kw_only=True)
class NasgemPlan:
    """Plan of a search: its settings, data and study.

    Examples:
        >>> plan = plan_nasgem(table=("nasgem-mini",), iterations=20)
        >>> plan.table, plan.config.iterations, plan.min_nodes
        (('nasgem-mini',), 20, 15)
    """

    config: NasgemConfig
    images: ProxyImagesConfig
    space: str | None = None
    """Key of `gnas.spaces.SPACES`, or ``FILE.py:NAME``; None for NASGEM's, as the config says."""
    table: tuple[str, ...] = ()
    """Tables to look measures up in instead of training."""
    evaluate: str | None = None
    """``FILE.py:FUNCTION`` to call instead of training."""
    dataset: str | None = None
    """Image dataset of a table's measures."""
    objective: str | None = None
    """Measure to maximise; None for the efficiency score where there are an accuracy and MACs,
    else for the evaluator's own."""
    storage: str | None = None
    """A file or a database's URL; None for a file in the run's folder."""
    study: str | None = None
    """The study's name there; None for the name of the run's folder."""
    follows: tuple[str, ...] = dataclasses.field(default=(), compare=False)
    """Settings that nobody chose and that `fitted` may lower for few images."""

    @property
    def min_nodes(self) -> int:
        """Fewest live nodes of a cell."""
        return self.config.floor if self.space is None else self.config.min_nodes or 1

    def fitted(self, count: int) -> NasgemPlan:
        """This plan with a batch size that suits ``count`` training images."""
        config = self.config
        if "batch_size" in self.follows:
            size = fitting_batch(config.batch_size, count)
            config = dataclasses.replace(config, batch_size=size)
        return dataclasses.replace(self, config=config, follows=())


def plan_nasgem(
    dataset: str | None = None,
    *,
    space: str | None = None,
    table: tuple[str, ...] = (),
    evaluate: str | None = None,
    objective: str | None = None,
    storage: str | None = None,
    study: str | None = None,
    **changes: Any,
) -> NasgemPlan:
    """The preset of ``dataset`` with changes.

    An ``encoder`` (or "none") without a ``predictor`` takes the paper's perceptron, which alone
    reads it. Cells of another space than NASGEM's take it too where an encoder ships for them,
    and else `gnas.predictors.default_predictor`.

    Args:
        dataset: Image data set; None for the digits, unless there is a ``table`` or ``evaluate``.
        space: See `NasgemPlan`.
        table: See `NasgemPlan`.
        evaluate: See `NasgemPlan`.
        objective: See `NasgemPlan`.
        storage: See `NasgemPlan`.
        study: See `NasgemPlan`.
        changes: Fields of `NasgemConfig` and `ProxyImagesConfig`; ``seed`` is both's.

    Raises:
        ConfigError: unknown names or impossible values.

    Examples:
        >>> plan = plan_nasgem("cifar10", data_dir=".", iterations=100, seed=3)
        >>> plan.images.dataset, plan.images.seed, plan.config.iterations
        ('cifar10', 3, 100)
    """
    measured = bool(table) or evaluate is not None
    if table and evaluate is not None:
        raise ConfigError("cells must be evaluated in one way: --table or --evaluate")
    if evaluate is not None and dataset is not None:
        raise ConfigError("--evaluate sees no --dataset; leave one of them out")
    if measured and changes.get("data_dir") is not None:
        raise ConfigError(
            "--table and --evaluate read no images; leave --data-dir out, and give a table's file"
        )
    if table and (storage is not None or study is not None):
        raise ConfigError(NO_STUDY)
    check_study_name(study)
    images = "digits" if measured or dataset is None else dataset
    if images not in PRESETS:
        raise ConfigError(
            f"unknown dataset '{dataset}'; choose from {sorted(get_args(ProxyDataset))}"
        )
    if "encoder" in changes:
        changes.setdefault("predictor", "mlp")
    space = None if space == OWN_SPACE else space
    if space is not None:
        changes = _of_other_space(space, changes)
    searching, seeing = split_settings(changes, NasgemConfig, ProxyImagesConfig, own=("dataset",))
    config = dataclasses.replace(PRESETS[images](), **searching)
    if config.encoder != NO_ENCODER:
        check_encoder(config.encoder)
    return NasgemPlan(
        config=config,
        images=from_record(ProxyImagesConfig, {"dataset": images, **seeing}),
        space=space,
        table=table,
        evaluate=evaluate,
        dataset=dataset if measured else None,
        objective=objective,
        storage=storage,
        study=study,
        follows=() if "batch_size" in searching or measured else ("batch_size",),
    )


def check_options(plan: NasgemPlan, chosen: Iterable[str]) -> None:
    """Check that settings that somebody chose do something in this search.

    Args:
        plan: The search.
        chosen: Names of settings.

    Raises:
        ConfigError: one does nothing.
    """
    config = plan.config
    trains = not plan.table and plan.evaluate is None
    by_score = plan.objective in (None, "score", "score:max")
    by_mlp = config.predictor == "mlp"
    needs = dict.fromkeys(OF_TRAININGS, (trains, "trainings, without --table and --evaluate"))
    needs |= {
        "prior": (not plan.table, "cells that are drawn freely, without --table"),
        "spread": (not plan.table, "cells that are drawn freely, without --table"),
        "lambda_": (by_score, "the efficiency score, without --objective"),
        "predict": (by_score, "the efficiency score, without --objective"),
        "members": (by_mlp, "--predictor mlp"),
        "ops": (by_mlp and config.encoder != NO_ENCODER, "--predictor mlp with an --encoder"),
    }
    check_used(chosen, needs, "search")


def _of_other_space(space: str, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Change with the predictor that suits cells of another space."""
    wrong = [name for name in OF_CELLS if name in changes]
    if wrong:
        raise ConfigError(f"{wrong[0]} is a setting of NASGEM's cells; leave it out with --space")
    from gnas.spaces import load_space

    encoder = load_space(space).wl_encoder
    found: dict[str, Any] = {"predictor": "mlp" if encoder else "default", **changes}
    if found["predictor"] == "mlp":
        found.setdefault("encoder", encoder or NO_ENCODER)
    return found


def planned(folder: Path) -> NasgemPlan:
    """The plan of the run in ``folder``.

    Args:
        folder: Folder of the run.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder, COMMAND) as record:
        plan = recorded_plan(record)
        return NasgemPlan(
            config=NasgemConfig.from_dict(plan["search"]),
            images=ProxyImagesConfig(**plan["images"]),
            table=tuple(plan["table"]),
            **{name: plan[name] for name in KEPT},
        )


def resumed_plan(
    folder: Path, changes: Mapping[str, Any], *, storage: str | None = None
) -> NasgemPlan:
    """The plan of the run in ``folder``, if that is what was asked for.

    Args:
        folder: The run's.
        changes: Options given on resuming. Locations of images, tables and files of one's own
            lie may change; their content is checked when the search goes on.
        storage: The storage again, where it is a database: runs keep no passwords.

    Raises:
        ConfigError: names what differs; or a database's URL is not given again.
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    plan = planned(folder)
    if changes.get("space") == OWN_SPACE:
        changes = {**changes, "space": None}
    moved = {name: value for name, value in changes.items() if name in MAY_CHANGE}
    folders = {"data_dir": moved.pop("data_dir")} if "data_dir" in moved else {}
    images = dataclasses.replace(plan.images, **folders)
    plan = dataclasses.replace(plan, images=images, **moved)
    was_there = {**to_jsonable(plan.images), **to_jsonable(plan.config)}
    was_there |= {name: to_jsonable(getattr(plan, name)) for name in ("table", *KEPT)}
    if not plan.table:
        was_there["dataset"] = plan.images.dataset
    check_same_config(folder, was_there, changes)
    where = resumed_storage(folder, plan.storage, storage)
    return dataclasses.replace(plan, storage=where)
