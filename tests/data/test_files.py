from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gnas.data.files import atomic_write, sha256_of
from gnas.errors import DataError
from tests import commands

SCRIPT = """
import os, resource, signal, sys, time
from pathlib import Path
import pyarrow.parquet as pq
from gnas.cli import main

write = pq.write_table
def slow_write(table, path, **options):
    write(table.slice(0, 3), path)
    print("half-written", flush=True)
    time.sleep(60)

source, folder = sys.argv[1:]
sys.argv = ["gnas", "data", "convert", "nasbench101", source, "--data-dir", folder]
resource.setrlimit(resource.RLIMIT_FSIZE, (4000, resource.RLIM_INFINITY))
try:
    main()
except SystemExit as end:
    print("full disk:", end.code, os.listdir(folder), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
pq.write_table = slow_write
signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a new process
main()
"""


def test_full_disk_and_ctrl_c_leave_nothing(tfrecord: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "nasbench101.parquet").write_bytes(b"the old table")
    with commands.Popen(
        [sys.executable, "-c", SCRIPT, str(tfrecord), str(folder)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        assert first == "full disk: 1 ['nasbench101.parquet']\n"
        assert process.stdout.readline() == "half-written\n"
        assert len(os.listdir(folder)) == 2  # the old table and the one being written
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    lines = errors.splitlines()
    assert re.search("must be writable, but writing failed: .*File too large", lines[0])
    assert len(lines) == 2 and lines[1].startswith("error: interrupted; start it again with: ")
    assert os.listdir(folder) == ["nasbench101.parquet"]
    assert (folder / "nasbench101.parquet").read_bytes() == b"the old table"


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file.json"
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(1))
        assert not path.exists()
    assert path.read_text() == "1"
    with pytest.raises(KeyboardInterrupt), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    with pytest.raises(ZeroDivisionError), atomic_write(path) as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "1"
    assert list(path.parent.iterdir()) == [path]


def test_unwritable_places(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="must be writable, but writing failed: "):
        with atomic_write(tmp_path / "file" / "table") as temporary:
            temporary.write_text("x")
    with pytest.raises(DataError, match=r"writing failed: Permission denied|No such file"):
        with atomic_write(Path("/proc/table")) as temporary:
            temporary.write_text("x")


def test_links_are_written_through(tmp_path: Path) -> None:
    target, link = tmp_path / "deep" / "target", tmp_path / "link"
    target.parent.mkdir()
    link.symlink_to(target)
    for text in ("new", "replaced"):
        with atomic_write(link) as temporary:
            assert temporary.parent == target.parent
            temporary.write_text(text)
        assert link.is_symlink() and not target.is_symlink() and target.read_text() == text
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=r"loop must be a .* link that leads to itself"):
        with atomic_write(tmp_path / "loop"):
            raise AssertionError("there is nothing to write to")
    assert sorted(os.listdir(tmp_path)) == ["deep", "link", "loop"]


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2
    assert sha256_of(tmp_path / "abc") == known
    with pytest.raises(DataError, match="must be readable"):
        sha256_of(tmp_path / "none")


def test_devices_are_written_to_and_stay_devices(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    with atomic_write(pipe) as temporary:
        assert temporary == pipe
        temporary.write_text("through")
    assert os.read(reader, 100) == b"through"
    os.close(reader)
    assert pipe.is_fifo() and os.listdir(tmp_path) == ["pipe"]
    full = Path("/dev/full")
    if full.is_char_device():
        with (
            pytest.raises(DataError, match=r"/dev/full must be writable.*No space left"),
            atomic_write(full) as temporary,
        ):
            temporary.write_text("lost")
        assert full.is_char_device()
