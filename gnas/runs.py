"""Run folders: configuration, environment, results and figures of a run on disk."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import IO, Any, Literal, Protocol

from gnas.command_line import command_line, continues
from gnas.config import dict_diff, unknown_name
from gnas.data.files import (
    FORMAT_ERRORS,
    as_data_error,
    atomic_write,
    read_json,
    remove_temporaries,
)
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.locks import locked

logger = logging.getLogger(__name__)

LOCK = ".lock"
"""Name of the lock file in a run's folder."""
_VERSIONS = ("gnas", "numpy", "scipy", "scikit-learn", "torch", "torch-geometric", "torchvision")


NOTICE = (logging.INFO + logging.WARNING) // 2
"""Level of log records that commands print without ``--verbose``."""


NETWORK_FORMAT = "gnas-network"
"""The format that the ``config.json`` of saved weights names."""
RunKind = Literal["search", "nasgem search", "supernet", "selection", "retrain", "other"]


class SavableFigure(Protocol):
    """Protocol of a figure that can be saved, such as matplotlib's."""

    def savefig(self, fname: IO[bytes], *, format: str, **options: Any) -> None:
        """Write the figure to an open file."""
        ...


def to_jsonable(value: object) -> Any:
    """Convert a value to JSON types.

    NaN and infinities become None; dataclasses, mappings, paths, sets, tuples and numpy or torch
    scalars and arrays become their plain forms; anything else its text.
    """
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_jsonable(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((to_jsonable(item) for item in value), key=str)
    if hasattr(value, "tolist"):  # numpy and torch, without importing them
        return to_jsonable(value.tolist())
    return str(value)


def to_json(value: object) -> str:
    """Serialize a value as indented JSON with a final newline; see `to_jsonable`.

    The text can always be encoded as UTF-8: undecodable bytes of file names stay JSON escapes.
    """
    text = json.dumps(to_jsonable(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def environment(device: str = "cpu") -> dict[str, Any]:
    """Environment of a result: package versions, git commit, device and machine."""
    import platform

    return {
        "versions": {"python": platform.python_version(), **_versions()},
        "git_commit": _git_commit(Path(__file__).resolve().parents[1]),
        "device": device,
        "machine": {"system": platform.platform(), "cpus": os.cpu_count()},
    }


def new_run_folder(verb: str, what: str) -> Path:
    """The folder of a run that is given none.

    The time in its name has microseconds: several runs are often started in one second.

    Args:
        verb: What the run does.
        what: What it does it with.
    """
    return Path("runs") / f"{verb}-{what}-{datetime.now():%Y%m%d-%H%M%S-%f}"


def check_folder(folder: Path) -> None:
    """Create ``folder`` and check, before any work, that a run can be written there.

    Raises:
        ConfigError: it is a file, or cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = "it is a file" if folder.exists() else error.strerror or str(error)
        if isinstance(error, FileExistsError) and folder.is_symlink() and not folder.exists():
            reason = "it is a link to nothing"
        raise ConfigError(f"a run's folder must be writable, but {folder}: {reason}") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"a run's folder must be writable, but {folder} is not")


@contextmanager
def run_folder_lock(folder: Path | None) -> Iterator[None]:
    """Create a run's folder and lock it for this process inside the block.

    Long-running writers of a run's folder hold this lock. A second process is refused; the lock
    of a killed process is taken over (`gnas.locks`) and its temporary files are removed. A new
    folder that stays empty is removed again.

    Args:
        folder: Folder of the run; None locks nothing.

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
def file_lock(path: Path) -> Iterator[None]:
    """Lock a file for writing inside the block; see `run_folder_lock`.

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
    figures: Mapping[str, SavableFigure] | None = None,
    table: Mapping[str, Any] | None = None,
    device: str = "cpu",
) -> None:
    """Write ``config.json``, ``result.json``, ``figures/NAME.png`` and ``figures/NAME.svg``.

    Every file is written whole or not at all; ``result.json`` last.

    Args:
        folder: Created if necessary; files of an earlier run are replaced.
        config: The resolved configuration, seed included.
        result: The result record.
        figures: Figures by name.
        table: Metadata of the benchmark table, including its sha256.
        device: Torch device of the run.

    Raises:
        ConfigError: the folder cannot be written.
        DataError: writing failed, for example on a full disk.
    """
    write_config(folder, config, table=table, device=device)
    write_result(folder, result, figures)


def write_config(
    folder: Path, config: object, *, device: str = "cpu", **facts: Mapping[str, Any] | None
) -> None:
    """Write ``config.json``: the configuration and environment of a run.

    Includes the command line, if any; a resumed run keeps that of its first start, and those that
    resumed it, each of which may have raised its budget.

    Args:
        folder: Created if necessary.
        config: The resolved configuration, seed included.
        device: Torch device of the run.
        facts: Metadata of the ``table`` or the ``data``, including a sha256.

    Raises:
        ConfigError: the folder cannot be written, or has a run of another command.
        DataError: writing failed.
    """
    check_folder(folder)
    plain = to_jsonable(config)
    check_not_foreign(folder, plain.get("command") if isinstance(plain, dict) else None)
    path = folder / "config.json"
    lines: dict[str, Any] = {"command_line": command_line()}
    if continues() and path.exists():
        before = read_json(path, "the config of a run")
        resumed_by = dict.fromkeys([*(before.get("resumed_by") or ()), command_line()])
        lines = {"command_line": before.get("command_line"), "resumed_by": [*resumed_by]}
    _write(path, to_json({"config": config, **lines, **facts, **environment(device)}))


def check_not_foreign(folder: Path, command: str | None) -> None:
    """Check that a folder has no run of another command, whose files would be overwritten.

    Args:
        folder: Folder of the run, which need not exist.
        command: Command of the new run as its config names it; None for experiments.

    Raises:
        ConfigError: the folder has another run, or a ``config.json`` of something else.
    """
    path = folder / "config.json"
    if not path.exists():
        return
    try:
        config = read_json(path, "the config of a run")["config"]
        found = config.get("command")
    except (DataError, *FORMAT_ERRORS):
        what = "a config.json of something else"
    else:
        if found == command:
            return
        what = f"a run of gnas {found}" if isinstance(found, str) else "those of an experiment"
    raise ConfigError(
        f"the files of a run need a folder of their own, but {folder} has {what}; choose another"
    )


def check_new_run(folder: Path, command: str) -> None:
    """Check, before any work, that a folder has no finished run and none of another command.

    Args:
        folder: Folder of the run to be.
        command: Its command.

    Raises:
        ConfigError: it has one.
    """
    check_not_foreign(folder, command)
    if (folder / "config.json").exists() and (folder / "result.json").exists():
        raise ConfigError(
            f"a new run needs a folder of its own, but {folder} has one; go on with --resume "
            f"{folder}, or choose another"
        )


def check_new_experiment(folder: Path, command: str) -> None:
    """Check, before any work, that a folder has no run, and no result of another experiment.

    Args:
        folder: Folder of the experiment.
        command: Its command.

    Raises:
        ConfigError: it has one.
    """
    check_not_foreign(folder, None)
    path = folder / "result.json"
    try:
        found = read_json(path, "a result").get("command") if path.exists() else command
    except (DataError, *FORMAT_ERRORS):
        return  # damaged, and replaced
    if isinstance(found, str) and found != command:
        raise ConfigError(
            f"the files of a run need a folder of their own, but {folder} has those of gnas "
            f"{found}; choose another"
        )


@contextmanager
def open_run_config(folder: Path, command: str | None = None) -> Iterator[dict[str, Any]]:
    """Read the ``config`` of a run; inside the block, unexpected content is a `DataError`.

    Args:
        folder: Folder of the run.
        command: Command that must have created the run; None accepts any.

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
    if isinstance(record, dict) and record.get("format") == NETWORK_FORMAT:
        raise ConfigError(f"{folder} must be a run's folder, but has the weights of a network")
    with as_data_error(path, what):
        config = record["config"]
        found = config.get("command")
    if command is not None and found != command:
        raise wrong_command(folder, command, found)
    with as_data_error(path, what):
        yield config


def wrong_command(folder: Path, wanted: str, found: object) -> ConfigError:
    """The error that a run is not of the wanted command.

    Args:
        folder: Folder of the run.
        wanted: The command, without "gnas".
        found: That of the run, as its config names it; experiments name none.
    """
    what = "of an experiment (gnas bench), or damaged: its config.json names no command"
    if isinstance(found, str):
        what = f"of gnas {found}"
    return ConfigError(f"{folder} must be a run of gnas {wanted}, but is one {what}")


def kind_of_run(folder: Path) -> RunKind:
    """Kind of the run in a folder, by its ``config.json``.

    "nasgem search" is of that command; "search" of any other search that asks and tells, those
    of programs of a user's own among them; "supernet" and "selection" are of
    ``gnas search toponas`` without and with ``--select``; "other" are experiments.

    Raises:
        MissingDataError: there is no run.
        DataError: its ``config.json`` is damaged or of something else.
    """
    with open_run_config(folder) as config:
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


def check_same_config(folder: Path, was: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Check that the options given on resuming agree with the run in ``folder``.

    Args:
        folder: Folder of the run.
        was: Options of the run.
        asked: Options given on resuming.

    Raises:
        ConfigError: an option differs or is unknown.
    """
    unknown = sorted(set(asked) - set(was))
    if unknown:
        raise ConfigError(unknown_name("setting", unknown[0], was))
    changed = dict_diff({name: was.get(name) for name in asked}, to_jsonable(dict(asked)))
    if changed:
        text = ", ".join(f"{name} is {b!r}, not {a!r}" for name, (b, a) in changed.items())
        raise ConfigError(
            f"a resumed run goes on as it began, but in {folder} {text}; "
            "leave these options out, or start a new run"
        )


def write_result(
    folder: Path, result: object, figures: Mapping[str, SavableFigure] | None = None
) -> None:
    """Write ``figures/NAME.png`` and ``figures/NAME.svg``, then ``result.json``.

    A ``result.json`` that differs in nothing but its ``seconds`` stays as it is: a finished run
    was resumed.

    Args:
        folder: Folder of the run.
        result: The result record.
        figures: Figures by name.

    Raises:
        DataError: writing failed.
    """
    write_figures(folder / "figures", figures or {})
    path, text = folder / "result.json", to_json(result)
    if not _says_the_same(path, text):
        _write(path, text)


def _says_the_same(path: Path, text: str) -> bool:
    """Whether the JSON object in a file is that of a text, but for its ``seconds``."""
    try:
        before, now = read_json(path, "a result"), json.loads(text)
        return bool({**before, "seconds": None} == {**now, "seconds": None})
    except (DataError, *FORMAT_ERRORS):  # none yet, or damaged
        return False


def write_figures(folder: Path, figures: Mapping[str, SavableFigure]) -> list[Path]:
    """Write every figure as ``NAME.png`` and ``NAME.svg``; return the paths.

    A figure that matplotlib cannot draw, of numbers near the largest one for example, is warned
    of and left out: a run's result must not be lost for it.

    Args:
        folder: Folder of the pictures.
        figures: Figures by name.

    Raises:
        DataError: writing failed.
    """
    import numpy as np

    paths = []
    for name, figure in figures.items():
        for suffix, options in (("png", {"dpi": 200}), ("svg", {"metadata": {"Date": None}})):
            path = folder / f"{name}.{suffix}"
            try:
                with atomic_write(path) as temporary, temporary.open("wb") as file:
                    with np.errstate(all="ignore"):
                        figure.savefig(file, format=suffix, **options)
            except (ArithmeticError, ValueError) as error:
                logger.warning("%s could not be drawn: %s", path, error)
                break
            paths.append(path)
    return paths


def _write(path: Path, text: str) -> None:
    with atomic_write(path) as temporary:
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


@cache
def _git_commit(root: Path) -> str | None:
    """Commit of the checkout that this package runs from, "-dirty" if changed; None outside."""
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
