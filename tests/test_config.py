"""Every field of every configuration refuses what it cannot be, in one line that names it."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import math
import pkgutil
from typing import Any, get_args, get_type_hints

import pytest

import gnas
from gnas.bench.config import NASGEMBench
from gnas.config import Count, configuration, from_record, split_settings, unknown_name
from gnas.encoders.config import EncoderConfig
from gnas.errors import ConfigError
from gnas.search.settings import SETTINGS
from gnas.search.toponas.config import ToponasConfig
from gnas.spaces import NASBench101


def all_modules() -> list[str]:
    found = pkgutil.walk_packages(gnas.__path__, "gnas.")
    return [module.name for module in found if "__main__" not in module.name]


def all_configs() -> list[Any]:
    """Every configuration of the package."""
    found = set()
    for name in all_modules():
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and hasattr(value, "__pydantic_validator__"):
                found.add(value)
    return sorted(found, key=lambda config: str(config.__qualname__))


CONFIGS = all_configs()
NEEDED: dict[str, dict[str, Any]] = {
    "DARTSBench": {"table": "cells.parquet"},
    "RankingBench": {"table": "cells.parquet", "samples": (100,)},
    "EncoderConfig": {"space": "nasgem", "num_nodes": 30, "num_ops": 2},
    "GraphEncoderConfig": {"vocabulary": NASBench101().vocabulary},
    "NASGEMBench": {"table": "mine.parquet"},
    "PredictorsBench": {"space": "nasgem", "table": "nasgem-mini"},
    "SearchBench": {"space": "nasbench201"},
    "SearchPlan": {"searcher": "random", "space": "nasgem", "dataset": "digits"},
}
ANYTHING = {"vocabulary", "recipe", "network", "settings", "training"}
"""Fields that hold another object, which has a declaration of its own."""
WRONG: dict[str, list[Any]] = {
    "int": [2.0, 2.5, "36", True, None, math.nan, -1, 10**9, 10**30, (1,), {}],
    "float": ["0.1", True, math.nan, math.inf, -math.inf, -1e-9, -1, 1e30, (0.1,), {}],
    "bool": ["yes", 1, 0, 0.0, (), {}],
    "str": [1, 1.5, True, (), {}],
    "tuple": [1, "x", {}, (math.nan,), (-1.0, 0.5), (1.5, {}), (None,)],
    "literal": ["nonsense", 1.5, True, (), {}, ""],
}
FIELDS = [
    (config, field.name)
    for config in CONFIGS
    for field in dataclasses.fields(config)
    if field.name not in ANYTHING
]


def kind_of(hint: Any) -> str:
    """The key of `WRONG` for a field's type."""
    options = [option for option in get_args(hint) if option is not type(None)]
    if type(None) in get_args(hint):
        (hint,) = options
        options = list(get_args(hint))
    if options and all(isinstance(option, str) for option in options):
        return "literal"
    if getattr(hint, "__origin__", hint) is tuple:
        return "tuple"
    return str(getattr(hint, "__name__", hint))


def test_no_configuration_escapes_the_declaration() -> None:
    """What is named like a configuration is one; those that are not would go unchecked."""
    assert len(CONFIGS) >= 25
    for name in all_modules():
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, type) and dataclasses.is_dataclass(value):
                if value.__name__.endswith(("Config", "Bench", "Recipe", "Settings")):
                    assert value in CONFIGS, f"{name}.{value.__name__}"


def test_searchers_and_their_settings_agree() -> None:
    from gnas.search.samplers import SEARCHERS

    assert list(SETTINGS) == list(SEARCHERS)
    for name, make in SEARCHERS.items():
        own = {
            option.name: option.default
            for option in inspect.signature(make).parameters.values()
            if option.name not in ("space", "seed", "predictor")
        }
        assert own == {field.name: field.default for field in dataclasses.fields(SETTINGS[name])}


@pytest.mark.parametrize(("config", "name"), FIELDS, ids=[f"{c.__name__}-{n}" for c, n in FIELDS])
def test_every_field_refuses_what_it_cannot_be(config: Any, name: str) -> None:
    hint = get_type_hints(config)[name]
    optional = type(None) in get_args(hint)
    needed = NEEDED.get(config.__name__, {})
    values = WRONG[kind_of(hint)]
    if name in ("seed", "draw_seed", "split_seed"):
        values = [value for value in values if value != 10**9]
    for value in values:
        if value is None and optional:
            continue
        with pytest.raises(ConfigError) as caught:
            config(**{**needed, name: value})
        message = str(caught.value)
        assert message.startswith(name), f"{value!r}: {message}"
        assert " must " in message and "\n" not in message and len(message) < 300


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: str(config.__name__))
def test_configs_are_plain_frozen_dataclasses(config: Any) -> None:
    made = config(**NEEDED.get(config.__name__, {}))
    record = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    assert from_record(config, record) == made
    assert dataclasses.replace(made) == made
    if not any(isinstance(value, dict) for value in record.values()):
        assert hash(made) == hash(config(**record))
    for name, value in record.items():
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(made, name, value)
    with pytest.raises(ConfigError, match="unknown field 'nonsense'"):
        config(**{**NEEDED.get(config.__name__, {}), "nonsense": 1})
    with pytest.raises(TypeError):
        config(1)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ConfigError, match="space must be given"):
        EncoderConfig(num_nodes=3, num_ops=2)  # type: ignore[call-arg]


def test_checks_of_several_fields_come_after_those_of_each() -> None:
    @configuration
    class Pair:
        low: Count = 1
        high: Count = 2

        def __post_init__(self) -> None:
            if self.low > self.high:
                raise ConfigError(f"low must be at most high, but got {self.low}, {self.high}")

    assert dataclasses.replace(Pair(), high=5) == Pair(high=5)
    with pytest.raises(ConfigError, match=r"^low must be at most high, but got 3, 2$"):
        Pair(low=3)
    with pytest.raises(ConfigError, match=r"^high must be a whole number, but got 'x'$"):
        Pair(low=3, high="x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "meant"),
    [("epoch", "epochs"), ("learning_rate", ""), ("batchsize", "batch_size"), ("x\x1b[31m", "")],
)
def test_unknown_settings_say_what_may_have_been_meant(name: str, meant: str) -> None:
    with pytest.raises(ConfigError) as caught:
        split_settings({name: 3}, ToponasConfig)
    assert f"unknown setting '{name}'; " in str(caught.value)
    assert (f"did you mean {meant}? choose from accumulate" in str(caught.value)) == bool(meant)


def test_very_long_names_are_cut() -> None:
    assert len(unknown_name("field", "x" * 10**6, ["a", "b"])) < 200


def test_a_message_may_quote_bytes_that_are_no_text() -> None:
    with pytest.raises(ConfigError, match="unknown encoder '\udcff'; choose from"):
        NASGEMBench(encoders=("\udcff",))
