from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

PASSWORD = "s3cret/with?odd@signs%"
QUOTED = "s3cret%2Fwith%3Fodd%40signs%25"
USER = "tester"


def binaries() -> Path | None:
    """The folder with PostgreSQL's programs, on the path or where Debian has them."""
    found = shutil.which("initdb")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "postgres").exists()), None)


def account() -> dict[str, object]:
    """Options of a process that must not run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        entry = pwd.getpwnam("nobody")
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


@dataclass
class Server:
    """A PostgreSQL server of its own, on a free port, that knows one user."""

    programs: Path
    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None
    databases: list[str] = field(default_factory=list)

    def start(self) -> None:
        command = [
            str(self.programs / "postgres"), "-D", str(self.folder / "data"),
            "-p", str(self.port), "-k", str(self.folder), "-c", "fsync=off",
            "-c", "listen_addresses=127.0.0.1",
        ]  # fmt: skip
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, **account())  # type: ignore[call-overload]
        deadline = time.monotonic() + 30
        while not self.answers():
            assert self.process is not None and self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def answers(self) -> bool:
        command = [
            str(self.programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)
        ]  # fmt: skip
        return subprocess.run(command, check=False).returncode == 0

    def stop(self, number: signal.Signals = signal.SIGINT) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(30)

    def url(self, database: str, password: str = QUOTED) -> str:
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"studies{len(self.databases)}"
        self.databases.append(name)
        self.run_sql(f"CREATE DATABASE {name}", "postgres")
        return self.url(name)

    def run_sql(self, command: str, database: str) -> list[tuple[object, ...]]:
        import psycopg

        address = self.url(database).replace("+psycopg", "")
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(command)
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    programs = binaries()
    if programs is None:
        pytest.skip("needs PostgreSQL's server programs (Debian's package postgresql)")
    pytest.importorskip("psycopg", reason="needs psycopg (pip install 'gnas[postgresql]')")
    folder = Path(tempfile.mkdtemp(prefix="gnas-postgresql-"))
    options = account()
    if options:
        os.chown(folder, options["user"], options["group"])  # type: ignore[arg-type]
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = Server(programs, folder, free.getsockname()[1])
    try:
        subprocess.run(
            [
                str(programs / "initdb"), "-D", str(folder / "data"), "-U", USER, "--no-sync",
                "-A", "scram-sha-256", "--pwfile", str(secret), "-E", "UTF8", "--locale=C",
            ],
            check=True, capture_output=True, cwd=folder, **options,  # type: ignore[call-overload]
        )  # fmt: skip
        found.start()
        yield found
    finally:
        if found.process is not None and found.process.poll() is None:
            found.stop(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def database(server: Server) -> str:
    """The URL of an empty database, password included."""
    return server.new_database()
