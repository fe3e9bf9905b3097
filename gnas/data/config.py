"""Configurations of the images of searches, trainings and candidates."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from gnas.config import BelowOne, Count, Seed, configuration
from gnas.data.names import ProxyDataset, SearchDataset, TrainDataset
from gnas.errors import ConfigError

if TYPE_CHECKING:
    from gnas.data.images import ImageSplits

SEARCH_SIZE: dict[SearchDataset, int] = {
    "digits": 16,
    "cifar10": 32,
    "folder": 32,
    "imagenet-3pct": 224,
}
"""Choice: height and width in pixels of a supernet's images where none is given."""
TRAIN_SIZE: dict[TrainDataset, int] = {"digits": 16, "cifar10": 32, "folder": 32, "imagenet": 224}
"""Choice: the same of a training's."""
PROXY_SIZE: dict[ProxyDataset, int] = {"digits": 8, "cifar10": 32, "folder": 32}
"""Choice: the same of candidates'."""
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
    """Images of a supernet search.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.
    """

    dataset: SearchDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder of class folders (or of .npy
    arrays) held in memory; a class-balanced share of ImageNet read from its files."""
    data_dir: str | None = None
    """Folder of the images; digits need none."""
    image_size: ImageSize | None = None
    """Height and width; None takes the data set's own, see `SEARCH_SIZE`."""
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
        _check_folder(self.dataset, self.data_dir)
        if self.images is not None and self.dataset not in ("folder", "imagenet-3pct"):
            raise ConfigError(f"a list of images needs a folder, but dataset is {self.dataset}")

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return SEARCH_SIZE[self.dataset] if self.image_size is None else self.image_size

    @property
    def flip(self) -> bool:
        """Whether images are mirrored: never digits, which would become other signs."""
        return self.dataset != "digits"


@configuration
class TrainTestConfig:
    """Images for training and testing a network.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.
    """

    dataset: TrainDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder (or .npy arrays) held in memory;
    a folder of large images, ImageNet for example, read from its files again and again."""
    data_dir: str | None = None
    """Folder of the images; digits need none."""
    image_size: ImageSize | None = None
    """Height and width; None takes the data set's own, see `TRAIN_SIZE`."""
    val_share: BelowOne = 0.0
    """Share of every class' training images that is held out to choose the best epoch by."""
    split_seed: Seed = 0
    """Seed of the draw of those."""
    workers: Workers = 4
    """Processes that read ImageNet's files; 0 reads in the training's own."""

    def __post_init__(self) -> None:
        _check_folder(self.dataset, self.data_dir)

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return TRAIN_SIZE[self.dataset] if self.image_size is None else self.image_size


@configuration
class Augmentation:
    """Augmentation of training images."""

    flip: bool = False
    """Mirror every second one."""
    padding: Pixels = 0
    """Largest shift in pixels of images in memory; those of files are cropped at random."""
    cutout: Pixels = 0
    """Height and width of a square that is blanked."""
    jitter: BelowOne = 0.0
    """Largest relative change of the colours of images read from files."""


@configuration
class ProxyImagesConfig:
    """Images on which candidates are trained, validated and tested.

    Raises:
        ConfigError: an option is outside its range, or a folder is missing.
    """

    dataset: ProxyDataset = "digits"
    """digits of scikit-learn; torchvision's CIFAR-10; a folder of class folders or .npy arrays."""
    data_dir: str | None = None
    """Folder of the images; digits need none."""
    image_size: ImageSize | None = None
    """Height and width; None takes the data set's own, see `PROXY_SIZE`."""
    percent: Percent | None = None
    """Share of every class's training images, drawn at random; None: see `PROXY_PERCENT`. A
    quarter of them validates. Test images are always all."""
    seed: Seed = 0
    """Seed of the draw and of the split."""

    def __post_init__(self) -> None:
        _check_folder(self.dataset, self.data_dir)

    @property
    def size(self) -> int:
        """Height and width in pixels."""
        return PROXY_SIZE[self.dataset] if self.image_size is None else self.image_size

    @property
    def share(self) -> float:
        """Share of the training images, a fraction."""
        return (PROXY_PERCENT[self.dataset] if self.percent is None else self.percent) / 100

    def open(self) -> ImageSplits:
        """The images; see `gnas.data.proxy.open_proxy_images`."""
        from gnas.data.proxy import open_proxy_images

        return open_proxy_images(self)

    def metadata(self) -> dict[str, Any]:
        """All but the folder, which every machine has its own of."""
        return {k: v for k, v in asdict(self).items() if k != "data_dir"}


@configuration
class SplitImagesConfig:
    """Images by their numbers in training, validation and test.

    See `gnas.data.images.load_images`.

    Raises:
        ConfigError: a number that is none.
    """

    source: str = "digits"
    """"digits", or a folder of .npy arrays or of images."""
    image_size: Annotated[int, Field(ge=4, le=LARGEST)] | None = None
    """Height and width; None keeps the images' own."""
    num_train: Annotated[int, Field(ge=2, le=10_000_000)] | None = None
    """Training images; None takes all that validation leaves."""
    num_val: Count | None = None
    """Validation images; None takes a quarter of the training part."""
    num_test: Count | None = None
    """Test images; None takes all."""

    @property
    def dataset(self) -> str:
        """The kind of images: digits, or a folder."""
        return self.source if self.source == "digits" else "folder"

    def open(self) -> ImageSplits:
        """The images; see `gnas.data.images.load_images`."""
        from gnas.data.images import load_images

        sizes = {k: v for k, v in asdict(self).items() if k != "source"}
        return load_images(self.source, **sizes)

    def metadata(self) -> dict[str, Any]:
        """All but the folder, which every machine has its own of."""
        return {**asdict(self), "source": self.dataset}


def _check_folder(dataset: str, data_dir: str | None) -> None:
    if dataset != "digits" and data_dir is None:
        raise ConfigError(f"{dataset} needs the folder of its images: give --data-dir")
    if dataset == "digits" and data_dir is not None:
        raise ConfigError(
            "digits are scikit-learn's and have no folder; leave --data-dir out, or say which "
            "images lie there: --dataset folder"
        )
