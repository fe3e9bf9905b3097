"""Writes CIFAR-10 as the four .npy arrays that `gnas tabulate --dataset FOLDER` reads.

Run from the repository's root, on the copy that torchvision downloads:
python benchmarks/prepare_cifar10.py ROOT OUT
Options: --jpeg QUALITY first compresses every image as JPEG, as the images of the shipped table
were; --first-train N and --first-test N keep the first images only.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torchvision.datasets import CIFAR10


def compressed(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The image after one JPEG compression."""
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, format="JPEG", quality=quality)
    return np.asarray(Image.open(stream).convert("RGB"), dtype=np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument("out", type=Path, help="folder for the arrays")
    parser.add_argument("--jpeg", type=int, default=None, metavar="QUALITY")
    parser.add_argument("--first-train", type=int, default=None, metavar="N")
    parser.add_argument("--first-test", type=int, default=None, metavar="N")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", options.first_train), ("test", options.first_test)):
        data = CIFAR10(options.root, train=part == "train")
        images = data.data[:count]
        if options.jpeg is not None:
            images = np.stack([compressed(image, options.jpeg) for image in images])
        np.save(options.out / f"x_{part}.npy", images)
        np.save(options.out / f"y_{part}.npy", np.array(data.targets[:count], dtype=np.int64))
        print(f"{part}: {len(images)} images")


if __name__ == "__main__":
    main()
