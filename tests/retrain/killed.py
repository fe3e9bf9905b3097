"""Trains twice, once killed again and again: python -m tests.retrain.killed FOLDER."""

from __future__ import annotations

from pathlib import Path

import torch

from gnas.retrain import RetrainConfig, RetrainResult
from gnas.retrain.state import RetrainState
from gnas.training.recording import RunRecord
from tests.retrain.conftest import make_images, tiny, train
from tests.search.toponas import killed

CONFIG: RetrainConfig = tiny(epochs=20, accumulate=2, test_every=7)
IMAGES = make_images(val_share=0.34)


def attempt(folder: Path, *, resume: bool) -> RetrainResult:
    """A training with a checkpoint after every step."""
    torch.set_num_threads(1)
    facts = {"config": CONFIG, "data": IMAGES.metadata()}
    record = RunRecord[RetrainState](folder, facts, resume=resume, every_s=0)
    return train(CONFIG, IMAGES, record=record)


if __name__ == "__main__":
    killed.main(attempt)
