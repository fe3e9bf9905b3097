"""Files of users that cannot be loaded: one line, and nothing half loaded stays."""

from __future__ import annotations

import builtins
import hashlib
import math
import subprocess
import sys
from pathlib import Path

import pytest

from gnas.errors import ConfigError
from gnas.studies.job import reason
from gnas.user_code import TERMINATED, Source, described

SILENT = "class Silent(Exception):\n    def __str__(self): raise ValueError\n"
FILES = {
    "import sys; sys.exit(3)": "can be imported, but it ends itself; call what ends it below",
    "raise SystemExit": "can be imported, but it ends itself",
    "def f(): f()\nf()": "RecursionError: maximum recursion depth exceeded",
    "def (": "SyntaxError: invalid syntax",
    "a\0b": "null bytes",
    "import nosuchmodule_x": "there is no 'nosuchmodule_x', neither installed nor beside it",
    "raise MemoryError": "MemoryError",
    f"{SILENT}raise Silent": "must be a Python program, but: Silent",
    "def __getattr__(name): raise RuntimeError(name)": "must define 'x', but: RuntimeError: x",
    "y = 1": "must define 'x', but does not",
}


@pytest.mark.parametrize("content", FILES)
def test_files_that_cannot_be_loaded(content: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(content)
    for _ in range(2):  # not taken for loaded the second time
        with pytest.raises(ConfigError) as error:
            Source.parse(f"{path}:x").load()
        assert FILES[content] in str(error.value)


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", f"SystemExit({TERMINATED})"])
def test_what_stops_the_command_stops_the_loading(raised: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(f"raise {raised}")
    for _ in range(2):
        with pytest.raises((KeyboardInterrupt, SystemExit)):
            Source.parse(f"{path}:x").load()


def test_modules_beside_a_file(tmp_path: Path) -> None:
    """They are imported as by ``python FILE.py``, and nothing of that stays on the path."""
    finders = [*sys.meta_path]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "beside_x.py").write_text(
            f"name = {folder!r}\ndef later():\n    import deeper_x\n    return deeper_x.name\n"
        )
        (tmp_path / folder / "mine.py").write_text(
            "from beside_x import name\n"
            "def late():\n    import beside_x\n    return beside_x.name\n"
            "def deep():\n    from beside_x import later\n    return later()\n"
        )
        (tmp_path / folder / "deeper_x.py").write_text(f"name = {folder!r} * 2\n")
    before = [*sys.path]
    for folder in "ab":  # each has its own
        assert Source.parse(f"{tmp_path}/{folder}/mine.py:name").load() == folder
        assert sys.path == before
    for folder in "abba":  # imports within functions of the file and of the modules beside it
        assert Source.parse(f"{tmp_path}/{folder}/mine.py:late").load()() == folder
        assert Source.parse(f"{tmp_path}/{folder}/mine.py:deep").load()() == folder * 2
    (tmp_path / "a" / "lacking_x.py").write_text("import nosuchmodule_x\n")
    (tmp_path / "a" / "other.py").write_text("import lacking_x\n")
    with pytest.raises(
        ConfigError, match=r"there is no 'nosuchmodule_x', .* \(imported by .*lacking_x\.py\)$"
    ):
        Source.parse(f"{tmp_path}/a/other.py:x").load()
    assert sys.path == before and sys.meta_path == finders


def test_the_digest_is_that_of_the_whole_program(tmp_path: Path) -> None:
    """What Python has loaded from the folder counts, and nothing else."""
    folder = tmp_path / "mine"
    files = {
        "main.py": "import numpy, a\nfrom p import m\ndef f():\n    import late\n",
        "a.py": "import b\nimport p.q.deep\n", "b.py": "import a\nx = '\\d'\n", "late.py": "",
        "p/__init__.py": "", "p/m.py": "from .q import deep\nfrom . import side\n",
        "p/side.py": "", "p/q/__init__.py": "from .. import m\n", "p/q/deep.py": "",
        "unread.py": "import a\n", "p/unread.py": "", "numpy.txt": "",
    }  # fmt: skip
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    code = (
        "import sys, main; main.f(); print(*sorted({m.__file__ for m in sys.modules.values() "
        f"if str(getattr(m, '__file__', None)).startswith({str(folder)!r})}}))"
    )
    shown = subprocess.check_output([sys.executable, "-W", "ignore", "-c", code], cwd=folder)
    loaded = {Path(path).relative_to(folder).as_posix() for path in shown.decode().split()}
    assert len(loaded) == 9
    source = f"{folder}/main.py:f"
    before = Source.parse(source)
    for name, content in files.items():
        (folder / name).write_text(f"{content}# changed\n")
        assert (Source.parse(source) != before) == (name in loaded), name
        (folder / name).write_text(content)
    assert Source.parse(source) == before
    (folder / "a.py").write_text("import b\nx = 1\n")
    with pytest.raises(ConfigError, match="it changed, or a module beside it; begin a new search"):
        before.load()
    alone = tmp_path / "alone.py"
    alone.write_text("import math\nf = math.sin\n")
    assert Source.parse(f"{alone}:f").sha256 == hashlib.sha256(alone.read_bytes()).hexdigest()


def test_a_file_changes_no_other_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed packages below its folder stay as they are, and names added later are seen."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "installed_x.py").write_text("built_in = __builtins__\n")
    (tmp_path / "mine.py").write_text("import installed_x\ndef late():\n    return added_x\n")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    late = Source.parse(f"{tmp_path}/mine.py:late").load()
    names = sys.modules.pop("installed_x").built_in
    assert names["__import__"] is builtins.__import__
    with pytest.raises(NameError, match="added_x"):
        late()
    monkeypatch.setattr(builtins, "added_x", 7, raising=False)
    assert late() == 7


def test_imports_of_what_is_loaded_do_not_look_beside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.py").write_text("def late():\n    import math, xml.dom\n    return math\n")
    late = Source.parse(f"{tmp_path}/mine.py:late").load()
    late()
    monkeypatch.setattr(Source, "importable", None)  # it looks through all modules
    assert late() is math


def test_errors_without_a_text() -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise ValueError

    assert described(SilentError()) == reason(SilentError()) == "SilentError"
    assert described(ValueError("x")) == "ValueError: x"
