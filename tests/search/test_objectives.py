"""Objectives and bounds as texts."""

import pytest

from gnas.errors import ConfigError
from gnas.search.objectives import Bound, Objective


@pytest.mark.parametrize("text", ["macs=5e+07", "num_params=12345678.0", "loss=0.12345678"])
def test_the_text_of_a_bound_is_the_same_bound(text: str) -> None:
    bound = Bound.parse(text)
    assert str(bound) == text and Bound.parse(str(bound)) == bound


@pytest.mark.parametrize("name", ["accuracy_loss", "score_error", "time_to_acc"])
def test_a_name_of_two_directions_has_none(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name}:max or {name}:min"):
        Objective.parse(name)
