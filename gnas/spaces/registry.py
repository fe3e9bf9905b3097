"""The built-in spaces, and any space by a name that records and commands can keep."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from gnas.errors import ConfigError, GnasError, GraphError
from gnas.geometric import Data
from gnas.spaces.base import Space, draw_batch
from gnas.spaces.names import (
    READY_MADE_HOMES,
    SPACE_HOMES,
    called,
    check_notation,
    check_space,
    parsed_space,
)
from gnas.spaces.notation import Notation
from gnas.user_code import Source, bound_to, described

NUM_TRIED = 64
"""Draws from a user's space when it is opened."""
_NUMBERS = re.compile(r"[\d,()\[\]_-]+")


def _classes(homes: Mapping[str, str]) -> dict[str, type[Space]]:
    found = {}
    for name, home in homes.items():
        module, _, kind = home.partition(":")
        found[name] = getattr(import_module(module), kind)
    return found


SPACES = _classes(SPACE_HOMES)
"""The spaces that are complete without an argument."""
READY_MADE = _classes(READY_MADE_HOMES)
"""The spaces that need arguments, or that differ from one of `SPACES` only in what is drawn."""


def load_space(text: str) -> Space:
    """The space that a user names.

    Args:
        text: A key of `SPACES` or `READY_MADE`, or ``FILE.py:NAME``, the name of a space, or of a
            class or function that makes one; arguments may follow: ``nasgem(num_nodes=8)``. A
            file is run: name files that you trust only.

    Raises:
        ConfigError: there is no such space, or it cannot have these arguments.
        MissingDataError: there is no such file.

    Examples:
        >>> load_space("nasgem(num_nodes=8)")
        NASGEM(num_nodes=8, densities=(0.2, 1.0), max_inputs=6)
    """
    check_space(text)
    name, args = parsed_space(text)
    makers = SPACES | READY_MADE
    if name in makers:
        return _made(name, makers[name], args)
    return loaded_space(Source.parse(name), args)


def space_record(space: Space) -> dict[str, Any]:
    """JSON record of a space: its ``name`` and ``args``.

    The name of a space of a user's own is ``FILE.py:NAME``; the ``sha256`` of the file and its
    place, ``file``, are kept beside it. The rows of a table are of the table's space. A function
    among the arguments is named, with a digest of its file and the numbers and texts that it was
    bound to (`functools.partial`, a closure or an object): such a space is read back from the file
    that makes it, or given again.

    Args:
        space: Any space.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> space_record(NASGEM(num_nodes=8))["name"]
        'nasgem'
    """
    if space.part_of is not None:
        return space_record(space.part_of)
    args = _as_json(space.args)
    own_code = any(map(callable, space.args.values()))
    for name, made in (SPACES | READY_MADE).items():
        if type(space) is made and not (own_code and space.loaded):
            return {"name": name, "args": args}
    source, args = space.loaded or (_home(type(space)), args)
    args = _as_json(args)
    if source is None:
        return {"name": f"{type(space).__module__}.{type(space).__qualname__}", "args": args}
    short = f"{Path(source.path).name}:{source.name}"
    return {"name": short, "args": args, "sha256": source.sha256, "file": source.path}


def _named(value: Any) -> Any:
    """JSON record of an argument; a function by its name, its file's digest and what it holds."""
    if isinstance(value, set | frozenset):
        return sorted(value)
    if not callable(value):
        return repr(value)
    held = bound_to(value)
    value = value.func if isinstance(value, partial) else value
    name = getattr(value, "__qualname__", type(value).__qualname__)
    path = getattr(inspect.getmodule(value), "__file__", None)
    if path is None:
        text = f"{getattr(value, '__module__', '')}:{name}"
    else:
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        text = f"{Path(path).name}:{name} of sha256 {digest}"
    return f"{text} with {held}" if held else text


def _home(kind: type) -> Source | None:
    """The file that defines a class, if there is one."""
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if path is None or not path.endswith(".py") or not kind.__qualname__.isidentifier():
        return None
    return Source.parse(f"{path}:{kind.__qualname__}")


def space_of_record(record: Any, space: Space | None = None, *, run: bool = False) -> Space:
    """The space that `space_record` wrote down.

    Args:
        record: Record to restore, or its JSON.
        space: The space that the record must be of, where the reader has it.
        run: Whether to run the user's file that a record names. Only for records that the user
            of this machine has written.

    Raises:
        ConfigError: the record is damaged or of another space, or names a file and may not run it.
        MissingDataError: there is no such file.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> space_of_record(space_record(NASGEM(num_nodes=8))).max_nodes
        8
    """
    if not (
        isinstance(record, dict)
        and isinstance(record.get("name"), str)
        and isinstance(record.get("args"), dict)
    ):
        raise ConfigError(f"a space must be recorded by name and args, but got {record!r:.80}")
    name, args = record["name"], record["args"]
    makers = SPACES | READY_MADE
    if space is not None:
        own = space_record(space)
        is_other = own != {"name": name, "args": args}
        if name not in makers:
            is_other = name == own["name"] and _given(space, args) != _given(space, own["args"])
        if is_other:
            raise ConfigError(f"the space must be {space_text(record)}, but got {space_text(own)}")
        return space
    if name in makers:
        return _made(name, makers[name], args)
    file, sha256 = record.get("file"), record.get("sha256")
    if not run or not isinstance(file, str) or not isinstance(sha256, str):
        raise ConfigError(
            f"the space is {space_text(record)}, which gnas does not have; give it with "
            "`--space FILE.py:NAME` (in Python: `space=`), which runs that file"
        )
    source = Source.parse(f"{file}:{name.rpartition(':')[2]}")
    if source.sha256 != sha256:
        raise ConfigError(
            f"{source.path} must be the file of the record, with the modules beside it "
            f"(sha256 {sha256:.12}...), but has {source.sha256:.12}...; give it with "
            "`--space FILE.py:NAME` to go on with it"
        )
    return loaded_space(source, args)


def _given(space: Space, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a space of a user's own as JSON, with defaults; functions may have changed."""
    make = space.loaded[0].load() if space.loaded else type(space)
    functions = {name for name, value in space.args.items() if callable(value)}
    whole = {**({} if isinstance(make, Space) else _defaults(make)), **args}
    return {name: value for name, value in whole.items() if name not in functions}


def is_recorded_as(space: Space, record: Mapping[str, Any]) -> bool:
    """Whether a record names a space with the arguments on which its architectures depend.

    Functions among the arguments may have changed: they build networks.

    Args:
        space: The space.
        record: See `space_record`.
    """
    own = space_record(space)
    functions = {name for name, value in (space.part_of or space).args.items() if callable(value)}
    found, wanted = (
        {name: value for name, value in one["args"].items() if name not in functions}
        for one in (record, own)
    )
    return bool(record["name"] == own["name"] and found == wanted)


def space_text(record: Mapping[str, Any]) -> str:
    """The space of a record as `load_space` takes it, without arguments that have their defaults.

    Args:
        record: See `space_record`.

    Examples:
        >>> from gnas.spaces import NASGEM, NASBench201
        >>> space_text(space_record(NASGEM(8))), space_text(space_record(NASBench201()))
        ('nasgem(num_nodes=8)', 'nasbench201')
    """
    name, args = record["name"], record["args"]
    made = (SPACES | READY_MADE).get(name)
    usual = {} if made is None else _defaults(made)
    said = ", ".join(
        f"{key}={value!r}"
        for key, value in args.items()
        if key not in usual or _as_json(value) != usual[key]
    )
    return f"{name}({said})" if said else str(name)


def own_space_text(record: Mapping[str, Any]) -> str:
    """As `space_text`, with the place of a user's file, seen from the working directory.

    Args:
        record: See `space_record`.
    """
    file = record.get("file")
    if file is None:
        return space_text(record)
    here, name = Path.cwd(), record["name"].rpartition(":")[2]
    place = Path(file).relative_to(here) if Path(file).is_relative_to(here) else file
    return space_text({**record, "name": f"{place}:{name}"})


def _defaults(make: Callable[..., Any]) -> dict[str, Any]:
    """The arguments of a class or function that have defaults, as JSON has these."""
    function = make.__init__ if inspect.isclass(make) else make
    known = inspect.signature(function).parameters.values()
    return {p.name: _as_json(p.default) for p in known if p.default is not p.empty}


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_named))


def space_of_text(text: str) -> Space:
    """The built-in space in whose notation a bare text is; for the command line alone.

    Args:
        text: One architecture.

    Raises:
        GraphError: the text is malformed, or no built-in space has such a notation.

    Examples:
        >>> space_of_text("input,conv3x3-bn-relu,output|5").name
        'nasbench101'
    """
    for kind in SPACES.values():
        space = kind.of_text(text)
        if space is not None:
            return space
    if _NUMBERS.fullmatch("".join(text.split())):
        raise GraphError(
            "projects number operations and edges differently: the notation must be named, one "
            f"of {sorted(notations())}, but got {text[:60]!r} alone"
        )
    raise GraphError(
        "an architecture must be written as one of the built-in spaces does ('Genotype(normal="
        f"...)', '|op~0|+|...' or 'op,op,...|hex'), or come with its --space, but got {text!r:.80}"
    )


def notations() -> dict[str, tuple[type[Space], Notation]]:
    """Every foreign notation by its name, and the space whose architectures it writes.

    Examples:
        >>> sorted(notations())
        ['nasbench101-json', 'naslib-nasbench201', 'transnas-micro']
    """
    return {n.name: (space, n) for space in SPACES.values() for n in space.notations}


def in_notation(text: str, name: str) -> tuple[Space, Data]:
    """The architecture in a foreign notation, and its space.

    Args:
        text: The architecture.
        name: A key of `notations`.

    Raises:
        ConfigError: there is no such notation.
        GraphError: the text is malformed, or its graph is not of the notation's space.

    Examples:
        >>> space, cell = in_notation("(3, 0, 4, 1, 2, 0)", "naslib-nasbench201")
        >>> space.to_str(cell)
        '|nor_conv_1x1~0|+|skip_connect~0|none~1|+|avg_pool_3x3~0|nor_conv_3x3~1|skip_connect~2|'
    """
    check_notation(name)
    space, notation = notations()[name]
    return space(), notation.read(text)


def loaded_space(source: Source, args: Mapping[str, Any]) -> Space:
    """The space in a user's file, which is run.

    Args:
        source: A space, or a class or function that makes one.
        args: Arguments of the call.

    Raises:
        ConfigError: the file changed or cannot be run, or gives no space.
    """
    found = source.load()
    if isinstance(found, Space) and args:
        raise ConfigError(f"{source} is a space already, so it takes no arguments")
    if not (isinstance(found, Space) or callable(found)):
        raise ConfigError(f"{source} must be a gnas.spaces.Space, but is {type(found).__name__}")
    space = found if isinstance(found, Space) else _made(str(source), found, args)
    _check_draws(str(source), space)
    space.loaded = source, dict(args)
    return space


def _check_draws(name: str, space: Space) -> None:
    """Check that a user's space draws architectures, and reads what it writes.

    Raises:
        ConfigError: it does not.
    """
    step = "be drawn from by `sample_batch`"
    try:
        graph = draw_batch(space, NUM_TRIED, np.random.default_rng(0)).data(0)
        space.validate(graph)
        step = "read by `from_str` what it writes by `to_str`"
        space.from_str(space.to_str(graph))
    except Exception as error:  # of a user's own code
        reason = error if isinstance(error, GnasError) else described(error)
        raise ConfigError(f"{name} must {step}, but: {reason}") from error


def _made(name: str, make: Callable[..., Any], args: Mapping[str, Any]) -> Space:
    """Call a class or function with arguments from a text or a record."""
    space = called(name, make, args)
    if not isinstance(space, Space):
        raise ConfigError(f"{name} must make a gnas.spaces.Space, not a {type(space).__name__}")
    return space
