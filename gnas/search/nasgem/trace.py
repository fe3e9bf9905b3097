"""Progress of a NASGEM search as recorded in a run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from gnas.data.files import as_data_error, read_json
from gnas.errors import DataError
from gnas.search.nasgem.config import NasgemConfig
from gnas.search.nasgem.plan import planned
from gnas.search.nasgem.result import NasgemResult
from gnas.search.nasgem.surface import Surface, load_surfaces
from gnas.search.result import checked, unfinished
from gnas.spaces import SPACES, Space, space_of_record


@dataclass(frozen=True)
class NasgemTrace:
    """A search that ended."""

    config: NasgemConfig
    """Settings of the search."""
    result: NasgemResult
    """Results of the search."""
    surfaces: Mapping[str, Surface]
    """The score over the space of graph vectors ("embedding") and of raw matrices ("raw")."""
    space: Space | None
    """Space of the search; None if it is one of a user's own that was not given."""


def read_trace(folder: str | Path, space: Space | None = None) -> NasgemTrace:
    """The search in a run's folder.

    Args:
        folder: Folder of the run.
        space: Its space, where that is of a user's own file.

    Raises:
        ConfigError: it is of another space.
        MissingDataError: the folder has no search, or one that has not ended.
        DataError: a file is damaged.
    """
    folder = Path(folder)
    config = planned(folder).config
    what = "a whole run"
    if not (folder / "result.json").exists():
        raise unfinished(folder)
    record = read_json(folder / "result.json", what)
    try:
        with as_data_error(folder, what):
            result = checked(NasgemResult.from_record(record))
            surfaces = load_surfaces(folder, record["surface"])
    except OSError as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"{folder} must be {what}, but cannot be read: {error}") from error
    if space is not None or result.space["name"] in SPACES:  # no file is run unasked
        space = space_of_record(result.space, space)
    return NasgemTrace(config, result, surfaces, space)
