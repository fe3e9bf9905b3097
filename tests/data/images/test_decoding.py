"""Images of every mode: what a person sees is what a network gets, or the mode is refused."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from gnas.data.images.decoding import FORMATS, UnreadableImageError, read_header, read_rgb

RAMP = np.linspace(0, 65535, 256).round().astype(np.uint16).reshape(16, 16)


def read(path: Path) -> NDArray[np.uint8]:
    image = read_rgb(path)
    assert image.mode == "RGB"
    return np.asarray(image)


def png(
    path: Path, pixels: NDArray[Any], colour: int, *chunks: tuple[bytes, bytes], bits: int = 16
) -> Path:
    """A PNG of any depth, which Pillow writes of some only; ``pixels`` [H, W, C], or bytes."""
    height, width = pixels.shape[:2]
    kind = ">u2" if bits == 16 else "u1"
    rows = b"".join(b"\0" + row.astype(kind).tobytes() for row in pixels)
    width = width if bits == 16 else width * 8 // bits
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)), *chunks]
    parts += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


def tiff(path: Path, data: bytes, size: tuple[int, int], bits: int, **tags: int) -> Path:
    """An uncompressed greyscale TIFF with any tags (262: 0 means that white is zero)."""
    entries = {256: size[0], 257: size[1], 258: bits, 259: 1, 262: 1, 273: 0, 277: 1, 278: size[1]}
    entries |= {279: len(data)} | {int(name.removeprefix("t")): v for name, v in tags.items()}
    start = 8 + 2 + 12 * len(entries) + 4
    entries[273] = start
    fields = b"".join(struct.pack("<HHII", k, 4, 1, v) for k, v in sorted(entries.items()))
    path.write_bytes(b"II*\0" + struct.pack("<IH", 8, len(entries)) + fields + b"\0\0\0\0" + data)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"x.{suffix}"
    Image.fromarray(RAMP).save(path)
    found = read(path)
    expected = np.rint(RAMP / 257)
    assert np.array_equal(found, np.repeat(expected[:, :, None], 3, 2))
    assert found.min() == 0 and found.max() == 255


def test_big_endian_sixteen_bits(tmp_path: Path) -> None:
    path = tmp_path / "x.tif"
    Image.frombytes("I;16B", (16, 16), RAMP.astype(">u2").tobytes()).save(path)
    assert np.array_equal(read(path)[:, :, 0], np.rint(RAMP / 257))


def test_a_pgm_has_the_range_that_it_says(tmp_path: Path) -> None:
    for top in (15, 255, 4095, 65535):
        values = np.linspace(0, top, 16).round().astype(int)
        path = tmp_path / f"{top}.pgm"
        path.write_text(f"P2 4 4 {top}\n{' '.join(map(str, values))}\n")
        assert np.abs(read(path)[:, :, 0].ravel() - values * 255.0 / top).max() <= 0.5 + 1e-9


def test_colours_of_sixteen_bits(tmp_path: Path) -> None:
    pixels = np.stack([RAMP, RAMP.T, RAMP[::-1]], 2)
    found = read(png(tmp_path / "rgb.png", pixels, colour=2))
    assert np.abs(found - pixels / 257.0).max() <= 1
    see_through = np.stack([RAMP, RAMP.T, RAMP[::-1], 0 * RAMP], 2)
    assert (read(png(tmp_path / "rgba.png", see_through, colour=6)) == 255).all()
    grey = np.stack([RAMP, 0 * RAMP + 65535], 2)
    assert (
        np.abs(read(png(tmp_path / "la.png", grey, colour=4)) - RAMP[..., None] / 257).max() <= 1
    )


def test_a_transparent_grey_of_sixteen_bits(tmp_path: Path) -> None:
    path = png(tmp_path / "x.png", RAMP[..., None], 0, (b"tRNS", struct.pack(">H", RAMP[0, 3])))
    expected = np.rint(RAMP / 257)
    expected[0, 3] = 255
    assert np.array_equal(read(path)[:, :, 0], expected)


@pytest.mark.parametrize(
    ("bits", "packed", "shade", "expected"),
    [
        (1, 0b01010101, 0, [255] * 8),
        (2, 0b00011011, 1, [0, 255, 170, 255]),
        (4, 0x5A, 5, [255, 170]),
    ],
)
def test_a_transparent_grey_of_few_bits(
    tmp_path: Path, bits: int, packed: int, shade: int, expected: list[int]
) -> None:
    chunk = (b"tRNS", struct.pack(">H", shade))
    path = png(tmp_path / "x.png", np.array([[packed]]), 0, chunk, bits=bits)
    assert read(path)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_grey_tiffs_on_their_side(tmp_path: Path, kind: Any, compression: str | None) -> None:
    stored = np.arange(6).reshape(2, 3) * (np.iinfo(kind).max // 5)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "x.tif"
    Image.fromarray(stored.astype(kind)).save(path, exif=exif, compression=compression)
    assert read(path)[:, :, 0].tolist() == [[153, 0], [204, 51], [255, 102]]


def test_tiffs_of_twelve_bits_and_with_white_as_zero(tmp_path: Path) -> None:
    packed = bytes([0xFF, 0xF0, 0x00, 0x80, 0x0F, 0xFF])  # 4095, 0, 2048, 4095
    twelve = read(tiff(tmp_path / "12.tif", packed, (4, 1), 12))
    assert twelve[0, :, 0].tolist() == [255, 0, 128, 255]
    values = np.array([0, 257, 65535], "<u2").tobytes()
    assert read(tiff(tmp_path / "16.tif", values, (3, 1), 16))[0, :, 0].tolist() == [0, 1, 255]
    inverse = read(tiff(tmp_path / "inverse.tif", values, (3, 1), 16, t262=0))
    assert inverse[0, :, 0].tolist() == [255, 254, 0]
    eight = read(tiff(tmp_path / "8.tif", bytes([0, 1, 255]), (3, 1), 8, t262=0))
    assert eight[0, :, 0].tolist() == [255, 254, 0]


@pytest.mark.parametrize(
    ("pixels", "mode"),
    [
        (np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8), "F"),
        (np.arange(64, dtype=np.int32).reshape(8, 8), "I"),
    ],
)
def test_modes_without_a_range_are_refused_by_name(
    tmp_path: Path, pixels: NDArray[Any], mode: str
) -> None:
    path = tmp_path / "x.tif"
    Image.fromarray(pixels).save(path)
    with pytest.raises(UnreadableImageError, match=f"mode {mode}, which has no fixed range"):
        read_rgb(path)
    signed = tiff(tmp_path / "s.tif", np.array([-5, 9], "<i2").tobytes(), (2, 1), 16, t339=2)
    with pytest.raises(UnreadableImageError, match="mode I, which"):
        read_rgb(signed)
    lab = tmp_path / "lab.tif"
    Image.new("LAB", (4, 4)).save(lab)
    with pytest.raises(UnreadableImageError, match="mode LAB"):
        read_rgb(lab)


def test_greyscale_and_black_and_white(tmp_path: Path, rng: np.random.Generator) -> None:
    grey = rng.integers(0, 256, (9, 7), np.uint8)
    Image.fromarray(grey).save(tmp_path / "l.png")
    assert np.array_equal(read(tmp_path / "l.png"), np.repeat(grey[:, :, None], 3, 2))
    for suffix in ("png", "tif", "pbm", "bmp"):
        path = tmp_path / f"one.{suffix}"
        Image.fromarray(grey > 100).save(path)
        assert np.array_equal(read(path)[:, :, 1] == 255, grey > 100)


def test_palettes(tmp_path: Path) -> None:
    colours = [[200, 10, 30], [0, 255, 0], [1, 2, 3]]
    image = Image.new("P", (3, 1))
    image.putpalette([value for colour in colours for value in colour])
    image.putdata([2, 0, 1])
    for suffix in ("png", "gif", "bmp", "tif"):
        image.save(tmp_path / f"p.{suffix}")
        assert read(tmp_path / f"p.{suffix}").tolist() == [[colours[2], colours[0], colours[1]]]
    image.save(tmp_path / "t.png", transparency=0)
    assert read(tmp_path / "t.png").tolist() == [[colours[2], [255] * 3, colours[1]]]
    image.save(tmp_path / "t.gif", transparency=1)
    assert read(tmp_path / "t.gif").tolist() == [[colours[2], colours[0], [255] * 3]]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    pixels = np.array([[[10, 200, 30, 255], [10, 200, 30, 0], [100, 0, 0, 128]]], np.uint8)
    names = ["x.png", "x.tif"] + (["x.webp"] if features.check("webp") else [])
    for name in names:
        Image.fromarray(pixels).save(tmp_path / name, lossless=True)
        found = read(tmp_path / name)[0].astype(int)
        assert found[0].tolist() == [10, 200, 30] and found[1].tolist() == [255] * 3
        assert np.abs(found[2] - [177, 127, 127]).max() <= 1
    Image.fromarray(pixels[..., 2:]).save(tmp_path / "la.png")
    assert read(tmp_path / "la.png")[0, :2, 0].tolist() == [30, 255]
    Image.fromarray(pixels[..., :3]).save(tmp_path / "rgb.png", transparency=(100, 0, 0))
    assert read(tmp_path / "rgb.png")[0].tolist() == [[10, 200, 30], [10, 200, 30], [255] * 3]


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_and_ycbcr(tmp_path: Path, suffix: str) -> None:
    for name, inks, rgb in [
        ("white", (0, 0, 0, 0), (255, 255, 255)),
        ("cyan", (255, 0, 0, 0), (0, 255, 255)),
        ("yellow", (0, 0, 255, 0), (255, 255, 0)),
        ("black", (0, 0, 0, 255), (0, 0, 0)),
    ]:
        path = tmp_path / f"{name}.{suffix}"
        Image.new("CMYK", (8, 8), inks).save(path)
        assert np.abs(read(path).astype(int) - rgb).max() <= 3
    path = tmp_path / f"ycbcr.{suffix}"
    Image.new("RGB", (8, 8), (200, 50, 100)).convert("YCbCr").save(path)
    assert np.abs(read(path).astype(int) - (200, 50, 100)).max() <= 3


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_exif_orientation_is_applied(tmp_path: Path, suffix: str) -> None:
    """Rotated as the EXIF standard says; expected values were written down by hand."""
    a, b, c, d, e, f = range(6)  # [[a, b, c], [d, e, f]] as stored
    upright = {
        1: [[a, b, c], [d, e, f]],
        2: [[c, b, a], [f, e, d]],
        3: [[f, e, d], [c, b, a]],
        4: [[d, e, f], [a, b, c]],
        5: [[a, d], [b, e], [c, f]],
        6: [[d, a], [e, b], [f, c]],
        7: [[f, c], [e, b], [d, a]],
        8: [[c, f], [b, e], [a, d]],
        99: [[a, b, c], [d, e, f]],
    }
    stored = Image.fromarray(
        np.kron(np.arange(6).reshape(2, 3), np.ones((8, 8))).astype(np.uint8) * 40
    )
    for orientation, expected in upright.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = tmp_path / f"{orientation}.{suffix}"
        stored.convert("RGB").save(path, exif=exif, quality=100)
        found = read(path)[4::8, 4::8, 0] / 40
        assert np.abs(found - expected).max() < 0.1, orientation


def test_damaged_metadata_does_not_matter(tmp_path: Path) -> None:
    for k, exif in enumerate(
        [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0", b"Exif\0\0MM\0*" + b"\xff" * 40]
    ):
        path = tmp_path / f"{k}.jpg"
        Image.new("RGB", (8, 8), (9, 99, 199)).save(path, exif=exif)
        assert np.abs(read(path).astype(int) - (9, 99, 199)).max() <= 3


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_the_first_image_of_several(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    path = tmp_path / f"x.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert np.abs(read(path).astype(int) - (255, 0, 0)).max() <= 3


@pytest.mark.parametrize("size", [(1, 1), (3000, 10), (10, 3000)])
def test_odd_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", size, (7, 8, 9)).save(path)
    assert read(path).shape == (size[1], size[0], 3) and (read(path) == [7, 8, 9]).all()
    assert read_header(path) == size


def test_a_file_is_what_it_holds_not_what_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    Image.new("RGB", (5, 5), (7, 8, 9)).save(path, format="PNG")
    assert (read(path) == [7, 8, 9]).all()


def test_rare_formats_are_not_opened(tmp_path: Path) -> None:
    for kind in ("ICNS", "DDS", "TGA", "PCX", "ICO"):
        assert kind not in FORMATS
        path = tmp_path / f"{kind}.png"
        Image.new("RGB", (16, 16)).save(path, format=kind)
        for reader in (read_rgb, read_header):
            with pytest.raises(UnreadableImageError, match="no image of a known format"):
                reader(path)


def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path) -> None:
    rows = zlib.compress(b"\0" * (11_000 * 10_001 // 8), 9)
    head = struct.pack(">IIBBBBB", 10_000 * 8, 11_000, 1, 0, 0, 0, 0)
    body = b"\x89PNG\r\n\x1a\n"
    for kind, data in ((b"IHDR", head), (b"IDAT", rows), (b"IEND", b"")):
        body += struct.pack(">I", len(data)) + kind + data
        body += struct.pack(">I", zlib.crc32(kind + data))
    path = tmp_path / "x.png"
    path.write_bytes(body)
    with pytest.raises(UnreadableImageError, match="pixels"):
        read_rgb(path)
    text = tmp_path / "text.png"
    bomb = b"k\0\0" + zlib.compress(b"x" * 80_000_000, 9)
    png(text, RAMP[..., None], 0, (b"zTXt", bomb))
    with pytest.raises(UnreadableImageError):
        read_rgb(text)
    wide = tmp_path / "wide.ppm"
    wide.write_bytes(b"P6 999999999 999999999 255\n")
    with pytest.raises(UnreadableImageError):
        read_rgb(wide)
