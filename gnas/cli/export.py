"""``gnas export``: networks in the forms that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from gnas.cli.architectures import Notation, SpaceOption, is_text, read_architecture, run_folder
from gnas.cli.checks import check_architecture, check_early
from gnas.cli.options import drop_none, parse_settings
from gnas.cli.output import check_other_file, check_writable, report_console, write_json
from gnas.errors import ConfigError
from gnas.export.names import check_out
from gnas.spaces.names import SPACE_HOMES, network_config

if TYPE_CHECKING:
    from torch import nn

    from gnas.export import Exported
    from gnas.models import NetworkMetadata
    from gnas.retrain.source import RunSource
    from gnas.spaces.networks import NetworkConfig

_SIZE = "For a GENOTYPE's network"


def export(
    what: Annotated[
        str,
        typer.Argument(
            metavar="GENOTYPE|WEIGHTS",
            help="An architecture (text, file, search), or weights (a folder, a training)",
        ),
    ],
    to: Annotated[str, typer.Option(help="onnx, pt2 (torch.export), python or safetensors")],
    out: Annotated[Path, typer.Option(help="The file to write; for safetensors a folder")],
    layers: Annotated[
        int | None, typer.Option(help=f"{_SIZE}: cells, of a stage where it has stages")
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help=f"{_SIZE}: channels of the first cells")
    ] = None,
    stem: Annotated[
        Literal["cifar", "imagenet"] | None, typer.Option(help=f"{_SIZE}: its first layers")
    ] = None,
    classes: Annotated[int | None, typer.Option(help=f"{_SIZE}: classes (10)")] = None,
    notation: Notation = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help=f"{_SIZE}: any field, NAME=VALUE")
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Height and width of images (the weights', 32 or 224)")
    ] = None,
    dynamic_size: Annotated[
        bool, typer.Option("--dynamic-size", help="Programs take images of any height and width")
    ] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of a GENOTYPE's untrained weights (0)")
    ] = None,
    space: SpaceOption = None,
    json: Annotated[str | None, typer.Option(help="Write the result as JSON (- stdout)")] = None,
) -> None:
    """Write a network as ONNX, as a torch.export program, as plain Python or as safetensors."""
    from gnas.config import check_used
    from gnas.data.images.config import LARGEST

    check_early(json=json, inputs=[what, out], seed=seed)
    check_out(to, out)
    check_other_file(out, what)
    check_writable(out / "config.json" if to == "safetensors" else out)
    check_architecture(what, space, notation)
    if image_size is not None and not 1 <= image_size <= LARGEST:
        raise ConfigError(f"image_size must be 1 to {LARGEST} pixels, but got {image_size}")
    size = {"layers": layers, "channels": channels, "stem": stem, "num_classes": classes}
    size |= parse_settings(settings or [], drop_none(**size))
    _check_size(size, space)
    from dataclasses import replace

    from gnas.export import export as write

    saved, note = _weights(what), ""
    is_used = saved is None, "a GENOTYPE, which has no weights"
    check_used(drop_none(seed=seed), {"seed": is_used}, "export")
    if saved:
        network, facts = _loaded(saved, space, size)
    else:
        network, facts, note = _built(what, space, notation, size, seed or 0)
    if image_size is not None:
        facts = replace(facts, image_size=image_size)
    trained = saved is not None and facts.details.get("trained", True) is not False
    done = write(
        network, facts, to, out, weights=saved is not None,  # type: ignore[arg-type]  # checked
        dynamic_size=dynamic_size,
    )  # fmt: skip
    _print(done, trained, facts.details.get("size"), note, json)


def _check_size(size: Mapping[str, Any], space: str | None) -> None:
    """Check the fields of a network's size, as far as its space is known by now."""
    from gnas.config import split_settings

    names = SPACE_HOMES if space is None else [space]
    configs = [config for config in map(network_config, names) if config is not None]
    asked = {name: v for name, v in size.items() if name not in ("layers", "channels")}
    if configs:
        split_settings({name: v for name, v in asked.items() if v is not None}, *configs)


def _weights(what: str) -> Path | None:
    """Path of the weights named by the argument (a folder, training or file), else None.

    Trainings always are: they are not exported without their weights.
    """
    from gnas.models.saved import is_weights
    from gnas.retrain.source import weights_folder
    from gnas.runs import kind_of_run

    if is_text(what):
        return None
    path = weights_folder(Path(what))
    if is_weights(path):
        return path
    is_run = path.is_dir() and (path / "config.json").exists()
    return path if is_run and kind_of_run(path) == "retrain" else None


def _loaded(
    path: Path, space: str | None, size: dict[str, Any]
) -> tuple[nn.Module, NetworkMetadata]:
    from gnas.errors import ConfigError
    from gnas.models import load_network
    from gnas.spaces import load_space

    given = [name for name, value in size.items() if value is not None]
    if given:
        raise ConfigError(f"saved weights have their size, so {given} must not be given")
    return load_network(path, None if space is None else load_space(space))


def _built(
    what: str, space: str | None, notation: str | None, size: dict[str, Any], seed: int
) -> tuple[nn.Module, NetworkMetadata, str]:
    from functools import partial

    from gnas.models import NetworkMetadata
    from gnas.retrain.source import run_source
    from gnas.training.short import fresh_network

    found = read_architecture(what, space, notation)
    networks = found.space.needed_networks()
    named = {"layers": networks.depth or "layers", "channels": networks.width or "channels"}
    asked = {named.get(name, name): size[name] for name in size if size[name] is not None}
    path = run_folder(what)
    source = None if path is None else run_source(path)
    taken = {} if source is None else {named.get(k, k): v for k, v in source.network.items()}
    known = networks.defaults
    config = found.space.network_config(**{k: v for k, v in taken.items() if k in known} | asked)
    network = fresh_network(partial(found.space.network, found.graph, config), seed)
    pixels = 224 if size["stem"] == "imagenet" else 32
    if source is not None:
        pixels = source.image_size
    of = "default size" if source is None else f"size of {source.command}, {path}"
    of += f" but for {', '.join(asked)}" if asked else ""
    facts = NetworkMetadata(
        space=found.space, architecture=found.text, config=config, image_size=pixels,
        **_data(source, config),
        details={"trained": False, "size": of},
    )  # fmt: skip
    return network, facts, found.note


def _data(source: RunSource | None, config: NetworkConfig) -> dict[str, Any]:
    """Classes and normalisation of a run's images, where the network is one for them."""
    found: dict[str, Any] = {}
    if source is not None and len(source.classes) == config.num_classes:
        found["classes"] = source.classes
    if source is not None and len(source.mean) == len(source.std) == config.in_channels:
        found |= {"mean": source.mean, "std": source.std}
    return found


def _print(done: Exported, trained: bool, size: str | None, note: str, json: str | None) -> None:
    target = report_console(json)
    for path in done.files:
        target.print(str(path), markup=False, soft_wrap=True)
    shape = "x".join(map(str, done.input_shape))
    target.print(
        f"{done.params:,} parameters, {done.macs:,} multiply-accumulates for "
        f"{shape}, {done.num_classes} classes, "
        f"{'trained' if trained else 'untrained'} weights{f', {size}' if size else ''}",
        markup=False,
        soft_wrap=True,
    )
    if done.largest_difference is not None:
        agreed = f"outputs agree with the network within {done.largest_difference:.1e}"
        target.print(agreed, soft_wrap=True)
    elif done.form == "python":
        target.print("outputs agree with the network bit by bit", soft_wrap=True)
    if note:
        target.print(note, markup=False, soft_wrap=True)
    if json is not None:
        write_json(json, {"command": "export", "trained": trained, **vars(done)})
