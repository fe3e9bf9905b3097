"""The names of the built-in spaces, and what can be known of them without PyTorch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from gnas.errors import ConfigError
from gnas.user_code import Source

SPACE_HOMES = {
    "nasbench101": "gnas.spaces.nasbench101.space:NASBench101",
    "nasbench201": "gnas.spaces.nasbench201.space:NASBench201",
    "nasgem": "gnas.spaces.nasgem.space:NASGEM",
    "toponas": "gnas.spaces.toponas.space:TopoNAS",
}
"""Modules of the spaces that need no argument. The package of each has a module ``config`` with
``NETWORK``, the class of its networks' config, and perhaps the names read by `table_images` and
`supernet_sizes`."""
READY_MADE_HOMES = {
    "dag": "gnas.spaces.dag:DagSpace",
    "edge-ops": "gnas.spaces.edge_ops:EdgeOpSpace",
    "random-wiring": "gnas.spaces.nasgem.wiring:RandomWiring",
}
"""Modules of spaces that need arguments or differ only in their sampling."""
NOTATIONS = ("nasbench101-json", "naslib-nasbench201", "transnas-micro")
"""Names of the foreign notations of architectures; see `gnas.spaces.notations`."""


def check_notation(name: str) -> None:
    """Check that there is a notation of this name.

    Raises:
        ConfigError: there is none.
    """
    if name not in NOTATIONS:
        raise ConfigError(f"unknown notation '{name:.80}'; choose from {sorted(NOTATIONS)}")


def check_space(text: str, *, file: bool = True) -> None:
    """Check the name of a space: that there is one of this name, or such a file.

    Args:
        text: See `gnas.spaces.load_space`.
        file: Whether to look for the file of a space of one's own.

    Raises:
        ConfigError: there is no such space.
        MissingDataError: there is no such file.
    """
    name = text.partition("(")[0].strip()
    known = SPACE_HOMES | READY_MADE_HOMES
    if is_own_space(text):
        if file:
            Source.parse(name)
    elif name not in known:
        raise ConfigError(
            f"unknown space {name!r}; choose from {sorted(known)}, or name your own FILE.py:NAME"
        )


def is_own_space(text: str) -> bool:
    """Whether a space is named as one in a user's file: ``FILE.py:NAME``.

    Args:
        text: See `gnas.spaces.load_space`.
    """
    return ":" in text.partition("(")[0]


def network_config(text: str) -> type | None:
    """The class of the configs of a built-in space's networks; None of other spaces.

    Args:
        text: See `gnas.spaces.load_space`.
    """
    name = text.partition("(")[0].strip()
    if name not in SPACE_HOMES:
        return None
    found: type = import_module(f"{_folder(name)}.config").NETWORK
    return found


def table_images() -> dict[str, tuple[str, ...]]:
    """The images of the published tables of the built-in spaces that have some."""
    found = {name: import_module(f"{_folder(name)}.config") for name in SPACE_HOMES}
    return {
        name: tuple(module.TABLE_IMAGES)
        for name, module in found.items()
        if hasattr(module, "TABLE_IMAGES")
    }


def supernet_sizes() -> dict[str, Mapping[str, Mapping[str, Any]]]:
    """Fields of supernet searches by size, of the built-in spaces that have sizes of their own."""
    found = {name: import_module(f"{_folder(name)}.config") for name in SPACE_HOMES}
    return {
        name: module.SUPERNET_SIZES
        for name, module in found.items()
        if hasattr(module, "SUPERNET_SIZES")
    }


def space_modules(module: str) -> Iterator[ModuleType]:
    """The modules of one name in the folders of the built-in spaces, for those that have it.

    Args:
        module: Its name in the folder.
    """
    for folder in map(_folder, SPACE_HOMES):
        if find_spec(f"{folder}.{module}") is not None:
            yield import_module(f"{folder}.{module}")


def _folder(name: str) -> str:
    """The package of a built-in space."""
    return SPACE_HOMES[name].partition(":")[0].rpartition(".")[0]
