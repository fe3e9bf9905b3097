"""Published benchmark files: where they are, how large, under which licence, how they are read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gnas.data.benchmark_table import BenchmarkTable
    from gnas.processes import ProgressCallback


@dataclass(frozen=True, kw_only=True)
class TableSource:
    """One published file, or folder."""

    name: str
    """Name in `gnas data fetch`."""
    space: str
    """Key in `gnas.spaces.SPACES`."""
    table: str
    """Name of the table that it converts to."""
    file: str
    """Name of the file or folder in the data folder."""
    content: str
    url: str | None
    """URL for direct download; None if that requires a browser."""
    page: str
    """Page for manual download."""
    megabytes: int
    """About how large (10^6 bytes)."""
    sha256: str | None
    """None: its publishers give no checksum. Then the size is checked, the md5 that the server
    states, and every record's own crc32c at conversion."""
    licence: str
    citation: str
    reader: str
    """``MODULE:FUNCTION`` that makes a table of a path; told ``progress``."""
    checker: str
    """``MODULE:FUNCTION`` that checks the beginning of a path's content before heavy imports."""
    is_folder: bool = False
    """Whether it is a folder of files."""

    def is_kind_of(self, path: Path) -> bool:
        """Whether a path looks like this file: a folder too, or of the same suffix.

        Args:
            path: Any path.
        """
        if path.is_dir():
            return self.is_folder
        return not self.is_folder and path.suffix == Path(self.file).suffix

    def read(self, path: Path, progress: ProgressCallback | None = None) -> BenchmarkTable:
        """The table of such a file.

        Args:
            path: The file or folder.
            progress: Told how far reading has come.

        Raises:
            MissingDataError: there is no such file.
            DataError: it is damaged, or laid out otherwise.
        """
        table: BenchmarkTable = _function(self.reader)(path, progress=progress)
        return table

    def check(self, path: Path) -> None:
        """Check that a file can be what `read` reads, by its beginning.

        Args:
            path: The file or folder.

        Raises:
            MissingDataError: there is no such file.
            DataError: it cannot.
        """
        _function(self.checker)(path)


def _function(home: str) -> Callable[..., Any]:
    module, _, name = home.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function
