"""``gnas worker``: evaluate candidates of a study that another command began."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnas.cli.checks import check_early
from gnas.cli.options import absolute, drop_none
from gnas.data.images.config import candidate_images
from gnas.errors import ConfigError
from gnas.printable import amount
from gnas.studies.places import check_storage

Storage = Annotated[
    str,
    typer.Option(
        envvar="GNAS_STORAGE",
        help="The study's file or postgresql+psycopg://USER@HOST/DATABASE",
    ),
]


def worker(
    study: Annotated[str, typer.Option(help="The study's name")],
    storage: Storage,
    data_dir: Annotated[
        Path | None, typer.Option(help="Folder of the images on this machine")
    ] = None,
    space: Annotated[
        str | None, typer.Option(metavar="FILE.py:NAME", help="The space given to the search")
    ] = None,
    evaluate: Annotated[
        str | None,
        typer.Option(metavar="FILE.py:FUNCTION", help="The function given to the search"),
    ] = None,
) -> None:
    """Evaluate candidates of a study until it is finished; start as many workers as you like.

    A worker may be stopped or killed at any moment: another one evaluates its candidate.
    """
    check_early(data_dir=data_dir, space=space, evaluate=evaluate)
    check_storage(storage)
    from gnas.cli.output import console
    from gnas.studies import CandidateStudy, work

    joined = CandidateStudy.join(study, storage)
    _check_images(joined.facts, data_dir)
    from gnas.evaluate import EvaluationJob

    if joined.kind != EvaluationJob.kind:
        raise ConfigError(
            f"the study must be of the kind '{EvaluationJob.kind}', but is of kind "
            f"'{joined.kind}', which this version of gnas does not know"
        )
    job = EvaluationJob.from_metadata(
        joined.facts, data_dir=data_dir, **drop_none(space=space, evaluate=evaluate)
    )
    stderr = console(stderr=True)
    state = joined.progress()
    stderr.print(
        f"study {study} ({joined.kind}): {state.done} of {state.total} candidates are evaluated",
        markup=False, soft_wrap=True,
    )  # fmt: skip
    count = work(
        joined, job, wait=True,
        report=lambda line: stderr.print(line, markup=False, soft_wrap=True),
    )  # fmt: skip
    console().print(f"study {study} is finished; {amount(count, 'candidate')} evaluated here")


def _check_images(facts: dict[str, Any], data_dir: Path | None) -> None:
    """Check that there are the images of a search's trainings, if it has some.

    Args:
        facts: Facts of the study.
        data_dir: Folder of the images.
    """
    how = facts.get("evaluator")
    if isinstance(how, dict) and isinstance(how.get("images"), dict):
        candidate_images(how["images"], absolute(data_dir)).check_folder()
