"""A network as a program for other runtimes: ONNX and torch.export."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from gnas.data.files import replacing
from gnas.errors import DataError, UnsupportedError

TRACED_IMAGES = 2
"""Images of the batch that is traced; the program then takes any number of them."""
CHECKED_IMAGES = (1, 3)
"""Batches of random images on which a program must give the network's outputs."""
TOLERANCE = 1e-3
"""Largest difference of outputs that counts as equal, in parts of how far the network's own
outputs are from one image to another."""
ROUNDING = 1e-5
"""Likewise in parts of the largest output, for networks that give all images the same."""


def export_pt2(network: nn.Module, shape: tuple[int, int, int], path: Path) -> float:
    """Writes a ``torch.export`` program, reads it back and compares it with the network.

    Args:
        network: In evaluation mode.
        shape: Channels, height and width of the images; the batch may have any size.
        path: The file, written only if the program agrees.

    Returns:
        The largest difference between outputs.

    Raises:
        DataError: outputs differ, or writing failed.
    """
    program = _traced(network, shape)
    with replacing(path) as temporary:
        with temporary.open("wb") as file:
            torch.export.save(program, file)
        with temporary.open("rb") as file:
            read = torch.export.load(file).module()
        return _difference(network, lambda images: read(images), shape)


def export_onnx(network: nn.Module, shape: tuple[int, int, int], path: Path) -> float:
    """Writes an ONNX file, runs it with onnxruntime and compares it with the network.

    Input ``images`` [batch, C, H, W], output ``logits`` [batch, num_classes].

    Args:
        network: In evaluation mode.
        shape: Channels, height and width of the images; the batch may have any size.
        path: The file, written only if the program agrees.

    Returns:
        The largest difference between outputs.

    Raises:
        UnsupportedError: a package of the extra ``export`` is not installed.
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

    program = torch.onnx.export(
        _traced(network, shape),
        dynamo=True,
        input_names=["images"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None  # that is for the old exporter
    with replacing(path) as temporary:
        program.save(str(temporary))
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        session = onnxruntime.InferenceSession(
            temporary.read_bytes(), options, providers=["CPUExecutionProvider"]
        )

        def run(images: Tensor) -> Tensor:
            return torch.from_numpy(session.run(None, {"images": images.numpy()})[0])

        return _difference(network, run, shape)


def _traced(network: nn.Module, shape: tuple[int, int, int]) -> torch.export.ExportedProgram:
    """The operations of the network for any number of images."""
    images = torch.zeros(TRACED_IMAGES, *shape)
    batch = {0: torch.export.Dim("batch")}
    with torch.no_grad():
        return torch.export.export(network, (images,), dynamic_shapes=(batch,))


def _difference(
    network: nn.Module, program: Callable[[Tensor], Tensor], shape: tuple[int, int, int]
) -> float:
    """The largest difference of outputs on random images.

    Raises:
        DataError: it is more than rounding.
    """
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
