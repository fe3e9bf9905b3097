"""Folders of images with one sub-folder a class: what lies there, found without opening a file.

Nothing heavy is imported, so that commands can look before they begin.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gnas.errors import DataError, MissingDataError
from gnas.printable import amount

if TYPE_CHECKING:
    from torch import Tensor

SUFFIXES = (
    ".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff",
    ".webp",
)  # fmt: skip
"""Names of files that are taken for images, in small letters."""
TEST_FOLDERS = ("test", "val")
PARTS = ("train", "training", "test", "testing", "val", "valid", "validation")
"""Names of parts in small letters, which are no classes."""
ARRAYS = ("x_train.npy", "y_train.npy", "x_test.npy", "y_test.npy")
"""Files of a folder of arrays."""
CIFAR10 = "cifar-10-batches-py"
"""Folder of torchvision's copy."""
SYSTEM_FOLDERS = {
    "__MACOSX", "__pycache__", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information",
}  # fmt: skip
"""Folders that archives, file systems and tools leave behind; hidden ones are skipped as well."""
SHOWN = 3
"""Names that a line shows of many."""


@dataclass(frozen=True)
class Reading:
    """Notes taken while reading images, such as skipped files and resized images."""

    sizes: frozenset[tuple[int, int]] = frozenset()
    """Widths and heights of the images as they are stored."""
    skipped: tuple[str, ...] = ()
    """Files that are not named as images, and hidden or unused folders, each with a final /."""
    unreadable: tuple[str, ...] = ()
    """Image files that could not be read."""

    def __or__(self, other: Reading) -> Reading:
        """Both together."""
        return Reading(
            self.sizes | other.sizes,
            self.skipped + other.skipped,
            self.unreadable + other.unreadable,
        )

    def line(
        self, name: str, classes: Sequence[str], parts: Mapping[str, int], resized: str
    ) -> str:
        """One line on what was read.

        Args:
            name: Name of the source.
            classes: Their names.
            parts: Images of every part by its name.
            resized: Description of the resizing; empty if there is none.
        """
        counts = ", ".join(f"{count:,} {part}" for part, count in parts.items())
        texts = [f"{name}: {amount(len(classes), 'class')}{_few(classes)}", f"images: {counts}"]
        if self.sizes:
            texts.append(f"{_range(self.sizes)} pixels{resized and f', {resized}'}")
        elif resized:
            texts.append(resized)
        if self.skipped:
            texts.append(f"skipped {len(self.skipped):,}{_few(self.skipped)}")
        if self.unreadable:
            texts.append(f"{len(self.unreadable):,} unreadable{_few(self.unreadable)}")
        return "; ".join(texts)

    def resized(self, width: int, height: int) -> str:
        """Description of the resizing to ``width`` x ``height``; empty if sizes are unchanged."""
        if self.sizes <= {(width, height)}:
            return ""
        squeezed = any(w * height != h * width for w, h in self.sizes)
        return f"resized to {width}x{height}{' regardless of their aspect' if squeezed else ''}"


NOTHING_NOTED = Reading()


@dataclass(frozen=True)
class ImageList:
    """Images of a folder by name, class after class in sorted order."""

    folder: Path
    """Root of ``names``."""
    classes: tuple[str, ...]
    names: tuple[str, ...]
    """Path of every image: ``class/file``, or ``class/sub-folder/file``."""
    labels: tuple[int, ...]
    """Class index of every image."""
    reading: Reading = field(default=NOTHING_NOTED, compare=False)
    """Notes on skipped files."""

    @property
    def y(self) -> Tensor:
        """The same as int64 [N]."""
        import torch

        return torch.tensor(self.labels, dtype=torch.int64)

    @property
    def in_channels(self) -> int:
        """Files are read as RGB."""
        return 3

    @property
    def sha256(self) -> str:
        """Hex digest of the names of all files."""
        return hashlib.sha256(os.fsencode("\n".join(self.names))).hexdigest()

    def path(self, row: int) -> Path:
        """File of image ``row``."""
        return self.folder / self.names[row]

    def select(self, rows: Sequence[int]) -> ImageList:
        """The images of ``rows`` in the same classes."""
        return ImageList(
            self.folder,
            self.classes,
            tuple(self.names[row] for row in rows),
            tuple(self.labels[row] for row in rows),
            self.reading,
        )


def class_names(folder: Path) -> list[str]:
    """Sorted names of the sub-folders, without hidden ones and `SYSTEM_FOLDERS`.

    Raises:
        DataError: there are fewer than two, or a name is no text.
    """
    classes = sorted(
        entry.name
        for entry in _entries(folder)
        if _is_folder(entry) and not _is_hidden(entry.name)
    )
    if len(classes) < 2:
        raise DataError(
            f"an image folder must have one sub-folder for each of at least 2 classes, "
            f"but {folder} has {classes}"
        )
    for name in classes:
        if not name.isprintable():
            raise DataError(f"names of classes must be printable text, but {folder} has {name!r}")
    return classes


def training_folder(folder: Path) -> Path:
    """``folder/train`` if there is one, else ``folder`` itself.

    Raises:
        MissingDataError: no such folder.
        DataError: there are parts of other names.
    """
    root = _training_folder(folder)
    if root == folder:
        _check_parts(folder)
    return root


def _training_folder(folder: Path) -> Path:
    if not folder.is_dir():
        raise MissingDataError(
            f"a folder of images must exist, but found no folder {folder}; say where it is with "
            "--data-dir"
        )
    return folder / "train" if (folder / "train").is_dir() else folder


def unused_beside(folder: Path, used: Sequence[Path]) -> Reading:
    """Notes on entries of ``folder`` that are not ``used``."""
    names = {path.name for path in used if path.parent == folder}
    return Reading(skipped=tuple(_shown(e) for e in _entries(folder) if e.name not in names))


def list_images(folder: Path, classes: Sequence[str] | None = None) -> ImageList:
    """Every file below ``folder/<class>/`` that is named as an image, none of them opened.

    Images in sub-folders of a class belong to it. Hidden files and folders, `SYSTEM_FOLDERS` and
    files with other names than `SUFFIXES` have are skipped, and kept in ``reading``.

    Args:
        folder: Has one sub-folder a class.
        classes: Subfolders in the order of their labels; None takes all, sorted.

    Raises:
        DataError: fewer than two classes, a class without an image, or a folder that cannot be
            read.
    """
    classes = class_names(folder) if classes is None else classes
    names: list[str] = []
    labels: list[int] = []
    skipped = [_shown(entry) for entry in _entries(folder) if entry.name not in classes]
    for label, name in enumerate(classes):
        others = len(skipped)
        files = sorted(_images_below(folder / name, name, skipped))
        if not files:
            raise empty_class(folder / name, skipped[others:])
        names += files
        labels += [label] * len(files)
    reading = Reading(skipped=tuple(skipped))
    return ImageList(folder, tuple(classes), tuple(names), tuple(labels), reading)


def small_folders(folder: Path) -> tuple[Path, Path | None, tuple[str, ...]]:
    """Folders of the training and of the test images of a folder, and the classes of both.

    Args:
        folder: Has ``train/<class>/*`` with ``test/<class>/*`` (or ``val``), or ``<class>/*``.

    Raises:
        MissingDataError: no such folder.
        DataError: fewer than two classes, or others in the test part.
    """
    root = training_folder(folder)
    classes = tuple(class_names(root))
    tests = [folder / name for name in TEST_FOLDERS if (folder / name).is_dir()]
    if root != folder and not tests:
        _check_parts(folder, root.name)
    if root == folder or not tests:
        return root, None, classes
    _check_same_classes(tests[0], class_names(tests[0]), root, classes)
    return root, tests[0], classes


def _check_parts(folder: Path, *used: str) -> None:
    """Check that no sub-folder is named as a part that would be a class, or left out.

    Raises:
        DataError: there is one.
    """
    parts = [
        entry.name
        for entry in _entries(folder)
        if entry.name not in used and entry.name.lower() in PARTS and _is_folder(entry)
    ]
    if parts:
        raise DataError(
            f"parts of an image folder must be named train and test (or val), but {folder} has "
            f"{parts} without them; rename these, or a class of such a name"
        )


def large_folders(folder: Path, *, only_test: bool = False) -> tuple[Path, Path, tuple[str, ...]]:
    """As `small_folders`, of large images, which must have a test part.

    Args:
        folder: Has ``train/<class>/*`` and ``val/<class>/*`` (or ``test``).
        only_test: Look at the test part alone; that of training may be absent.

    Raises:
        MissingDataError: a folder is not there.
        DataError: fewer than two classes, or others in the test part.
    """
    root = _training_folder(folder)
    tests = [folder / name for name in ("val", *TEST_FOLDERS) if (folder / name).is_dir()]
    if not tests or (root == folder and not only_test):
        raise MissingDataError(
            f"a folder of large images must have train/<class>/* and val/<class>/* (or test), "
            f"but {folder} has not; a small folder without them is `--dataset folder`"
        )
    classes = tuple(class_names(tests[0]))
    if not only_test:
        _check_same_classes(tests[0], classes, root, class_names(root))
    return root, tests[0], classes


def check_images(dataset: str, folder: Path, *, only_test: bool = False) -> None:
    """Check by lists of files that a folder has images, before anything is read of them.

    Args:
        dataset: Name of the data set.
        folder: Its folder; digits have none.
        only_test: Of large images, look at the test part alone.

    Raises:
        MissingDataError: the folder or a file is not there.
        DataError: it is no such folder, or a class is empty.
    """
    if dataset == "digits":
        return
    if dataset == "cifar10":
        check_cifar10(folder)
    elif dataset == "imagenet":
        large_folders(folder, only_test=only_test)
    elif dataset == "imagenet-3pct":
        class_names(training_folder(folder))
    elif (folder / ARRAYS[0]).exists():
        for name in ARRAYS:
            check_array(folder / name)
    else:
        root, test, classes = small_folders(folder)
        parts = (root,) if test is None else (root, test)
        for place in (part / name for part in parts for name in classes):
            skipped: list[str] = []
            if next(_images_below(place, place.name, skipped), None) is None:
                raise empty_class(place, skipped)


def check_cifar10(folder: Path) -> None:
    """Check that there is torchvision's copy of CIFAR-10.

    Raises:
        MissingDataError: there is none.
    """
    if not (folder / CIFAR10).is_dir():
        raise missing_cifar10(folder)


def missing_cifar10(folder: Path) -> MissingDataError:
    """The error that CIFAR-10 is not in a folder, or not whole."""
    return MissingDataError(
        f"{folder} must hold {CIFAR10}, complete as torchvision downloads it, but does not; "
        f"torchvision.datasets.CIFAR10({str(folder)!r}, download=True) gets it"
    )


def check_array(path: Path) -> None:
    """Check that a file of a folder of arrays is there.

    Raises:
        MissingDataError: it is not.
    """
    if not path.is_file():
        *names, last = ARRAYS
        raise MissingDataError(
            f"a folder of arrays must hold {', '.join(names)} and {last}, but {path} "
            f"{'is no file' if path.exists() else 'does not exist'}"
        )


def _check_same_classes(
    test: Path, found: Sequence[str], train: Path, classes: Sequence[str]
) -> None:
    if tuple(found) != tuple(classes):
        raise DataError(
            f"{test} must have the classes of {train}, but they differ in "
            f"{sorted(set(found) ^ set(classes))[:5]}"
        )


def _images_below(folder: Path, name: str, skipped: list[str]) -> Iterator[str]:
    """Names of the images in a folder and its sub-folders, each real folder once."""
    waiting, seen = [(folder, name)], set[tuple[int, int]]()
    while waiting:
        here, prefix = waiting.pop()
        entries = _entries(here)
        status = here.stat()
        key = (status.st_dev, status.st_ino)
        if key in seen:  # by a link
            skipped.append(f"{prefix}/")
            continue
        seen.add(key)
        for entry in entries:
            own = f"{prefix}/{entry.name}"
            if _is_folder(entry) and not _is_hidden(entry.name):
                waiting.append((here / entry.name, own))
            elif _is_image_file(entry):
                yield own
            else:
                skipped.append(f"{prefix}/{_shown(entry)}")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The content of a folder, sorted by name.

    Raises:
        DataError: it cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DataError(f"{folder} must be a folder to read, but: {error.strerror}") from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_image_file(entry: os.DirEntry[str]) -> bool:
    """Whether it is a regular file (no pipe, no device) that is named as an image."""
    if entry.name.startswith(".") or not entry.name.lower().endswith(SUFFIXES):
        return False
    try:
        return entry.is_file()
    except OSError:
        return False


def _shown(entry: os.DirEntry[str]) -> str:
    return f"{entry.name}/" if _is_folder(entry) else entry.name


def _few(names: Sequence[str]) -> str:
    """The first names in brackets, as printable text."""
    shown = [name if name.isprintable() else ascii(name) for name in names[:SHOWN]]
    return f" ({', '.join(shown)}{', ...' if len(names) > SHOWN else ''})" if shown else ""


def _range(sizes: frozenset[tuple[int, int]]) -> str:
    (left, right), (low, high) = ((min(side), max(side)) for side in zip(*sizes, strict=True))
    if len(sizes) == 1:
        return f"{left}x{low}"
    return f"{left} to {right} x {low} to {high}"


def empty_class(folder: Path, others: Sequence[str]) -> DataError:
    """The error that a class has no readable image.

    Args:
        folder: The class.
        others: What it has instead.
    """
    named = f"; it has{_few(others)}, and images are named {', '.join(SUFFIXES)}" if others else ""
    return DataError(f"every class must have readable images, but {folder} has none{named}")
