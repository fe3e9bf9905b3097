"""Progress of a supernet search as recorded in a run's folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Generator, Tensor

from gnas.data.files import (
    as_data_error,
    check_regular,
    read_json,
    read_json_lines,
    utf8_path,
)
from gnas.errors import DataError, MissingDataError
from gnas.geometric import Data
from gnas.search.toponas.arch import ArchParameters
from gnas.search.toponas.config import ToponasConfig
from gnas.search.toponas.plan import planned
from gnas.search.toponas.state import HISTORY
from gnas.search.toponas.where import search_space
from gnas.training.recording import METRICS


@dataclass(frozen=True)
class SearchTrace:
    """A search as its folder records it, up to its last whole epoch."""

    config: ToponasConfig
    """Config of the search."""
    epoch: int
    """The epoch, from 1, that has found the architecture: the last one of a search under way."""
    architecture: Data
    """The architecture found so far."""
    text: str
    """The same in the space's notation."""
    epochs: list[dict[str, Any]]
    """Metrics of every epoch."""
    history: dict[str, Tensor]
    """As in `SupernetSearchResult`."""
    ended: bool
    """Whether the search has finished."""


def read_trace(folder: str | Path) -> SearchTrace:
    """The search in a run's folder.

    Args:
        folder: Folder of the run.

    Raises:
        MissingDataError: the folder has no search, or none that finished an epoch.
        DataError: a file is damaged.
    """
    folder = Path(folder)
    config = planned(folder).config
    what, result = "a whole run", folder / "result.json"
    try:
        epochs = read_json_lines(folder / METRICS, what)
        if not epochs:
            raise FileNotFoundError
        with as_data_error(folder, what):
            check_regular(folder / HISTORY, what)
            with utf8_path(folder / HISTORY) as readable:
                history = load_file(readable)
            variables = ArchParameters(config, Generator()).snapshot()
            forms = {name: (values.dtype, values.shape[1:]) for name, values in history.items()}
            if forms != {name: (one.dtype, one.shape) for name, one in variables.items()}:
                raise ValueError(f"{HISTORY} must hold this search's variables, but holds others")
            # a killed search may have written one of the two files further than the other
            count = min(len(epochs), *(len(values) - 1 for values in history.values()))
            if count < 1:
                raise FileNotFoundError
            epochs = epochs[:count]
            history = {name: values[: count + 1] for name, values in history.items()}
            ended = result.exists()
            epoch = _derived(result, count) if ended else count
            text = epochs[epoch - 1]["genotype"]
            architecture = search_space(config).from_str(text)
    except FileNotFoundError as error:
        raise MissingDataError(
            f"a search must have finished an epoch to be shown, but {folder} has none"
        ) from error
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{folder} must be {what}, but cannot be read: {reason}") from error
    return SearchTrace(config, epoch, architecture, text, epochs, history, ended)


def _derived(result: Path, count: int) -> int:
    """The epoch whose architecture is the result of a search of ``count`` epochs."""
    epoch = read_json(result, "the result of a search")["metrics"]["epoch"]
    if type(epoch) is not int or not 1 <= epoch <= count:
        raise ValueError(f"the epoch derived must be one of {count}, but is {epoch!r:.40}")
    return epoch
