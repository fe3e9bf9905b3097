"""Common base of configurations: checks of fields, conversion from and to records."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import inspect
import itertools
import math
import types
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from numbers import Integral, Real
from operator import index
from typing import (
    Annotated,
    Any,
    Literal,
    ParamSpec,
    TypeVar,
    Union,
    cast,
    dataclass_transform,
    get_args,
    get_origin,
    get_type_hints,
)

import pydantic
from pydantic import Field

from gnas.errors import ConfigError
from gnas.user_code import Source, is_own

Config = TypeVar("Config")
Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


SEEDS = 2**63
"""Exclusive upper bound of seeds, representable in JSON, databases and torch."""


def check_seed(seed: object, name: str = "seed") -> int:
    """Check a seed and return it as an int.

    Args:
        seed: Value to check.
        name: Name of the seed, for messages.

    Raises:
        ConfigError: it is not a whole number in [0, `SEEDS`).
    """
    try:
        number = index(cast(int, seed))
    except TypeError:
        number = -1
    if isinstance(seed, bool) or not 0 <= number < SEEDS:
        raise ConfigError(f"{name} must be a whole number from 0 below 2^63, but got {seed!r:.40}")
    return number


def check_count(value: object, name: str, least: int = 1, most: int | None = None) -> int:
    """Check a whole number and return it as an int.

    Args:
        value: Value to check.
        name: Name of the number, for messages.
        least: Smallest number that is possible.
        most: Largest one, if there is one.

    Raises:
        ConfigError: it is not a whole number, or out of its range.

    Examples:
        >>> check_count(2.5, "budget")
        Traceback (most recent call last):
        gnas.errors.ConfigError: budget must be a whole number, but got 2.5
    """
    try:
        number = index(cast(int, value))
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise ConfigError(f"{name} must be a whole number, but got {value!r:.80}")
    if number < least:
        raise ConfigError(f"{name} must be at least {least}, but got {number}")
    if most is not None and number > most:
        raise ConfigError(f"{name} must be at most {most}, but got {number}")
    return number


def check_number(
    value: object, name: str, *, zero: bool = False, most: float | None = None
) -> float:
    """Check a positive finite number and return it as a float.

    Args:
        value: Value to check.
        name: Name of the number, for messages.
        zero: Whether 0 is possible too.
        most: Largest one, if there is one.

    Raises:
        ConfigError: it is no number, or out of its range.

    Examples:
        >>> check_number("a", "rate")
        Traceback (most recent call last):
        gnas.errors.ConfigError: rate must be a number above 0, but got 'a'
    """
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    number = float(cast(float, value)) if is_number else math.nan
    is_large = number >= 0 if zero else number > 0
    if not is_large or number == math.inf or (most is not None and number > most):
        limit = "at least 0" if zero else "above 0"
        limit += "" if most is None else f" and at most {most:g}"
        raise ConfigError(f"{name} must be a number {limit}, but got {value!r:.80}")
    return number


def check_choice(value: object, name: str, choices: Iterable[str]) -> None:
    """Check that a text is one of several.

    Args:
        value: Value to check.
        name: Name of the choice, for messages.
        choices: Possible values.

    Raises:
        ConfigError: it is another one.

    Examples:
        >>> check_choice("rbg", "kernel", ["rbf", "matern"])
        Traceback (most recent call last):
        gnas.errors.ConfigError: kernel must be one of rbf, matern, but got 'rbg'
    """
    known = [*choices]
    if not isinstance(value, str) or value not in known:
        raise ConfigError(f"{name} must be one of {', '.join(known)}, but got {value!r:.80}")


def checked(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Make a function refuse arguments of other classes than its annotations name.

    Elements of lists and what a protocol wants are not looked at.

    Args:
        function: A function or an ``__init__``.

    Examples:
        >>> @checked
        ... def half(number: float) -> float:
        ...     return number / 2
        >>> half("a")
        Traceback (most recent call last):
        gnas.errors.ConfigError: number must be of the type float, but got 'a'
    """
    signature = inspect.signature(function)
    plain = [p.name for p in signature.parameters.values() if p.kind != p.VAR_KEYWORD]

    @functools.cache
    def kinds() -> dict[str, tuple[type, ...]]:
        named = {k: v for k, v in function.__annotations__.items() if k in plain}
        spelled = types.SimpleNamespace(__annotations__=named)
        return {k: _classes(v) for k, v in get_type_hints(spelled, function.__globals__).items()}

    @functools.wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with suppress(TypeError):  # of missing and unknown arguments the function itself tells
            given = signature.bind(*args, **kwargs).arguments
            for name, allowed in kinds().items():
                if allowed and name in given and not isinstance(given[name], allowed):
                    raise ConfigError(
                        f"{name} must be of the type {' or '.join(map(_class_name, allowed))}, "
                        f"but got {given[name]!r:.80}"
                    )
        return function(*args, **kwargs)

    return call


def _classes(hint: Any) -> tuple[type, ...]:
    """Classes whose objects an annotation allows; none where that cannot be told from a class."""
    origin = get_origin(hint)
    if origin in (Union, types.UnionType):
        parts = [_classes(part) for part in get_args(hint)]
        return tuple(itertools.chain(*parts)) if all(parts) else ()
    if origin is Literal:
        return tuple({type(value) for value in get_args(hint)})
    found = {int: Integral, float: Real}.get(hint, origin or hint)
    if not isinstance(found, type) or found is object or getattr(found, "_is_protocol", False):
        return ()
    return (found,)


def _class_name(kind: type) -> str:
    names = {Integral: "int", Real: "float", types.NoneType: "None"}
    return names.get(kind, kind.__name__)


def seed_32(seed: int) -> int:
    """Reduce a seed to 32 bits for scikit-learn and Optuna; small seeds are unchanged."""
    if seed < 2**32:
        return seed
    import numpy as np

    return int(np.random.SeedSequence(seed).generate_state(1)[0])


MAX_COUNT = 10_000_000
"""Upper bound of counts, so that a typing error cannot request all memory."""

Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
"""A whole number from 1."""
Depth = Annotated[int, Field(ge=1, le=1000)]
"""Number of cells or layers."""
Stages = Annotated[int, Field(ge=1, le=16)]
"""Stages of a network, each of which doubles the channels."""
Channels = Annotated[int, Field(ge=1, le=100_000)]
"""Channels, or another width of a network."""
CountOrZero = Annotated[int, Field(ge=0, le=MAX_COUNT)]
"""A whole number from 0."""


def _seed_of_field(seed: object, field: pydantic.ValidationInfo) -> int:
    return check_seed(seed, field.field_name or "seed")


Seed = Annotated[int, pydantic.BeforeValidator(_seed_of_field)]
"""A seed as torch takes it."""
Rate = Annotated[float, Field(gt=0, le=100)]
"""A learning rate."""
Positive = Annotated[float, Field(gt=0, le=1e9)]
"""A positive number."""
NotNegative = Annotated[float, Field(ge=0, le=1e9)]
"""A number from 0."""
Share = Annotated[float, Field(ge=0, le=1)]
"""A number in [0, 1]."""
BelowOne = Annotated[float, Field(ge=0, lt=1)]
"""A number in [0, 1)."""
Precision = Literal["float32", "bfloat16", "float16"]
"""A type of floating-point numbers that networks compute in."""

_MUST_BE = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "string_type": "a text",
    "tuple_type": "a list",
}
"""Requirements by pydantic's error types, where they need no number."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def configuration(cls: type[Config]) -> type[Config]:
    """Make a class a frozen keyword-only dataclass that checks types and bounds of its fields.

    Types are strict: no text is taken for a number, no ``2.0`` for a whole number, no NaN for
    anything. Checks of several fields together stand in the class' ``__post_init__``.

    Args:
        cls: A class with annotated fields.

    Returns:
        A dataclass, which `dataclasses.replace`, `dataclasses.asdict` and so on take as any other,
        and which raises a `ConfigError` of one line that names the field.

    Examples:
        >>> @configuration
        ... class Training:
        ...     epochs: Count = 3
        >>> Training(epochs=2.5)
        Traceback (most recent call last):
        gnas.errors.ConfigError: epochs must be a whole number, but got 2.5
    """
    rules = pydantic.ConfigDict(strict=True, allow_inf_nan=False, extra="forbid")
    made: Any = pydantic.dataclasses.dataclass(frozen=True, kw_only=True, config=rules)(cls)
    checked = made.__init__

    @functools.wraps(checked)
    def init(self: Any, **values: Any) -> None:
        try:
            checked(self, **values)
        except pydantic.ValidationError as error:
            raise ConfigError(_one_line(error, field_names(made))) from None
        except UnicodeEncodeError as error:  # pydantic cannot hold a check's message
            raise ConfigError(error.object) from None

    made.__init__ = init
    return cast(type[Config], made)


def _one_line(error: pydantic.ValidationError, known: Iterable[str]) -> str:
    """Format the first validation error in one line."""
    found = error.errors(include_url=False)[0]
    kind, facts = found["type"], found.get("ctx", {})
    if isinstance(facts.get("error"), Exception):  # a check of several fields
        return str(facts["error"])
    name = "".join(f"[{k}]" if isinstance(k, int) else f".{k}" for k in found["loc"]).strip(".")
    if kind in ("unexpected_keyword_argument", "extra_forbidden"):
        return unknown_name("field", name, known)
    if kind == "missing":
        return f"{name} must be given"
    return f"{name} {requirement(error)}"


def requirement(error: pydantic.ValidationError) -> str:
    """What the first value that a validation refuses must be, and what it is.

    Args:
        error: Of a field or an option, not of a check of several.
    """
    found = error.errors(include_url=False)[0]
    wanted = _wanted(found["type"], found.get("ctx", {}), found["msg"])
    return f"must be {wanted}, but got {found['input']!r:.80}"


def _wanted(kind: str, facts: Mapping[str, Any], message: str) -> str:
    if kind == "greater_than":
        return f"above {facts['gt']:g}" if facts["gt"] else "positive"
    if kind == "literal_error":
        return f"one of {facts['expected']}".replace("'", "").replace(" or ", ", ")
    words = {"greater_than_equal": "at least", "less_than": "below", "less_than_equal": "at most"}
    if kind in words:
        (limit,) = facts.values()
        return f"{words[kind]} {limit if isinstance(limit, int) else f'{limit:g}'}"
    return _MUST_BE.get(kind) or message.removeprefix("Input should be ")


def unknown_name(what: str, name: str, known: Iterable[str]) -> str:
    """Message about an unknown name, with the closest match and all known names.

    Args:
        what: Kind of name, for example "field".
        name: The unknown name.
        known: Known names.
    """
    names = sorted(known)
    if not names:
        return f"unknown {what} '{name:.80}'; there is none to choose from"
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"unknown {what} '{name:.80}'; {meant}choose from {', '.join(names)}"


def check_named(what: str, text: str, known: Iterable[str]) -> None:
    """Check that a name is known, or that of an object in a file that there is.

    Args:
        what: Kind of object, for example "predictor".
        text: The name.
        known: Names that ship with gnas.

    Raises:
        ConfigError: it is neither.
        MissingDataError: there is no such file.

    Examples:
        >>> check_named("predictor", "forrest", ["forest", "gp"])
        Traceback (most recent call last):
        gnas.errors.ConfigError: unknown predictor 'forrest'; did you mean forest? choose from ...
    """
    if not isinstance(text, str):
        raise ConfigError(f"a {what}'s name must be a text, but is {text!r:.80}")
    names = {*known}
    if is_own(text):
        Source.parse(text)
    elif text not in names:
        raise ConfigError(f"{unknown_name(what, text, names)}, or name your own FILE.py:NAME")


def check_used(chosen: Iterable[str], needs: Mapping[str, tuple[bool, str]], what: str) -> None:
    """Check that settings that somebody chose do something.

    Args:
        chosen: Names of settings.
        needs: By the name of a setting, whether it is used, and what it needs for that.
        what: The work that it is a setting of.

    Raises:
        ConfigError: one does nothing.

    Examples:
        >>> check_used(["k"], {"k": (False, "--topology fixed")}, "search")
        Traceback (most recent call last):
        gnas.errors.ConfigError: k does nothing in this search: it needs --topology fixed
    """
    for name in chosen:
        is_used, need = needs.get(name, (True, ""))
        if not is_used:
            raise ConfigError(f"{name} does nothing in this {what}: it needs {need}")


def check_pieces(batch_size: int, accumulate: int) -> None:
    """Check that a batch can be split into pieces of at least two images.

    Args:
        batch_size: Images per step.
        accumulate: Number of pieces.

    Raises:
        ConfigError: it cannot.
    """
    if batch_size % accumulate:
        raise ConfigError(
            f"batch_size must be a multiple of accumulate, but got {batch_size} and {accumulate}"
        )
    if batch_size < 2 * accumulate:
        raise ConfigError(
            f"batch_size must be at least {2 * accumulate} with accumulate={accumulate}, because "
            f"batch norm needs 2 images at a time, but got {batch_size}"
        )


def from_record(config: type[Config], record: Mapping[str, Any]) -> Config:
    """Restore a config from its record (`dataclasses.asdict` or JSON).

    Args:
        config: Class of the config.
        record: Fields by name.

    Raises:
        ConfigError: unknown fields or impossible values.
    """
    known = field_names(config)
    unknown = sorted(set(record) - known)
    if unknown:
        raise ConfigError(unknown_name("field", unknown[0], known))
    return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})


def field_names(config: type) -> set[str]:
    """Names of a dataclass' fields."""
    return {field.name for field in dataclasses.fields(config)}


def split_settings(
    settings: Mapping[str, Any], *configs: type, own: Collection[str] = ()
) -> list[dict[str, Any]]:
    """Split settings among configs by field name; a shared name goes to each of them.

    Args:
        settings: Values by name.
        configs: Dataclasses.
        own: Fields that may not be set.

    Raises:
        ConfigError: no config has such a field.
    """
    fields = [field_names(config) - {*own} for config in configs]
    known = set().union(*fields)
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigError(unknown_name("setting", unknown[0], known))
    return [{k: v for k, v in settings.items() if k in names} for names in fields]


def dict_diff(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    """Fields that differ between two records: name -> (before, after).

    Args:
        before: First record.
        after: Second record.
    """
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }


def by_path(record: Mapping[str, Any], above: str = "") -> dict[str, Any]:
    """Flatten a nested record, with names joined by dots.

    Args:
        record: The record.
        above: Prefix of all names.

    Examples:
        >>> by_path({"seed": 0, "search": {"epochs": 2}})
        {'seed': 0, 'search.epochs': 2}
    """
    found: dict[str, Any] = {}
    for name, value in record.items():
        inner = isinstance(value, Mapping) and value
        found |= by_path(value, f"{above}{name}.") if inner else {f"{above}{name}": value}
    return found
