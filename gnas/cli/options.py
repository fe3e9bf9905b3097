"""Helpers for options that several commands share."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import json
import os
from collections.abc import Callable, Mapping, Sequence
from inspect import Parameter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional, get_args, get_origin, get_type_hints

import typer

if TYPE_CHECKING:
    from gnas.loggers import RunLogger

LogOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="wandb|mlflow|none",
        help="Show the run in a tracker too (none; a resumed run: as before)",
        show_default=False,
    ),
]


Command = Callable[..., None]


def field_options(
    config: type, *, panel: str | None = None, defaults: bool = True, **helps: str
) -> Callable[[Command], Command]:
    """Give a command an option for each of some fields of a configuration.

    An option has the name, type, range and choices of its field, and its help ends with the
    default. A tuple is given with commas, or as "none". Options stand before ``--set``. The
    command, whose arguments are by keyword, takes what was given.

    Args:
        config: Configuration, a dataclass.
        panel: Heading of the options in ``--help``.
        defaults: Whether to name defaults; not where they depend on other options.
        helps: What each option says, by field.
    """
    types, fields = get_type_hints(config), {one.name: one for one in dataclasses.fields(config)}
    bounded = get_type_hints(config, include_extras=True)
    items = {name: item for name in helps if (item := _item(types[name])) is not None}

    def option(name: str, help: str) -> Parameter:
        default = fields[name].default
        if defaults and not any(default is one for one in (None, False, dataclasses.MISSING)):
            shown = default
            if isinstance(default, tuple):
                shown = ", ".join(map(str, default)) or "none"
            help = f"{help} ({shown})"
        kind = str if name in items else types[name]
        form = {None: None, int: "NUMBER,...", str: "NAME,..."}[items.get(name)]
        low, high = (None, None) if name in items else _range(bounded[name])
        said = typer.Option(
            _flag(name), help=help, rich_help_panel=panel, metavar=form, min=low, max=high
        )
        given: Any = Annotated[Optional[kind], said]  # noqa: UP045  # a value, not a hint
        needed = default is dataclasses.MISSING
        return Parameter(
            name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if needed else None,
            annotation=Annotated[kind, said] if needed else given,
        )

    def add(command: Command) -> Command:
        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
        added = [option(name, help) for name, help in helps.items()]

        @functools.wraps(command)
        def called(**given: Any) -> None:
            found = {k: v for k, v in given.items() if k not in helps or v is not None}
            for name in items.keys() & found.keys():
                found[name] = split_list(found[name], items[name], _flag(name))
            command(**found)

        end = next((i for i, one in enumerate(own) if one.name == "setting"), len(own))
        whole = signature.replace(parameters=[*own[:end], *added, *own[end:]])
        called.__signature__ = whole  # type: ignore[attr-defined]
        return called

    return add


def _flag(field: str) -> str:
    """As `--set` has it too: without the underscore of words of Python."""
    return "--" + field.rstrip("_").replace("_", "-")


def _range(hint: Any) -> tuple[float | None, float | None]:
    """The least and the largest number that the type of a field allows, where it says them."""
    bounds = [
        bound
        for one in (hint, *get_args(hint))
        if get_origin(one) is Annotated
        for field in one.__metadata__
        for bound in getattr(field, "metadata", ())
    ]
    low, high = (
        next((getattr(bound, name) for bound in bounds if hasattr(bound, name)), None)
        for name in ("ge", "le")
    )
    return low, high


def _item(hint: Any) -> type[int] | type[str] | None:
    """The type of a tuple's items, if the hint is of one."""
    for one in (hint, *get_args(hint)):
        if get_origin(one) is tuple:
            return int if get_args(one)[0] is int else str
    return None


def split_list(text: str, item: type[int] | type[str], flag: str) -> tuple[Any, ...]:
    """The items of a list with commas; wrong usage if one is not of its type.

    Args:
        text: The list, or "none".
        item: Type of its items, int or str.
        flag: The option, for messages.
    """
    try:
        return () if text == "none" else tuple(item(part.strip()) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"must be whole numbers like 100,200, but got {text!r}", param_hint=flag
        ) from None


def wait_passively() -> None:
    """Let threads that wait for each other give their cores away; call it before torch is loaded.

    Threads that wait in a loop make a training ten times slower as soon as anything else wants a
    core.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def absolute(path: Path | None) -> str | None:
    """``path`` from the root, so that a run can be resumed from another folder."""
    return None if path is None else str(path.absolute())


def drop_none(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def chosen_loggers(names: Sequence[str] | None, resume: Path | None) -> list[RunLogger]:
    """Whom a run tells what it does.

    Args:
        names: As ``--log`` was given.
        resume: A run to go on with, which tells those that it told before unless others are named.

    Raises:
        ConfigError: a package is not installed.
        DataError: the run's record of them is damaged.
    """
    from gnas.loggers import LOGGERS, logged_by, make_loggers

    if names is None and resume is not None:
        return make_loggers(logged_by(resume))
    if names == ["none"]:
        return []
    unknown = sorted(set(names or ()) - set(LOGGERS))
    if unknown:
        raise typer.BadParameter(
            f"--log must be wandb or mlflow, or none alone, not {unknown[0]!r:.80}"
        )
    return make_loggers(names or ())


def parse_settings(
    pairs: list[str], named: Mapping[str, Any] | None = None, *, option: str = "--set"
) -> dict[str, Any]:
    """NAME=VALUE pairs; a value is read as JSON, else as text.

    Args:
        pairs: Values of ``option``.
        named: Settings that have options of their own and were given by them.
        option: For messages.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise typer.BadParameter(f"{option} must be NAME=VALUE, not {pair!r}")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):  # no JSON, or deeper than any value
            value = text
        name = "lambda_" if name == "lambda" else name.replace("-", "_")
        if name in (named or {}):
            raise typer.BadParameter(
                f"{name.rstrip('_')} must be given by its own option alone, not by {option}"
            )
        found[name] = tuple(value) if isinstance(value, list) else value
    return found
