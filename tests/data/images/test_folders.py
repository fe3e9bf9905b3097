"""Folders as people have them: other files, hidden folders, sub-folders, pipes, odd links."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gnas.data.images.config import SearchImagesConfig, TrainImagesConfig
from gnas.data.images.listing import list_images
from gnas.data.images.parts import load_images, open_search_images, open_train_images
from gnas.data.images.subsets import make_subset, read_subset, write_subset
from gnas.errors import DataError, MissingDataError


def write(path: Path, size: tuple[int, int] = (9, 9)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(abs(hash(path.name)) % 1000)
    Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), np.uint8)).save(path)
    return path


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """Two classes of 8 images, two of them in sub-folders, and what is no image of a class."""
    for name in ("cat", "dog"):
        for k in range(6):
            write(tmp_path / name / f"{k}.png")
        write(tmp_path / name / "more" / "6.JPG")
        write(tmp_path / name / "more" / "deep" / "7.png", (30, 10))
    (tmp_path / "cat" / "notes.txt").write_text("which cat is it?")
    (tmp_path / "dog" / "Thumbs.db").write_bytes(b"\xd0\xcf\x11\xe0")
    (tmp_path / "dog" / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    (tmp_path / "README.md").write_text("cats and dogs")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    for place in (tmp_path, tmp_path / "cat"):
        for name in (".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir"):
            write(place / name / "0.png")
        write(place / "__MACOSX" / "._1.png")
    write(tmp_path / "cat" / "._2.png")
    (tmp_path / "dog" / "again").symlink_to(tmp_path / "dog")
    (tmp_path / "dog" / "loop.png").symlink_to(tmp_path / "dog" / "loop.png")
    (tmp_path / "dog" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    return tmp_path


def test_only_images_of_classes_are_listed_and_the_rest_is_told(odd: Path) -> None:
    images = list_images(odd)
    assert images.classes == ("cat", "dog")
    own = [*(f"{k}.png" for k in range(6)), "more/6.JPG", "more/deep/7.png"]
    assert images.names == tuple(f"{name}/{file}" for name in images.classes for file in own)
    assert images.labels == (0,) * 8 + (1,) * 8
    assert set(images.reading.skipped) == {
        *(f"{n}/" for n in (".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir")),
        *(f"cat/{n}/" for n in (".ipynb_checkpoints", ".git", "__MACOSX", "@eaDir")),
        "README.md", "cat/notes.txt", "cat/._2.png", "dog/.DS_Store", "dog/Thumbs.db",
        "dog/pipe.png", "dog/again/", "dog/loop.png", "dog/gone.png",
    }  # fmt: skip


def test_one_line_says_what_was_read(odd: Path) -> None:
    splits = load_images(odd, image_size=8)
    assert splits.line() == (
        f"folder {odd.name}: 2 classes (cat, dog); images: 10 for training, 3 for validation, "
        "3 for testing; 9 to 30 x 9 to 10 pixels, resized to 8x8 regardless of their aspect; "
        "skipped 17 (.git/, .ipynb_checkpoints/, @eaDir/, ...)"
    )
    assert load_images("digits").line() == (
        "digits: 10 classes (0, 1, 2, ...); images: 1,078 for training, 360 for validation, "
        "359 for testing; 8x8 pixels"
    )
    search = open_search_images(
        SearchImagesConfig(dataset="folder", data_dir=str(odd), image_size=8)
    )
    assert search.line().startswith(
        f"folder {odd.name}: 2 classes (cat, dog); images: 5 for training, 4 for alpha, "
        "4 for beta; 9 to"
    )


def test_parts_that_are_not_used_are_told(
    odd: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    whole = tmp_path_factory.mktemp("set")
    for part in ("train", "val", "test"):
        for name in ("cat", "dog"):
            for k in range(2):
                write(whole / part / name / f"{k}.png")
    config = TrainImagesConfig(dataset="folder", data_dir=str(whole), image_size=9)
    assert open_train_images(config).line() == (
        f"folder {whole.name}: 2 classes (cat, dog); images: 4 for training, 4 for testing; "
        "9x9 pixels; skipped 1 (val/)"
    )
    large = TrainImagesConfig(dataset="imagenet", data_dir=str(whole), image_size=8)
    assert open_train_images(large).line() == (
        f"imagenet {whole.name}: 2 classes (cat, dog); images: 4 for training, 4 for testing; "
        "cut to 8x8: random crops for training, centres for testing; skipped 1 (test/)"
    )
    assert (
        open_train_images(large, only_test=True)
        .line("test")
        .endswith("images: 4 for testing; cut to 8x8: centres for testing")
    )


def test_unreadable_images_are_told(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for k in range(60):
            write(tmp_path / name / f"{k}.png")
    (tmp_path / "cat" / "7.png").write_bytes(b"GIF89a")
    line = load_images(tmp_path).line()
    assert line.endswith("9x9 pixels; 1 unreadable (cat/7.png)")


def test_a_class_without_images_says_what_it_has(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "0.png")
    (tmp_path / "dog").mkdir()
    (tmp_path / "dog" / "0.heic").write_bytes(b"x")
    with pytest.raises(
        DataError, match=r"dog has none; it has \(dog/0\.heic\), and images are named \.bmp"
    ):
        list_images(tmp_path)


def test_a_mode_without_a_range_stops_a_folder_of_it(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for k in range(4):
            Image.new("F", (8, 8), 0.5).save(tmp_path / name / f"{k}.tif")
    with pytest.raises(DataError, match=r"8 of 8 are, for example .*0\.tif: .* mode F, which"):
        load_images(tmp_path, image_size=8)


def test_names_that_are_no_text(tmp_path: Path) -> None:
    write(tmp_path / "cat" / "0.png")
    write(tmp_path / "dog" / "0.png").rename(tmp_path / "dog" / os.fsdecode(b"\xff\x1b[31m.png"))
    images = list_images(tmp_path)
    for path in (tmp_path / "list.txt", tmp_path / os.fsdecode(b"\xff.txt")):
        write_subset(images, path)
        assert read_subset(path, tmp_path) == images
    write(tmp_path / os.fsdecode(b"\xffel") / "0.png")
    with pytest.raises(DataError, match="must be printable text"):
        list_images(tmp_path)


def test_lists_hold_images_of_sub_folders(odd: Path) -> None:
    images = make_subset(odd, 100, seed=0)
    path = odd.parent / "list.txt"
    write_subset(images, path)
    again = read_subset(path, odd)
    assert set(again.names) == set(list_images(odd).names)
    assert all(again.labels[k] == (name[:3] == "dog") for k, name in enumerate(again.names))
    write(odd / "cat" / "line\nbreak.png")
    with pytest.raises(DataError, match="must have no line break"):
        write_subset(list_images(odd), path)


def test_a_folder_that_cannot_be_listed(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="must be a folder to read"):
        list_images(tmp_path / "none", ["cat", "dog"])


def test_an_archive_of_a_mac_unpacks_to_its_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for k in range(3):
            write(tmp_path / "set" / name / f"{k}.png")
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in sorted((tmp_path / "set").rglob("*.png")):
            inside = path.relative_to(tmp_path / "set")
            archive.write(path, str(inside))
            archive.writestr(f"__MACOSX/{inside.parent}/._{inside.name}", b"\0\5\x16\7")
    with zipfile.ZipFile(tmp_path / "set.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    assert list_images(tmp_path / "unpacked").classes == ("cat", "dog")


def test_arrays_that_are_pipes_or_claim_too_much(tmp_path: Path) -> None:
    for part in ("train", "test"):
        np.save(tmp_path / f"x_{part}.npy", np.zeros((4, 8, 8), np.uint8))
        np.save(tmp_path / f"y_{part}.npy", np.arange(4) % 2)
    path = tmp_path / "x_train.npy"
    good = path.read_bytes()
    path.write_bytes(good.replace(b"(4, 8, 8)", b"(10**9,)"))
    with pytest.raises(DataError, match=r"x_train\.npy must be a \.npy array"):
        load_images(tmp_path)
    path.write_bytes(good.replace(b"(4, 8, 8), }       ", b"(400000, 8, 80000)}"))
    with pytest.raises(DataError, match=r"x_train\.npy must be a \.npy array"):
        load_images(tmp_path)
    np.save(path, np.zeros((0, 8, 8), np.uint8))
    np.save(tmp_path / "y_train.npy", np.zeros(0, int))
    with pytest.raises(DataError, match="must hold images, but"):
        load_images(tmp_path)
    np.save(path, np.zeros((4, 8, 8), np.uint8))
    np.save(tmp_path / "y_train.npy", np.zeros(4, int))
    with pytest.raises(DataError, match=r"must hold at least 2 classes, but .* has label 0 alone"):
        load_images(tmp_path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(MissingDataError, match=r"x_train\.npy is no file"):
        load_images(tmp_path)
