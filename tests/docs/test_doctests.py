"""Runs the examples of docstrings, and counts the exported names that have one."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """Modules of the package with an example."""
    found = []
    for path in sorted((ROOT / "gnas").rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            names = path.relative_to(ROOT).with_suffix("").parts
            found.append(".".join(names[:-1] if names[-1] == "__init__" else names))
    return found


@pytest.mark.parametrize("name", modules())
def test_examples_of_docstrings(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = importlib.import_module(name)
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    tried = 0
    for test in doctest.DocTestFinder(exclude_empty=True).find(module, name):
        output: list[str] = []
        result = runner.run(test, out=output.append)
        assert not result.failed, "".join(output)
        tried += result.attempted
    assert tried, f"{name} has examples that no docstring holds"
