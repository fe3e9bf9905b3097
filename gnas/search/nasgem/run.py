"""One search from its plan to its run folder: what the command line calls."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gnas.data.images.batch_size import FEWER
from gnas.data.images.parts import open_candidate_images
from gnas.errors import ConfigError
from gnas.evaluate import EfficiencyEvaluator, Evaluator, TrainingEvaluator
from gnas.evaluate.efficiency import ACCURACY, MACS, SCORE
from gnas.loggers import RunLogger
from gnas.runs import NOTICE, SavableFigure, to_jsonable, write_figures
from gnas.search.loop import Report
from gnas.search.nasgem.learning import compared_predictors, encoder_facts, new_predictor
from gnas.search.nasgem.plan import NasgemPlan
from gnas.search.nasgem.result import NasgemResult, nasgem_result
from gnas.search.nasgem.searcher import FINAL, NasgemSearch
from gnas.search.nasgem.surface import Surface, save_surfaces, surface
from gnas.search.nasgem.trace import NasgemTrace
from gnas.search.objectives import Objective
from gnas.search.plan import SearchPlan
from gnas.search.planned import open_evaluator
from gnas.search.result import SearchResult
from gnas.search.run import default_objectives, run_search
from gnas.spaces import Space, load_space
from gnas.studies.places import shown

logger = logging.getLogger(__name__)


def run_nasgem(
    plan: NasgemPlan,
    *,
    out: str | Path,
    workers: int = 1,
    resume: bool = False,
    report: Report = lambda progress: None,
    figures: Callable[[NasgemTrace], Mapping[str, SavableFigure]] | None = None,
    surface_figure: Callable[[Mapping[str, Surface]], SavableFigure] | None = None,
    loggers: Sequence[RunLogger] = (),
) -> NasgemResult:
    """Search by ``plan`` in a run folder; see `gnas.search.run_search`.

    Args:
        plan: Plan of the search.
        out: The run's folder.
        workers: Processes of this machine that train, one core each; 0 leaves all to
            ``gnas worker`` elsewhere.
        resume: Go on with the run in ``out``.
        report: Called after every evaluation.
        figures: Draws the result.
        surface_figure: Draws the score's surface, while the best predicted cells are trained.
        loggers: Trackers that show the run, see `gnas.loggers`.

    Returns:
        The chosen cell, all evaluations, and how well the predictor foresaw them.

    Raises:
        ConfigError: impossible settings, or ``out`` has another run.
        DataError: too few cells could be evaluated, or a file cannot be read or written.
        GnasError: see `open_candidate_images` and `gnas.search.run_search`.

    Examples:
        >>> import tempfile
        >>> from gnas.search.nasgem import plan_nasgem
        >>> plan = plan_nasgem(
        ...     table=("nasgem-mini",), iterations=10, pool=100, top=2,
        ...     encoder="none", predict="score", update_every=10,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = run_nasgem(plan, out=Path(folder) / "run")
        >>> len(found.evaluations), found.stopped
        (12, None)
    """
    out = Path(out)
    space = plan.config.space() if plan.space is None else load_space(plan.space)
    predictor, encoder = new_predictor(plan.config, space), encoder_facts(plan.config)
    plan, evaluator = nasgem_evaluator(plan, space)
    has_score = isinstance(evaluator, EfficiencyEvaluator)
    goals = (plan.objective,) if plan.objective is not None else (
        (SCORE,) if has_score else default_objectives(evaluator)
    )  # fmt: skip
    by_score = has_score and Objective.parse(goals[0]) == Objective(SCORE, "max")
    surfaces: dict[str, Surface] = {}

    def look(searcher: NasgemSearch) -> None:
        if not surfaces:
            surfaces.update(_surfaces(plan, space, searcher))
            if surface_figure is not None:
                write_figures(out / "figures", {"surface": surface_figure(surfaces)})

    searcher = NasgemSearch(
        evaluator.reachable(space),
        predictor,
        num_initial=plan.config.iterations,
        pool=plan.config.pool,
        top=plan.config.top,
        min_nodes=plan.min_nodes,
        lambda_=plan.config.lambda_ if by_score and plan.config.predict == "accuracy" else None,
        update_every=plan.config.update_every,
        meanwhile=look,
        encoder_sha256=(encoder or {}).get("sha256"),
        seed=plan.config.seed,
    )
    record = plan_record(plan)

    def tell(result: SearchResult) -> NasgemResult:
        look(searcher)
        save_surfaces(surfaces, out)
        return nasgem_result(
            result,
            searcher,
            config={"search": record["search"], "images": record["images"]},
            encoder=encoder,
            surface={name: one.numbers for name, one in surfaces.items()},
            network=_network(plan, result.data),
        )

    def draw(result: SearchResult) -> Mapping[str, SavableFigure]:
        assert figures is not None and isinstance(result, NasgemResult)
        return figures(NasgemTrace(plan.config, result, surfaces, space))

    found = run_search(
        space,
        searcher,
        evaluator,
        budget=plan.config.iterations + plan.config.top,
        objectives=goals,
        seed=plan.config.seed,
        workers=workers,
        out=out,
        resume=resume,
        storage=plan.storage,
        study=plan.study,
        plan=record,
        report=report,
        tell=tell,
        figures=draw if figures is not None else None,
        loggers=loggers,
    )
    assert isinstance(found, NasgemResult)
    return found


def plan_record(plan: NasgemPlan) -> dict[str, Any]:
    """A plan as ``config.json`` has it; no password."""
    record: dict[str, Any] = to_jsonable(
        {
            "search": plan.config,
            "images": plan.images,
            "space": plan.space,
            "table": plan.table,
            "evaluate": plan.evaluate,
            "objective": plan.objective,
            "dataset": plan.dataset,
            "data_dir": plan.images.data_dir,
            "storage": None if plan.storage is None else shown(plan.storage),
            "study": plan.study,
        }
    )
    return record


def nasgem_evaluator(plan: NasgemPlan, space: Space) -> tuple[NasgemPlan, Evaluator]:
    """The plan's evaluator, and the plan with a batch size that suits its images.

    Raises:
        GnasError: images or tables are missing or damaged, or settings are impossible.
    """
    if plan.table or plan.evaluate is not None:
        evaluator = open_evaluator(
            SearchPlan(
                searcher="random",
                space=plan.space or "nasgem",
                table=plan.table,
                evaluate=plan.evaluate,
                dataset=plan.dataset,
                data_dir=plan.images.data_dir,
                objectives=() if plan.objective is None else (plan.objective,),
            ),
            space,
            made=(SCORE,),
        )
        by_score = plan.objective is None or Objective.parse(plan.objective).name == SCORE
        scored = ACCURACY in evaluator.measures and MACS in evaluator.counted
        if by_score and scored and SCORE not in evaluator.measures:
            evaluator = EfficiencyEvaluator(evaluator, plan.config.lambda_)
        return plan, evaluator
    splits = open_candidate_images(plan.images)
    wanted, plan = plan.config.batch_size, plan.fitted(len(splits.rows["train"]))
    if plan.config.batch_size != wanted:
        logger.log(NOTICE, FEWER, plan.config.batch_size, wanted)
    config, flip = plan.config, plan.images.dataset != "digits"
    network: dict[str, Any] = {}
    if plan.space is None:
        halvings = config.num_stages - 1
        if splits.image_size < 2**halvings:
            raise ConfigError(
                f"images must have at least {2**halvings} pixels a side for {config.num_stages} "
                f"stages, but have {splits.image_size}; lower num_stages"
            )
        for name in ("channels", "num_stages", "cells_per_stage"):
            network[name] = getattr(config, name)
    training = TrainingEvaluator(
        plan.images,
        config.recipe("search", flip=flip),
        network=network,
        stages={FINAL: config.recipe("final", flip=flip)},
        splits=splits,
    )
    return plan, EfficiencyEvaluator(training, config.lambda_)


def _network(plan: NasgemPlan, data: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Size and form of the networks that were trained."""
    if data is None or plan.space is not None:
        return None
    found = plan.config.network(in_channels=data["in_channels"], num_classes=data["classes"])
    return dataclasses.asdict(found)


def _surfaces(plan: NasgemPlan, space: Space, searcher: NasgemSearch) -> dict[str, Surface]:
    """Figure 3: with and without embedding, both from the same trained cells."""
    pool = searcher.scored_pool()[0]
    seen, scores = searcher.trained()
    return {
        name: surface(predictor, width, pool, seen, scores)
        for name, (predictor, width) in compared_predictors(plan.config, space).items()
    }
