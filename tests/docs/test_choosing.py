"""docs/choosing.md says what the records in benchmarks/results say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tables() -> ModuleType:
    """docs/choosing_tables.py."""
    path = ROOT / "docs" / "choosing_tables.py"
    spec = importlib.util.spec_from_file_location("choosing_tables", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_tables_are_the_records(tables: ModuleType) -> None:
    text = tables.PAGE.read_text(encoding="utf-8")
    assert tables.page(text) == text, "run python docs/choosing_tables.py"
    for name in tables.TABLES:
        assert f"<!-- {name} -->" in text


def test_a_changed_number_is_seen(tables: ModuleType) -> None:
    text = tables.PAGE.read_text(encoding="utf-8")
    changed = text.replace("92.62", "92.63", 1)
    assert changed != text and tables.page(changed) == text


def test_records_that_are_named_exist(tables: ModuleType) -> None:
    text = tables.PAGE.read_text(encoding="utf-8")
    names = set(re.findall(r"`(\w+_20\d{4}|[\w-]+_2core-cpu_20\d{4})`", text))
    assert len(names) >= 10
    for name in names:
        assert (ROOT / "benchmarks" / "results" / f"{name}.json").is_file(), name


def test_sentences_about_the_tables_hold(tables: ModuleType) -> None:
    """The comparisons that the prose makes, from the records."""

    def tau(column: str, who: str) -> float:
        name, samples = tables.PREDICTED[column]
        return float(tables.row(name, samples, *tables.PREDICTORS[who])["kendall_tau"]["mean"])

    def bias(column: str, who: str) -> float:
        name, samples = tables.PREDICTED[column]
        return float(tables.row(name, samples, *tables.PICKS[who])["global_bias"]["mean"])

    default, raw, embedding = (
        list(tables.PREDICTORS)[4],
        "MLP, raw matrix",
        list(tables.PREDICTORS)[3],
    )
    nb201, nb101, darts, cells = tables.PREDICTED
    for column in tables.PREDICTED:
        assert all(tau(column, default) >= tau(column, who) for who in tables.PREDICTORS)
        assert tau(column, default) > tau(column, embedding) > tau(column, raw)
    assert tau(cells, "number of parameters") > tau(cells, raw) - 0.01
    for column in (nb201, nb101):
        assert tau(column, raw) - tau(column, "number of parameters") < 0.105
    assert tau(darts, "number of parameters") < 0.1
    for column in (darts, cells):
        assert all(bias(column, "best of the samples") <= bias(column, w) for w in tables.PICKS)
    forests = "random forest, raw matrix and counts"
    for who in (raw, embedding, forests):
        for trivial in ("best of the samples", "number of parameters"):
            assert bias(nb101, trivial) <= bias(nb101, who)

    def regret(record: str, searcher: str, count: int) -> float:
        rows = {row["searcher"]: row for row in tables.record(record)["rows"]}
        return float(rows[searcher]["test_regret"][count - 1]["mean"])

    for name in tables.SEARCHES.values():
        assert regret(name, "evolution", 25) == pytest.approx(regret(name, "random", 25), abs=5e-5)
    for name in list(tables.SEARCHES.values())[:2]:
        for count in tables.QUERIES:
            assert regret(name, "local", count) < regret(name, "evolution", count)
        assert abs(regret(name, "local", 150) - regret(name, "bayes", 150)) < 5e-4
    last = list(tables.SEARCHES.values())[2]
    ends = {who: regret(last, who, 150) for who in ("evolution", "local", "bayes", "predictor")}
    assert max(ends, key=lambda who: ends[who]) == "local"
    assert ends["local"] < regret(last, "random", 150)

    rows = {row["method"]: row for row in tables.record(tables.SUPERNETS)["rows"]}
    best = [curve for curve in rows["topo-arbitrary"]["curves"]]
    darts_curves = [curve for curve in rows["darts"]["curves"]]
    assert all(a[-1] > b[-1] for a, b in zip(best, darts_curves, strict=True))
