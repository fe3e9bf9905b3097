"""Mutated image files of many formats, arrays and lists: an image, or one error of gnas' own."""

from __future__ import annotations

import io
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from gnas.data.images.config import Augmentation, SearchImagesConfig, TrainImagesConfig
from gnas.data.images.decoding import UnreadableImageError, read_header, read_rgb
from gnas.data.images.listing import list_images
from gnas.data.images.parts import load_images, open_search_images, open_train_images
from gnas.data.images.subsets import make_subset, write_subset
from gnas.errors import GnasError

MUTATIONS = int(os.environ.get("GNAS_FUZZ", "60"))
"""Of each file; set it to thousands for a long run."""
KINDS = (
    ("BMP", "RGB"), ("BMP", "P"), ("GIF", "P"), ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
    ("PNG", "RGBA"), ("PNG", "P"), ("PNG", "1"), ("PNG", "I;16"), ("PPM", "RGB"), ("PPM", "1"),
    ("PPM", "I"), ("TIFF", "RGB"), ("TIFF", "I;16"), ("TIFF", "F"), ("TIFF", "LAB"),
    ("WEBP", "RGB"), ("WEBP", "RGBA"),
    ("ICNS", "RGB"), ("ICO", "RGB"), ("DDS", "RGB"), ("TGA", "RGB"), ("PCX", "RGB"),
    ("SGI", "RGB"), ("EPS", "RGB"), ("JPEG2000", "RGB"), ("MPO", "RGB"),
)  # fmt: skip
BLOWN = (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xff\0\0", b"\x80\0\0\0")


def encoded(kind: str, mode: str) -> bytes:
    """A small sound file."""
    grey = Image.linear_gradient("L").resize((20, 16))
    if mode == "I;16":
        image = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    elif mode == "LAB":
        image = Image.merge("LAB", (grey, grey, grey))
    else:
        image = grey.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6
    target = io.BytesIO()
    if kind == "TIFF" and mode == "RGB":
        image.save(target, kind, exif=exif, compression="tiff_lzw")
    elif kind in ("JPEG", "PNG", "WEBP", "TIFF"):
        image.save(target, kind, exif=exif)
    else:
        image.save(target, kind)
    return target.getvalue()


def mutated(sound: bytes, rng: np.random.Generator, count: int) -> Iterator[bytes]:
    """Truncated, flipped, blown up, repeated, spliced; mostly near the head, where sizes are."""
    for k in range(count):
        data = bytearray(sound)
        reach = len(data) if k % 3 else min(len(data), 64)
        place = int(rng.integers(0, reach))
        match k % 6:
            case 0:
                data[place : place + 4] = BLOWN[int(rng.integers(len(BLOWN)))]
            case 1:
                del data[place:]
            case 2:
                for _ in range(int(rng.integers(1, 9))):
                    data[int(rng.integers(0, reach))] = int(rng.integers(0, 256))
            case 3:
                data[place:place] = data[: int(rng.integers(1, 200))]
            case 4:
                other = int(rng.integers(0, len(data)))
                data[place : place + 16] = data[other : other + 16]
            case _:
                data[place] ^= 1 << int(rng.integers(0, 8))
        yield bytes(data)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most 1 GiB more of addresses, so that a bomb ends in an error and not the machine."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize(("kind", "mode"), KINDS)
def test_mutated_images_are_images_or_unreadable(
    tmp_path: Path, rng: np.random.Generator, kind: str, mode: str
) -> None:
    if kind in ("WEBP", "JPEG2000") and not features.check(
        "webp" if kind == "WEBP" else "jpg_2000"
    ):
        pytest.skip(f"this Pillow has no {kind}")
    path = tmp_path / "x.png"
    for data in mutated(encoded(kind, mode), rng, MUTATIONS):
        path.write_bytes(data)
        for reader in (read_rgb, read_header):
            try:
                found = reader(path)
            except UnreadableImageError as error:
                assert "\n" not in str(error) and len(str(error)) < 200
                continue
            if isinstance(found, Image.Image):
                assert found.mode == "RGB" and min(found.size) >= 1


@pytest.mark.usefixtures("little_memory")
def test_folders_of_mutated_images_are_read_or_refused(
    tmp_path: Path, rng: np.random.Generator, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "set"
    sound = encoded("PNG", "RGBA")
    for part in ("train", "val"):
        for name in ("cat", "dog"):
            (folder / part / name).mkdir(parents=True)
            for k in range(4):
                (folder / part / name / f"{k}.png").write_bytes(sound)
    where = str(folder)
    searched = SearchImagesConfig(dataset="folder", data_dir=where, image_size=8)
    large = TrainImagesConfig(dataset="imagenet", data_dir=where, image_size=8, workers=0)
    reads = (
        lambda: load_images(folder, image_size=8),
        lambda: open_search_images(searched, num_parts=2),
        lambda: list(open_train_images(large).eval_batches("test", 8)),
        lambda: next(
            open_train_images(large).batches("train", 8, Augmentation(), seed=0).iter_from(0)
        ),
    )
    ended = {"read": 0, "refused": 0}
    for kind in ("PNG", "TIFF", "JPEG", "GIF", "PPM"):
        for data in mutated(encoded(kind, "L"), rng, max(4, MUTATIONS // 10)):
            for part in ("train", "val"):
                (folder / part / "cat" / "0.png").write_bytes(data)
            for read in reads:
                try:
                    read()
                    ended["read"] += 1
                except GnasError:
                    ended["refused"] += 1
    assert min(ended.values()) > 0
    assert "Traceback" not in capfd.readouterr().err


def test_mutated_arrays_are_read_or_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    for part in ("train", "test"):
        np.save(tmp_path / f"x_{part}.npy", rng.integers(0, 256, (12, 8, 8, 3), np.uint8))
        np.save(tmp_path / f"y_{part}.npy", np.arange(12) % 3)
    for name in ("x_train", "y_train", "x_test", "y_test"):
        path = tmp_path / f"{name}.npy"
        sound = path.read_bytes()
        heads = (
            b"\x93NUMPY\x01\0v\0" + b"(" * 118,
            b"\x93NUMPY\x01\0v\0" + b"{'a':" * 23 + b" \n",
        )
        for data in (*mutated(sound[:128], rng, MUTATIONS), *heads, b""):
            path.write_bytes(data + sound[128:])
            try:
                load_images(tmp_path, image_size=8)
            except GnasError as error:
                assert "\n" not in str(error)
        path.write_bytes(sound)
    assert len(load_images(tmp_path).rows["test"]) == 12


def test_mutated_lists_are_read_or_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for k in range(6):
            Image.new("RGB", (8, 8)).save(tmp_path / "set" / name / f"{k}.png")
    images = make_subset(tmp_path / "set", 100, seed=0)
    assert len(images.names) == len(list_images(tmp_path / "set").names)
    path = tmp_path / "list.txt"
    write_subset(images, path)
    sound = path.read_bytes()
    path.with_name("list.txt.sha256").unlink()
    config = SearchImagesConfig(dataset="folder", data_dir=str(tmp_path / "set"), images=str(path),
                          image_size=8)  # fmt: skip
    for data in (*mutated(sound, rng, MUTATIONS), b"\xff\xfe/x\n", b"cat/" + b"a" * 5000 + b"\n"):
        path.write_bytes(data)
        try:
            open_search_images(config, num_parts=2)
        except GnasError as error:
            assert len(str(error)) < 1000
