"""Configurations of the images of searches, trainings and candidates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from gnas.config import BelowOne, Count, Seed, configuration, from_record
from gnas.data.images.listing import check_images
from gnas.data.images.names import ProxyDataset, SearchDataset, TrainDataset
from gnas.errors import ConfigError

IMAGE_SIZES = {"digits": 16, "cifar10": 32, "folder": 32, "imagenet": 224, "imagenet-3pct": 224}
"""Choice: height and width in pixels of the images of a search or a training, by data set."""
PROXY_IMAGE_SIZES = {**IMAGE_SIZES, "digits": 8}
"""Choice: the same of candidates' images."""
PROXY_PERCENT: dict[ProxyDataset, float] = {"digits": 100.0, "cifar10": 10.0, "folder": 100.0}
"""Share of the training images where none is given; a tenth of CIFAR-10 is the paper's."""
LARGEST = 4096
"""Largest height and width in pixels that images are brought to."""

ImageSize = Annotated[int, Field(ge=8, le=LARGEST)]
"""Height and width in pixels; of fewer than 8, two reductions leave nothing."""
Workers = Annotated[int, Field(ge=0, le=1024)]
"""Processes that read files."""
Percent = Annotated[float, Field(gt=0, le=100)]
"""A share in percent."""
Pixels = Annotated[int, Field(ge=0, le=LARGEST)]
"""A shift or a size inside an image."""


@configuration
class ImagesConfig:
    """Images of a data set at one size.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.
    """

    dataset: str = "digits"
    """digits of scikit-learn, torchvision's CIFAR-10, or images in a folder."""
    data_dir: str | None = None
    """Folder of the images; digits need none."""
    image_size: ImageSize | None = None
    """Height and width in pixels; None takes the data set's own, see `IMAGE_SIZES`."""

    def __post_init__(self) -> None:
        if self.dataset != "digits" and self.data_dir is None:
            raise ConfigError(f"{self.dataset} needs the folder of its images: give --data-dir")
        if self.dataset == "digits" and self.data_dir is not None:
            raise ConfigError(
                "digits are scikit-learn's and have no folder; leave --data-dir out, or say which "
                "images lie there: --dataset folder"
            )

    def check_folder(self, *, only_test: bool = False) -> None:
        """Check that the folder has images, without reading one; see `check_images`.

        Args:
            only_test: Of large images, look at the test part alone.
        """
        if self.data_dir is not None:
            check_images(self.dataset, Path(self.data_dir), only_test=only_test)

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.image_size or IMAGE_SIZES[self.dataset]

    def metadata(self) -> dict[str, Any]:
        """All but the folder, which every machine has its own of."""
        return {k: v for k, v in asdict(self).items() if k != "data_dir"}


@configuration
class SearchImagesConfig(ImagesConfig):
    """Images of a supernet search.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.

    Examples:
        >>> SearchImagesConfig().size, SearchImagesConfig(image_size=8).size
        (16, 8)
    """

    dataset: SearchDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder of class folders (or of .npy
    arrays) held in memory; a class-balanced share of ImageNet read from its files."""
    images: str | None = None
    """A list made by `gnas data subset`, of a folder or of ImageNet; None takes all images of a
    folder, and draws the ImageNet list anew."""
    percent: Percent = 3.0
    """Share of every ImageNet class in a list drawn anew."""
    seed: Seed = 0
    """Seed of the split, and of a list drawn anew."""
    workers: Workers = 4
    """Processes that read ImageNet's files; 0 reads in the search's own."""

    def __post_init__(self) -> None:
        ImagesConfig.__post_init__(self)  # no super() in a class that a decorator made anew
        if self.images is not None and self.dataset not in ("folder", "imagenet-3pct"):
            raise ConfigError(f"a list of images needs a folder, but dataset is {self.dataset}")

    def check_folder(self, *, only_test: bool = False) -> None:
        """See `ImagesConfig.check_folder`; a list says itself which classes there are."""
        if self.images is None:
            ImagesConfig.check_folder(self, only_test=only_test)


@configuration
class TrainImagesConfig(ImagesConfig):
    """Images for training and testing a network.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.

    Examples:
        >>> TrainImagesConfig(dataset="imagenet", data_dir="large").size
        224
    """

    dataset: TrainDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder (or .npy arrays) held in memory;
    a folder of large images, ImageNet for example, read from its files again and again."""
    val_share: BelowOne = 0.0
    """Share of every class' training images that is held out to choose the best epoch by."""
    split_seed: Seed = 0
    """Seed of the draw of those."""
    workers: Workers = 4
    """Processes that read ImageNet's files; 0 reads in the training's own."""


@configuration
class Augmentation:
    """Augmentation of training images.

    Examples:
        >>> Augmentation(flip=True, padding=4)
        Augmentation(flip=True, padding=4, cutout=0, jitter=0.0)
    """

    flip: bool = False
    """Mirror every second one."""
    padding: Pixels = 0
    """Largest shift in pixels of images in memory; those of files are cropped at random."""
    cutout: Pixels = 0
    """Height and width of a square that is blanked."""
    jitter: BelowOne = 0.0
    """Largest relative change of the colours of images read from files."""


@configuration
class ProxyImagesConfig(ImagesConfig):
    """Images on which candidates are trained, validated and tested.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.

    Examples:
        >>> ProxyImagesConfig(dataset="cifar10", data_dir="cifar").share
        0.1
    """

    dataset: ProxyDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder of class folders or .npy arrays."""
    percent: Percent | None = None
    """Share of every class's training images, drawn at random; None: see `PROXY_PERCENT`. A
    quarter of them validates. Test images are always all."""
    seed: Seed = 0
    """Seed of the draw and of the split."""

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return self.image_size or PROXY_IMAGE_SIZES[self.dataset]

    @property
    def share(self) -> float:
        """Share of the training images, a fraction."""
        return (PROXY_PERCENT[self.dataset] if self.percent is None else self.percent) / 100


@configuration
class NumberedImagesConfig(ImagesConfig):
    """Images of candidates by their numbers in training, validation and test.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.

    Examples:
        >>> NumberedImagesConfig(num_train=600, num_val=300).metadata()["num_test"] is None
        True
    """

    dataset: ProxyDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder of class folders or .npy arrays."""
    image_size: Annotated[int, Field(ge=4, le=LARGEST)] | None = None
    """Height and width in pixels; None keeps the images' own."""
    num_train: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """Training images; None takes all that validation leaves."""
    num_val: Count | None = None
    """Validation images; None takes a quarter of the training part."""
    num_test: Count | None = None
    """Test images, the first of the test part; where that lies class after class, images at equal
    distances. None takes all."""
    seed: Seed = 0
    """Seed of the split."""


CandidateImages = ProxyImagesConfig | NumberedImagesConfig
"""Images that candidates are trained on, of either kind."""


def candidate_images(metadata: Mapping[str, Any], data_dir: str | None) -> CandidateImages:
    """The config whose ``metadata()`` was recorded, with a folder of this machine.

    Raises:
        ConfigError: the record is of another version, or no folder is given where one is needed.
    """
    kind: type[CandidateImages] = (
        NumberedImagesConfig if "num_train" in metadata else ProxyImagesConfig
    )
    folder = None if metadata.get("dataset") == "digits" else data_dir  # of any worker
    return from_record(kind, {**metadata, "data_dir": folder})
