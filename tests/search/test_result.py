"""Records of evaluations: what a line of a run's file may hold."""

from __future__ import annotations

from typing import Any

import pytest

from gnas.runs import to_jsonable
from gnas.search.result import Evaluation

GOOD = Evaluation(0, "cell", {"score": 1.0}, expected=0.5, is_random=True)
FAILED = Evaluation(0, "cell", None, "out of memory")


@pytest.mark.parametrize("found", [GOOD, FAILED])
def test_records_are_read_as_they_were_written(found: Evaluation) -> None:
    assert Evaluation.from_record({**to_jsonable(found), "seconds": 2.0}) == found


@pytest.mark.parametrize(
    "change",
    [
        {"number": True}, {"number": "0"}, {"architecture": 3}, {"stage": None},
        {"measures": None}, {"measures": {"score": "1"}}, {"error": "but it has measures"},
        {"expected": "0.5"}, {"is_random": 1}, {"runs": [{"score": []}]},
    ],
    ids=str,
)  # fmt: skip
def test_other_values_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError, AttributeError)):
        Evaluation.from_record({**to_jsonable(GOOD), **change})
    with pytest.raises((TypeError, ValueError, AttributeError)):
        Evaluation.from_record({**to_jsonable(FAILED), "error": 7})
