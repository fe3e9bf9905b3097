"""Makes docs/tutorial/tiny_nas.ipynb from the tutorial's program, and runs it for its output.

``python docs/tutorial_notebook.py`` writes it. Every function of the program is a cell, followed
by what ``main`` does with it; docstrings stand above as text.
"""

from __future__ import annotations

import ast
import io
from contextlib import redirect_stdout
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

FOLDER = Path(__file__).resolve().parent / "tutorial"
PROGRAM, NOTEBOOK = FOLDER / "tiny_nas.py", FOLDER / "tiny_nas.ipynb"


def notebook(program: str) -> NotebookNode:
    """The program's parts as cells, without outputs."""
    tree = ast.parse(program)
    functions = {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}
    steps = functions.pop("main").body
    imports = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    start = [step for step in steps if not _called(step) & functions.keys()]
    cells = [
        ("markdown", f"# {ast.get_docstring(tree)}"),
        ("code", "\n".join(program.splitlines()[imports[0].lineno - 1 : imports[-1].end_lineno])),
        ("code", "\n".join(_source(program, step) for step in start)),
    ]
    for name, function in functions.items():
        cells += [
            ("markdown", f"## {name.replace('_', ' ').capitalize()}\n\n{_prose(function)}"),
            ("code", _source(program, function)),
        ]
        calls = [_source(program, step) for step in steps if name in _called(step)]
        cells.append(("code", "\n".join(calls)))
    made = []
    for number, (kind, source) in enumerate(cells):
        new = new_code_cell if kind == "code" else new_markdown_cell
        made.append(new(source, id=f"cell-{number}"))
    return new_notebook(
        cells=made,
        metadata={"language_info": {"name": "python"},
                  "kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )  # fmt: skip


def run(book: NotebookNode) -> None:
    """Run all code cells from top to bottom in this process; each gets what it printed."""
    names: dict[str, object] = {"__name__": "__main__"}
    count = 0
    for cell in book.cells:
        if cell.cell_type != "code":
            continue
        count += 1
        printed = io.StringIO()
        with redirect_stdout(printed):
            exec(compile(cell.source, f"<{cell.id}>", "exec"), names)
        text = printed.getvalue()
        cell.execution_count = count
        cell.outputs = [new_output("stream", name="stdout", text=text)] if text else []


def _source(program: str, node: ast.AST) -> str:
    return ast.get_source_segment(program, node) or ""


def _called(step: ast.AST) -> set[str]:
    return {
        node.func.id
        for node in ast.walk(step)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }


def _prose(function: ast.FunctionDef) -> str:
    return " ".join((ast.get_docstring(function) or "").split())


if __name__ == "__main__":
    made = notebook(PROGRAM.read_text(encoding="utf-8"))
    run(made)
    nbformat.validate(made)
    NOTEBOOK.write_text(nbformat.writes(made) + "\n", encoding="utf-8")
