"""Pages of the site that are written from the package: the reference and the map of modules.

MkDocs calls the functions ``on_*`` of this file when it builds the site (``hooks``, mkdocs.yml).
``python docs/site_hooks.py`` brings the map in docs/development.md up to date.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "gnas"
INTERNAL = {
    "cli",
    "figure",
    "fork_server",
    "geometric",
    "locks",
    "process_ids",
    "printable",
    "processes",
    "style",
    "user_code",
}
"""Parts without a page of their own in the reference; the map has them."""
MAP = "reference/map.md"
OPTIONS = "options.md"
OPTIONS_HEAD = """# Settings

Every field of every configuration, with its type and bounds, its default and its meaning. Commands
take those of their configuration as `--set NAME=VALUE`; in Python they are keyword arguments.
`gnas COMMAND --help` lists the options that are not set this way.
"""
KINDS = ("Annotated[", "Literal[", "tuple[", *"0123456789")
"""Beginnings of the types and numbers that the page writes out where a field has their name."""
CODE_IN_TABLE = re.compile(r"(?<!<pre>)<code>[^<]*\\\|[^<]*</code>")
SET_BY = {
    "ToponasConfig": "gnas search toponas",
    "NasgemConfig": "gnas search nasgem",
    "ProxyRecipe": "gnas search random, evolution, local, predictor, bayes and nasgem",
    "RetrainConfig": "gnas retrain",
    "TabulateConfig": "gnas tabulate",
}
"""Commands whose ``--set`` takes the fields of a configuration."""
START, END = "<!-- package map -->", "<!-- end of the map -->"
MAP_HEAD = """# Map of the package

Every module with the first line of its docstring. [Development](../development.md) explains which
part may import which.
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the options and a page for every public module to the section "Reference"."""
    entries: list[object] = [{"Settings": OPTIONS}]
    entries += [{name: page_of(name)} for name in public_modules()]
    for section in config.nav or []:
        if "Reference" in section:
            section["Reference"] += entries
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages to those that lie in docs/."""
    for name in public_modules():
        text = f"# {name}\n\n::: {name}\n    options:\n      show_root_heading: false\n"
        files.append(File.generated(config, page_of(name), content=text))
    files.append(File.generated(config, MAP, content=f"{MAP_HEAD}\n{package_map()}"))
    files.append(File.generated(config, OPTIONS, content=f"{OPTIONS_HEAD}\n{settings()}"))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show a bar in a table's code as a bar: GitHub wants it escaped, and the builder does not."""
    return CODE_IN_TABLE.sub(lambda code: code[0].replace("\\|", "|"), html)


def page_of(module: str) -> str:
    """Path of a module's reference page in docs/."""
    return f"reference/{module}.md"


def public_modules() -> list[str]:
    """Modules with a reference page.

    A package that lists its public names in ``__all__`` has one page for all of them; of one that
    does not, every module has its own.
    """
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        package = parts[-1] == "__init__"
        names = parts[:-1] if package else parts
        hidden = any(part.startswith("_") for part in names)
        if not names or names[0] in INTERNAL or hidden:
            continue
        home = path.parent / "__init__.py"
        listed = "__all__" in home.read_text(encoding="utf-8")
        if package == listed or (len(names) == 1 and not package):
            found.append(".".join(["gnas", *names]))
    return sorted(found)


def package_map(depth: int | None = None) -> str:
    """A Markdown list of the modules of gnas, each with the first line of its docstring.

    Args:
        depth: Parts of a name below ``gnas`` at most; None lists every module.

    Returns:
        One line a module, packages before what they contain.
    """
    lines = []
    for path in sorted(PACKAGE.rglob("*.py"), key=lambda p: p.with_suffix("").parts):
        names = path.relative_to(PACKAGE).with_suffix("").parts
        if names[-1] in ("__init__", "__main__"):
            names = names[:-1] if names[-1] == "__init__" else names
        if not names or (depth is not None and len(names) > depth):
            continue
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        summary = " ".join(docstring.split("\n\n")[0].split())
        folder = "/" if path.name == "__init__.py" else ".py"
        lines.append(f"{'    ' * (len(names) - 1)}- `{names[-1]}{folder}`: {summary}")
    return "\n".join(lines) + "\n"


def settings() -> str:
    """Markdown tables of the fields of every configuration of the package.

    Returns:
        A section for each class that `gnas.config.configuration` made: its summary, the commands
        that take its fields, and a row for each field.
    """
    sections = []
    for path in sorted(PACKAGE.rglob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        types = _Types(_named_values(path))
        classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}
        for node in classes.values():
            if "configuration" in map(ast.unparse, node.decorator_list):
                sections.append(_section(node, path, classes, types))
    return "\n".join(sections)


@functools.cache
def _named_values(path: Path) -> dict[str, ast.expr]:
    """Numbers and types with bounds or choices, by the names that a module makes or imports."""
    found: dict[str, ast.expr] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("gnas."):
            source = ROOT / f"{str(node.module).replace('.', '/')}.py"
            if source.is_file():
                theirs = _named_values(source)
                names = {alias.name for alias in node.names}
                found |= {name: value for name, value in theirs.items() if name in names}
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if ast.unparse(node.value).startswith(KINDS):
                found[node.targets[0].id] = _Types(found).visit(node.value)
    return found


class _Types(ast.NodeTransformer):
    """Writes types out: ``Count`` becomes ``int (>= 1, <= 10000000)``."""

    def __init__(self, named: dict[str, ast.expr]) -> None:
        self._named = named

    def visit_Name(self, node: ast.Name) -> ast.expr:
        named = self._named.get(node.id)
        return node if named is None else self.visit(copy.deepcopy(named))

    def visit_Subscript(self, node: ast.Subscript) -> ast.expr:
        self.generic_visit(node)
        if ast.unparse(node.value) != "Annotated" or not isinstance(node.slice, ast.Tuple):
            return node
        kind, *others = node.slice.elts
        signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
        bounds = [
            f"{signs[bound.arg]} {ast.unparse(bound.value)}"
            for call in others
            if isinstance(call, ast.Call)
            for bound in call.keywords
            if bound.arg in signs
        ]
        return ast.Name(f"{ast.unparse(kind)} ({', '.join(bounds)})") if bounds else kind


def _section(
    node: ast.ClassDef, path: Path, classes: dict[str, ast.ClassDef], types: _Types
) -> str:
    """One configuration: heading, summary and table.

    Args:
        node: The class.
        path: Its module.
        classes: Classes of that module by name, among them those that it inherits fields of.
        types: Writes out the types that the module has names for.
    """
    home = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    summary = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
    lines = [f"## {node.name}", "", f"{summary} Class `{home}.{node.name}`."]
    if node.name in SET_BY:
        lines += ["", f"Set by `--set` of `{SET_BY[node.name]}`."]
    lines += ["", "| field | type | default | meaning |", "|---|---|---|---|"]
    for name, (field, meaning) in _fields(node, classes).items():
        default = f"`{ast.unparse(field.value)}`" if field.value else "required"
        cells = (f"`{name}`", f"`{ast.unparse(types.visit(field.annotation))}`", default, meaning)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _fields(
    node: ast.ClassDef, classes: dict[str, ast.ClassDef]
) -> dict[str, tuple[ast.AnnAssign, str]]:
    """Fields of a class by name, each with its meaning; inherited ones first."""
    found: dict[str, tuple[ast.AnnAssign, str]] = {}
    for base in map(ast.unparse, node.bases):
        found |= _fields(classes[base], classes)
    for field, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(field, ast.AnnAssign):
            name = ast.unparse(field.target)
            meaning = found[name][1] if name in found else ""
            if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
                meaning = " ".join(str(after.value.value).split())
            found[name] = field, meaning
    return found


def main() -> None:
    """Write the parts of the package into docs/development.md."""
    page = ROOT / "docs" / "development.md"
    before, rest = page.read_text(encoding="utf-8").split(START)
    after = rest.split(END)[1]
    page.write_text(f"{before}{START}\n\n{package_map(depth=1)}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
