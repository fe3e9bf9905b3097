"""Architectures as arguments of commands: a text, a file, or a run's folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from gnas.spaces.names import SPACE_HOMES

if TYPE_CHECKING:
    from gnas.geometric import Data
    from gnas.spaces import Space

MAX_PATH = 4096
"""Longer texts are no paths."""
Notation = Annotated[
    str | None,
    typer.Option(help="Notation of another project: naslib-nasbench201, transnas-micro, ..."),
]
SpaceOption = Annotated[
    str | None,
    typer.Option(
        "--space",
        metavar="NAME|FILE.py:NAME",
        help=f"The architecture's space: {', '.join(SPACE_HOMES)}, with arguments "
        "nasgem(num_nodes=8), or one of your own (the file is run)",
    ),
]


class ArchitectureArgument(NamedTuple):
    """An architecture that a command was given."""

    space: Space
    graph: Data
    note: str
    """Notice of the space inferred for a bare text; empty if the space was named."""

    @property
    def text(self) -> str:
        """In the notation of the space."""
        return self.space.to_str(self.graph)


def read_architecture(
    what: str,
    space: str | None = None,
    notation: str | None = None,
    *,
    member: int | None = None,
    epoch: int | None = None,
) -> ArchitectureArgument:
    """The architecture in a text, a file or a run's folder.

    A file may hold the text, a genotype as JSON, or be a run's ``result.json``, which names its
    space. A bare text says by its notation which built-in space it is from.

    Args:
        what: The text, or a path.
        space: Value of ``--space``, which takes precedence.
        notation: The name of a foreign notation, a key of `gnas.spaces.notations`.
        member: Index in the Pareto front of the run in the folder ``what``.
        epoch: Epoch of the finished or running supernet search in the folder ``what``, from
            1, whose cell is meant.

    Raises:
        MissingDataError: neither a file, nor a run with a result, nor an architecture.
        DataError: the file cannot be read.
        GraphError: the text is malformed, or not in the notation.
        ConfigError: no such space or notation, or a record names a file of a user's own and
            ``space`` is None.
    """
    from gnas.spaces import (
        in_notation,
        load_space,
        space_of_record,
        space_of_text,
        space_record,
        space_text,
    )

    own = None if space is None else load_space(space)
    if notation is not None:
        is_path = "\n" not in what and len(what) < MAX_PATH and Path(what).exists()
        found, graph = in_notation(_read(what)[0] if is_path else what, notation)
        if own is not None:
            own.validate(graph)
        return ArchitectureArgument(own or found, graph, "")
    if epoch is not None:
        text, record = _epoch(Path(what), epoch)
    else:
        text, record = _read(what) if member is None else _member(Path(what), member)
    note = ""
    if record is not None:
        own = space_of_record(record, own)
    elif own is None:
        own = space_of_text(text)
        note = (
            f"taken for an architecture of {space_text(space_record(own))}; --space names another"
        )
    return ArchitectureArgument(own, own.from_str(text), note)


def is_text(what: str) -> bool:
    """Whether an argument is an architecture's text and no path."""
    looks_so = any(sign in what for sign in "({|\n") or len(what) >= MAX_PATH
    return looks_so and not os.path.exists(what)  # "cell (1).txt"


def run_folder(what: str | None) -> Path | None:
    """The folder that ``what`` names, if it does not hold an architecture itself."""
    if what is None or is_text(what):
        return None
    path = Path(what)
    path = path.parent if path.name == "result.json" else path
    return path if path.is_dir() else None


def _member(folder: Path, member: int) -> tuple[str, Any]:
    from gnas.errors import ConfigError
    from gnas.runs import kind_of_run
    from gnas.search.result import read_result

    if kind_of_run(folder) not in ("search", "nasgem search"):
        raise ConfigError(
            f"--member is of searches with a Pareto front (gnas search random, evolution, ...), "
            f"but {folder} has none"
        )
    result = read_result(folder)
    if not 0 <= member < len(result.front):
        raise ConfigError(
            f"member must be in [0, {len(result.front)}), the front of {folder}, but got {member}"
        )
    return result.evaluations[result.front[member]].architecture, result.space


def _epoch(folder: Path, epoch: int) -> tuple[str, Any]:
    from gnas.errors import ConfigError
    from gnas.search.toponas import search_space
    from gnas.search.toponas.trace import read_trace
    from gnas.spaces import space_record

    search = read_trace(folder)
    found = {row["epoch"]: row["genotype"] for row in search.epochs}
    if epoch not in found:
        raise ConfigError(
            f"epoch must be in [1, {len(found)}], those that the search in {folder} has ended, "
            f"but got {epoch}"
        )
    return found[epoch], space_record(search_space(search.config))


def _read(what: str) -> tuple[str, Any]:
    """The text of an architecture, and what is recorded of its space, if anything."""
    import json

    from gnas.data.files import read_text
    from gnas.errors import DataError, MissingDataError

    if is_text(what):
        return what, None
    path = Path(what) / "result.json" if Path(what).is_dir() else Path(what)
    try:
        text = read_text(path, "a file with a genotype")
    except MissingDataError:
        if (path.parent / "config.json").exists() and path != Path(what):
            raise MissingDataError(
                f"a run must have ended to take its architecture, but {what} has no result.json; "
                f"go on with --resume {what}"
            ) from None
        raise MissingDataError(
            f"GENOTYPE must be a file, a run's folder or a text "
            f"'Genotype(normal=...)', but there is no {path}"
        ) from None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        if path.name == "result.json":  # half of one ends with another architecture than the best
            raise DataError(f"{path} must be a run's result, but is no JSON: {error}") from error
        record = None
    if isinstance(record, dict):
        if isinstance(record.get("architecture"), str):
            return record["architecture"], record.get("space")
        if isinstance(record.get("genotype"), dict):
            return json.dumps(record["genotype"]), None
        if isinstance(record.get("command"), str):
            raise DataError(
                f"{path} must hold an architecture, but is a result of gnas {record['command']}"
            )
    return text, None
