"""Images a second of retraining with its real loader, against the same network on fixed images.

The difference is what reading, decoding and augmenting cost. Images in memory (CIFAR-10's size,
shifted, mirrored, cut out) and JPEG files (random crops to 224x224 by worker processes; of a
folder IMAGES with train/<class>/* and val/<class>/*, or made for the purpose).

    python benchmarks/retrain_throughput.py [IMAGES] [--steps 10] [--workers 0 1] [--save NAME]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_check import GENOTYPE
from PIL import Image
from record import command_line, save_record

from gnas.data.images.config import TrainImagesConfig
from gnas.data.images.parts import ImageParts, open_train_images
from gnas.data.images.sources import ImageArray, ImageSource
from gnas.retrain import RetrainConfig, retrain_cifar10, retrain_imagenet
from gnas.retrain.plan import network_of
from gnas.retrain.state import RetrainState
from gnas.spaces import TopoNAS
from gnas.training.devices import device_name


def main() -> None:
    parser = command_line(__doc__)
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = [
        measured(
            "in memory, 32x32", "-", in_memory(), changed(retrain_cifar10(), options), options
        )
    ]
    with tempfile.TemporaryDirectory() as folder:
        place = options.images or made(Path(folder), options.batch)
        for workers in options.workers:
            config = TrainImagesConfig(dataset="imagenet", data_dir=str(place), workers=workers)
            recipe = changed(retrain_imagenet(), options)
            name = "files, 224x224"
            rows.append(measured(name, str(workers), open_train_images(config), recipe, options))
    text = table(rows, options)
    print(text)
    if options.save:
        save_record(
            options.save,
            "Images a second of retraining, against the same network on images in memory",
            "python benchmarks/retrain_throughput.py",
            text,
            rows=rows,
            options={k: str(v) for k, v in vars(options).items()},
        )


def changed(config: RetrainConfig, options: argparse.Namespace) -> RetrainConfig:
    """A recipe with a network and a batch of the size that was asked for."""
    return replace(
        config, layers=options.layers, channels=options.channels, batch_size=options.batch
    )


def in_memory() -> ImageParts:
    """Noise of CIFAR-10's form."""
    x = torch.randint(0, 256, (2000, 3, 32, 32), dtype=torch.uint8)
    y = torch.arange(2000) % 10
    source = ImageSource("noise", ImageArray(x, y), ImageArray(x[:100], y[:100]))
    return open_train_images(TrainImagesConfig(image_size=32), source=source)


def made(folder: Path, batch: int) -> Path:
    """JPEG files of ImageNet's usual size."""
    rng = np.random.default_rng(0)
    for part, count in (("train", max(64, 2 * batch)), ("val", 2)):
        for name in ("a", "b"):
            (folder / part / name).mkdir(parents=True)
            for k in range(count):
                coarse = rng.integers(0, 256, (47, 63, 3)).astype(np.uint8)
                image = Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC)
                image.save(folder / part / name / f"{k}.jpg", quality=90)
    return folder


def measured(
    name: str,
    workers: str,
    images: ImageParts,
    config: RetrainConfig,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Images a second of the loader alone, of training on what it gives, and on fixed images."""
    device = options.device
    space, graph = TopoNAS(mode="input"), GENOTYPE.to_graph()
    size = network_of(
        space, config, in_channels=images.in_channels, num_classes=images.num_classes
    )
    training = RetrainState(space.network(graph, size).to(device), config, device)
    stream = images.batches(
        "train", config.batch_size, config.augmentation, seed=0, device=device
    ).iter_from(0)
    fixed = next(stream)  # starts the workers too
    training.learn(fixed, 0)
    rates = {}
    for side in ("loader", "fixed", "real"):
        start = time.perf_counter()
        for _ in range(options.steps):
            batch = fixed if side == "fixed" else next(stream)
            if side != "loader":
                training.learn(batch, 0)
        training.check_finite()  # waits for a GPU
        rates[side] = options.steps * config.batch_size / (time.perf_counter() - start)
    return {"images": name, "workers": workers, **rates, "share": rates["real"] / rates["fixed"]}


def table(rows: list[dict[str, Any]], options: argparse.Namespace) -> str:
    lines = [
        f"{device_name(options.device)}, {options.threads} threads; DARTS' cells, "
        f"{options.layers} layers, {options.channels} channels, batch {options.batch}. Images/s.",
        "",
        "| images | workers | loader alone | training | the same on fixed images | share |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row['images']} | {row['workers']} | {row['loader']:.0f} | {row['real']:.0f} | "
        f"{row['fixed']:.0f} | {row['share']:.0%} |"
        for row in rows
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
