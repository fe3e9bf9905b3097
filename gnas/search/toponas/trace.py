"""Progress of a supernet search as recorded in a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch_geometric.data import Data

from gnas.data.files import check_regular, decoding, read_json_lines
from gnas.errors import DataError, MissingDataError
from gnas.records import METRICS
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.plan import planned
from gnas.search.toponas.record import HISTORY
from gnas.search.toponas.where import search_space


@dataclass(frozen=True)
class SearchTrace:
    """A search as its folder records it, up to its last whole epoch."""

    config: ToponasConfig
    """How it searches."""
    architecture: Data
    """What it has found so far."""
    text: str
    """The same in the space's notation."""
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
    what = "a whole run"
    try:
        epochs = read_json_lines(folder / METRICS, what)
        if not epochs:
            raise FileNotFoundError
        with decoding(folder, what):
            check_regular(folder / HISTORY, what)
            history = load_file(folder / HISTORY)
            text = epochs[-1]["genotype"]
            architecture = search_space(config).from_str(text)
    except FileNotFoundError as error:
        raise MissingDataError(
            f"a search must have finished an epoch to be shown, but {folder} has none"
        ) from error
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder} must be {what}, but cannot be read: {reason}") from error
    return SearchTrace(
        config, architecture, text, epochs, history, (folder / "result.json").exists()
    )
