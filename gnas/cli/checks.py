"""Checks of command-line options that run before heavy imports."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from gnas.cli.architectures import is_text
from gnas.cli.output import check_other_file, check_writable
from gnas.config import check_seed
from gnas.data.files import link_target
from gnas.data.places import check_table, table_path
from gnas.errors import ConfigError, DataError, MissingDataError
from gnas.spaces.names import check_notation, check_space
from gnas.user_code import Source

DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?")


def check_early(
    *,
    json: str | None = None,
    out: Path | None = None,
    command: str = "",
    inputs: Iterable[str | Path | None] = (),
    resume: Path | None = None,
    data_dir: Path | None = None,
    images: Path | None = None,
    device: str = "auto",
    tables: Iterable[str | None] = (),
    columns: Iterable[str | None] = (),
    table_space: str | None = None,
    space: str | None = None,
    evaluate: str | None = None,
    seed: int | None = None,
) -> None:
    """Check the paths and name of a command.

    Args:
        json: A file to be written.
        out: A run's folder to be.
        command: That of the run, where it starts anew; without, any folder may be ``out``.
        inputs: Other files that are read.
        resume: A run's folder that there is.
        data_dir: A folder of images or tables.
        images: A list of images.
        device: The name of a device.
        tables: Names or files of tables.
        columns: Names of columns that each of them must have.
        table_space: Name of the space that they must be of.
        space: The name of a space.
        evaluate: ``FILE.py:FUNCTION``.
        seed: A seed.

    Raises:
        ConfigError: a file cannot be written, there is no such device or column, a table is of
            another space, ``out`` has another run, ``json`` is an input, or the seed is
            impossible.
        DataError: a run or a table is damaged.
        MissingDataError: a file, a folder or a run is not there.
    """
    from gnas.runs import check_new_run, open_run_config

    if seed is not None:
        check_seed(seed)
    check_writable(json)
    check_other_file(json, images, *inputs)
    check_folder(out)
    if out is not None and command:
        check_new_run(out, command)
    if resume is not None:
        with open_run_config(resume):
            pass
    if data_dir is not None and not data_dir.is_dir():
        raise MissingDataError(f"--data-dir must be a folder, but there is none at {data_dir}")
    if images is not None and not images.is_file():
        raise MissingDataError(f"--images must be a list of images, but {images} is no file")
    if not DEVICE.fullmatch(device):
        raise ConfigError(f"device must be auto, cpu, cuda or cuda:N, but got {device!r:.80}")
    for table in tables:
        if table is not None:
            path = table_path(table, data_dir=data_dir)
            check_other_file(json, path)
            check_table(
                path,
                columns=[name for name in columns if name is not None],
                space=table_space,
            )
    if space is not None:
        check_space(space)
    if evaluate is not None:
        Source.parse(evaluate)


def check_folder(out: Path | None) -> None:
    """Check that a run's folder can be made, or is one that can be written.

    Raises:
        ConfigError: it is a file, or it or the folder that it would be in is not writable.
        DataError: it is a link that leads to itself.
    """
    if out is None:
        return
    if out.is_symlink() and not link_target(out).exists():
        raise ConfigError(f"a run's folder must be writable, but {out}: it is a link to nothing")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"a run's folder must be writable, but {out}: it is a file")
    check_writable(out / "config.json")


def check_architecture(what: str, space: str | None = None, notation: str | None = None) -> None:
    """Check that an argument is an architecture's text, or a file or a folder that there is.

    Args:
        what: The argument; see `gnas.cli.architectures.read_architecture`.
        space: Value of ``--space``.
        notation: Value of ``--notation``.

    Raises:
        ConfigError: there is no such space or notation.
        DataError: it is a pipe or a device.
        MissingDataError: there is no such file.
    """
    if space is not None:
        check_space(space)
    if notation is not None:
        check_notation(notation)
    if notation is not None or is_text(what):
        return
    path = Path(what)
    if not path.exists():
        raise MissingDataError(
            f"GENOTYPE must be a file, a run's folder or a text 'Genotype(normal=...)', but there "
            f"is no {path}"
        )
    if not path.is_dir() and not path.is_file():
        raise DataError(f"{path} must hold an architecture, but: it is a device or a pipe")
