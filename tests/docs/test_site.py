"""Builds the site once and reads its pages, as a visitor sees them."""

from __future__ import annotations

import dataclasses
import fcntl
import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from tests.test_config import CONFIGS

ROOT = Path(__file__).resolve().parents[2]
WIDEST = 105
"""Characters of a line of code that fit the page in a window of 1,400 pixels (docs/site.css)."""
MIN_PAGES = 30
"""Fewer pages, or blocks of code on them, are no site of this package."""


class Reader(HTMLParser):
    """Text, links and blocks of code of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.links: list[str] = []
        self.code: list[str] = []
        self._in_code = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]
        if tag == "pre":
            self._in_code += 1
            self.code.append("")

    def handle_endtag(self, tag: str) -> None:
        self._in_code -= tag == "pre"

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._in_code:
            self.code[-1] += data


def read(page: Path) -> Reader:
    reader = Reader()
    reader.feed(page.read_text(encoding="utf-8"))
    return reader


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; processes of one test run share it.

    A page that is in no navigation, a broken link or a missing anchor ends the build (mkdocs.yml).
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    folder = shared / "site"
    with open(shared / "site.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "built").exists():
            result = subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", folder],
                cwd=ROOT,
                env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert result.returncode == 0, result.stdout + result.stderr
            (folder / "built").touch()
    return folder


@pytest.fixture(scope="session")
def hooks() -> ModuleType:
    path = ROOT / "docs" / "site_hooks.py"
    spec = importlib.util.spec_from_file_location("site_hooks", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tutorial_shows_its_program(site: Path) -> None:
    program = (ROOT / "docs" / "tutorial" / "tiny_nas.py").read_text(encoding="utf-8")
    assert program.strip() in [code.strip() for code in read(site / "tutorial/index.html").code]


def test_no_page_shows_a_marker_of_the_builder(site: Path) -> None:
    marker = re.compile(r"--\s*8\s*<|^::: |<!-- package map", re.MULTILINE)
    pages = {*site.rglob("*.html")}
    assert len(pages) > MIN_PAGES
    for page in pages:
        found = marker.search("".join(read(page).text))
        assert not found, f"{page.relative_to(site)} shows {found and found[0]!r}"


def test_examples_of_docstrings_are_shown_as_code(site: Path) -> None:
    examples = 0
    for page in (site / "reference").glob("*.html"):
        shown = read(page)
        examples += sum(code.startswith(">>> ") for code in shown.code)
        assert "<blockquote" not in page.read_text(encoding="utf-8"), page.name
    assert examples > 200


def test_the_start_page_leads_everywhere(site: Path) -> None:
    links = set(read(site / "index.html").links)
    wanted = ("installation", "quick-start", "search", "workers", "retrain", "export")
    assert {f"{name}.html" for name in wanted} <= links
    for name in wanted:
        assert (site / f"{name}.html").is_file()


def test_every_public_module_has_a_page_with_its_names(site: Path, hooks: ModuleType) -> None:
    modules = hooks.public_modules()
    assert {"gnas.graphs", "gnas.kernels", "gnas.predictors", "gnas.spaces"} <= set(modules)
    for module in modules:
        text = (site / "reference" / f"{module}.html").read_text(encoding="utf-8")
        assert re.search(rf'<h[23] id="{re.escape(module)}\.\w+', text), f"{module}: no names"


def test_the_map_has_every_module(site: Path, hooks: ModuleType) -> None:
    text = "".join(read(site / "reference" / "map.html").text)
    words = re.sub(r"\s+", " ", text)
    lines = hooks.package_map().splitlines()
    assert len(lines) > len(hooks.public_modules())
    for line in lines:
        shown = re.sub(r"`|(?<=\w)\*+", "", line.strip(" -").split(": ", 1)[0])
        assert shown in words


def test_the_page_of_settings_has_every_field_with_its_default(site: Path) -> None:
    """Read from the classes, while the page is made from their source."""
    rows = read(site / "options.html")
    text = "".join(rows.text)
    for config in CONFIGS:
        assert f"{config.__module__}.{config.__name__}" in text
        section = text.split(f"{config.__module__}.{config.__name__}")[1]
        for field in dataclasses.fields(config):
            assert f"\n{field.name}\n" in section, f"{config.__name__}.{field.name}"
    assert "\nchannels\nint (>= 2, <= 1024)\n16\nChannels of the first" in text
    assert "\nsamples\ntuple[int (>= 2, <= 10000000), ...]\n" in text
    assert "\nimage_size\nint (>= 8, <= 4096) | None\n" in text
    assert not re.search(r"\n(Count|Seed|Share|Samples|ProxyDataset)\n", text)


def test_code_in_tables_is_what_can_be_copied(site: Path) -> None:
    assert "|op~0|+|op~0|op~1|+..." in "".join(read(site / "tables.html").text)
    for page in site.rglob("*.html"):
        assert "\\|" not in "".join(read(page).text), page.name


def test_the_map_in_development_is_up_to_date(hooks: ModuleType) -> None:
    text = (ROOT / "docs" / "development.md").read_text(encoding="utf-8")
    assert hooks.package_map(depth=1) in text, "run python docs/site_hooks.py"


def test_code_fits_its_page(site: Path) -> None:
    reports = (site / "reports").glob("*.html")  # wrap what they show
    pages = {*site.rglob("*.html")} - {*reports}
    codes = [(page, code) for page in pages for code in read(page).code]
    assert len(pages) > MIN_PAGES and len(codes) > MIN_PAGES
    for page, code in codes:
        longest = max(code.splitlines(), key=len, default="")
        assert len(longest) <= WIDEST, f"{page.relative_to(site)}: {longest}"
