"""Labelled images: data sets, their parts, and batches of them.

`config` says which images, `sources` opens them, `splits` divides them and `loading` makes
batches; `parts` joins these for searches, trainings and candidates. The names below load their
module on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnas.lazy import on_first_use

if TYPE_CHECKING:
    from gnas.data.images.config import Augmentation as Augmentation
    from gnas.data.images.config import NumberedImagesConfig as NumberedImagesConfig
    from gnas.data.images.config import ProxyImagesConfig as ProxyImagesConfig
    from gnas.data.images.config import SearchImagesConfig as SearchImagesConfig
    from gnas.data.images.config import TrainImagesConfig as TrainImagesConfig
    from gnas.data.images.parts import ImageParts as ImageParts
    from gnas.data.images.parts import SearchLoaders as SearchLoaders
    from gnas.data.images.parts import load_images as load_images
    from gnas.data.images.parts import open_candidate_images as open_candidate_images
    from gnas.data.images.parts import open_search_images as open_search_images
    from gnas.data.images.parts import open_train_images as open_train_images
    from gnas.data.images.parts import search_loaders as search_loaders

_HOME = {
    "Augmentation": "gnas.data.images.config",
    "ImageParts": "gnas.data.images.parts",
    "NumberedImagesConfig": "gnas.data.images.config",
    "ProxyImagesConfig": "gnas.data.images.config",
    "SearchImagesConfig": "gnas.data.images.config",
    "SearchLoaders": "gnas.data.images.parts",
    "TrainImagesConfig": "gnas.data.images.config",
    "load_images": "gnas.data.images.parts",
    "open_candidate_images": "gnas.data.images.parts",
    "open_search_images": "gnas.data.images.parts",
    "open_train_images": "gnas.data.images.parts",
    "search_loaders": "gnas.data.images.parts",
}
__all__ = [
    "Augmentation",
    "ImageParts",
    "NumberedImagesConfig",
    "ProxyImagesConfig",
    "SearchImagesConfig",
    "SearchLoaders",
    "TrainImagesConfig",
    "load_images",
    "open_candidate_images",
    "open_search_images",
    "open_train_images",
    "search_loaders",
]
__getattr__, __dir__ = on_first_use(__name__, _HOME)
