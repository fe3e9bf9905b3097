"""Reports of all kinds of runs: what is told, what is left out, and that no name can act."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch_geometric.data import Data
from typer.testing import CliRunner

from gnas.bench.tables import scores_name
from gnas.cli import app
from gnas.data import BenchmarkTable, Column, load_table, save_table
from gnas.errors import DataError, GnasError
from gnas.printable import printable
from gnas.report import read_report, watch_report, write_report
from gnas.report import tables as report_tables
from gnas.report.drawing import inline_svg
from gnas.report.gallery import Gallery
from gnas.report.html import script_json
from gnas.report.page import Chart, Facts, RunReport, Table
from gnas.report.searched import read_searched
from gnas.report.searches import _best_so_far
from gnas.search import run_search
from gnas.search.toponas.plan import plan_search
from gnas.search.toponas.run import run_search as run_supernet
from gnas.spaces import NASBench201
from gnas.spaces.drawing import Box, graph_figure
from tests import commands
from tests.cli.conftest import without_pictures
from tests.report.conftest import HOSTILE, MAKERS, worth

VOID = {"meta", "input", "br", "img", "path", "circle"}
Runs = Callable[[str], Path]


class Reader(HTMLParser):
    """Elements of a page, whether they are closed in order, and texts."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: Counter[str] = Counter()
        self.attributes: Counter[str] = Counter()
        self.links: list[str] = []
        self.text: list[str] = []
        self.scripts: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag] += 1
        self.attributes.update(name for name, _ in attrs)
        self.links += [str(v) for k, v in attrs if k in ("href", "src", "xlink:href", "action")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "script":
            self.scripts.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] == ["script"]:
            self.scripts[-1] += data
        elif self.open[-1:] != ["style"]:
            self.text.append(data)

    @property
    def shown(self) -> str:
        return " ".join(self.text)


def read(path: Path) -> Reader:
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert not reader.open
    return reader


def charts(run: RunReport) -> dict[str, Chart]:
    return {b.title: b for s in run.sections for b in s.blocks if isinstance(b, Chart)}


def table(run: RunReport, section: str) -> Table:
    blocks = next(s.blocks for s in run.sections if s.title == section)
    return next(block for block in blocks if isinstance(block, Table))


def tiles(run: RunReport) -> dict[str, str]:
    return {tile.label: tile.value for tile in run.tiles}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_kind_of_run_makes_a_page_of_its_own(runs: Runs, kind: str, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    page = write_report([runs(kind)], out)
    found = read(out)
    assert out.stat().st_size < 2_500_000
    assert not found.links  # nothing is loaded from anywhere
    assert found.elements["script"] == 3 and found.elements["style"] == 1
    assert not any(name.startswith("on") for name in found.attributes)
    assert "Content-Security-Policy" in out.read_text(encoding="utf-8")
    data = json.loads(found.scripts[0])
    shown = [block for one in page.runs[0].sections for block in one.blocks]
    assert len(data["charts"]) == found.elements["figure"] - sum(
        block.kind == "drawing" for block in shown
    )
    assert data["charts"] and all(chart["series"] for chart in data["charts"])
    assert "gnas " in found.shown
    assert list(tmp_path.iterdir()) == [out]


def test_a_search_with_several_objectives(runs: Runs) -> None:
    folder = runs("front")
    run, result = read_report(folder), json.loads((folder / "result.json").read_text())
    assert run.ended and tiles(run)["on the front"] == str(len(result["front"]))
    front = charts(run)["score against multiply-accumulates"]
    members = next(s for s in front.series if s.name == "Pareto front")
    by_number = {one["number"]: one["measures"] for one in result["evaluations"]}
    expected = sorted((by_number[n]["macs"], by_number[n]["score"]) for n in result["front"])
    assert list(zip(members.x, members.y, strict=True)) == expected
    rows = table(run, "Candidates")
    assert len(rows.rows) == 14
    assert "No evaluated architecture within the bounds is" in front.caption
    told = {int(row[0].text) for k, row in enumerate(rows.rows) if k in rows.marked}
    assert told == {*result["front"], result["best"]}
    at = rows.columns.index("member")
    named = {int(row[0].text): row[at].text for row in rows.rows if row[at].value is not None}
    assert named == {n: str(k) for k, n in enumerate(result["front"])}  # as --member names them
    labels = {label for series in front.series for label in series.labels}
    assert f"evaluation {result['front'][0]}, member 0 of the front" in labels
    assert front.caption.endswith("in every one of the 2 objectives and better in one.")
    errors = [row[-1].text for row in rows.rows if row[-1].text]
    assert len(errors) == result["failed"] > 0 and all("not enough memory" in e for e in errors)
    drawn = [cell for cell in run.cells if cell.svg]
    assert len(drawn) == len({one["architecture"] for one in result["evaluations"]})


def test_what_breaks_a_bound_is_marked_beside_the_front(tmp_path: Path) -> None:
    def measured(graph: Data, *, seed: int) -> dict[str, float]:
        edges = float(graph.num_edges)
        return {"score": edges, "size": float(graph.edge_op.sum()), "edges": edges}

    wanted: dict[str, Any] = {"objectives": ("score:max", "size:min"), "constraints": ("edges=4",)}
    run_search(NASBench201(), "random", measured, budget=30, out=tmp_path / "run", **wanted)
    chart = charts(read_report(tmp_path / "run"))["score against size"]
    broken = next(one for one in chart.series if one.name == "breaks a bound")
    assert broken.symbol == "times" and broken.y and all(y is not None and y > 4 for y in broken.y)
    assert not any((y or 0) > 4 for one in chart.series if one is not broken for y in one.y)


def test_a_broken_bound_is_not_said_to_be_kept(runs: Runs, tmp_path: Path) -> None:
    """Whether the search has ended or goes on."""
    folder = tmp_path / "run"
    run_search(NASBench201(), "random", worth, budget=5, constraints=["macs=-1"], out=folder)
    for _ in range(2):
        told = read_text(read_report(folder))
        assert "No architecture keeps all bounds" in told and "largest score among" not in told
        (folder / "result.json").unlink(missing_ok=True)


def test_the_choice_of_a_predictor_is_explained(runs: Runs) -> None:
    foreseen = charts(read_report(runs("nasgem")))["Foreseen, and found"]
    lines = (runs("nasgem") / "metrics.jsonl").read_text().splitlines()
    pairs = [
        (one["expected"], one["measures"]["score"])
        for one in map(json.loads, lines)
        if one["expected"] is not None and one["measures"] is not None and not one["stage"]
    ]
    dots = foreseen.series[1]
    assert len(pairs) > 5 and list(zip(dots.x, dots.y, strict=True)) == pairs
    assert f"{len(pairs)} predictions" in foreseen.caption
    text = read_text(read_report(runs("predictor")))
    assert "random forest" in text and "5 drawn at random: best" in text


def read_text(run: RunReport) -> str:
    return repr(run.sections)


def test_a_nasgem_search(runs: Runs) -> None:
    run = read_report(runs("nasgem"))
    result = json.loads((runs("nasgem") / "result.json").read_text())
    assert {"What the predictor had learned", "score"} <= charts(run).keys()
    choice = table(run, "Why this one")
    assert [row[0].text for row in choice.rows][:2] == ["chosen", "best predicted (argmax)"]
    assert choice.rows[0][2].value == result["chosen"]["score"]
    best = result["evaluations"][result["best"]]
    exceeds = "which none of these exceeds" in read_text(run)
    assert exceeds == best["is_random"] == (best["number"] < result["trained"])
    assert result["predictor"]["encoder"]["sha256"] in read_text(run)


def test_supernet_searches(runs: Runs) -> None:
    run = read_report(runs("supernet"))
    result = json.loads((runs("supernet") / "result.json").read_text())
    assert len(charts(run)["Accuracy of the supernet"].series) == 2
    assert table(run, "The cell of every epoch").rows[-1][1].text == result["architecture"]
    beside = table(run, "Why this one")
    assert [row[1].value for row in beside.rows] == [
        result["params"], result["random"]["params"],
    ]  # fmt: skip
    chosen = read_report(runs("selection"))
    result = json.loads((runs("selection") / "result.json").read_text())
    one = result["test_acc"]  # as the terminal says it
    told = f"{100 * one['mean']:.2f} ± {100 * one['std']:.2f} %"
    assert (told, "2 trainings: mean ± deviation") in {(t.value, t.note) for t in chosen.tiles}
    accuracy = charts(chosen)["Test accuracy"].series[-1]
    assert [*accuracy.x] == [result["test_acc"]["mean"], result["random"]["test_acc"]["mean"]]
    assert accuracy.name == "mean" and not any(accuracy.low)  # of two trainings, no interval
    rows = table(chosen, "Why this one")
    assert [int(rows.rows[k][0].text) for k in rows.marked] == [result["chosen_seed"]]


def test_trainings(runs: Runs) -> None:
    run = read_report(runs("retrain"))
    result = json.loads((runs("retrain") / "result.json").read_text())
    assert tiles(run)["test accuracy"] == f"{100 * result['metrics']['test_acc']:.2f} %"
    assert len(table(run, "By class").rows) == 10
    going_on = read_report(runs("training under way"))
    assert not going_on.ended and "gnas retrain --resume" in read_text(going_on)
    assert "test accuracy" not in tiles(going_on)


def test_searches_under_way_are_told_as_far_as_they_are(runs: Runs, tmp_path: Path) -> None:
    for kind in ("front", "nasgem", "supernet"):
        folder = tmp_path / kind
        shutil.copytree(runs(kind), folder, ignore=shutil.ignore_patterns("result.json"))
        metrics = folder / "metrics.jsonl"
        lines = metrics.read_text().splitlines(keepends=True)
        metrics.write_text("".join(lines[:-1]) + lines[-1][:30])  # is being written
        page = write_report([folder], tmp_path / "report.html", live=True)
        assert page.live and not page.runs[0].ended
        assert "--resume" in read_text(page.runs[0])
        assert 'id="live"' in (tmp_path / "report.html").read_text()
        assert json.loads(read(tmp_path / "report.html").scripts[0])["live"] is True


def test_several_runs_are_compared_over_seeds(runs: Runs, tmp_path: Path) -> None:
    names = ["random", "random-1", "evolution", "evolution-1", "retrain", "bench"]
    page = write_report([runs(name) for name in names], tmp_path / "report.html")
    first = page.comparison[0]
    tables = [block for block in first.blocks if isinstance(block, Table)]
    assert [row[0].text for row in tables[0].rows] == ["search random", "search evolution"]
    assert [row[1].text for row in tables[0].rows] == ["2", "2"]
    scores = {
        name: json.loads((runs(name) / "result.json").read_text())["metrics"]["score"]
        for name in names[:4]
    }
    pairs = [scores[f"random{end}"] - scores[f"evolution{end}"] for end in ("", "-1")]
    assert tables[1].rows[0][1].text == "2"
    assert tables[1].rows[0][2].value == pytest.approx(sum(pairs) / 2)
    assert "not compared: retrain" in repr(page.comparison[-1])
    assert read(tmp_path / "report.html").elements["details"] >= 6


def test_curves_of_several_runs_go_by_the_number_of_the_evaluation(
    runs: Runs, tmp_path: Path
) -> None:
    """Also where evaluations fail: they are queries too."""
    found = []
    for name in ("random", "random-1"):
        lines = (runs(name) / "metrics.jsonl").read_text().splitlines()
        scores = [(json.loads(line)["measures"] or {"score": None})["score"] for line in lines]
        assert None in scores
        found.append([max(filter(None, scores[: k + 1]), default=None) for k in range(14)])
    page = write_report([runs("random"), runs("random-1")], tmp_path / "report.html")
    curve = next(b for b in page.comparison[0].blocks if isinstance(b, Chart)).series[0]
    assert "Means over seeds; no bands, which need 5." in repr(page.comparison[0])
    pairs = {k: row for k, row in enumerate(zip(*found, strict=True)) if None not in row}
    assert [*curve.x] == [*pairs] and curve.x[-1] == 13
    assert [*curve.y] == pytest.approx([sum(filter(None, row)) / 2 for row in pairs.values()])


def test_the_best_so_far_is_of_the_last_stage(runs: Runs) -> None:
    """A longer training counts more than a shorter one, whichever has the larger score."""
    search = read_searched(runs("evolution"))
    stages = [replace(one, stage="final" * (one.number > 9)) for one in search.done]
    later = [s for s in stages if s.stage]
    curve = _best_so_far(replace(search, evaluations=tuple(stages)))
    values = [(one.measures or {})["score"] for one in later]
    assert [v for number, v in curve if number > 9] == np.maximum.accumulate(values).tolist()
    assert max(v for number, v in curve if number <= 9) > values[0]


def test_a_table_says_which_columns_are_shown(runs: Runs) -> None:
    of_table = read_report(runs("table"))
    facts = next(b for s in of_table.sections for b in s.blocks if isinstance(b, Facts))
    columns = load_table(runs("table")).select("val_acc")
    assert dict(facts.pairs)["validation accuracy"] == scores_name(columns)


def test_runs_that_were_measured_otherwise_are_not_compared(runs: Runs, tmp_path: Path) -> None:
    page = write_report([runs("random"), runs("front")], tmp_path / "report.html")
    assert [section.title for section in page.comparison] == ["Not compared"]


def test_searches_in_a_supernet_that_differ_in_their_seed_are_compared(
    runs: Runs, tmp_path: Path
) -> None:
    """The seed divides the images too: other parts, of the same images."""
    small: dict[str, Any] = {"channels": 2, "num_cells": 3, "num_nodes": 5, "image_size": 8}
    run_supernet(plan_search(**small, batch_size=400, epochs=2, seed=1), out=tmp_path / "other")
    page = write_report([runs("supernet"), tmp_path / "other"], tmp_path / "report.html")
    assert [section.title for section in page.comparison] == ["Comparison"]
    table = next(block for block in page.comparison[0].blocks if isinstance(block, Table))
    assert [row[1].text for row in table.rows] == ["2"]


def test_selections_on_other_images_are_not_compared(runs: Runs, tmp_path: Path) -> None:
    other = shutil.copytree(runs("selection"), tmp_path / "other")
    for path in other.glob("search-*/config.json"):
        config = json.loads(path.read_text())
        config["data"]["train_sha256"] = "0" * 64
        path.write_text(json.dumps(config))
    page = write_report([runs("selection"), other], tmp_path / "report.html")
    assert [section.title for section in page.comparison] == ["Not compared"]
    assert f"evaluate {other}/final/seed-0" in read_text(page.runs[1])


def test_a_table_is_judged_by_all_of_its_rows(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = repr(read_report(runs("table")))
    said = re.findall(r"Kendall's tau \S+ over \d+ architectures", whole)
    monkeypatch.setattr(report_tables, "MAX_POINTS", 4)
    thinned = repr(read_report(runs("table")))
    assert said and re.findall(r"Kendall's tau \S+ over \d+ architectures", thinned) == said
    assert "of them drawn" in thinned and "of them drawn" not in whole


def test_the_best_of_a_table_of_sizes_is_the_smallest(runs: Runs, tmp_path: Path) -> None:
    table = load_table(runs("table"))
    sizes = np.arange(len(table), dtype=np.float64) + 7
    columns = [Column("num_params", "num_params")]
    small = BenchmarkTable(table.graphs, columns, table.provenance, {"num_params": sizes})
    save_table(small, tmp_path / "sizes.parquet")
    page = read_report(tmp_path / "sizes.parquet")
    assert next(tile.value for tile in page.tiles if tile.label.startswith("best")) == "7"


def texts_in(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from texts_in(one)


def test_no_name_can_act_on_the_page(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(runs("hostile"), folder)
    out = tmp_path / "report.html"
    write_report([folder, runs("hostile"), runs("front")], out)
    found = read(out)
    assert found.elements["script"] == 3 and not found.elements["img"]
    assert not any(name.startswith("on") for name in found.attributes)
    assert not found.links
    text = out.read_text(encoding="utf-8")
    assert "\x1b" not in text and "\u202e" not in text
    assert printable(HOSTILE) in found.shown  # as a text it is all there
    assert folder.name in found.shown
    labels = texts_in(json.loads(found.scripts[0]))
    assert any(printable(HOSTILE) in label for label in labels)  # of points and lines, too
    assert "<" not in found.scripts[0]


def test_drawings_hold_texts_as_texts_and_no_references() -> None:
    boxes = [Box(text=HOSTILE, colour="#E69F00"), Box(text="$a_b$ & <b>", colour="#56B4E9")]
    figure = graph_figure(boxes, {(0, 1): "#6b7785"}, title=HOSTILE, legend={HOSTILE: "#E69F00"})
    found = Reader()
    svg = inline_svg(figure, HOSTILE)
    found.feed(svg)
    assert found.elements.keys() == {"svg", "path", "text"}
    assert not found.attributes.keys() & {"id", "style", "class", "onerror"} - {"class"}
    assert not found.links and "\x1b" not in svg
    assert found.text.count("$a_b$ & <b>") == 1
    assert sum(printable(HOSTILE) == text for text in found.text) == 3


def test_json_in_a_script_element_cannot_end_it() -> None:
    value = {"</script>": "<!-- & ' \u2028 \ud800"}
    text = str(script_json(value))
    assert not re.search("[<>&']|\u2028", text)
    assert json.loads(text) == {"</script>": "<!-- & ' \\u2028 \\ud800"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"config.json": "{"}, "must be"),
        ({"config.json": '{"config": {"command": "search random", "searcher": {}}}'}, "must be"),
        ({"config.json": '{"config": {"command": "retrain"}}'}, "must be"),
        ({"config.json": '{"config": {"command": "bench search x"}}'}, "must have ended"),
        ({"config.json": '{"config": {}}', "result.json": "[]"}, "must be"),
        ({}, "must have a config.json"),
    ],
)
def test_damage_is_one_clear_line(tmp_path: Path, content: dict[str, str], message: str) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    for name, text in content.items():
        (folder / name).write_text(text)
    done = CliRunner().invoke(app, ["report", str(folder), "--out", str(tmp_path / "a.html")])
    assert done.exit_code == 1, done.output
    assert len(done.stderr.splitlines()) == 1 and message in done.stderr, done.stderr
    assert not (tmp_path / "a.html").exists()


@pytest.mark.parametrize("kind", ["front", "nasgem", "selection", "retrain"])
def test_a_damaged_result_is_one_clear_line(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr(Gallery, "draw", lambda self, text: [])  # takes most of the time
    folder = tmp_path / "run"
    shutil.copytree(runs(kind), folder)
    record = json.loads((folder / "result.json").read_text())
    refused = []
    for name in record:
        (folder / "result.json").write_text(json.dumps({**record, name: [{"a": 1}]}))
        try:
            write_report([folder], tmp_path / "report.html")
        except GnasError as error:
            refused.append(name)
            assert str(folder) in str(error) and "\n" not in str(error), name
    assert len(refused) >= 2, refused


def test_lines_of_a_search_under_way_must_be_in_order(runs: Runs, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(runs("random"), folder)
    (folder / "result.json").unlink()
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines, lines[-1]]))
    with pytest.raises(DataError, match="its lines are not in order"):
        write_report([folder], tmp_path / "report.html")


def test_the_command(runs: Runs, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["report", str(runs("random"))])
    assert done.exit_code == 0, done.output
    assert done.stdout.strip() == str(runs("random") / "report.html")
    for words, message in (
        (["nowhere"], "there is no nowhere"),
        ([str(runs("random")), "--out", str(tmp_path / "a.pdf")], "must be an .html file"),
        ([str(runs("random")), "--out", str(tmp_path / "random" / "x.html")], ""),
    ):
        done = CliRunner().invoke(app, ["report", *words])
        assert (done.exit_code == 1) == bool(message), done.output
        assert message in done.stderr
    other = tmp_path / "other.json"
    other.write_text('{"a": 1}')
    done = CliRunner().invoke(app, ["report", str(other)])
    assert done.exit_code == 1 and "must be the result of gnas bench" in done.stderr
    other.write_text('{"command": "bench nasbench101", "rows": [], "table": {}}')
    done = CliRunner().invoke(app, ["report", str(other)])
    assert (
        done.exit_code == 1 and "must be the result of gnas bench, but: it has no" in done.stderr
    )


def test_the_page_follows_a_run_until_it_ends(runs: Runs, tmp_path: Path) -> None:
    folder, out = tmp_path / "run", tmp_path / "report.html"
    folder.mkdir()
    whole = (runs("front") / "metrics.jsonl").read_text().splitlines(keepends=True)
    shutil.copy(runs("front") / "config.json", folder)
    states: list[str] = []

    def later() -> None:
        """What the search writes meanwhile, a step a line that is reported."""
        (folder / "metrics.jsonl").write_text("".join(whole[: 3 * len(states)]))
        if len(states) == 4:
            shutil.copy(runs("front") / "result.json", folder)

    def report(line: str) -> None:
        states.append(line.split(" ")[0].rstrip(":"))
        if out.exists():
            assert ('id="live"' in out.read_text()) == (len(states) < 5)
        later()

    page = watch_report([folder], out, every_s=0.01, report=report)
    assert not page.live and page.runs[0].ended
    assert states == ["waiting", "written", "written", "written", "written"], states


def test_ctrl_c_ends_the_watch_and_leaves_a_whole_page(runs: Runs, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gnas", "report", str(runs("training under way")), "--watch"]
    out = tmp_path / "report.html"
    asked = [*command, "--out", str(out)]
    with commands.Popen(asked, stderr=subprocess.PIPE, text=True) as watch:
        assert watch.stderr is not None
        try:
            assert "written at" in watch.stderr.readline()
            watch.send_signal(signal.SIGINT)
            errors = watch.stderr.read()
            assert watch.wait(timeout=60) == 130
        finally:
            watch.kill()
    assert "Traceback" not in errors
    assert 'id="live"' in out.read_text() and list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize("words", ["search evolution", "search nasgem"])
def test_searches_write_their_report(tmp_path: Path, words: str) -> None:
    table = ["--table", "nasgem-mini", "--space", "nasgem", "--out", str(tmp_path / "run")]
    size = ["--budget", "6"]
    if words == "search nasgem":
        size = ["--iterations", "6", "--set", "top=2", "--set", "pool=50"]
    with without_pictures():  # those beside the report
        done = CliRunner().invoke(app, [*words.split(), *table, *size, "--report"])
    assert done.exit_code == 0, done.output
    assert f"report: {tmp_path / 'run' / 'report.html'}" in done.stdout
    page = read(tmp_path / "run" / "report.html")
    assert page.elements["script"] == 3
    assert "the same network, drawn differently, are means" in " ".join(page.text)


def test_supernet_searches_write_their_report(tmp_path: Path) -> None:
    small = [w for pair in ("channels=2", "num_cells=3", "batch_size=400", "image_size=8")
             for w in ("--set", pair)]  # fmt: skip
    words = ["search", "toponas", "--num-nodes", "4", "--epochs", "1", *small, "--report"]
    with without_pictures():  # those beside the report
        done = CliRunner().invoke(app, [*words, "--out", str(tmp_path / "run")])
    assert done.exit_code == 0, done.output
    assert f"report: {tmp_path / 'run' / 'report.html'}" in done.stdout
    assert read(tmp_path / "run" / "report.html").elements["script"] == 3


def test_a_space_of_a_users_own_is_drawn_where_it_is_named(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(
        "from gnas.spaces import NASBench201\n\n\n"
        "class Own(NASBench201):\n    name = 'own'\n\n\n"
        "def worth(graph, *, seed):\n    return float(graph.edge_op.sum())\n"
    )
    own, out = f"{file}:Own", tmp_path / "run"
    words = ["search", "random", "--space", own, "--evaluate", f"{file}:worth", "--budget", "3"]
    done = CliRunner().invoke(app, [*words, "--out", str(out), "--report"])
    assert done.exit_code == 0, done.output
    assert '<svg class="graph"' in (out / "report.html").read_text()
    done = CliRunner().invoke(app, ["report", str(out)])  # the file is not run unasked
    assert done.exit_code == 0, done.output
    assert '<svg class="graph"' not in (out / "report.html").read_text()
    assert CliRunner().invoke(app, ["report", str(out), "--space", own]).exit_code == 0
    assert '<svg class="graph"' in (out / "report.html").read_text()


def test_an_experiment_says_the_command_that_was_typed(tmp_path: Path) -> None:
    options = ["--samples", "20", "--seeds", "1", "--predictors", "forest", "--encoders", "none"]
    typed = ["bench", "nasbench101", *options, "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(app, typed)
    assert done.exit_code == 0, done.output
    write_report([tmp_path / "run"], tmp_path / "page.html")
    assert f"gnas {' '.join(typed)}" in (tmp_path / "page.html").read_text()


def test_a_bench_without_any_defined_tau_has_a_page(tmp_path: Path) -> None:
    unknown = dict.fromkeys(("mean", "low", "high"))
    table = {"name": "a", "provenance": "self-made", "usable": 20, "train_column": "val_acc"}
    row = {
        "predictor": "MLP", "encoder": "adjacency", "samples": 10, "seeds": 2,
        "kendall_tau": unknown, "spearman": unknown, "precision_at_1_percent": unknown,
        "n_at_10": unknown, "picked_score": {"mean": 0.1, "low": None, "high": None},
        "global_bias": {"mean": 0.0, "low": None, "high": None},
    }  # fmt: skip
    record = {
        "command": "bench predictors", "config": {}, "table": {**table, "test_column": "test_acc"},
        "rows": [row], "best_score": 0.1, "ceiling": None, "protocol": {}, "seconds": 1.0,
    }  # fmt: skip
    (tmp_path / "result.json").write_text(json.dumps(record))
    write_report([tmp_path / "result.json"], tmp_path / "page.html")
    assert "best Kendall" not in (tmp_path / "page.html").read_text()


def test_searchers_that_are_equally_good_are_all_named(runs: Runs, tmp_path: Path) -> None:
    record = json.loads(runs("bench search").read_text())
    first, second = record["rows"][:2]
    second["test_acc"] = first["test_acc"] = {**first["test_acc"], "mean": 1.0}
    (tmp_path / "result.json").write_text(json.dumps(record))
    shown = tiles(read_report(tmp_path / "result.json"))
    assert shown["best searcher"] == f"{first['searcher']}, {second['searcher']}"
