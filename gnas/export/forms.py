"""The forms in which a network leaves, and one function for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import nn

from gnas.config import checked
from gnas.data.files import atomic_write
from gnas.export.facts import for_prediction, metadata
from gnas.export.names import Form, check_out
from gnas.export.programs import export_onnx, export_pt2
from gnas.export.source import check_source, python_source
from gnas.models import (
    NetworkMetadata,
    check_network,
    num_macs,
    num_params,
    save_network,
)
from gnas.training.devices import own_generator, own_settings

PROGRAMS = {"onnx": export_onnx, "pt2": export_pt2}


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Written files.

    Examples:
        >>> import tempfile
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> config = space.network_config(channels=4, cells_per_stage=1)
        >>> text = space.to_str(space.enumerate().data(9))
        >>> facts = NetworkMetadata(space=space, architecture=text, config=config, image_size=16)
        >>> network = space.network(facts.graph, config)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = export(network, facts, "safetensors", Path(folder))
        >>> found.form, found.input_shape, found.params == num_params(network)
        ('safetensors', (3, 16, 16), True)
    """

    form: Form
    files: tuple[Path, ...]
    architecture: str
    params: int
    """Trainable scalars."""
    macs: int
    """Multiply-accumulates for one image of ``input_shape``."""
    input_shape: tuple[int, int, int]
    """Channels, height and width of an image."""
    num_classes: int
    largest_difference: float | None
    """Between the outputs of the network and of the program, on random images, where the form is
    a program that was run."""


@own_settings()
@own_generator()
@checked
def export(
    network: nn.Module,
    facts: NetworkMetadata,
    form: Form,
    out: str | Path,
    *,
    weights: bool = True,
    dynamic_size: bool = False,
) -> Exported:
    """Write a network in one of `FORMS`, without an auxiliary head and for prediction.

    Every form says how images are normalised, how large they are, and what the logits mean: see
    `metadata`.

    Args:
        network: The network of ``facts``.
        facts: Metadata of the network: its construction and inputs.
        form: "onnx" and "pt2" are programs; "python" is a readable file with, if wanted, its
            weights as ``.safetensors`` beside it; these three are run before they are kept.
            "safetensors" is a folder of ``config.json`` and ``model.safetensors``.
        out: The file or folder to write.
        weights: Whether the weights are worth keeping beside a "python" file.
        dynamic_size: Whether the programs "onnx" and "pt2" take images of any height and width;
            the other two always do.

    Returns:
        The written files, and facts about the network.

    Raises:
        ConfigError: there is no such form, or ``out`` does not end as it must.
        UnsupportedError: a package of the extra ``export`` is not installed, or the network cannot
            be written in this form.
        DataError: the program or file does not agree with the network, or writing failed.

    Examples:
        >>> import tempfile
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> config = space.network_config(channels=4, cells_per_stage=1)
        >>> text = space.to_str(space.enumerate().data(9))
        >>> facts = NetworkMetadata(space=space, architecture=text, config=config, image_size=16)
        >>> network = space.network(facts.graph, config)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = export(network, facts, "python", Path(folder) / "net.py")
        >>> [path.name for path in found.files]
        ['net.py', 'net.safetensors']
    """
    out = Path(out)
    check_out(form, out)
    network, facts = without_auxiliary(network, facts)
    files: tuple[Path, ...] = (out,)
    difference = None
    if form in PROGRAMS:
        difference = PROGRAMS[form](
            network,
            facts.input_shape,
            out,
            metadata=metadata(facts, dynamic_size=dynamic_size),
            dynamic_size=dynamic_size,
        )
    elif form == "python":
        with atomic_write(out) as temporary:
            temporary.write_text(python_source(facts), encoding="utf-8")
            check_source(temporary, network, facts.input_shape)
        if weights:
            beside = out.with_suffix(".safetensors")
            files = (out, beside)
            with atomic_write(beside) as temporary:
                tensors = {k: v.contiguous() for k, v in network.state_dict().items()}
                temporary.write_bytes(save(tensors))
    else:
        save_network(out, network, facts)
    return Exported(
        form=form,
        files=files,
        architecture=facts.architecture,
        params=num_params(network),
        macs=num_macs(network, facts.input_shape),
        input_shape=facts.input_shape,
        num_classes=facts.config.num_classes,
        largest_difference=difference,
    )


def without_auxiliary(
    network: nn.Module, facts: NetworkMetadata
) -> tuple[nn.Module, NetworkMetadata]:
    """The network in evaluation mode, on the CPU, without what only training uses; its facts."""
    facts = for_prediction(facts)
    bare = facts.space.network(facts.graph, facts.config)
    tensors = network.state_dict()
    bare.load_state_dict({name: tensors[name] for name in bare.state_dict()})
    check_network(bare, facts.input_shape, facts.config.num_classes)
    return bare.eval(), facts
