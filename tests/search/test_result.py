"""Records of evaluations: what a line of a run's file may hold."""

from __future__ import annotations

from typing import Any

import pytest

from gnas.evaluate import FunctionEvaluator
from gnas.runs import to_jsonable
from gnas.search import RandomSearch, run_search
from gnas.search.result import Evaluation
from gnas.spaces import NASBench201

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


def test_what_a_notebook_shows_is_one_short_line() -> None:
    space = NASBench201()
    evaluator = FunctionEvaluator(lambda graph, *, seed: graph.num_edges)
    found = run_search(space, "random", evaluator, budget=3)
    two = "DenseBatch(2 graphs, max_nodes=4, num_ops=3, has_edge_ops=True)"
    shown = {
        repr(found)[:46]: "SearchResult(command='search random', objectiv",
        repr(RandomSearch(space)): "RandomSearch(NASBench201(), seed=0, asked=0)",
        repr(evaluator): "FunctionEvaluator(measures=())",
        repr(space.enumerate()[:2]): two,
    }
    assert [*shown] == [*shown.values()] and len(repr(found)) < 500
