"""Python objects of a user's own file, named ``FILE.py:NAME``."""

from __future__ import annotations

import ast
import builtins
import hashlib
import importlib.util
import inspect
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from gnas.errors import ConfigError, MissingDataError

TERMINATED = 128 + signal.SIGTERM
"""Exit code of a command that is asked to end, see `gnas.cli.main`."""
INTERRUPTED = 128 + signal.SIGINT
"""Exit code of a command or worker that ends with KeyboardInterrupt."""
MODULE = "gnas_file_"
"""Start of the names of the modules that files are loaded as."""


@dataclass(frozen=True)
class Source:
    """An object in a Python file.

    The file is run when the object is loaded: name files that you trust only.
    """

    path: str
    """The file, from the root."""
    name: str
    """The object's name in it."""
    sha256: str
    """Digest of the file's content and of the modules beside it that it imports."""

    @staticmethod
    def parse(text: str) -> Source:
        """The object that ``FILE.py:NAME`` names; the file is read, not run.

        Raises:
            ConfigError: the text has another form.
            MissingDataError: there is no such file.
        """
        path, colon, name = text.rpartition(":")
        if not colon or not path.endswith(".py") or not name.isidentifier():
            raise ConfigError(f"an object in a file must be named FILE.py:NAME, but got {text!r}")
        if Path(path).exists() and not Path(path).is_file():
            raise MissingDataError(f"{path} must be a Python file, but is a folder or a pipe")
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            reason = error.strerror or error
            raise MissingDataError(f"{path} must be a Python file, but: {reason}") from error
        file = Path(path).absolute()
        return Source(str(file), name, _digest(file, content))

    def __str__(self) -> str:
        return f"{self.path}:{self.name}"

    def load(self) -> Any:
        """Run the file, once in a process, and return the object.

        Modules beside the file can be imported, as by ``python FILE.py``, also within functions
        that are called later.

        Raises:
            ConfigError: the file changed, cannot be run, or has no such object.
        """
        now = Source.parse(str(self)).sha256
        if now != self.sha256:
            raise ConfigError(
                f"{self.path} must be the file that the search was begun with (sha256 "
                f"{self.sha256[:12]}...), but it changed, or a module beside it; begin a new "
                "search"
            )
        # Files of one content in two folders may import different modules beside them.
        place = hashlib.sha256(os.fsencode(f"{self.path}\0{self.sha256}")).hexdigest()
        module_name = f"{MODULE}{place[:16]}"
        if module_name not in sys.modules:
            spec = importlib.util.spec_from_file_location(module_name, self.path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[module_name] = module
            module.__dict__["__builtins__"] = self._builtins()
            try:
                with self.importable():
                    spec.loader.exec_module(module)
            except BaseException as error:
                del sys.modules[module_name]
                if isinstance(error, SystemExit) and error.code != TERMINATED:
                    raise ConfigError(
                        f"{self.path} must be a Python program that can be imported, but it ends "
                        'itself; call what ends it below `if __name__ == "__main__":`'
                    ) from error
                if not isinstance(error, Exception):  # Ctrl-C, SIGTERM
                    raise
                if isinstance(error, ModuleNotFoundError) and error.name is not None:
                    raise ConfigError(
                        f"{self.path} must find the modules that it imports, but there is no "
                        f"'{error.name}', neither installed nor beside it{_importer(error, self)}"
                    ) from error
                raise ConfigError(
                    f"{self.path} must be a Python program, but: {described(error)}"
                ) from error
        try:
            return getattr(sys.modules[module_name], self.name)
        except AttributeError:
            raise ConfigError(f"{self.path} must define '{self.name}', but does not") from None
        except Exception as error:  # of a `__getattr__` of its own
            raise ConfigError(
                f"{self.path} must define '{self.name}', but: {described(error)}"
            ) from error

    @contextmanager
    def importable(self) -> Iterator[None]:
        """Let modules beside the file be imported inside, before any others of their names.

        A module of the same name beside another user's file stays with that file; a name stands
        for the module that was imported last.
        """
        folder = Path(self.path).parent
        for name in [name for name, home in _beside.items() if home != folder]:
            if any(path.exists() for path in _files(folder, name)):
                del _beside[name]
                for known in [m for m in sys.modules if _top(m) == name]:
                    del sys.modules[known]
        before = {*sys.modules}
        sys.path.insert(0, str(folder))
        finder = _Beside(folder, self._builtins())
        sys.meta_path.insert(_place_of_path_finder(), finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)
            with suppress(ValueError):  # the file may have removed it
                sys.path.remove(str(folder))
            for name in sys.modules.keys() - before:
                path = getattr(sys.modules[name], "__file__", None)
                if path is not None and Path(path) in _files(folder, name):
                    _beside[name] = folder

    def _builtins(self) -> dict[str, Any]:
        """Python's built-in names, of which ``import`` looks beside this file whenever it runs."""
        folder = Path(self.path).parent

        def find(name: str, *args: Any, **kwargs: Any) -> Any:
            is_known = name in sys.modules and _beside.get(_top(name), folder) == folder
            with nullcontext() if is_known else self.importable():
                return builtins.__import__(name, *args, **kwargs)

        return _Builtins({**vars(builtins), "__import__": find})


class _Builtins(dict[str, Any]):
    """Built-in names, with those that a program adds to `builtins` later."""

    def __missing__(self, name: str) -> Any:
        return vars(builtins)[name]


class _Beside(MetaPathFinder):
    """Finds modules beside a user's file, and gives them the file's built-in names.

    Args:
        folder: The folder.
        names: Built-in names.
    """

    def __init__(self, folder: Path, names: dict[str, Any]) -> None:
        self._folder, self._names = folder, names

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """See `importlib.abc.MetaPathFinder.find_spec`."""
        if not any(file.exists() for file in _files(self._folder, _top(fullname))):
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None or not spec.has_location:
            return None
        if not Path(spec.origin or "").is_relative_to(self._folder):
            return None
        execute = spec.loader.exec_module

        def exec_module(module: ModuleType) -> None:
            module.__dict__["__builtins__"] = self._names
            execute(module)

        spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _top(name: str) -> str:
    """The package, or module, that a dotted name begins with."""
    return name.partition(".")[0]


def _place_of_path_finder() -> int:
    return sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else len(sys.meta_path)


_beside: dict[str, Path] = {}
"""Folders of the modules that users' files have imported from beside them."""


def _files(folder: Path, name: str) -> tuple[Path, Path]:
    """The files that a module of this name may have in a folder."""
    return folder / f"{name}.py", folder / name / "__init__.py"


def _digest(file: Path, content: bytes) -> str:
    """Digest of a program: of its file alone, if it imports no module beside it."""
    modules, waiting = dict[Path, bytes](), [(file, content)]
    while waiting:
        for path in _imports(file.parent, *waiting.pop()) - {file, *modules}:
            with suppress(OSError):
                modules[path] = path.read_bytes()
                waiting.append((path, modules[path]))
    whole = hashlib.sha256(content)
    for path, found in sorted(modules.items()):
        name = path.relative_to(file.parent).as_posix()
        whole.update(f"\0{name}\0{hashlib.sha256(found).hexdigest()}".encode())
    return whole.hexdigest()


def _imports(folder: Path, file: Path, content: bytes) -> set[Path]:
    """The files in a folder that a program in it imports, wherever it does."""
    found = {
        path
        for name in _imported(content, file.relative_to(folder).parent.parts)
        for k in range(len(name))
        for path in _files(folder.joinpath(*name[:k]), name[k])
    }
    return {path for path in found if path.is_file()}


@lru_cache(maxsize=64)
def _imported(content: bytes, package: tuple[str, ...]) -> frozenset[tuple[str, ...]]:
    """Names of the modules, and of what may be one, that a module of a package imports."""
    try:
        with warnings.catch_warnings():  # they are shown when the program is run
            warnings.simplefilter("ignore")
            program = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()  # running it says why
    names = set[tuple[str, ...]]()
    for node in ast.walk(program):
        if isinstance(node, ast.Import):
            names |= {tuple(alias.name.split(".")) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            start += tuple(node.module.split(".")) if node.module else ()
            names |= {(*start, alias.name) for alias in node.names}
    return frozenset(name for name in names if name[0] != "gnas")


def _importer(error: ModuleNotFoundError, source: Source) -> str:
    """The other file of a user that lacks a module, if it is another one."""
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    own = [name for name in files if not name.startswith("<") and name != __file__]
    last = own[-1] if own else source.path
    return "" if last == source.path else f" (imported by {last})"


def described(error: BaseException) -> str:
    """The kind and the text of what a user's code has raised, which may have none."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__


def is_own(text: str) -> bool:
    """Whether an object is named as one in a user's file: ``FILE.py:NAME``.

    Args:
        text: A name.

    Examples:
        >>> is_own("forest"), is_own("mine.py:stacked")
        (False, True)
    """
    return ":" in text


def raised_in(error: BaseException) -> str | None:
    """File and line of a user's code that an error passed through last; None if it did not.

    Args:
        error: One that was raised.
    """
    places = [
        f"{frame.f_code.co_filename}, line {line}"
        for frame, line in traceback.walk_tb(error.__traceback__)
        if str(frame.f_globals.get("__name__")).startswith(MODULE)
    ]
    return places[-1] if places else None


def bound_to(function: Callable[..., Any]) -> dict[str, Any]:
    """The numbers and texts on which a function depends beside its code, by name.

    Those that `functools.partial` binds, that a closure holds, or that are attributes of the
    function's object. Lists and mappings of the last two are left out, since functions note in
    them what they do.

    Args:
        function: Any function.

    Examples:
        >>> from functools import partial
        >>> bound_to(partial(round, ndigits=2))
        {'ndigits': 2}
    """
    if isinstance(function, partial):
        given = {**{str(k): v for k, v in enumerate(function.args)}, **function.keywords}
        return {**bound_to(function.func), **{k: v for k, v in given.items() if _is_plain(v)}}
    if isinstance(function, type) or inspect.isbuiltin(function):
        return {}
    if inspect.isfunction(function):
        held = inspect.getclosurevars(function).nonlocals
    else:
        held = getattr(getattr(function, "__self__", function), "__dict__", {})
    return {k: v for k, v in held.items() if _is_plain(v) and not isinstance(v, list | dict)}


def _is_plain(value: object) -> bool:
    """Whether a value is made of numbers and texts, and so is written alike in every process."""
    if isinstance(value, dict):
        return all(isinstance(k, str) and _is_plain(v) for k, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
