"""A network as one readable Python file that needs PyTorch alone."""

from __future__ import annotations

import re
import runpy
import textwrap
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

import torch
from torch import nn

import gnas
from gnas.config import checked
from gnas.errors import DataError, UnsupportedError
from gnas.export.definitions import Definitions
from gnas.export.facts import for_prediction
from gnas.models import NetworkMetadata
from gnas.training.devices import own_generator
from gnas.user_code import described

LINE = 99
"""Longest line of a file."""
CONSTANTS = {
    "MEAN": ("tuple[float, ...]", "Subtracted from every channel of an image in [0, 1], if any."),
    "STD": ("tuple[float, ...]", "By which every channel is divided then."),
    "IMAGE_SIZE": ("int", "Height and width of the images that it was made for."),
    "CLASSES": ("tuple[str, ...]", "Names of the classes in the order of the logits, if known."),
}
"""Type and meaning of the constants of a file."""
FUNCTIONS = '''
def build() -> {network}:
    """The network with random weights: images [B, {channels}, H, W] -> logits [B, {classes}]."""
    return {call}


def load(weights: str | PathLike[str]) -> {network}:
    """The network with the weights of a .safetensors file, ready to predict."""
    network = build()
    network.load_state_dict(load_file(weights))
    return network.eval()
'''
"""The functions of a file, whose names no definition of the network may have."""


@checked
def python_source(facts: NetworkMetadata) -> str:
    """The text of a file with the network's classes, functions ``build`` and ``load``, constants.

    ``MEAN``, ``STD``, ``IMAGE_SIZE`` and ``CLASSES`` say what to feed it and what comes out.

    The classes are copied from the modules of gnas, or of the user's space, with all that they
    name and nothing else; what other packages define is imported. A table ``OPERATIONS`` keeps
    only the entries that the architecture names.

    Args:
        facts: Space, architecture and size of the network, and its images.

    Raises:
        UnsupportedError: the space does not say which class and arguments make a network (see
            `gnas.spaces.builds`), or what the class names cannot be copied.

    Examples:
        >>> from gnas.models import NetworkMetadata
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> facts = NetworkMetadata(
        ...     space=space, architecture=space.to_str(space.enumerate().data(9)),
        ...     config=space.network_config(channels=4, cells_per_stage=1), image_size=16,
        ... )
        >>> "class NASBench201Network(nn.Module)" in python_source(facts)
        True
    """
    networks = facts.space.networks
    if networks is None or networks.arguments is None:
        raise UnsupportedError(
            f"networks of '{facts.space.name}' must be exported as onnx, pt2 or safetensors: for "
            "Python, the space's `build` must be decorated with gnas.spaces.builds(CLASS)"
        )
    arguments = networks.arguments(facts.graph, for_prediction(facts).config)
    definitions = Definitions(
        own={"gnas", networks.arguments.__module__},
        reserved={"build", "load", *CONSTANTS},
        kept=set(_texts(arguments)),
    )
    definitions.require("load_file", "safetensors.torch")
    definitions.require("PathLike", "os")
    name = definitions.add(networks.network)
    constants = {
        "MEAN": facts.mean,
        "STD": facts.std,
        "IMAGE_SIZE": facts.image_size,
        "CLASSES": facts.classes,
    }
    functions = FUNCTIONS.strip("\n").format(
        network=name,
        channels=facts.config.in_channels,
        classes=facts.config.num_classes,
        call=_call(name, arguments),
    )
    told = "".join(
        _assigned(name, value) + f'"""{CONSTANTS[name][1]}"""\n'
        for name, value in constants.items()
    )
    architecture = re.sub(r",\s*", ", ", facts.space.to_str(facts.graph))
    architecture = architecture.replace("\\", r"\\").replace('"', r"\"")  # of a user's space
    head = f'''"""A network that was found by neural architecture search, in plain PyTorch.

{chr(10).join(textwrap.wrap(architecture, LINE - 3))}

Written by gnas {gnas.__version__}, which it does not need.
"""

from __future__ import annotations
'''
    return "\n".join((head, definitions.imports(), told)) + "\n\n" + "\n\n".join(
        f"{block}\n" for block in (*definitions.blocks(), functions)
    )  # fmt: skip


def check_source(path: Path, network: nn.Module, shape: tuple[int, int, int]) -> None:
    """Run a file of `python_source` and compare its network with the one that it was written for.

    Args:
        path: The file.
        network: In evaluation mode; its weights are given to the file's network.
        shape: Channels, height and width of the images.

    Raises:
        DataError: the file cannot be run, or its outputs differ in any bit.
    """
    images = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    try:
        with own_generator(), torch.no_grad():
            twin = runpy.run_path(str(path))["build"]()
            twin.load_state_dict(network.state_dict())
            equal = torch.equal(twin.eval()(images), network(images))
    except Exception as error:  # of a user's own code
        reason = " ".join(described(error).split())[:200]
        raise DataError(f"the file of Python must run, but: {reason}") from error
    if not equal:
        raise DataError("the file of Python must give the network's outputs, but gives others")


def _texts(value: Any) -> set[str]:
    """All texts in an argument, however deep."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        return _texts([*value.keys(), *value.values()])
    if isinstance(value, list | tuple):
        return set().union(*map(_texts, value))
    return set()


def _call(name: str, arguments: Mapping[str, Any]) -> str:
    """The expression that makes the network, an argument a line."""
    lines = "".join(
        f"        {key}={_literal(key, value, 8, len(key) + 2)},\n"
        for key, value in arguments.items()
    )
    return f"{name}(\n{lines}    )" if lines else f"{name}()"


def _assigned(name: str, value: object) -> str:
    """The line that gives a constant its value, or several lines where it is long."""
    start = f"{name}: {CONSTANTS[name][0]} = "
    return f"{start}{_literal(name, value, 0, len(start))}\n"


def _literal(name: str, value: object, indent: int, taken: int) -> str:
    """Plain data as Python, on one line where that is no longer than `LINE`.

    Args:
        name: The argument, for messages.
        value: Finite numbers, texts, None, and tuples, lists and mappings of these.
        indent: Spaces before the line.
        taken: Further characters of the line, before and after the value.

    Raises:
        UnsupportedError: the value is no plain data.
    """
    if isinstance(value, str):
        return _quoted(value)
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return repr(value)
    inner = indent + 4
    if isinstance(value, Mapping):
        opening, closing = "{", "}"
        items = [
            f"{(start := _literal(name, key, inner, 1) + ': ')}"
            f"{_literal(name, one, inner, len(start) + 1)}"
            for key, one in value.items()
        ]
    elif type(value) in (list, tuple):
        assert isinstance(value, list | tuple)
        opening, closing = "[]" if isinstance(value, list) else "()"
        items = [_literal(name, one, inner, 1) for one in value]
    else:
        raise UnsupportedError(
            "arguments of a network must be finite numbers, texts, and tuples, lists and mappings "
            f"of these to be written as Python, but '{name}' has {value!r:.60}"
        )
    comma = "," if isinstance(value, tuple) and len(items) == 1 else ""
    line = f"{opening}{', '.join(items)}{comma}{closing}"
    if indent + taken + len(line) <= LINE and "\n" not in line:
        return line
    rows = "".join(f"{' ' * inner}{item},\n" for item in items)
    return f"{opening}\n{rows}{' ' * indent}{closing}"


def _quoted(text: str) -> str:
    """The text as a literal of ASCII characters, in the quotes that need fewer escapes."""
    literal = ascii(text)
    body = literal[1:-1].replace("\\'", "'") if literal[0] == "'" else literal[1:-1]
    quote = "'" if text.count('"') > text.count("'") else '"'
    return quote + body.replace(quote, f"\\{quote}") + quote
