"""A run's folder: what was asked, with what, what came out, and pictures of it."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from gnas.command_line import command_line, continues
from gnas.config import differences, unknown_name
from gnas.data.files import decoding, read_json, remove_temporaries, replacing
from gnas.errors import ConfigError, MissingDataError
from gnas.locks import locked

LOCK = ".lock"
"""The file in a run's folder that says which process works in it."""
_VERSIONS = ("gnas", "numpy", "scipy", "scikit-learn", "torch", "torch-geometric", "torchvision")


NOTICE = (logging.INFO + logging.WARNING) // 2
"""Level of log records that commands show without ``--verbose``, as they are."""


RunKind = Literal["search", "nasgem search", "supernet", "selection", "retrain", "other"]


class Figure(Protocol):
    """What this module needs of a matplotlib figure."""

    def savefig(self, fname: IO[bytes], *, format: str, **options: Any) -> None:
        """Draws the figure into an open file."""
        ...


def plain(value: object) -> Any:
    """``value`` as JSON has it.

    NaN and infinities become None; dataclasses, mappings, paths, sets, tuples and numpy or torch
    scalars and arrays become their plain forms; anything else its text.
    """
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((plain(item) for item in value), key=str)
    if hasattr(value, "tolist"):  # numpy and torch, without importing them
        return plain(value.tolist())
    return str(value)


def to_json(value: object) -> str:
    """``value`` as indented JSON text with a final newline; see `plain`.

    It can be written as UTF-8 whatever it holds: bytes of a file's name that are no UTF-8 stay
    escapes of JSON.
    """
    text = json.dumps(plain(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def environment(device: str = "cpu") -> dict[str, Any]:
    """What a result depends on beside its config: versions, git commit, device, machine."""
    import platform

    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git_commit(),
        "device": device,
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


def check_folder(folder: Path) -> None:
    """Makes ``folder`` and checks, before any work, that a run can be written there.

    Raises:
        ConfigError: it is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.exists() else error.strerror or str(error)
        raise ConfigError(f"a run's folder must be writable, but {folder}: {reason}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"a run's folder must be writable, but {folder} is not")


@contextmanager
def working_in(folder: Path | None) -> Iterator[None]:
    """Makes a run's folder and has it for this process alone inside.

    Whatever writes to a run's folder over more than a moment does it inside: a second process is
    refused, the lock of one that was killed is taken over (`gnas.locks`), and temporary files
    that it left are removed. A folder that was made for nothing is removed again.

    Args:
        folder: The run's; None locks nothing.

    Raises:
        ConfigError: it is a file, cannot be made or written, or another process works in it.
    """
    if folder is None:
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    check_folder(folder)
    try:
        with locked(folder / LOCK, f"the run's folder {folder}"):
            remove_temporaries(folder)
            yield
    finally:
        for path in made:
            with suppress(OSError):  # it is not empty
                path.rmdir()


@contextmanager
def working_on(path: Path) -> Iterator[None]:
    """Has a file that is to be written for this process alone inside; see `working_in`.

    Raises:
        ConfigError: its folder cannot be written, or another process works on it.
    """
    made = [parent for parent in path.parents if not parent.exists()]
    check_folder(path.parent)
    try:
        with locked(path.with_name(f".{path.name}{LOCK}"), f"the file {path}"):
            remove_temporaries(path.parent, of=path.name)
            yield
    finally:
        for parent in made:
            with suppress(OSError):
                parent.rmdir()


def write_run(
    folder: Path,
    *,
    config: object,
    result: object,
    figures: Mapping[str, Figure] | None = None,
    table: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> None:
    """Writes ``config.json``, ``result.json``, ``figures/NAME.png`` and ``figures/NAME.svg``.

    Every file is written whole or not at all; ``result.json`` last.

    Args:
        folder: Made if need be; files of an earlier run are replaced.
        config: The resolved configuration, seed included.
        result: The record of what came out.
        figures: Pictures by name.
        table: Facts about the benchmark table, its sha256 among them.
        device: Where tensors lived.

    Raises:
        ConfigError: the folder cannot be written.
        DataError: writing failed, for example on a full disk.
    """
    write_config(folder, config, table=table, device=device)
    write_result(folder, result, figures)


def write_config(
    folder: Path, config: object, *, device: str = "cpu", **facts: Mapping[str, Any] | None
) -> None:
    """Writes ``config.json``: the configuration and what else the result will depend on.

    From the command line also the command as it was typed; a run that goes on keeps the first.

    Args:
        folder: Made if need be.
        config: The resolved configuration, seed included.
        device: Where tensors live.
        facts: Facts about the ``table`` or the ``data``, a sha256 among them.

    Raises:
        ConfigError: the folder cannot be written.
        DataError: writing failed.
    """
    check_folder(folder)
    path, typed = folder / "config.json", command_line()
    if continues() and path.exists():
        typed = read_json(path, "the config of a run").get("command_line")
    record = {"config": config, "command_line": typed, **facts, **environment(device)}
    _write(path, to_json(record))


@contextmanager
def reading_config(folder: Path, command: str | None = None) -> Iterator[dict[str, Any]]:
    """The ``config`` that `write_config` wrote; inside, what does not fit it is damage.

    Args:
        folder: The run's.
        command: The command that must have made the run; None takes any.

    Raises:
        MissingDataError: there is no run.
        ConfigError: the run is of another command.
        DataError: its ``config.json`` is damaged or of something else.
    """
    path = folder / "config.json"
    what = "the config of such a run"
    if not path.exists():
        raise MissingDataError(f"a run's folder must have a config.json, but {folder} has none")
    record = read_json(path, what)
    with decoding(path, what):
        config = record["config"]
        found = config.get("command")
    if command is not None and isinstance(found, str) and found != command:
        raise ConfigError(f"{folder} must be a run of gnas {command}, but is one of gnas {found}")
    with decoding(path, what):
        yield config


def kind_of_run(folder: Path) -> RunKind:
    """What kind of run a folder holds, by its ``config.json``.

    "nasgem search" is of that command; "search" of any other search that asks and tells, those
    of programs of a user's own among them; "supernet" and "selection" are of
    ``gnas search toponas`` without and with ``--select``; "other" are experiments.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with reading_config(folder) as config:
        command, is_ask_and_tell = config.get("command"), "searcher" in config
        of_command = "search" in (config.get("plan") or ())  # other programs say how themselves
    if command == "search nasgem" and of_command:
        return "nasgem search"
    if is_ask_and_tell:
        return "search"
    if command == "retrain":
        return "retrain"
    if command == "search toponas":
        return "supernet"
    if command == "search toponas --select":
        return "selection"
    return "other"


def check_unchanged(folder: Path, was: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Checks that what was asked for beside resuming is what the run in ``folder`` does.

    Raises:
        ConfigError: names what differs, or a setting that there is not.
    """
    unknown = sorted(set(asked) - set(was))
    if unknown:
        raise ConfigError(unknown_name("setting", unknown[0], was))
    changed = differences({name: was.get(name) for name in asked}, plain(dict(asked)))
    if changed:
        text = ", ".join(f"{name} is {b!r}, not {a!r}" for name, (b, a) in changed.items())
        raise ConfigError(
            f"a resumed run goes on as it began, but in {folder} {text}; "
            "leave these options out, or start a new run"
        )


def write_result(
    folder: Path, result: object, figures: Mapping[str, Figure] | None = None
) -> None:
    """Writes ``figures/NAME.png`` and ``figures/NAME.svg``, then ``result.json``.

    Raises:
        DataError: writing failed.
    """
    write_figures(folder / "figures", figures or {})
    _write(folder / "result.json", to_json(result))


def write_figures(folder: Path, figures: Mapping[str, Figure]) -> list[Path]:
    """Writes every figure as ``NAME.png`` and ``NAME.svg``; returns the files.

    Raises:
        DataError: writing failed.
    """
    paths = []
    for name, figure in figures.items():
        for suffix, options in (("png", {"dpi": 200}), ("svg", {"metadata": {"Date": None}})):
            path = folder / f"{name}.{suffix}"
            with replacing(path) as temporary, temporary.open("wb") as file:
                figure.savefig(file, format=suffix, **options)
            paths.append(path)
    return paths


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in _VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _git_commit() -> str | None:
    """Commit of the checkout that this package runs from, "-dirty" if changed; None outside."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return None
    import subprocess

    # `describe --dirty` would write to the index, and leave a lock there on a full disk
    git = ["git", "--no-optional-locks", "-C", str(root)]
    try:
        commit, changes = (
            subprocess.run(
                [*git, *command], capture_output=True, text=True, timeout=10, check=True
            ).stdout.strip()
            for command in (
                ["rev-parse", "HEAD"],
                ["status", "--porcelain", "--untracked-files=no"],
            )
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{commit}-dirty" if changes else commit
