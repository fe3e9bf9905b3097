"""A network as one readable Python file that needs PyTorch alone."""

from __future__ import annotations

import gnas
from gnas.errors import UnsupportedError
from gnas.models import NetworkMetadata
from gnas.spaces import parts


def python_source(facts: NetworkMetadata) -> str:
    """The text of a file with a class ``Network``, a function ``load`` and constants.

    ``MEAN``, ``STD``, ``IMAGE_SIZE`` and ``CLASSES`` say what to feed it and what comes out.

    Only what the network needs is in it: no search, no other operations. Its parameters have the
    names of ours, so that the same weights fit.

    Args:
        facts: Space, architecture and size of the network, and its images.

    Raises:
        UnsupportedError: the space has no such text of its networks.

    Example:
        >>> from gnas.models import NetworkMetadata
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> facts = NetworkMetadata(
        ...     space=space, architecture=space.to_str(space.enumerate().data(9)),
        ...     config=space.network_config(channels=4, cells_per_stage=1), image_size=16,
        ... )
        >>> "class Network(nn.Module)" in python_source(facts)
        True
    """
    networks = facts.space.networks
    if networks is None or networks.source is None:
        raise UnsupportedError(
            f"networks of '{facts.space.name}' must be exported as onnx, pt2 or safetensors: the "
            "space has no plain Python of them"
        )
    blocks = networks.source(facts.graph, facts.config)
    constants = {
        "MEAN": facts.mean,
        "STD": facts.std,
        "IMAGE_SIZE": facts.image_size,
        "CLASSES": facts.classes,
    }
    return parts.module(facts.space.to_str(facts.graph), gnas.__version__, blocks, constants)
