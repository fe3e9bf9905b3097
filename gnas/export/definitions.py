"""Copies of classes and of all that they name, from the modules that define them."""

from __future__ import annotations

import ast
import builtins
import importlib.util
import inspect
import re
import symtable
import sys
import sysconfig
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from gnas.errors import UnsupportedError

TABLE = "OPERATIONS"
"""Name of the dictionaries of which only the entries that a network names are copied."""
_EXAMPLE = re.compile(r"\n+(?P<indent> +)Examples?:\n(?:(?P=indent) +.*\n|\n(?=\n|(?P=indent) ))*")


@dataclass(frozen=True)
class Definition:
    """A class, a function or a constant at the top of a module."""

    module: ModuleType
    name: str
    text: str
    """Its lines, with decorators and a constant's docstring."""

    @property
    def names(self) -> set[str]:
        """The names that it takes from its module, annotations included."""
        return set(_globals(symtable.symtable(self.text, self.module.__name__, "exec")))


@dataclass
class Definitions:
    """What a file needs of modules: copies of some, imports from others.

    Args:
        own: Modules whose definitions are copied, with those of the packages, and of the folders
            where nothing is installed, that they lie in; others are imported.
        reserved: Names that the file has for itself.
        kept: The entries of `TABLE` to keep.

    Examples:
        >>> from gnas.spaces.convolutions import conv_norm
        >>> definitions = Definitions(own={"gnas"}, reserved=set(), kept=set())
        >>> definitions.add(conv_norm)
        'conv_norm'
        >>> [block.splitlines()[0] for block in definitions.blocks()]
        ['Norm = Callable[[int], nn.Module]', 'def conv_norm(']
        >>> print(definitions.imports())
        from collections.abc import Callable
        <BLANKLINE>
        from torch import nn
        <BLANKLINE>
    """

    own: Collection[str]
    reserved: Collection[str]
    kept: Collection[str]
    _copied: dict[str, Definition] = field(default_factory=dict, init=False)
    _ordered: list[Definition] = field(default_factory=list, init=False)
    _imported: dict[str, tuple[str, str | None]] = field(default_factory=dict, init=False)

    def add(self, made: Callable[..., Any]) -> str:
        """Copy a class or function, with all that it names.

        Returns:
            Its name.

        Raises:
            UnsupportedError: it, or what it names, cannot be copied.
        """
        name, module = made.__qualname__, sys.modules.get(made.__module__)
        if module is None or not name.isidentifier() or getattr(module, name, None) is not made:
            raise UnsupportedError(
                f"the class of a network must be defined at the top of a module to be written as "
                f"Python, but {made.__module__}.{name} is not"
            )
        self._take(module, name, made.__module__)
        return name

    def require(self, name: str, module: str) -> None:
        """Import a name from a module that is not copied."""
        self._import(name, module, name, module)

    def blocks(self) -> list[str]:
        """The copies, each after those that it needs."""
        return [definition.text for definition in self._ordered]

    def imports(self) -> str:
        """The lines that import the rest, as linters sort them."""
        rows: dict[bool, list[tuple[bool, str, str]]] = {False: [], True: []}
        members: dict[str, list[str]] = {}
        for alias, (module, name) in self._imported.items():
            foreign = module.partition(".")[0] not in sys.stdlib_module_names
            if name is None:
                named = "" if alias == module.partition(".")[0] else f" as {alias}"
                line = f"import {module}{named}"
                rows[foreign].append((False, module, line))
            else:
                members.setdefault(module, []).append(
                    name if alias == name else f"{name} as {alias}"
                )
        for module, names in members.items():
            foreign = module.partition(".")[0] not in sys.stdlib_module_names
            ordered = sorted(names, key=lambda n: (not n.isupper(), not n[0].isupper(), n))
            rows[foreign].append((True, module, f"from {module} import {', '.join(ordered)}"))
        return "\n".join(
            "".join(f"{line}\n" for *_, line in sorted(group)) for group in rows.values() if group
        )

    def _take(self, module: ModuleType, name: str, asked_by: str) -> None:
        """Copy or import what a module knows by a name."""
        if not self._is_own(module.__name__):
            self._import(name, module.__name__, name, asked_by)
            return
        statement = _statements(module).get(name)
        match statement:
            case None if hasattr(builtins, name):
                return
            case None:
                raise UnsupportedError(
                    f"{asked_by} must define or import '{name}' in a statement of its own at the "
                    "top of the file to be written as Python, but does not"
                )
            case ast.Import(names=[ast.alias(name=imported)]):
                if self._is_own(imported):
                    raise UnsupportedError(
                        f"{module.__name__} must import names of {imported} (from {imported} "
                        "import ...) to be written as Python, not the module"
                    )
                self._import(name, imported, None, asked_by)
            case ast.ImportFrom(module=imported, names=[ast.alias(name=original)], level=level):
                home = "." * level + (imported or "")
                home = importlib.util.resolve_name(home, module.__package__ or None)
                if not self._is_own(home):
                    self._import(name, home, original, asked_by)
                elif original != name:
                    raise UnsupportedError(
                        f"{module.__name__} must import '{original}' of {home} by that name to be "
                        f"written as Python, but names it '{name}'"
                    )
                else:
                    self._take(import_module(home), name, module.__name__)
            case _:
                self._copy(module, name, statement)

    def _copy(self, module: ModuleType, name: str, statement: ast.stmt) -> None:
        text = _text(module, statement)
        if name == TABLE:
            text = _without_other_entries(text, self.kept)
        definition = Definition(module, name, _EXAMPLE.sub("\n", text))
        known = self._copied.get(name)
        if known == definition:
            return
        other = known.module.__name__ if known else self._imported.get(name, ("the file",))[0]
        if known or name in self._imported or name in self.reserved:
            raise UnsupportedError(
                f"names must differ in one file of Python, but '{name}' is of {other} and of "
                f"{module.__name__}; name it otherwise there"
            )
        self._copied[name] = definition
        for node in ast.walk(ast.parse(definition.text)):
            inside = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                inside = ["." * node.level + (node.module or "")]
            if any(home.startswith(".") or self._is_own(home) for home in inside):
                raise UnsupportedError(
                    f"{module.__name__} must import {inside[0]} at its top to be written as "
                    f"Python, but '{name}' does so inside"
                )
        for one in sorted(definition.names - {name}):
            self._take(module, one, module.__name__)
        self._ordered.append(definition)

    def _is_own(self, module: str) -> bool:
        package = module.partition(".")[0]
        own = {name.partition(".")[0] for name in self.own}
        folders = {_folder(name) for name in own} - _installed()
        return package in own or _folder(package) in folders

    def _import(self, alias: str, module: str, name: str | None, asked_by: str) -> None:
        wanted = (module, name)
        if self._imported.setdefault(alias, wanted) != wanted or alias in self._copied:
            raise UnsupportedError(
                f"names must differ in one file of Python, but '{alias}' of {asked_by} is "
                "something else elsewhere; name it otherwise there"
            )


def _folder(package: str) -> Path | None:
    """The folder that a module or package lies in, if there is one."""
    if package in sys.modules:
        file = getattr(sys.modules[package], "__file__", None)
    else:
        spec = importlib.util.find_spec(package)
        file = spec.origin if spec else None
    if file is None:
        return None
    path = Path(file).absolute()
    return path.parent.parent if path.name == "__init__.py" else path.parent


@cache
def _installed() -> set[Path | None]:
    """The folders of Python and of installed packages."""
    return {None, *map(Path, sysconfig.get_paths().values())}


@cache
def _parsed(module: ModuleType) -> tuple[list[str], list[ast.stmt]]:
    """The lines of a module's file, and its statements."""
    try:
        text = inspect.getsource(module)
    except (OSError, TypeError) as error:
        raise UnsupportedError(
            f"the class of a network must be defined in a file to be written as Python, but "
            f"{module.__name__} has none"
        ) from error
    return text.splitlines(), ast.parse(text).body


@cache
def _statements(module: ModuleType) -> dict[str, ast.stmt]:
    """The statement that defines or imports each name at the top of a module."""
    found: dict[str, ast.stmt] = {}
    for statement in _plain(_parsed(module)[1]):
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found[name] = statement
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = statement
            case ast.Assign(targets=targets):
                found.update({t.id: statement for t in targets if isinstance(t, ast.Name)})
            case ast.Import(names=names):
                for one in names:
                    found[one.asname or one.name.partition(".")[0]] = ast.Import([one])
            case ast.ImportFrom(module=home, names=names, level=level):
                for one in names:
                    found[one.asname or one.name] = ast.ImportFrom(home, [one], level)
    return found


def _plain(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a module, and those that only a type checker runs."""
    for statement in body:
        yield statement
        if isinstance(statement, ast.If) and ast.unparse(statement.test).endswith("TYPE_CHECKING"):
            yield from statement.body


def _text(module: ModuleType, statement: ast.stmt) -> str:
    """The lines of a definition, with its decorators; of a constant, with its docstring."""
    lines, body = _parsed(module)
    decorators = getattr(statement, "decorator_list", [])
    first = min(s.lineno for s in (statement, *decorators))
    last = statement.end_lineno or first
    if isinstance(statement, ast.Assign | ast.AnnAssign):
        for following in body:
            text = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
            if text and following.lineno == last + 1:
                last = following.end_lineno or last
    return "\n".join(lines[first - 1 : last])


def _without_other_entries(text: str, kept: Collection[str]) -> str:
    """A dictionary without the entries whose keys, all texts, are not to be kept."""
    value = getattr(ast.parse(text).body[0], "value", None)
    if not isinstance(value, ast.Dict) or not value.keys:
        return text
    keys = [key.value if isinstance(key, ast.Constant) else None for key in value.keys]
    if not all(isinstance(key, str) for key in keys):
        return text
    lines = text.splitlines()
    dropped: set[int] = set()
    for key, entry, first in zip(keys, value.values, value.keys, strict=True):
        assert first is not None and entry.end_lineno is not None
        if key not in kept:
            dropped.update(range(first.lineno, entry.end_lineno + 1))
    left = [line for number, line in enumerate(lines, 1) if number not in dropped]
    return re.sub(r"\{\s*\}", "{}", "\n".join(left))


def _globals(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that a text takes from its module."""
    top = table.get_type() == "module"
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (top or symbol.is_global()):
            yield symbol.get_name()
    for child in table.get_children():
        yield from _globals(child)
