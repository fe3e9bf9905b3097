"""Runs the Python examples of README.md and docs/, each page from top to bottom."""

from __future__ import annotations

import ast
import importlib.util
import re
import runpy
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

from gnas.predictors import graph_network

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
SHOWN = re.compile(r"^(?P<code>\S.*?)  # -> (?P<value>.+)$")
TUTORIAL = ROOT / "docs" / "tutorial" / "tiny_nas.py"


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tune graph networks briefly: their quality is for tests/predictors."""
    monkeypatch.setattr(graph_network, "MAX_STEPS", 12)


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    return [page for page in found if BLOCK.search(page.read_text(encoding="utf-8"))]


def program(page: Path) -> str:
    """The page's blocks at their own line numbers; ``expression  # -> value`` is checked."""
    text = page.read_text(encoding="utf-8")
    lines = [""] * (text.count("\n") + 1)
    for block in BLOCK.finditer(text):
        first = text.count("\n", 0, block.start(1))
        for number, line in enumerate(block[1].splitlines(), first):
            shown = SHOWN.match(line)
            lines[number] = f"_same({shown['code']}, {shown['value']!r})" if shown else line
    return "\n".join(lines)


def _same(value: object, expected: str) -> None:
    assert str(value) == expected


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_examples_run(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "__main__", "_same": _same}
    exec(compile(program(page), str(page), "exec"), names)
    assert len(names) > 2, "the page's examples defined nothing"


def test_examples_are_checked(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nx = 1\nx + 1  # -> 3\n```\n")
    with pytest.raises(AssertionError):
        exec(program(page), {"_same": _same})


def test_the_tutorial_runs(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TUTORIAL), run_name="__main__")
    shown = {line.split(":")[0].strip() for line in capsys.readouterr().out.splitlines()}
    assert {"drawn", "kernel", "encoder", "tau", "found", "try next"} <= shown


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    """docs/tutorial_notebook.py."""
    path = ROOT / "docs" / "tutorial_notebook.py"
    spec = importlib.util.spec_from_file_location("tutorial_notebook", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_notebook_is_the_tutorials_program(notebooks: ModuleType) -> None:
    stored = nbformat.read(notebooks.NOTEBOOK, as_version=4)
    nbformat.validate(stored)
    made = notebooks.notebook(TUTORIAL.read_text(encoding="utf-8"))
    sources = [[(cell.cell_type, cell.source) for cell in book.cells] for book in (stored, made)]
    assert sources[0] == sources[1], "run python docs/tutorial_notebook.py"
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    program = TUTORIAL.read_text(encoding="utf-8")
    lines = {line.strip() for line in program.splitlines()} - {""}
    kept = {line.strip() for source in code for line in source.splitlines()}
    dropped = {"def main() -> None:", 'if __name__ == "__main__":', "main()"}
    assert lines - kept <= dropped | {f'"""{notebooks.ast.get_docstring(ast.parse(program))}"""'}


def test_the_notebook_runs_from_top_to_bottom(notebooks: ModuleType) -> None:
    stored = nbformat.read(notebooks.NOTEBOOK, as_version=4)
    made = notebooks.notebook(TUTORIAL.read_text(encoding="utf-8"))
    notebooks.run(made)
    labels = [
        [
            line.split(":")[0].strip()
            for cell in book.cells
            if cell.cell_type == "code"
            for output in cell.outputs
            for line in output.text.splitlines()
        ]
        for book in (stored, made)
    ]
    assert labels[0] == labels[1] and "found" in labels[0]


def test_the_tutorial_stays_short() -> None:
    assert len(TUTORIAL.read_text().splitlines()) <= 110
