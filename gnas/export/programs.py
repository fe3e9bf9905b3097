"""A network as a program for other runtimes: ONNX and torch.export."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gnas.data.files import atomic_write
from gnas.errors import DataError, GnasError, UnsupportedError
from gnas.export.facts import axes

TRACED_IMAGES = 2
"""Images of the batch that is traced; the program then takes any number of them."""
CHECKED_IMAGES = (1, 3)
"""Batches of random images on which a program must give the network's outputs."""
TOLERANCE = 1e-3
"""Largest difference of outputs that counts as equal, in parts of how far the network's own
outputs are from one image to another."""
ROUNDING = 1e-5
"""Likewise in parts of the largest output, for networks that give all images the same."""


EXTRA_FILE = "gnas.json"
"""The extra file of a ``torch.export`` program that holds its metadata, as JSON."""
OTHER_SIZES = ((8, 4), (1, 11))
"""By how many pixels images are higher and wider on which a program of any size is checked."""


def export_pt2(
    network: nn.Module,
    shape: tuple[int, int, int],
    path: Path,
    *,
    metadata: Mapping[str, str],
    dynamic_size: bool = False,
) -> float:
    """Write a ``torch.export`` program, read it back and compare it with the network.

    Args:
        network: In evaluation mode.
        shape: Channels, height and width of the images; the batch may have any size.
        path: The file, written only if the program agrees.
        metadata: Kept as the extra file `EXTRA_FILE`:
            ``torch.export.load(path, extra_files=(read := {"gnas.json": ""}))`` reads it.
        dynamic_size: Whether height and width may vary too.

    Returns:
        The largest difference between outputs.

    Raises:
        UnsupportedError: PyTorch cannot write the network, or not run what it wrote.
        DataError: outputs differ, or writing failed.
    """
    program = _traced(network, shape, dynamic_size)
    content = io.BytesIO()  # writing to a full disk, PyTorch ends the whole process
    torch.export.save(program, content, extra_files={EXTRA_FILE: json.dumps(metadata)})
    with atomic_write(path) as temporary:
        temporary.write_bytes(content.getvalue())
        with temporary.open("rb") as file, _one_line("torch.export", dynamic_size):
            read = torch.export.load(file).module()
            return _difference(network, lambda images: read(images), shape, dynamic_size)


def export_onnx(
    network: nn.Module,
    shape: tuple[int, int, int],
    path: Path,
    *,
    metadata: Mapping[str, str],
    dynamic_size: bool = False,
) -> float:
    """Write an ONNX file, run it with onnxruntime and compare it with the network.

    Input ``images`` [batch, C, H, W], output ``logits`` [batch, num_classes].

    Args:
        network: In evaluation mode.
        shape: Channels, height and width of the images; the batch may have any size.
        path: The file, written only if the program agrees.
        metadata: Kept in the model: onnxruntime's ``session.get_modelmeta()`` has it as
            ``custom_metadata_map``.
        dynamic_size: Whether height and width may vary too: axes ``height`` and ``width``.

    Returns:
        The largest difference between outputs.

    Raises:
        UnsupportedError: a package of the extra ``export`` is not installed, ONNX cannot hold the
            network, or its runtime not run it.
        DataError: outputs differ, or writing failed.
    """
    try:
        import onnx  # noqa: F401  # torch needs it
        import onnxruntime
        import onnxscript  # noqa: F401  # torch needs it
    except ImportError as error:
        raise UnsupportedError(
            f"--to onnx needs {error.name}; install it: pip install 'gnas[export]'"
        ) from error

    traced = _traced(network, shape, dynamic_size)
    with _one_line("ONNX", dynamic_size):
        program = torch.onnx.export(
            traced,
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=(axes(dynamic_size),),  # names for the symbols of the traced program
            verbose=False,
        )
    assert program is not None  # that is for the old exporter
    program.model.metadata_props.update(metadata)
    with atomic_write(path) as temporary, _one_line("ONNX", dynamic_size):
        program.save(str(temporary))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            temporary.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

        return _difference(network, run, shape, dynamic_size)


def _traced(
    network: nn.Module, shape: tuple[int, int, int], dynamic_size: bool
) -> torch.export.ExportedProgram:
    """The operations of the network for any number of images, and perhaps of any size."""
    images = torch.zeros(TRACED_IMAGES, *shape)
    varying: dict[int, Any] = {0: torch.export.Dim("batch")}
    if dynamic_size:
        # A named axis would have to hold from 0 pixels on; this one begins where the network does.
        varying |= {2: torch.export.Dim.DYNAMIC, 3: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), _one_line("torch.export", dynamic_size):
        return torch.export.export(network, (images,), dynamic_shapes=(varying,))


@contextmanager
def _one_line(form: str, dynamic_size: bool) -> Iterator[None]:
    """Say in one line why a network cannot be written, or what was written cannot be run.

    Errors are of many kinds: a network may have any operation, and other versions of the packages
    can do less.
    """
    try:
        yield
    except (GnasError, OSError, MemoryError):
        raise
    except Exception as error:
        first: BaseException = error
        while first.__cause__ is not None:
            first = first.__cause__
        reason = " ".join(str(first).split())[:200]
        raise UnsupportedError(
            f"{form} must be able to hold the network, but it cannot: {type(first).__name__}: "
            f"{reason}; write its `build` with other operations, or choose another form with --to"
            + (", or leave out --dynamic-size" if dynamic_size else "")
        ) from error


def _difference(
    network: nn.Module,
    program: Callable[[Tensor], Tensor],
    shape: tuple[int, int, int],
    dynamic_size: bool,
) -> float:
    """The largest difference of outputs on random images.

    Raises:
        DataError: it is more than rounding.
    """
    channels, height, width = shape
    shapes = [shape]
    if dynamic_size:
        shapes += [(channels, height + more, width + wider) for more, wider in OTHER_SIZES]
    return max(_difference_at(network, program, one) for one in shapes)


def _difference_at(
    network: nn.Module, program: Callable[[Tensor], Tensor], shape: tuple[int, int, int]
) -> float:
    images = torch.randn(sum(CHECKED_IMAGES), *shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = network(images)
        found = torch.cat([program(part) for part in torch.split(images, list(CHECKED_IMAGES))])
    if found.shape != expected.shape or not torch.isfinite(found).all():
        raise DataError("the exported program must give finite logits of the network's shape")
    difference = float((found - expected).abs().max())
    spread = float((expected - expected.mean(0)).abs().max())
    largest = float(expected.abs().max())
    if difference > TOLERANCE * spread + ROUNDING * largest:
        raise DataError(
            f"the exported program must agree with the network, but outputs up to {largest:.3g} "
            f"differ by {difference:.3g}"
        )
    return difference
