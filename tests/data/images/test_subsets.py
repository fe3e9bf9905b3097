from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from gnas.data.images.subsets import make_subset, read_subset, write_subset
from gnas.errors import ConfigError, DataError, MissingDataError


def folder_of(path: Path, **counts: int) -> Path:
    """A folder with ``counts`` files of every class; nothing here opens them."""
    for name, count in counts.items():
        (path / "train" / name).mkdir(parents=True)
        for k in range(count):
            (path / "train" / name / f"{k:03}.jpg").write_bytes(b"")
    return path


def test_a_share_of_every_class(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, cat=100, dog=50, eel=5)
    images = make_subset(folder, 10, seed=0)
    assert [images.labels.count(k) for k in range(3)] == [10, 5, 1]
    assert len(set(images.names)) == 16 and images.classes == ("cat", "dog", "eel")
    assert all(images.path(row).is_file() for row in range(16))
    assert make_subset(folder, 10, seed=0) == images != make_subset(folder, 10, seed=1)
    everything = make_subset(folder / "train", 100, seed=0)
    assert len(everything.names) == 155


def test_the_list_and_its_checksum(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "images", cat=40, dog=40)
    images = make_subset(folder, 25, seed=3)
    path = tmp_path / "list.txt"
    digest = write_subset(images, path)
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.with_name("list.txt.sha256").read_text() == f"{digest}  list.txt\n"
    assert path.read_text().splitlines() == list(images.names)
    assert read_subset(path, folder) == images
    (folder / "train" / images.names[0]).unlink()
    with pytest.raises(MissingDataError, match=r"1 of 20 are not, for example 'cat/"):
        read_subset(path, folder)
    path.write_text("cat/000.jpg\n")
    with pytest.raises(DataError, match=r"must have the sha256 that list.txt.sha256 gives"):
        read_subset(path, folder)


def test_a_list_of_an_editor_that_marks_the_encoding(tmp_path: Path) -> None:
    folder, path = folder_of(tmp_path, cat=1, dog=1), tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfcat/000.jpg\r\ndog/000.jpg\r\n")
    assert read_subset(path, folder).names == ("cat/000.jpg", "dog/000.jpg")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "no line"),
        ("cat/000.jpg\ncat/000.jpg\n", "repeated lines"),
        ("../000.jpg\n", "../000.jpg"),
        ("cat\n", "'cat'"),
        ("/etc/passwd\n", "/etc/passwd"),
    ],
)
def test_texts_that_are_no_list(tmp_path: Path, text: str, found: str) -> None:
    folder = folder_of(tmp_path, cat=3, dog=3)
    path = tmp_path / "list.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=f"class/file on every line, but has .*{found}"):
        read_subset(path, folder)


def test_impossible_subsets(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"percent must be in \(0, 100\], but got 0"):
        make_subset(tmp_path, 0, seed=0)
    with pytest.raises(MissingDataError, match=r"found no folder .*nowhere"):
        make_subset(tmp_path / "nowhere", 3, seed=0)
    with pytest.raises(MissingDataError, match="make it with `gnas data subset`"):
        read_subset(tmp_path / "none.txt", tmp_path)
    folder_of(tmp_path, cat=3, dog=3)
    (tmp_path / "train" / "eel").mkdir()
    with pytest.raises(DataError, match=r"every class must have readable images, .*eel has none"):
        make_subset(tmp_path, 3, seed=0)
