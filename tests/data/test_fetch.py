from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from gnas.data import BenchmarkTable, fetch, load_table, save_table
from gnas.data.fetch import SOURCES
from gnas.errors import ConfigError, DataError, MissingDataError
from tests.data.conftest import make_table

CONTENT = bytes(range(256)) * 7812  # 2 MB


class Server(BaseHTTPRequestHandler):
    """Serves `CONTENT`; the path says what goes wrong."""

    def do_HEAD(self) -> None:
        md5 = hashlib.md5(b"other" if "/wrong" in self.path else CONTENT).digest()
        self.send_response(404 if "/none" in self.path else 200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.send_header("x-goog-hash", f"crc32c=AAAAAA==,md5={base64.b64encode(md5).decode()}")
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        part = len(CONTENT) // 2 if "/cut" in self.path else len(CONTENT)
        self.wfile.write(CONTENT[:part])

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    http = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    thread = threading.Thread(target=http.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{http.server_address[1]}"
    http.shutdown()
    thread.join()
    http.server_close()


def use(monkeypatch: pytest.MonkeyPatch, url: str, megabytes: int = 2) -> None:
    source = replace(SOURCES["nasbench101"], url=url, megabytes=megabytes)
    monkeypatch.setattr(fetch, "SOURCES", {**SOURCES, "nasbench101": source})


def test_a_download(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, f"{server}/file")
    path = fetch.fetch("nasbench101", data_dir=tmp_path / "new")
    assert path == tmp_path / "new" / "nasbench_only108.tfrecord"
    assert path.read_bytes() == CONTENT
    use(monkeypatch, f"{server}/none")
    assert fetch.fetch("nasbench101", data_dir=tmp_path / "new") == path  # not fetched again
    (tmp_path / path.name).mkdir()
    with pytest.raises(DataError, match="must be the published file, but: it is a folder"):
        fetch.fetch("nasbench101", data_dir=tmp_path)
    path.write_bytes(CONTENT[:1000])
    with pytest.raises(DataError, match=r"must have about 2 MB, but has 0.0; delete it"):
        fetch.fetch("nasbench101", data_dir=tmp_path / "new")


@pytest.mark.parametrize(
    ("place", "megabytes", "message"),
    [
        ("cut", 2, "cannot download now"),
        ("wrong", 2, "the checksum that its server states"),
        ("none", 2, "HTTP 404"),
        ("file", 7, "must have about 7 MB, but has 2.0"),
    ],
)
def test_downloads_that_fail_leave_nothing(
    server: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    megabytes: int,
    message: str,
) -> None:
    use(monkeypatch, f"{server}/{place}", megabytes)
    with pytest.raises(DataError, match=message):
        fetch.fetch("nasbench101", data_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    use(monkeypatch, f"http://127.0.0.1:{port}/file", 499)
    with pytest.raises(MissingDataError) as caught:
        fetch.fetch("nasbench101", data_dir=tmp_path)
    line = str(caught.value)
    for part in (
        f":{port}/file",
        "499 MB",
        str(tmp_path / "nasbench_only108.tfrecord"),
        "convert",
    ):
        assert part in line
    assert "\n" not in line
    assert list(tmp_path.iterdir()) == []


def test_sources_without_an_address(tmp_path: Path) -> None:
    with pytest.raises(MissingDataError, match=r"github.com/D-X-Y/NATS-Bench, put it at"):
        fetch.fetch("nasbench201", data_dir=tmp_path)
    with pytest.raises(ConfigError, match="unknown source 'x'; choose from"):
        fetch.fetch("x", data_dir=tmp_path)


def test_convert_finds_and_names_things(tfrecord: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with pytest.raises(MissingDataError, match=r"run `gnas data fetch nasbench101`"):
        fetch.convert("nasbench101", data_dir=folder)
    folder.mkdir()
    tfrecord.rename(folder / "nasbench_only108.tfrecord")
    seen: list[tuple[int, int | None]] = []
    path, table = fetch.convert(
        "nasbench101", data_dir=folder, progress=lambda done, total: seen.append((done, total))
    )
    assert path == folder / "nasbench101.parquet"
    assert table.provenance.path == str(path)
    assert table.provenance.sha256 == load_table("nasbench101", data_dir=folder).provenance.sha256
    assert seen[-1][0] == seen[-1][1] and seen[-1][0] > 0
    fetch.verify("nasbench101", data_dir=folder)
    fetch.verify(folder / "nasbench_only108.tfrecord")
    states = {line.name: line.state for line in fetch.list_tables(folder)}
    assert states["nasbench101"] == "table"
    assert states["nasbench201"] == "absent"
    path.unlink()
    assert fetch.list_tables(folder)[0].state == "fetched"


def test_conversions_that_cannot_be(tmp_path: Path, small_table: BenchmarkTable) -> None:
    path = tmp_path / "a.parquet"
    save_table(small_table, path)
    with pytest.raises(ConfigError, match="must be another file"):
        fetch.convert("nasbench101", path, out=path)
    save_table(make_table("nasbench201"), path)
    with pytest.raises(DataError, match="must be of the space 'nasbench101', but is of"):
        fetch.convert("nasbench101", path, out=tmp_path / "b.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    with pytest.raises(ConfigError, match="the path of a table must be UTF-8"):
        fetch.convert("nasbench201", path, out=tmp_path / "\udcff.parquet")
    assert [file.name for file in tmp_path.iterdir()] == ["a.parquet"]
    archive = tmp_path / "NATS-tss-v1_0-3ffb9-simple.tar"
    archive.write_bytes(b"not unpacked")
    with pytest.raises(MissingDataError, match="must be a NATS-tss 'simple' folder"):
        fetch.convert("nasbench201", archive, out=tmp_path / "b.parquet")
