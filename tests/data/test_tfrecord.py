from __future__ import annotations

import io
from pathlib import Path

import pytest

from gnas.data.tfrecord import masked_crc32c, read_records, write_record
from gnas.errors import DataError, MissingDataError
from tests.data.conftest import crc32c, frame


def test_the_checksum() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # RFC 3720's polynomial, its usual check value
    for data in (b"", b"123456789", bytes(range(256))):
        assert masked_crc32c(data).to_bytes(4, "little") == frame(data)[-4:]


def test_records_come_back(tmp_path: Path) -> None:
    contents = [b"", b"a", b"\0" * 1000, "grün".encode()]
    written = io.BytesIO()
    for data in contents:
        write_record(written, data)
    assert written.getvalue() == b"".join(frame(data) for data in contents)
    path = tmp_path / "f.tfrecord"
    path.write_bytes(written.getvalue())
    seen: list[tuple[int, int | None]] = []
    assert list(read_records(path, lambda done, total: seen.append((done, total)))) == contents
    assert seen[-1] == (path.stat().st_size,) * 2


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    whole = frame(b"first record") + frame(b"second")
    path = tmp_path / "cut.tfrecord"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        if length == len(frame(b"first record")):
            assert list(read_records(path)) == [b"first record"]
            continue
        with pytest.raises(DataError, match=r"cut.tfrecord is truncated: it ends inside record"):
            list(read_records(path))


def test_every_flipped_bit_is_noticed(tmp_path: Path) -> None:
    whole = frame(b"first record") + frame(b"second")
    path = tmp_path / "flip.tfrecord"
    for bit in range(8 * len(whole)):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"record [01] at byte (0|28)|is no TFRecord"):
            list(read_records(path))


def test_other_files(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(b"PAR1" + b"x" * 100)
    with pytest.raises(DataError, match="is no TFRecord file: record 0 at byte 0"):
        list(read_records(path))
    with pytest.raises(MissingDataError, match="TFRecord file not found"):
        list(read_records(tmp_path / "none"))
    with pytest.raises(DataError, match="must be a TFRecord file, but: it is a folder"):
        list(read_records(tmp_path))
    path.write_bytes(frame(b"x" * 10)[:8] + b"\0" * 4)
    with pytest.raises(DataError, match="length and its checksum"):
        list(read_records(path))
