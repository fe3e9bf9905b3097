"""What a run's folder tells about its NASGEM search."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gnas.errors import DataError, MissingDataError
from gnas.records import METRICS
from gnas.search.nasgem.config import NasgemConfig
from gnas.search.nasgem.plan import planned
from gnas.search.nasgem.surface import Surface, load_surfaces


@dataclass(frozen=True)
class NasgemTrace:
    """A search that ended."""

    config: NasgemConfig
    """How was searched."""
    lines: Sequence[Mapping[str, Any]]
    """Every line of ``metrics.jsonl``."""
    result: Mapping[str, Any]
    """The content of ``result.json``."""
    surfaces: Mapping[str, Surface]
    """The score over the space of graph vectors ("embedding") and of raw matrices ("raw")."""


def read_trace(folder: Path) -> NasgemTrace:
    """The search in a run's folder.

    Raises:
        MissingDataError: the folder has no search, or one that has not ended.
        DataError: a file is damaged.
    """
    config = planned(folder).config
    try:
        result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
        trained = [json.loads(line) for line in lines if line]
        surfaces = load_surfaces(folder, result["surface"])
    except MissingDataError:
        raise
    except FileNotFoundError as error:
        raise MissingDataError(
            f"a search must have ended to be shown, but {folder} has no result; go on with "
            f"--resume {folder}"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder} must hold a whole run, but cannot be read: {reason}") from error
    return NasgemTrace(config, trained, result, surfaces)
