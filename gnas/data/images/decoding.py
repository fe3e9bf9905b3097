"""Decoding of image files: 8-bit RGB of whatever mode a file has, upright, or a stated refusal."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from gnas.errors import DataError

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Formats that are opened, by Pillow's names, whatever a file is called. The rarer ones are left
out: their readers are hardly ever tried with damaged files."""
MAX_PIXELS = 100_000_000
"""A larger image is refused before it is decoded: a file of some kilobytes may claim any size."""
PLAIN_MODES = ("1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr")
ALPHA_MODES = ("LA", "PA", "RGBA")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_BITS, _PHOTOMETRIC, _ORIENTATION = 258, 262, 0x0112  # tags of TIFF and EXIF
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""Transformations that turn an image upright, by its EXIF orientation."""


class UnreadableImageError(DataError):
    """An image file that is damaged, too large, or of a mode without a fixed range."""


def read_rgb(path: Path) -> Image.Image:
    """An image file as 8-bit RGB, turned as its EXIF orientation says.

    16-bit greyscale is scaled by its full range, not clipped as Pillow's ``convert`` does;
    transparent pixels are laid over white (choice: what a viewer shows); of an animation or a file
    with several pages the first image is taken. Colour profiles are ignored.

    Args:
        path: A file of one of `FORMATS`.

    Raises:
        UnreadableImageError: the file is no sound image, has more than `MAX_PIXELS` pixels, or
            its pixels are floating-point or 32-bit numbers, whose range nobody knows.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged metadata, which is not looked at
            # Given the name, Pillow maps the file, and takes wrong rows of grey TIFFs on a side.
            with path.open("rb") as file, Image.open(file, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise UnreadableImageError(
                        f"it has {image.width} x {image.height} pixels, more than {MAX_PIXELS:,}"
                    )
                _scale_transparent_shade(image)
                image.load()
                upright = _UPRIGHT.get(_orientation(image))
                rgb = _rgb(image)
                return rgb if upright is None else rgb.transpose(upright)
    except UnreadableImageError:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImageError("it is no image of a known format") from error
    except Exception as error:  # Pillow's readers raise what their parsers raise
        reason = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableImageError(f"it is damaged ({reason})") from error


def read_header(path: Path) -> tuple[int, int]:
    """Width and height of an image file, as stored; nothing is decoded.

    Raises:
        UnreadableImageError: the file does not begin like an image of one of `FORMATS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=FORMATS) as image:
                return image.size
    except Exception as error:  # as in `read_rgb`
        raise UnreadableImageError("it is no image of a known format") from error


def _rgb(image: Image.Image) -> Image.Image:
    """A decoded image of any mode as RGB.

    Raises:
        UnreadableImageError: its mode has no fixed range.
    """
    if image.mode in SIXTEEN_BITS or (image.mode == "I" and image.format in ("PNG", "PPM")):
        return _from_sixteen_bits(image)
    if image.mode in ALPHA_MODES or (image.mode in PLAIN_MODES and "transparency" in image.info):
        pixels = image.convert("RGBA")
        white = Image.new("RGBA", pixels.size, "white")
        return Image.alpha_composite(white, pixels).convert("RGB")
    if image.mode in PLAIN_MODES:
        return image.convert("RGB")
    raise UnreadableImageError(
        f"its pixels are of Pillow's mode {image.mode}, which has no fixed range of values; "
        "save it with 8 or 16 bits a channel"
    )


def _scale_transparent_shade(image: Image.Image) -> None:
    """Scale the transparent shade of a PNG of 2 or 4 bits to 8, as Pillow scales the pixels."""
    shade = image.info.get("transparency")
    if image.format == "PNG" and isinstance(shade, int):
        tiles: Any = getattr(image, "tile", [])
        image.info["transparency"] = shade * {"L;2": 85, "L;4": 17}.get(tiles[0].args, 1)


def _from_sixteen_bits(image: Image.Image) -> Image.Image:
    """Greyscale of up to 16 bits as RGB: 0 stays black, the largest number becomes white."""
    tags: Any = getattr(image, "tag_v2", {})
    top = 2 ** int(tags.get(_BITS, (16,))[0]) - 1  # TIFF also has 12 bits
    shades = (np.arange(top + 1) * 255 + top // 2) // top
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero
        shades = 255 - shades
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and 0 <= transparent <= top:
        shades[transparent] = 255
    eight: NDArray[np.uint8] = shades.astype(np.uint8)
    return Image.fromarray(eight[np.asarray(image).clip(0, top)]).convert("RGB")


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation from 1 to 8; 1 where there is none, or damaged metadata."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # metadata may be damaged where the image is not
        return 1
