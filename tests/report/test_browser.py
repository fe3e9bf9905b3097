"""Reports in headless Chromium: nothing goes wrong, tables sort, both colour schemes, narrow."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gnas.report import write_report
from tests.report.conftest import MAKERS

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Request

Runs = Callable[[str], Path]
ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = sorted((ROOT / "docs" / "reports").glob("*.html"))
NAMES = ("chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page in a window of a desktop; at the end, nothing may have been amiss or asked for."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="light")
    found = context.new_page()
    amiss: list[str] = []

    def note(text: str) -> None:
        amiss.append(text)

    def asked(request: Request) -> None:
        if not request.url.startswith("file:"):
            note(request.url)

    found.on("console", lambda message: note(f"{message.type}: {message.text}"))
    found.on("pageerror", lambda error: note(str(error)))
    found.on("request", asked)
    yield found
    context.close()
    assert not amiss


def opened(page: Page, path: Path) -> None:
    page.goto(path.as_uri())
    page.wait_for_function("document.querySelectorAll('.plot').length > 0")


def is_narrow_enough(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_all_kinds_are_drawn_without_an_error_and_fit_a_phone(
    page: Page, runs: Runs, tmp_path: Path
) -> None:
    paths = [runs(kind) for kind in MAKERS]
    out = tmp_path / "all.html"
    write_report(paths, out)
    opened(page, out)
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    page.wait_for_function(
        "[...document.querySelectorAll('.plot')].every(plot => plot.querySelector('svg'))"
    )
    assert is_narrow_enough(page)
    page.set_viewport_size({"width": 400, "height": 800})
    page.wait_for_timeout(300)
    assert is_narrow_enough(page)
    widths = "Math.max(...[...document.querySelectorAll('.plot svg')].map(one => one.clientWidth))"
    assert 200 < page.evaluate(widths) <= 400


def test_long_names_that_differ_at_the_end_look_different(
    page: Page, runs: Runs, tmp_path: Path
) -> None:
    record = json.loads(runs("bench").read_text())
    row = next(row for row in record["rows"] if row["predictor"] != "none")
    stem = "exact kernel of nasgem-nasbench101"
    record["rows"] = [row | {"encoder": f"{stem}{end}"} for end in ("", "-paper")]
    (tmp_path / "bench.json").write_text(json.dumps(record))
    write_report([tmp_path / "bench.json"], tmp_path / "page.html")
    page.set_viewport_size({"width": 400, "height": 800})
    opened(page, tmp_path / "page.html")
    texts = page.locator(".plot").first.locator("text").all_text_contents()
    cut = [text for text in texts if "…" in text]
    assert len(cut) == len(set(cut)) == 2


def test_tables_sort_and_filter(page: Page, runs: Runs, tmp_path: Path) -> None:
    write_report([runs("front")], tmp_path / "front.html")
    opened(page, tmp_path / "front.html")
    table = page.locator(".table", has=page.locator("input"))
    heading = table.locator("th", has_text="multiply-accumulates")
    column = heading.evaluate("one => one.cellIndex")

    def values() -> list[float]:
        cells = table.locator(f"tbody tr td:nth-child({column + 1})")
        found: list[str | None] = cells.evaluate_all("all => all.map(one => one.dataset.value)")
        return [float(value) for value in found if value is not None]

    before = values()
    for order in ("descending", "ascending"):
        heading.locator("button").click()
        assert heading.get_attribute("aria-sort") == order
        assert values() == sorted(before, reverse=order == "descending")
    assert len(before) > 3
    table.locator("input").fill("skip_connect~0")
    shown = table.locator("tbody tr:visible")
    assert 0 < shown.count() < 14
    assert all("skip_connect~0" in text for text in shown.all_text_contents())
    assert table.locator(".count").text_content() == f"{shown.count()} of 14 rows"
    shown.first.locator(".cell").hover()  # its drawing
    assert page.locator("#tip svg.graph").is_visible()


def test_points_show_their_cell_and_series_can_be_hidden(
    page: Page, runs: Runs, tmp_path: Path
) -> None:
    write_report([runs("front")], tmp_path / "front.html")
    opened(page, tmp_path / "front.html")
    chart = page.locator("figure.chart").nth(1)
    box = chart.locator("g[aria-label=dot] path, g[aria-label=dot] circle").last.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert page.locator("#tip svg.graph").is_visible()
    assert "evaluation " in page.locator("#tip").inner_text()
    page.mouse.move(2, 2)
    before = chart.locator(".plot svg").inner_html()
    button = chart.locator(".legend button").first
    button.click()
    assert button.get_attribute("aria-pressed") == "false"
    assert chart.locator(".plot svg").inner_html() != before


def test_colours_follow_the_system_and_the_button(page: Page, runs: Runs, tmp_path: Path) -> None:
    write_report([runs("random")], tmp_path / "random.html")
    opened(page, tmp_path / "random.html")

    def brightness() -> float:
        colour: str = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(float, colour.split("(")[1].rstrip(")").split(",")[:3])) / 3

    assert brightness() > 200
    page.emulate_media(color_scheme="dark")
    assert brightness() < 60
    page.locator("#theme").click()
    assert brightness() > 200
    page.reload()  # what was chosen stays
    assert brightness() > 200
    page.emulate_media(media="print", color_scheme="dark")
    page.locator("#theme").evaluate("one => one.click()")
    assert brightness() > 200  # paper is white


def test_a_page_of_a_run_under_way_loads_itself_again(
    page: Page, runs: Runs, tmp_path: Path
) -> None:
    out = tmp_path / "live.html"
    write_report([runs("training under way")], out, live=True)
    out.write_text(out.read_text(encoding="utf-8").replace('"reload":5', '"reload":1'))
    page.goto(out.as_uri())
    page.wait_for_selector("#live")
    write_report([runs("retrain")], out)
    page.wait_for_selector(".badge.done", timeout=60_000)
    assert not page.locator("#live").count()


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_examples_of_the_documentation(page: Page, example: Path) -> None:
    assert example.stat().st_size < 1_000_000
    opened(page, example)
    charts = page.locator(".plot svg").count()
    assert charts and page.locator("svg.graph, table").count()
    for width in (400, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert is_narrow_enough(page)
