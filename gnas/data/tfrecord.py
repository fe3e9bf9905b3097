"""Reading and writing TFRecord files, without TensorFlow.

A record is a length (uint64), the masked crc32c of the length, the data, and the masked crc32c
of the data, all little-endian.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from gnas.data.files import check_regular
from gnas.errors import DataError, MissingDataError
from gnas.processes import ProgressCallback

MAX_RECORD_BYTES = 1 << 26
"""Longer records are taken for damage; those of NAS-Bench-101 have about 400 bytes."""

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
_REPORT_EVERY = 8192  # records


def read_records(path: Path, progress: ProgressCallback | None = None) -> Iterator[bytes]:
    """The data of every record in turn, checksums verified; holds one record at a time.

    Args:
        path: The file.
        progress: Told how far reading has come.

    Raises:
        MissingDataError: there is no such file.
        DataError: a checksum differs, or the file is empty or ends inside a record.
    """
    check_regular(path, "a TFRecord file")
    try:
        total = path.stat().st_size
        with path.open("rb", buffering=1 << 20) as file:
            yield from _records(file, path, total, progress)
    except FileNotFoundError as error:
        if isinstance(error, DataError):
            raise
        raise MissingDataError(f"TFRecord file not found: {path}") from None
    except OSError as error:
        raise DataError(f"{path} must be readable, but got: {error.strerror}") from error


def check_records(path: Path) -> None:
    """Check the first record of a file; raises as `read_records`.

    Args:
        path: The file.
    """
    next(read_records(path))


def write_record(file: BinaryIO, data: bytes) -> None:
    """Append one record to an open file."""
    length = struct.pack("<Q", len(data))
    header = length + _CRC.pack(masked_crc32c(length))
    file.write(header + data + _CRC.pack(masked_crc32c(data)))


def masked_crc32c(data: bytes) -> int:
    """The checksum that TFRecord files store."""
    crc = int(google_crc32c.value(data))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _records(
    file: BinaryIO, path: Path, total: int, progress: ProgressCallback | None
) -> Iterator[bytes]:
    if not total:
        raise DataError(f"{path} must hold at least one record, but is empty")
    position, number = 0, 0
    while header := file.read(_HEADER.size):
        if len(header) < _HEADER.size:
            raise _truncated(path, number, position)
        length, crc = _HEADER.unpack(header)
        if masked_crc32c(header[:8]) != crc or length > MAX_RECORD_BYTES:
            what = "is no TFRecord file" if number == 0 else "is damaged"
            raise DataError(
                f"{path} {what}: record {number} at byte {position} must start with a length "
                "and its checksum, but they do not match; fetch the file again"
            )
        data = file.read(length + _CRC.size)
        if len(data) < length + _CRC.size:
            raise _truncated(path, number, position)
        record = data[:length]
        if masked_crc32c(record) != _CRC.unpack_from(data, length)[0]:
            raise DataError(
                f"{path} is damaged: the checksum of record {number} at byte {position} must "
                "match its data, but does not; fetch the file again"
            )
        yield record
        number += 1
        position += _HEADER.size + length + _CRC.size
        if progress is not None and (number % _REPORT_EVERY == 0 or position == total):
            progress(position, total)


def _truncated(path: Path, number: int, position: int) -> DataError:
    return DataError(
        f"{path} is truncated: it ends inside record {number} at byte {position}; "
        "fetch the file again"
    )
