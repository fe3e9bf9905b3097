"""``gnas worker``: evaluate candidates of a study that another command began."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnas.cli.options import given

if TYPE_CHECKING:
    from gnas.studies import Job

JOBS = {
    "search": "gnas.evaluate.job:EvaluationJob",
}
"""By the kind of study: what its workers do, loaded on use."""

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
    from gnas.cli.output import console
    from gnas.studies import CandidateStudy, work

    joined = CandidateStudy.join(study, storage)
    job = job_class(joined.kind).from_facts(
        joined.facts, data_dir=data_dir, **given(space=space, evaluate=evaluate)
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
    console().print(f"study {study} is finished; {count} candidates were evaluated here")


def job_class(kind: str | None) -> type[Job]:
    """The class of the jobs of a kind of study.

    Raises:
        ConfigError: this version knows no such kind.
    """
    from importlib import import_module

    from gnas.errors import ConfigError

    if kind not in JOBS:
        raise ConfigError(
            f"the study must be of a kind that this version of gnas knows ({', '.join(JOBS)}), "
            f"but is of kind {kind}"
        )
    module, _, name = JOBS[kind].partition(":")
    found: type[Job] = getattr(import_module(module), name)
    return found
