"""The names of the built-in spaces, and what can be known of them without PyTorch."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from importlib.abc import InspectLoader
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from gnas.config import unknown_name
from gnas.errors import ConfigError, GnasError
from gnas.user_code import Source

SPACE_HOMES = {
    "nasbench101": "gnas.spaces.nasbench101.space:NASBench101",
    "nasbench201": "gnas.spaces.nasbench201.space:NASBench201",
    "nasgem": "gnas.spaces.nasgem.space:NASGEM",
    "toponas": "gnas.spaces.toponas.space:TopoNAS",
}
"""Modules of the spaces that need no argument. The package of each has a module ``config`` with
``NETWORK``, the class of its networks' config, and perhaps the names read by `check_space`
(``ARGUMENTS``: by class, a check of the arguments), `table_images` and `supernet_sizes`."""
READY_MADE_HOMES = {
    "dag": "gnas.spaces.dag:DagSpace",
    "edge-ops": "gnas.spaces.edge_ops:EdgeOpSpace",
    "random-wiring": "gnas.spaces.nasgem.wiring:RandomWiring",
}
"""Modules of spaces that need arguments or differ only in their sampling."""
_OWN = re.compile(r".+?\.py:\w+\s*(?=\(|$)", re.DOTALL)
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
    """Check the name of a space: that there is one of this name with these arguments, or a file.

    Args:
        text: See `gnas.spaces.load_space`.
        file: Whether to look for the file of a space of one's own.

    Raises:
        ConfigError: there is no such space, or it cannot have these arguments.
        MissingDataError: there is no such file.
    """
    name, args = parsed_space(text)
    known = SPACE_HOMES | READY_MADE_HOMES
    if is_own_space(text):
        if file:
            Source.parse(name)
    elif name not in known:
        raise ConfigError(
            f"unknown space {name!r:.80}; choose from {sorted(known)}, or name your own "
            "FILE.py:NAME"
        )
    else:
        _check_arguments(name, args, *arguments(known[name]))
        module, _, kind = known[name].partition(":")
        config = import_module(f"{module.rpartition('.')[0]}.config")
        if check := getattr(config, "ARGUMENTS", {}).get(kind):
            called(name, check, args)


def called(name: str, make: Callable[..., Any], args: Mapping[str, Any]) -> Any:
    """What a space's class or function, or a check, gives for arguments from a text or a record.

    Args:
        name: Name of the space, for messages.
        make: What to call.
        args: Arguments by name.

    Raises:
        ConfigError: it cannot be called with these arguments.
    """
    try:
        return make(**{k: tuple(v) if isinstance(v, list) else v for k, v in args.items()})
    except GnasError:
        raise
    except Exception as error:
        raise ConfigError(
            f"space '{name}' must take its arguments, but {args} gives: {error}"
        ) from error


def parsed_space(text: str) -> tuple[str, dict[str, Any]]:
    """The name and the arguments of ``NAME`` or ``NAME(key=value, ...)``.

    Raises:
        ConfigError: the text has another form.

    Examples:
        >>> parsed_space("nasgem(num_nodes=8)")
        ('nasgem', {'num_nodes': 8})
    """
    name, rest = _split(text)
    if not rest:
        return name.strip(), {}
    try:
        call = ast.parse(f"f{rest}".strip(), mode="eval").body
        if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Name) or call.args:
            raise ValueError("no call")
        args = {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
        if len(args) < len(call.keywords) or any(k.arg is None for k in call.keywords):
            raise ValueError("an argument twice, or without a name")
        return name.strip(), args
    except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigError(
            f"a space must be named NAME or NAME(argument=value, ...), but got {text!r:.80}"
        ) from error


def arguments(home: str) -> tuple[list[str], list[str]]:
    """Names of all arguments of a space's class, and of those that have no default.

    They are read from its source: to import it would take seconds.

    Args:
        home: A value of `SPACE_HOMES` or `READY_MADE_HOMES`.

    Examples:
        >>> arguments(READY_MADE_HOMES["dag"])[1]
        ['ops', 'max_nodes']
    """
    module, _, kind = home.partition(":")
    found = find_spec(module)
    assert found is not None and isinstance(found.loader, InspectLoader)
    tree = ast.parse(found.loader.get_source(module) or "")
    (own,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == kind)
    (init,) = (n for n in own.body if isinstance(n, ast.FunctionDef) and n.name == "__init__")
    free = [one.arg for one in init.args.args][1:]  # without self
    named = [one.arg for one in init.args.kwonlyargs]
    required = free[: len(free) - len(init.args.defaults)]
    pairs = zip(named, init.args.kw_defaults, strict=True)
    return free + named, required + [name for name, default in pairs if default is None]


def _check_arguments(
    name: str, given: Mapping[str, Any], known: Sequence[str], required: Sequence[str]
) -> None:
    for argument in given:
        if argument not in known:
            raise ConfigError(unknown_name(f"{name} argument", argument, known))
    missing = [argument for argument in required if argument not in given]
    if missing:
        raise ConfigError(
            f"{name} must be given its {' and '.join(missing)}, as {name}({missing[0]}=...), but "
            f"got {[*given]}"
        )


def is_own_space(text: str) -> bool:
    """Whether a space is named as one in a user's file: ``FILE.py:NAME``.

    Args:
        text: See `gnas.spaces.load_space`.
    """
    return ":" in _split(text)[0]


def own_space_option(text: str | None) -> list[str]:
    """``--space FILE.py:NAME`` if a space is named so, which commands about its runs need.

    Args:
        text: See `gnas.spaces.load_space`.

    Examples:
        >>> own_space_option("mine.py:cells"), own_space_option("nasgem")
        (['--space', 'mine.py:cells'], [])
    """
    return ["--space", text] if text is not None and is_own_space(text) else []


def _split(text: str) -> tuple[str, str]:
    """The name, and the arguments in their brackets; folders may have brackets too."""
    own = _OWN.match(text)
    end = text.find("(") if own is None else own.end()
    return (text, "") if end < 0 else (text[:end], text[end:].strip())


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
