"""Names of images."""

from __future__ import annotations

from typing import Literal

SearchDataset = Literal["digits", "cifar10", "folder", "imagenet-3pct"]
"""Images that a supernet is searched in."""
TrainDataset = Literal["digits", "cifar10", "folder", "imagenet"]
"""Images that a found architecture is trained on."""
ProxyDataset = Literal["digits", "cifar10", "folder"]
"""Images that candidates are trained on."""
