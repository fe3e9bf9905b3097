"""Runs the examples of docstrings, one of which every exported function and class has."""

from __future__ import annotations

import doctest
import importlib
import inspect
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROMPT = ">>> "
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """Modules of the package with an example."""
    return [name_of(path) for path in sources() if PROMPT in path.read_text(encoding="utf-8")]


def sources() -> list[Path]:
    return sorted((ROOT / "gnas").rglob("*.py"))


def name_of(path: Path) -> str:
    names = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(names[:-1] if names[-1] == "__init__" else names)


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
    written = Path(str(module.__file__)).read_text(encoding="utf-8").count(PROMPT)
    assert tried == written, f"{name} has examples that are in no docstring"
    assert not list(tmp_path.iterdir()), f"an example of {name} leaves files behind"


def test_every_exported_function_and_class_has_an_example() -> None:
    silent, count = [], 0
    for path in sources():
        if "__all__" in path.read_text(encoding="utf-8"):
            module = importlib.import_module(name_of(path))
            for name in module.__all__:
                value = getattr(module, name)
                if inspect.isclass(value) or inspect.isroutine(value):
                    count += 1
                    if PROMPT not in (value.__doc__ or ""):
                        silent.append(f"{module.__name__}.{name}")
    assert count > 200 and not silent
