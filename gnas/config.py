"""What configurations share: checks of their fields, and their way from and to records."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from operator import index
from typing import Any, TypeVar, cast, get_args, get_origin, get_type_hints

from gnas.errors import ConfigError

Config = TypeVar("Config")


SEEDS = 2**63
"""Seeds are whole numbers from 0 below this: what JSON, databases and torch have room for."""


def check_seed(seed: object, name: str = "seed") -> int:
    """Checks a seed; returns it as Python's int.

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


def seed_32(seed: int) -> int:
    """A seed for scikit-learn and Optuna, which take 32 bits: small ones as they are."""
    if seed < 2**32:
        return seed
    import numpy as np

    return int(np.random.SeedSequence(seed).generate_state(1)[0])


def check_types(config: Any) -> None:
    """Checks the fields that are a choice of texts, whole numbers, yes or no, or numbers from 0.

    Numbers may also be optional, or come as a tuple of a given length.

    Raises:
        ConfigError: names the field.
    """
    hints = get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), hints[field.name]
        wanted = ""
        if choices := [c for c in get_args(hint) if isinstance(c, str)]:
            wanted = "" if value in choices else f"one of {', '.join(choices)}"
        elif hint is bool:
            wanted = "" if isinstance(value, bool) else "true or false"
        elif hint is int and (field.name == "seed" or field.name.endswith("_seed")):
            check_seed(value, field.name)
        elif hint is int:
            wanted = "" if type(value) is int else "a whole number"
        elif hint is float:
            wanted = "" if _is_number(value) else "a number from 0"
        elif hint == float | None:
            wanted = "" if value is None or _is_number(value) else "a number from 0 or none"
        elif get_origin(hint) is tuple and set(get_args(hint)) == {float}:
            count = len(get_args(hint))
            good = isinstance(value, tuple) and len(value) == count
            wanted = "" if good and all(map(_is_number, value)) else f"{count} numbers from 0"
        if wanted:
            raise ConfigError(f"{field.name} must be {wanted}, but got {value!r}")


def _is_number(value: object) -> bool:
    return type(value) in (int, float) and 0 <= cast(float, value) < math.inf


def check_pieces(batch_size: int, accumulate: int) -> None:
    """Checks that a batch can be taken in pieces of two images or more.

    Args:
        batch_size: Images of a step.
        accumulate: Pieces.

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
    """The config that `dataclasses.asdict` or JSON wrote.

    Raises:
        ConfigError: unknown fields or impossible values.
    """
    known = field_names(config)
    unknown = sorted(set(record) - known)
    if unknown:
        raise ConfigError(f"unknown field '{unknown[0]}'; choose from {sorted(known)}")
    return config(**{k: tuple(v) if isinstance(v, list) else v for k, v in record.items()})


def field_names(config: type) -> set[str]:
    """Names of a dataclass' fields."""
    return {field.name for field in dataclasses.fields(config)}


def shared_out(settings: Mapping[str, Any], *configs: type, own: str = "") -> list[dict[str, Any]]:
    """The settings that are fields of each config; one of the same name in two is of both.

    Args:
        settings: Values by name.
        configs: Dataclasses.
        own: A field that is not a setting.

    Raises:
        ConfigError: no config has such a field.
    """
    fields = [field_names(config) - {own} for config in configs]
    known = set().union(*fields)
    unknown = sorted(set(settings) - known)
    if unknown:
        raise ConfigError(
            f"unknown setting '{unknown[0]}'; choose from {', '.join(sorted(known))}"
        )
    return [{k: v for k, v in settings.items() if k in names} for names in fields]


def differences(
    before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, tuple[object, object]]:
    """Fields that differ between two records: name -> (before, after)."""
    names = [*before, *(name for name in after if name not in before)]
    return {
        name: (before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    }
