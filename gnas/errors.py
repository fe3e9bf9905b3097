"""Exceptions of gnas; every message states the requirement and the value found."""


class GnasError(Exception):
    """Base of every error that gnas raises on purpose; the command line prints it in one line.

    Example:
        >>> from gnas import load_encoder
        >>> load_encoder("nonsense")
        Traceback (most recent call last):
        gnas.errors.ConfigError: unknown encoder 'nonsense'; choose from ...
    """


class GraphError(GnasError, ValueError):
    """A graph breaks the architecture conventions or lies outside a search space."""


class ConfigError(GnasError, ValueError):
    """An option has a value that cannot work."""


class DataError(GnasError):
    """A file's content is damaged, mismatched or unsafe."""


class MissingDataError(DataError, FileNotFoundError):
    """A file that a command needs does not exist; the message says how to get it."""


class UnsupportedError(GnasError):
    """The operation does not exist for this object, e.g. enumerating an infinite space."""


class ProcessError(GnasError):
    """A process that worked for this one was killed."""
