"""Trains the encoders that ship: ``python benchmarks/train_encoders.py [NAME...]``.

One thread and fixed seeds; two to ten minutes each on a free core.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import torch

from gnas.encoders import list_encoders
from gnas.encoders.config import WEIGHTS
from gnas.encoders.recipes import train_preset


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list_encoders(), help="presets to train")
    parser.add_argument("--out", type=Path, default=WEIGHTS, help="folder to write to")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    for name in arguments.names:
        path = arguments.out / f"{name}.safetensors"
        command = f"python benchmarks/train_encoders.py {name}"
        print(train_preset(name, path, command=command).summary(), flush=True)


if __name__ == "__main__":
    main()
