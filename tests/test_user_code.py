"""Files of users that cannot be loaded: one line, and nothing half loaded stays."""

from __future__ import annotations

import builtins
import math
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
