"""Keys of comparable runs: equal apart from the seed, or measured alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from gnas.runs import to_jsonable

SEEDS = ("seed", "study", "storage", "plan", "data_dir", "workers")
"""Settings that differ between two runs of the same experiment."""


def group_of(config: Mapping[str, Any]) -> str:
    """The settings of a run without its seed and its places, as text that is equal for equals.

    Examples:
        >>> group_of({"command": "search random", "seed": 1}) == group_of(
        ...     {"command": "search random", "seed": 2})
        True
    """
    return json.dumps(to_jsonable(_without(config)), sort_keys=True)


def protocol_of(*facts: Any) -> str:
    """Protocol of a run as text, equal for runs with comparable results."""
    return json.dumps(to_jsonable(_without(facts)), sort_keys=True)


def divided(data: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """What a run recorded of its images, without how its seed divided them in parts."""
    if data is None:
        return None
    parts = [{name: part[name] for name in ("name", "images")} for part in data["parts"]]
    kept = {name: fact for name, fact in data.items() if name not in ("mean", "std")}
    return kept | {"parts": parts}


def _without(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {k: _without(v) for k, v in value.items() if k not in SEEDS}
    if isinstance(value, list | tuple):
        return [_without(one) for one in value]
    return value
