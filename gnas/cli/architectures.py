"""How commands take an architecture: as a text, a file, or a run's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

MAX_PATH = 4096
"""Longer texts are no paths."""
Notation = Annotated[
    str | None,
    typer.Option(help="How other projects write it: naslib-nasbench201, transnas-micro, ..."),
]


def read_architecture(what: str, notation: str | None = None, *, member: int | None = None) -> str:
    """The text of the architecture in a file or a run's folder, or ``what`` itself.

    A file may hold the text, a genotype as JSON, or be a run's ``result.json``; a text may be
    in a foreign notation, and is returned in the space's own.

    Args:
        what: A path or a text.
        notation: The name of the foreign notation, see `gnas.spaces.texts.notations`.
        member: Of the Pareto front of the run in the folder ``what``: its place there.

    Raises:
        ConfigError: unknown notation, or no such member.
        MissingDataError: neither a file, nor a run with a result, nor an architecture.
        DataError: the file cannot be read.
        GraphError: the text is not in the notation.
    """
    if member is not None:
        return _member(Path(what), member)
    if notation is None:
        return _read(what)
    from gnas.spaces.texts import in_notation

    is_path = "\n" not in what and len(what) < MAX_PATH and Path(what).exists()
    space, graph = in_notation(_read(what) if is_path else what, notation)
    return space.to_str(graph)


def run_folder(what: str | None) -> Path | None:
    """The folder that ``what`` names, if it does not hold an architecture itself."""
    if what is None or any(sign in what for sign in "({|\n") or len(what) >= MAX_PATH:
        return None
    path = Path(what)
    path = path.parent if path.name == "result.json" else path
    return path if path.is_dir() else None


def _member(folder: Path, member: int) -> str:
    from gnas.errors import ConfigError
    from gnas.search.result import read_result

    result = read_result(folder)
    if not 0 <= member < len(result.front):
        raise ConfigError(
            f"member must be in [0, {len(result.front)}), the front of {folder}, but got {member}"
        )
    return result.evaluations[result.front[member]].architecture


def _read(what: str) -> str:
    import json

    from gnas.data.files import read_text
    from gnas.errors import MissingDataError

    if any(sign in what for sign in "({|"):
        return what
    path = Path(what) / "result.json" if Path(what).is_dir() else Path(what)
    try:
        text = read_text(path, "a file with a genotype")
    except MissingDataError:
        raise MissingDataError(
            f"GENOTYPE must be a file, a run's folder or a text "
            f"'Genotype(normal=...)', but there is no {path}"
        ) from None
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        if isinstance(record.get("genotype"), dict):
            return json.dumps(record["genotype"])
        if isinstance(record.get("architecture"), str):
            return str(record["architecture"])
    return text
