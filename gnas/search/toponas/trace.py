"""What a run's folder tells about its search, ended or still under way."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from gnas.errors import DataError, GraphError, MissingDataError
from gnas.records import METRICS
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.record import HISTORY
from gnas.search.toponas.run import planned
from gnas.spaces.toponas.genotype import Genotype


@dataclass(frozen=True)
class SearchTrace:
    """A search as its folder records it, up to its last whole epoch."""

    config: ToponasConfig
    """How it searches."""
    genotype: Genotype
    """What it has found so far."""
    epochs: list[dict[str, Any]]
    """Metrics of every epoch."""
    history: dict[str, Tensor]
    """As in `SupernetSearchResult`."""
    ended: bool
    """Whether it came to its end."""


def read_trace(folder: Path) -> SearchTrace:
    """The search in a run's folder.

    Raises:
        MissingDataError: the folder has no search, or none that finished an epoch.
        DataError: a file is damaged.
    """
    config = planned(folder).config
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
        epochs = [json.loads(line) for line in lines if line]
        if not epochs:
            raise FileNotFoundError
        history = load_file(folder / HISTORY)
        genotype = Genotype.parse(epochs[-1]["genotype"])
    except FileNotFoundError as error:
        raise MissingDataError(
            f"a search must have finished an epoch to be shown, but {folder} has none"
        ) from error
    except (OSError, ValueError, KeyError, TypeError, SafetensorError, GraphError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder} must hold a whole run, but cannot be read: {reason}") from error
    return SearchTrace(config, genotype, epochs, history, (folder / "result.json").exists())
