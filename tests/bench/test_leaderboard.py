"""``gnas leaderboard``: rows of several results, of one protocol alone."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gnas.bench.leaderboard import KINDS, Leaderboard, leaderboard, read_bench
from gnas.cli import app
from gnas.errors import ConfigError, DataError, GnasError
from gnas.metrics import Interval

RECORDS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
DARTS = RECORDS / "darts_2core-cpu_202611.json"
SEARCHES = RECORDS / "nasbench201_search_cifar10_202611.json"
SUPERNETS = RECORDS / "supernets_nasbench201_2core-cpu_202611.json"
TOPOLOGIES = RECORDS / "nasbench201_topology_cifar10_202611.json"
CELLS = RECORDS / "nasbench101_partial_2core-cpu_202611.json"
Change = Callable[[dict[str, Any]], None]


def gnas(*words: str | Path) -> Result:
    return CliRunner().invoke(app, ["leaderboard", *map(str, words)])


def board(path: Path, **options: Any) -> Leaderboard:
    return leaderboard([read_bench(path)], **options)


def changed(source: Path, target: Path, change: Change) -> Path:
    record = json.loads(source.read_text())
    change(record)
    target.write_text(json.dumps(record))
    return target


def nasgem(target: Path) -> Path:
    """A record of NASGEM cells, which a record of two results holds."""
    whole = json.loads((RECORDS / "nasgem_mini_2core-cpu_202611.json").read_text())
    target.write_text(json.dumps(whole["plain"]))
    return target


def test_the_smallest_picked_latency_is_the_first(tmp_path: Path) -> None:
    path = changed(DARTS, tmp_path / "a.json", lambda r: r.update(quantity="edge_latency_ms"))
    ranked = [entry.values["picked_score"] for entry in board(path, metric="picked_score").entries]
    picked = [value.mean for value in ranked if value is not None]
    assert len(set(picked)) > 1 and picked == sorted(picked)


@pytest.mark.parametrize(
    ("path", "metric"),
    [
        *((DARTS, metric) for metric in KINDS["bench darts"].metrics),
        *((CELLS, metric) for metric in ("kendall_tau", "global_bias", "kendall_tau_no_twins")),
        *((SEARCHES, metric) for metric in KINDS["bench search"].metrics),
        *((SUPERNETS, metric) for metric in KINDS["bench supernet"].metrics),
        *((TOPOLOGIES, metric) for metric in KINDS["bench topology"].metrics),
    ],
    ids=lambda x: x if isinstance(x, str) else x.stem.split("_2core")[0],
)
def test_rows_are_sorted_by_the_records_own_numbers(path: Path, metric: str) -> None:
    found = board(path, metric=metric)
    record = json.loads(path.read_text())
    rows = [row for row in record["rows"] if row.get("samples") == found.samples]
    if path == SEARCHES:
        rows = record["rows"]
    assert len(found.entries) == len(rows)
    values = []
    for row in rows:
        value = row.get(metric)
        value = value[-1] if isinstance(value, list) else value
        mean = value["mean"] if isinstance(value, dict) else value
        values += [] if mean is None else [mean]
    values.sort(reverse=found.better == "higher")
    told = [entry.values[metric] for entry in found.entries]
    assert [value.mean for value in told if value is not None] == values
    assert all(value is None for value in told[len(values) :])
    ranks = [entry.rank for entry in found.entries]
    near = [round(v, 12) for v in values]  # topologies without a path have the same mean
    assert ranks[: len(values)] == [
        1 + sum(v > x if found.better == "higher" else v < x for v in near) for x in near
    ]
    assert all(rank is None for rank in ranks[len(values) :])


def test_the_usual_order_is_known() -> None:
    assert [entry.name for entry in board(SUPERNETS).entries][:2] == ["topo-arbitrary", "milenas"]
    assert board(SEARCHES).entries[0].name == "predictor"
    first = board(TOPOLOGIES, metric="best_acc").entries[0]
    assert first.name == "0-1, 0-2, 1-2, 0-3, 1-3, 2-3"
    found = board(DARTS, metric="global_bias", samples=25)
    assert found.entries[0].name == "best of the samples" and found.better == "lower"
    assert board(DARTS).samples == 100  # the largest
    regrets = board(SEARCHES, metric="test_regret", samples=50)
    row = next(r for r in json.loads(SEARCHES.read_text())["rows"] if r["searcher"] == "random")
    value = next(e for e in regrets.entries if e.name == "random").values["test_regret"]
    assert value == Interval(**row["test_regret"][49])
    known = {name for entry in regrets.entries for name, value in entry.values.items() if value}
    assert known == {"test_regret", "val_regret"}  # the others are known after 150 queries only


def test_equal_means_share_a_rank_whatever_their_last_bit(tmp_path: Path) -> None:
    def dead(record: dict[str, Any]) -> None:
        for k, row in enumerate(record["rows"]):
            row["mean_acc"] = [0.1, 0.1 + 2e-17, sum([0.1] * 10) / 10][k % 3]

    found = board(changed(TOPOLOGIES, tmp_path / "b.json", dead))
    assert {entry.rank for entry in found.entries} == {1}


def test_the_command_tells_table_protocol_and_intervals(tmp_path: Path) -> None:
    done = gnas(DARTS, "--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    assert done.exit_code == 0, done.output
    record = json.loads(DARTS.read_text())
    assert "bench darts on darts_random_150 (sha256 2366df89d126)" in done.stdout
    assert "100 samples; 20 seeds from 0; sorted by kendall_tau, higher is better" in done.stdout
    for name, text in record["protocol"].items():
        assert f"{name}: {text}" in done.stdout
    best = max(
        (row for row in record["rows"] if row["samples"] == 100 and row["kendall_tau"]),
        key=lambda row: row["kendall_tau"]["mean"],
    )
    tau = best["kendall_tau"]
    shown = f"{tau['mean']:.3f} [{tau['low']:.3f}, {tau['high']:.3f}]"
    assert shown in done.stdout
    board = json.loads((tmp_path / "b.json").read_text())
    assert board["command"] == "leaderboard" and board["of"] == "bench darts"
    assert board["entries"][0]["values"]["kendall_tau"] == tau
    text = (tmp_path / "b.md").read_text()
    assert shown.replace("[", "\\[").replace("]", "\\]") in text
    lines = [line for line in text.splitlines() if line.startswith("|")]
    assert len(lines) == 2 + len(board["entries"])
    assert len({line.replace("\\|", "").count("|") for line in lines}) == 1


def test_results_of_one_protocol_are_joined(tmp_path: Path) -> None:
    """As two commands give them that compare other encoders: shared rows stand there once."""

    def other(record: dict[str, Any]) -> None:
        record["config"]["encoders"] = ["mine"]
        record["config"]["samples"] = [50, 100]
        record["rows"] = [row for row in record["rows"] if row["samples"] > 25]
        for row in record["rows"]:
            if row["encoder"] == "nasgem-toponas":
                row["encoder"] = "a|b\n<i>\x1b[31m"
                row["kendall_tau"] = {"mean": 0.9, "low": None, "high": None}

    mine = changed(DARTS, tmp_path / "mine.json", other)
    done = gnas(DARTS, mine, "--json", tmp_path / "b.json", "--markdown", tmp_path / "b.md")
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "b.json").read_text())
    names = [entry["name"] for entry in found["entries"]]
    alone = board(DARTS)
    assert len(names) == len(alone.entries) + 1 and names[0].startswith("MLP on a|b")
    shared = next(e for e in found["entries"] if e["name"] == "random pick")
    assert shared["files"] == [str(DARTS), str(mine)]
    assert "\x1b" not in done.stdout and "0.900" in done.stdout and "0.900 [" not in done.stdout
    line = (tmp_path / "b.md").read_text().splitlines()[4]
    assert r"MLP on a\|b \<i\>\\x1b\[31m" in line


def test_results_of_other_predictors_are_joined_without_gains(tmp_path: Path) -> None:
    """A gain is over the first row of its file."""

    def mine(record: dict[str, Any]) -> None:
        record["config"]["predictors"] = ["mine"]
        record["rows"] = [{**row, "predictor": "mine"} for row in record["rows"][1:2]]

    files = [read_bench(path) for path in (DARTS, changed(DARTS, tmp_path / "a.json", mine))]
    found = leaderboard(files, samples=files[1].rows[0]["samples"])
    assert any(entry.name.startswith("mine") for entry in found.entries)
    assert all(entry.values["kendall_tau_gain"] is None for entry in found.entries)
    with pytest.raises(ConfigError, match=r"gains must be over one predictor, but are .*a\.json"):
        leaderboard(files, "kendall_tau_gain")


def _set(*path: str, to: Any) -> Change:
    def change(record: dict[str, Any]) -> None:
        for name in path[:-1]:
            record = record[name]
        record[path[-1]] = to

    return change


def _more_seeds(record: dict[str, Any]) -> None:
    for row in record["rows"]:
        row["seeds"] = 30


@pytest.mark.parametrize(
    ("path", "change", "what"),
    [
        (DARTS, _set("table", "sha256", to="0" * 64), "table's sha256: 0000"),
        (DARTS, _set("table", "test_column", to="x"), "table's test_column: x, not test_acc_600"),
        (DARTS, _set("table", "candidates", to=7), "table's candidates: 7, not 150"),
        (DARTS, _set("config", "seed", to=1), "seed: 1, not 0"),
        (DARTS, _more_seeds, "seeds: 30, not 20"),
        (DARTS, _set("config", "run_deviation", to=0.1), "run_deviation: 0.1, not 0.0009"),
        (DARTS, _set("protocol", "rank", to="all"), "protocol of rank: all, not all cells that"),
        (DARTS, _set("best_score", to=0.5), "best score: 0.5, not"),
        (SEARCHES, _set("config", "budget", to=9), "budget: 9, not 150"),
        (SEARCHES, _set("config", "dataset", to="cifar100"), "dataset: cifar100, not cifar10"),
        (SUPERNETS, _set("data", "sha256", to="1"), "data's sha256: 1, not"),
        (SUPERNETS, _set("config", "preset", to="paper"), "preset: paper, not cpu"),
        (TOPOLOGIES, _set("config", "split", to="val"), "split: val, not test"),
    ],
)  # fmt: skip
def test_other_protocols_are_refused(
    path: Path, change: Change, what: str, tmp_path: Path
) -> None:
    other = changed(path, tmp_path / "other.json", change)
    done = gnas(path, other)
    assert done.exit_code == 1 and done.stdout == "" and done.stderr.count("\n") == 1
    assert f"{other} differs from {path} in the {what}" in done.stderr


def test_other_benches_are_refused() -> None:
    done = gnas(DARTS, SEARCHES)
    assert done.exit_code == 1
    assert "in the command: bench search, not bench darts" in done.stderr


def test_a_table_at_another_place_is_the_same(tmp_path: Path) -> None:
    def moved(record: dict[str, Any]) -> None:
        record["table"] |= {"name": "copy", "path": "elsewhere.parquet", "note": "mine"}
        record["config"]["table"] = "elsewhere.parquet"

    again, file = changed(DARTS, tmp_path / "a.json", moved), tmp_path / "b.json"
    done = gnas(DARTS, again, "--json", file)
    assert done.exit_code == 0, done.output
    entries = json.loads(file.read_text())["entries"]
    assert entries and all(one["files"] == [str(DARTS), str(again)] for one in entries)


def test_nasgem_and_nasbench201_are_kinds_too(tmp_path: Path) -> None:
    assert board(nasgem(tmp_path / "n.json")).of == "bench nasgem"
    other = changed(DARTS, tmp_path / "x.json", _set("command", to="bench nasbench201"))
    assert board(other).metric == "kendall_tau"


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        (DARTS, {"metric": "tau"}, "unknown metric 'tau'"),
        (DARTS, {"samples": 7}, "all results must have 7 samples in common, but .* has .25, 50"),
        (SEARCHES, {"samples": 7}, "samples. goes|--samples goes with results of predictors"),
        (SEARCHES, {"metric": "test_regret", "samples": 151}, "between 1 and the budget 150"),
        (SEARCHES, {"metric": "val_regret", "samples": 0}, "between 1 and the budget 150"),
        (TOPOLOGIES, {"samples": 1}, "not with mean_acc of bench topology"),
    ],
)
def test_what_there_is_not(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        board(path, **options)
    with pytest.raises(ConfigError, match="at least one"):
        leaderboard([])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "Expecting value"),
        ("[]", "it is not an object with a command"),
        ('{"command": "search random"}', "it is of 'search random', and there are bench"),
        ('{"command": "bench darts"}', "'table' is missing"),
        ("[" * 100_000, "recursion|Expecting value"),
        (None, "x.json"),
    ],
)
def test_foreign_files_are_said_in_one_line(
    content: str | None, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "x.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_bench(path)
    done = gnas(path)
    assert done.exit_code == 1 and done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1 and str(path) in done.stderr


VALUES: tuple[Any, ...] = (None, 3, "x", [], {}, [1], {"mean": "x"}, 1e400, True, {"a": 1})


def mutants(record: Any) -> Iterator[Any]:
    """The record with one part of it replaced, or missing."""

    def places(part: Any, path: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
        if isinstance(part, dict | list):
            for key in part if isinstance(part, dict) else range(min(len(part), 2)):
                yield (*path, key)
                yield from places(part[key], (*path, key))

    for *path, last in places(record, ()):
        for value in (*VALUES, "missing"):
            mutant = part = copy.deepcopy(record)
            for key in path:
                part = part[key]
            if value == "missing":
                del part[last]
            else:
                part[last] = value
            yield mutant


@pytest.mark.parametrize("source", [DARTS, SEARCHES, SUPERNETS, TOPOLOGIES], ids=lambda p: p.stem)
def test_no_damage_is_a_traceback(source: Path, tmp_path: Path) -> None:
    record = json.loads(source.read_text())
    record["rows"] = record["rows"][:1]
    for name in ("searches", "data"):
        record.pop(name, None)
    for row in record["rows"]:
        for name in ("test_regret", "val_regret"):
            if name in row:
                row[name] = row[name][:2]
        row.pop("test_regret_spread", None)
        row.pop("queries", None)
        row.pop("curves", None)
    path, count = tmp_path / "x.json", 0
    good = tmp_path / "good.json"
    good.write_text(json.dumps(record))
    whole = read_bench(good)
    for mutant in mutants(record):
        path.write_text(json.dumps(mutant))
        try:
            leaderboard([whole, read_bench(path)])
        except GnasError as error:
            assert len(str(error).splitlines()) == 1
            count += 1
    assert count > 100
