"""Networks on disk: a folder with ``config.json`` and ``model.safetensors``, never a pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from gnas.data.files import FORMAT_ERRORS, atomic_write, check_regular, read_json, utf8_path
from gnas.errors import ConfigError, DataError, GnasError, MissingDataError
from gnas.geometric import Data
from gnas.runs import NETWORK_FORMAT, kind_of_run, to_json, to_jsonable
from gnas.spaces import Space, space_of_record, space_record
from gnas.spaces.networks import NetworkConfig
from gnas.training.devices import own_generator, own_settings

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_HEADER = {"format": "pt"}
_PICKLE_SUFFIXES = (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".bin", ".tar", ".th")
MAX_CELLS = 1000
"""Cells, or channels of a stem, that cost nothing to try, whatever the tensors are."""
SHOWN = 2
"""Tensors that a message about weights that do not fit names of each kind."""
CONVERSION = (
    'if you trust it, convert it once: python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('FILE', weights_only=True), 'model.safetensors')\", and put the "
    "config.json of the network beside it"
)


@dataclass(frozen=True, kw_only=True)
class NetworkMetadata:
    """Facts from which a network can be built again and fed.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> facts = NetworkMetadata(
        ...     space=space, architecture=space.to_str(space.enumerate().data(9)),
        ...     config=space.network_config(channels=4), image_size=16,
        ... )
        >>> facts.input_shape
        (3, 16, 16)
    """

    space: Space
    """The architecture's."""
    architecture: str
    """The architecture's text, in the notation of the space."""
    config: NetworkConfig
    """Size and form of the network."""
    image_size: int
    """Height and width of the images that it was made for."""
    mean: tuple[float, ...] = ()
    """Subtracted from every channel of an image in [0, 1]; empty for images left as they are."""
    std: tuple[float, ...] = ()
    """By which every channel is divided then."""
    classes: tuple[str, ...] = ()
    """Names of the classes in the order of the logits, where they are known."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """Anything else worth keeping: recipe, data, result. Kept as JSON has it."""

    def __post_init__(self) -> None:
        if self.image_size < 1:
            raise ConfigError(f"image_size must be at least 1, but got {self.image_size}")
        channels = self.config.in_channels
        if len(self.mean) != len(self.std) or len(self.mean) not in (0, channels):
            raise ConfigError(
                f"mean and std must have one number for each of {channels} channels, "
                f"but got {self.mean} and {self.std}"
            )
        if self.classes and len(self.classes) != self.config.num_classes:
            raise ConfigError(
                f"the network has {self.config.num_classes} classes, "
                f"but got {len(self.classes)} names of classes"
            )

    @property
    def graph(self) -> Data:
        """The architecture."""
        return self.space.from_str(self.architecture)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        return self.config.in_channels, self.image_size, self.image_size


@own_settings()
def save_network(folder: str | Path, network: nn.Module, facts: NetworkMetadata) -> None:
    """Write ``model.safetensors`` and ``config.json``, each whole or not at all.

    Args:
        folder: Made if need be; files of the same names are replaced.
        network: The network that ``facts.space.network`` makes, without any wrapper.
        facts: What is needed to build and feed it.

    Raises:
        ConfigError: ``network`` is not the one that the facts describe, or the folder has a
            ``config.json`` of something else, a run for example.
        DataError: writing failed.

    Examples:
        >>> import tempfile
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> facts = NetworkMetadata(
        ...     space=space, architecture=space.to_str(space.enumerate().data(9)),
        ...     config=space.network_config(channels=4, cells_per_stage=1), image_size=16,
        ... )
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_network(Path(folder), space.network(facts.graph, facts.config), facts)
        ...     network, found = load_network(Path(folder))
        >>> found == facts
        True
    """
    folder = Path(folder)
    tensors = {key: value.detach().contiguous() for key, value in network.state_dict().items()}
    problem = _misfit(_skeleton(facts), tensors)
    if problem:
        raise ConfigError(f"the network to save must be the one of its facts, but {problem}")
    check_not_foreign(folder)
    record = {
        "format": NETWORK_FORMAT,
        "space": space_record(facts.space),
        "architecture": facts.architecture,
        "network": to_jsonable(facts.config),
        "num_classes": facts.config.num_classes,
        "image_size": facts.image_size,
        "normalisation": {"mean": facts.mean, "std": facts.std},
        "classes": facts.classes,
        "details": facts.details,
    }
    with atomic_write(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(tensors, _HEADER))
    with atomic_write(folder / CONFIG) as temporary:
        temporary.write_text(to_json(record), encoding="utf-8")


def check_not_foreign(folder: Path) -> None:
    """Check that a folder's files, if it has any, are those of `save_network`.

    Args:
        folder: Where a network is to be saved.

    Raises:
        ConfigError: they are not.

    Examples:
        >>> check_not_foreign(Path("a folder that is yet to be made"))
    """
    if (folder / CONFIG).exists():
        try:
            found = read_json(folder / CONFIG, "metadata of a network")["format"]
        except (DataError, *FORMAT_ERRORS):
            found = None
        foreign = "a config.json of something else, perhaps of a run"
    else:
        found = NETWORK_FORMAT if _is_replaceable(folder / WEIGHTS) else None
        foreign = f"a {WEIGHTS} of something else, perhaps of an encoder"
    if found != NETWORK_FORMAT:
        raise ConfigError(
            f"the files of a network need a folder of their own, but {folder} has {foreign}; "
            "choose another"
        )


def _is_replaceable(weights: Path) -> bool:
    """Whether weights without a ``config.json`` are left of a `save_network` that was stopped."""
    try:
        with utf8_path(weights) as readable, safe_open(readable, framework="pt") as file:
            return bool(file.metadata() == _HEADER)
    except FileNotFoundError:
        return True
    except (SafetensorError, OSError, ValueError):
        return False


@own_settings()
def load_network(
    path: str | Path, space: Space | None = None
) -> tuple[nn.Module, NetworkMetadata]:
    """A saved network, in evaluation mode on the CPU, and what was written beside it.

    Args:
        path: A folder of `save_network`, or the ``.safetensors`` file in it.
        space: The architecture's; needed where it is one of a user's own, since no file is run
            because a record names it.

    Raises:
        MissingDataError: a file is not there.
        DataError: a file is damaged, a pickle, or the weights are not those of the network.

    Examples:
        >>> import torch
        >>> import tempfile
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> config = space.network_config(channels=4, cells_per_stage=1)
        >>> text = space.to_str(space.enumerate().data(9))
        >>> facts = NetworkMetadata(space=space, architecture=text, config=config, image_size=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_network(Path(folder), space.network(facts.graph, config), facts)
        ...     network, found = load_network(Path(folder))
        >>> network(torch.zeros(2, *found.input_shape)).shape
        torch.Size([2, 10])
    """
    path = Path(path)
    weights = path / WEIGHTS if path.is_dir() else path
    _refuse_pickles(path, weights)
    facts = read_metadata(weights.parent, space)
    tensors = _read_tensors(weights)
    problem = _too_wide(facts, tensors)
    if not problem:
        try:
            network = _skeleton(facts)
            problem = _misfit(network, tensors)
            problem = problem or _nonsense(network, tensors)
        except (RuntimeError, MemoryError, *FORMAT_ERRORS) as error:
            problem = f"it cannot be built: {(str(error).splitlines() or [''])[0][:200]}"
    if problem:
        raise DataError(
            f"{weights} must hold the weights of the network in {CONFIG}, but {problem}"
        )
    network.load_state_dict(tensors)
    return network.eval(), facts


def is_weights(path: Path) -> bool:
    """Whether a path is meant as a saved network (sound, damaged or a pickle): by its name."""
    if path.is_dir():
        return (path / WEIGHTS).exists() or _describes_network(path / CONFIG)
    return path.suffix in (".safetensors", *_PICKLE_SUFFIXES)


def _describes_network(path: Path) -> bool:
    try:
        return path.is_file() and f'"{NETWORK_FORMAT}"' in path.read_text(encoding="utf-8")
    except (OSError, ValueError):
        return False


def read_metadata(folder: str | Path, space: Space | None = None) -> NetworkMetadata:
    """Facts of the network in a folder, from its ``config.json``.

    Args:
        folder: Where it is.
        space: See `load_network`.

    Raises:
        MissingDataError: there is no such file.
        DataError: it is damaged, or says nothing about a network of this version of gnas.

    Examples:
        >>> import tempfile
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> config = space.network_config(channels=4, cells_per_stage=1)
        >>> text = space.to_str(space.enumerate().data(9))
        >>> facts = NetworkMetadata(space=space, architecture=text, config=config, image_size=16)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     save_network(Path(folder), space.network(facts.graph, config), facts)
        ...     found = read_metadata(Path(folder))
        >>> found.architecture == text, found.image_size
        (True, 16)
    """
    folder = Path(folder)
    path = folder / CONFIG
    try:
        record = read_json(path, "a JSON file")
    except MissingDataError as error:
        raise MissingDataError(
            f"a network needs a {CONFIG} beside its weights, but there is none in {folder}"
        ) from error
    if not isinstance(record, dict) or record.get("format") != NETWORK_FORMAT:
        raise DataError(f'{path} must describe a network ("format": "{NETWORK_FORMAT}")')
    try:
        return _facts(record, space)
    except (*FORMAT_ERRORS, GnasError) as error:
        reason = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise DataError(f"{path} must describe a network, but: {reason}") from error


def _facts(record: Mapping[str, Any], space: Space | None) -> NetworkMetadata:
    """The facts in a ``config.json``, each checked where it is used."""
    space = space_of_record(record["space"], space)
    space.from_str(_of_type(str, record["architecture"]))
    config = space.network_config(**_of_type(dict, record["network"]))
    if record["num_classes"] != config.num_classes:
        raise DataError(
            f"num_classes is {record['num_classes']!r:.60}, "
            f"but the network's is {config.num_classes}"
        )
    normalisation = _of_type(dict, record["normalisation"])
    return NetworkMetadata(
        space=space,
        architecture=record["architecture"],
        config=config,
        image_size=_of_type(int, record["image_size"]),
        mean=tuple(float(value) for value in normalisation["mean"]),
        std=tuple(float(value) for value in normalisation["std"]),
        classes=tuple(_of_type(str, name) for name in record.get("classes", ())),
        details=_of_type(dict, record.get("details", {})),
    )


def _of_type(kind: type, value: object) -> Any:
    if type(value) is not kind:
        raise DataError(f"a {kind.__name__} must stand where {value!r:.60} does")
    return value


def _skeleton(facts: NetworkMetadata) -> nn.Module:
    """The network with any weights; the global random numbers stay where they are."""
    with own_generator():
        return facts.space.network(facts.graph, facts.config)


def _too_wide(facts: NetworkMetadata, tensors: Mapping[str, Tensor]) -> str | None:
    """Why the network cannot be that of ``tensors``, before any memory is asked for it."""
    largest = max((tensor.numel() for tensor in tensors.values()), default=0)
    networks = facts.space.needed_networks()
    depth, width = networks.depth, networks.width
    if depth and getattr(facts.config, depth) > max(MAX_CELLS, len(tensors)):
        return f"{depth} is {getattr(facts.config, depth)}, with {len(tensors)} tensors"
    for name in ("in_channels", "num_classes", *([width] if width else [])):
        value = getattr(facts.config, name)
        times = getattr(facts.config, "stem_multiplier", 1) if name == width else 1
        if value > largest or value * times > max(
            largest, MAX_CELLS
        ):  # its classifier or stem would have more
            return f"{name} is {value}, and the largest tensor has {largest} numbers"
    return None


def _misfit(network: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """Why ``tensors`` are not the state of ``network``, by the first few; None if they are."""
    expected = network.state_dict()
    missing = [key for key in expected if key not in tensors]
    extra = [key for key in tensors if key not in expected]
    differing = [
        f"'{key}' is {_form(tensors[key])} instead of {_form(value)}"
        for key, value in expected.items()
        if key in tensors and _form(tensors[key]) != _form(value)
    ]
    found = []
    if missing:
        found.append(f"{len(missing)} of its {len(expected)} tensors are missing")
        found[-1] += _some([f"'{key}' {_form(expected[key])}" for key in missing])
    if extra:
        found.append(f"{len(extra)} of the {len(tensors)} found are no part of it")
        found[-1] += _some([f"'{key}' {_form(tensors[key])}" for key in extra])
    if differing:
        found.append(f"{len(differing)} differ in shape or type" + _some(differing))
    return "; ".join(found) or None


def _nonsense(network: nn.Module, tensors: Mapping[str, Tensor]) -> str | None:
    """Which tensors have values that no training gives; None if all are sound."""
    lost = [f"'{key}'" for key, values in tensors.items() if values.isnan().any()]
    if lost:  # a mask may have infinities
        return f"{len(lost)} of its {len(tensors)} tensors have NaNs{_some(lost)}"
    names = [
        f"{name}.running_var".removeprefix(".")
        for name, part in network.named_modules()
        if isinstance(part, nn.modules.batchnorm._NormBase)
    ]
    below = [f"'{name}'" for name in names if name in tensors and (tensors[name] < 0).any()]
    return f"{len(below)} of its tensors have negative variances{_some(below)}" if below else None


def _form(tensor: Tensor) -> str:
    """Type and shape of a tensor, as messages have them."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _some(texts: Sequence[str]) -> str:
    """The first few of some texts in brackets."""
    return f" ({', '.join(texts[:SHOWN])}{', ...' if len(texts) > SHOWN else ''})"


def _refuse_pickles(path: Path, weights: Path) -> None:
    """Raise what must be said before a file that is missing or a pickle is opened.

    Raises:
        MissingDataError: there are no weights.
        DataError: the weights are a pickle.
    """
    pickles = [weights] if weights.suffix in _PICKLE_SUFFIXES else []
    if path.is_dir() and not weights.exists():
        pickles = [file for file in sorted(path.iterdir()) if file.suffix in _PICKLE_SUFFIXES]
    if not weights.exists() and not pickles:
        raise MissingDataError(
            f"weights must be a folder with {WEIGHTS} and {CONFIG}, but there is no {weights}"
            + _other_weights(path)
        )
    if not pickles and weights.is_file():
        with weights.open("rb") as file:
            start = file.read(4)
        if start[:4] == b"PK\x03\x04" or (start[:1] == b"\x80" and start[1:2] <= b"\x05"):
            pickles = [weights]
    if pickles and pickles[0].exists():
        raise DataError(
            f"{pickles[0]} is a pickle, which can run any code when it is opened, and so is not "
            f"read; {CONVERSION.replace('FILE', str(pickles[0]))}"
        )
    if pickles:
        raise MissingDataError(f"weights must be a {WEIGHTS} file, but there is no {pickles[0]}")
    if not path.is_dir() and not is_weights(weights):
        raise DataError(f"weights must be a folder or a .safetensors file, but got {weights}")


def _other_weights(folder: Path) -> str:
    """Which folders have weights, or would have, where that of a run has none; for messages."""
    places = [place for way in ("*", "*/*") for place in folder.glob(f"{way}/weights/{WEIGHTS}")]
    if places:
        return f"; its trainings have their own{_some(sorted(str(p.parents[1]) for p in places))}"
    try:
        is_search = kind_of_run(folder) not in ("retrain", "other")
    except GnasError:
        return ""
    return f"; a search's result is trained by gnas retrain {folder}" if is_search else ""


def _read_tensors(path: Path) -> dict[str, Tensor]:
    check_regular(path, "a sound safetensors file")
    try:
        with utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} must be a sound safetensors file, but: {reason}") from error
