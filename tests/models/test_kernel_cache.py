"""The cache of compiled kernels: what is loaded from it, and what is not."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gnas.errors import UnsupportedError
from gnas.fused import library, native
from tests import commands

needs_compiler = pytest.mark.skipif(
    library.unavailable(torch.float32) is not None, reason="needs a C compiler"
)
PLANTED = """
#include <stdio.h>
__attribute__((constructor)) static void run(void) { fclose(fopen("%s", "w")); }
"""
EMPTY = "".join(f"void {name}(void) {{}}\n" for name in library.FUNCTIONS)
FLAGS = ("-O0", "-w", "-shared", "-fPIC")


def load() -> object:
    """Loads as a new process would."""
    library.library.cache_clear()
    return library.library(torch.float32)


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The folder of an empty cache; what is found in it is forgotten afterwards."""
    # The content of these libraries is not what is tested.
    (tmp_path / "empty.c").write_text(EMPTY)
    monkeypatch.setattr(library, "SOURCE", tmp_path / "empty.c")
    monkeypatch.setattr(library, "FLAGS", FLAGS)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    library.library.cache_clear()
    library.unavailable.cache_clear()
    yield tmp_path / "cache" / "gnas" / "native"
    library.library.cache_clear()
    library.unavailable.cache_clear()


@pytest.fixture
def kept(cache: Path) -> Path:
    """The file of a library in the cache."""
    load()
    (path,) = cache.iterdir()
    return path


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("no-such-compiler", "need a C compiler, but 'no-such-compiler'"),
        ("no-such-compiler -O1", "need a C compiler, but 'no-such-compiler'"),
        ("cc 'open", "CC must be a command as a shell reads it.*No closing quotation"),
        ("/dev/null", "need a C compiler, but '/dev/null'"),
    ],
)
def test_no_compiler_is_said(command: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", command)
    with pytest.raises(UnsupportedError, match=message):
        load()
    problem = native.native_problem(torch.zeros(1))
    assert problem is not None and "C" in problem


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'fatal error: out of ideas' >&2; exit 3", "must compile, but .*out of ideas"),
        ("exit 0", "must compile, but .*broken failed"),
        (
            'for last; do :; done; echo no library > "$last"; exit 0',
            "must load, but what .*broken makes does not",
        ),
    ],
)
def test_broken_compiler_is_said(
    script: str, reason: str, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    compiler = tmp_path / "broken"
    compiler.write_text(f'#!/bin/sh\n[ "$1" = --version ] && exit 0\n{script}\n')
    compiler.chmod(0o755)
    monkeypatch.setenv("CC", str(compiler))
    with pytest.raises(UnsupportedError, match=reason):
        load()
    assert not list(cache.iterdir())


@needs_compiler
def test_compiler_may_have_arguments(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "cc -DGNAS_TEST='a b' -g0")
    load()
    assert len(list(cache.iterdir())) == 1


@needs_compiler
def test_library_is_compiled_once(kept: Path) -> None:
    stamp = kept.stat().st_mtime_ns
    load()
    assert kept.stat().st_mtime_ns == stamp
    assert kept.stat().st_mode & 0o777 == 0o700
    assert kept.parent.stat().st_mode & 0o777 == 0o700


def compiled(path: Path, source: str) -> None:
    """Compiles C to a shared library."""
    subprocess.run(
        ["cc", "-shared", "-fPIC", "-xc", "-", "-o", str(path)], input=source.encode(), check=True
    )


@needs_compiler
@pytest.mark.parametrize("damage", ["truncated", "bit", "empty", "text", "foreign", "folder"])
def test_damaged_library_is_compiled_anew(
    damage: str, kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good, ran = kept.read_bytes(), tmp_path / "ran"
    kept.unlink()  # a loaded file must not be written to
    if damage == "foreign":
        compiled(kept, PLANTED % ran)
        kept.chmod(0o700)
    elif damage == "folder":
        kept.mkdir()
    else:
        middle = len(good) // 2
        flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
        kinds = {"truncated": good[:4096], "bit": flipped, "empty": b"", "text": b"not a library"}
        kept.write_bytes(kinds[damage])
        kept.chmod(0o700)
    load()
    assert "compiling the kernels anew" in caplog.text
    assert not ran.exists(), "the code of a library that is not ours ran"
    if damage != "folder":
        assert kept.read_bytes() == good


@needs_compiler
def test_library_without_the_functions_is_compiled_anew(
    kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    import hashlib

    other = kept.with_name("other.so")
    compiled(other, "int nothing_of_ours(void) { return 0; }")
    other.chmod(0o700)
    digest = hashlib.sha256(other.read_bytes()).hexdigest()
    other.rename(kept.with_name(f"{kept.stem.rsplit('-', 1)[0]}-{digest}.so"))
    kept.unlink()
    load()
    assert "undefined symbol" in caplog.text
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@needs_compiler
@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_library_that_others_can_write_is_compiled_anew(
    mode: int, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept.chmod(mode)
    load()
    assert "other users could have written it" in caplog.text
    assert kept.stat().st_mode & 0o777 == 0o700


@needs_compiler
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_library_of_another_user_is_not_loaded(
    kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    os.chown(kept, 12345, -1)
    load()
    assert "other users could have written it" in caplog.text
    assert kept.stat().st_uid == 0


@needs_compiler
def test_link_to_a_library_is_not_followed(
    kept: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    kept.rename(tmp_path / kept.name)
    kept.symlink_to(tmp_path / kept.name)
    load()
    assert "compiling the kernels anew" in caplog.text
    assert not kept.is_symlink()


@needs_compiler
def test_fifo_in_the_cache_does_not_block(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    kept.unlink()
    os.mkfifo(kept)
    load()
    assert "it is no file" in caplog.text
    assert kept.is_file()


@needs_compiler
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
def test_folder_that_others_can_write_is_closed_and_emptied(
    mode: int, kept: Path, caplog: pytest.LogCaptureFixture
) -> None:
    planted = kept.with_name("kernels-float64-planted.so")
    planted.write_bytes(b"")
    inode = kept.stat().st_ino
    kept.parent.chmod(mode)
    load()
    assert "could be written by other users" in caplog.text
    assert kept.parent.stat().st_mode & 0o777 == 0o700
    assert not planted.exists()
    assert kept.stat().st_ino != inode


@needs_compiler
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")
def test_folder_of_another_user_is_not_used(kept: Path, caplog: pytest.LogCaptureFixture) -> None:
    stamp = kept.stat().st_mtime_ns
    os.chown(kept.parent, 12345, -1)
    assert load() is not None
    assert "belongs to another user" in caplog.text
    assert kept.stat().st_mtime_ns == stamp
    assert [path.name for path in kept.parent.iterdir()] == [kept.name]


@needs_compiler
@pytest.mark.parametrize("level", ["cache", "cache/gnas", "cache/gnas/native"])
def test_cache_that_is_a_file_is_said_once(
    level: str, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / level
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("a file")
    assert load() is not None
    (record,) = [r for r in caplog.records if r.levelno == logging.WARNING]
    assert "cannot be kept" in record.getMessage() and str(tmp_path) in record.getMessage()
    assert path.read_text() == "a file"


@needs_compiler
@pytest.mark.parametrize("home", ["/dev/null", "/proc/1/nowhere"])
def test_home_that_is_no_folder_is_said(
    home: str, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", home)
    assert load() is not None
    assert "cannot be kept" in caplog.text


@needs_compiler
def test_nowhere_to_compile_is_said(
    cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    with pytest.raises(UnsupportedError, match="temporary folder, but: No space left"):
        load()


@needs_compiler
def test_left_over_of_a_killed_compiler_is_removed(cache: Path) -> None:
    old, new = cache / ".compiling-old", cache / ".compiling-new"
    old.mkdir(parents=True)
    cache.chmod(0o700)
    new.mkdir()
    os.utime(old, (0, 0))
    load()
    assert not old.exists() and new.exists()


@needs_compiler
def test_processes_may_compile_at_once(cache: Path) -> None:
    program = (
        "import torch; from pathlib import Path; from gnas.fused import library; "
        f"library.SOURCE = Path({str(library.SOURCE)!r}); library.FLAGS = {FLAGS}; "
        "library.library(torch.float32)"
    )
    command = [sys.executable, "-c", program]
    started = [
        commands.Popen(command, stderr=subprocess.PIPE, env=dict(os.environ)) for _ in range(2)
    ]
    for process in started:
        _, stderr = process.communicate(timeout=300)
        assert process.returncode == 0, stderr
        assert b"anew" not in stderr
    (path,) = cache.iterdir()
    inode = path.stat().st_ino
    load()
    assert path.stat().st_ino == inode
