"""Exceptions of gnas; every message states the requirement and the value found."""


class GnasError(Exception):
    """Base of every error that gnas raises on purpose; the command line prints it in one line.

    Examples:
        >>> from gnas import load_encoder
        >>> load_encoder("nonsense")
        Traceback (most recent call last):
        gnas.errors.ConfigError: unknown encoder 'nonsense'; choose from ...
    """

    def __str__(self) -> str:
        """The message in one line, whatever the value in it prints as."""
        text = super().__str__()
        return " ".join(line.strip() for line in text.splitlines()) if "\n" in text else text


class GraphError(GnasError, ValueError):
    """A graph breaks the architecture conventions or lies outside a search space.

    Examples:
        >>> from gnas.spaces import NASBench101
        >>> try:
        ...     NASBench101().from_str("input,conv5x5,output|11")
        ... except GraphError as error:
        ...     print(error)
        unknown operation 'conv5x5'; 'nasbench101' has ['input', ...]
    """


class ConfigError(GnasError, ValueError):
    """An option has a value that cannot work.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> try:
        ...     NASGEM(num_nodes=0)
        ... except ConfigError as error:
        ...     print(error)
        num_nodes must be ...
    """


class DataError(GnasError):
    """A file's content is damaged, mismatched or unsafe.

    Examples:
        >>> import pathlib, tempfile
        >>> from gnas.data import load_table
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder) / "cells.parquet"
        ...     _ = path.write_text("no table")
        ...     try:
        ...         load_table(path)
        ...     except DataError as error:
        ...         print(str(error).replace(folder, "FOLDER"))
        FOLDER/cells.parquet must be ...
    """


class MissingDataError(DataError, FileNotFoundError):
    """A file that a command needs does not exist; the message says how to get it.

    Examples:
        >>> from gnas.data import load_table
        >>> try:
        ...     load_table("nasbench999")
        ... except MissingDataError as error:
        ...     print(error)
        table 'nasbench999' not found in ...; give a file, or run `gnas data list` ...
    """


class MissingMeasureError(DataError):
    """An evaluation did not return what a search is for.

    Examples:
        >>> from gnas.evaluate.base import check_measures
        >>> try:
        ...     check_measures({"val_acc": 0.9}, wanted=["score"])
        ... except MissingMeasureError as error:
        ...     print(error)
        an evaluation must return the measure 'score', but returned ['val_acc']
    """


class UnsupportedError(GnasError):
    """The operation does not exist for this object, e.g. enumerating an infinite space.

    Examples:
        >>> from gnas.spaces import NASGEM
        >>> try:
        ...     NASGEM().enumerate()
        ... except UnsupportedError as error:
        ...     print(error)
        space 'nasgem' ...
    """


class ProcessError(GnasError):
    """A process that worked for this one was killed."""
