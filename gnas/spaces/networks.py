"""Networks of the architectures of a space."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache
from typing import Any, Protocol

from torch import nn
from torch_geometric.data import Data

from gnas.errors import ConfigError, GnasError
from gnas.user_code import described


class NetworkConfig(Protocol):
    """Size and form of a network: a frozen dataclass with at least these fields."""

    @property
    def in_channels(self) -> int:
        """Channels of an image."""
        ...

    @property
    def num_classes(self) -> int:
        """Width of the classifier."""
        ...


@dataclass(frozen=True)
class Networks:
    """Builder and sizes of the networks of one space.

    Example:
        >>> from torch import nn
        >>> def build(graph, *, in_channels=3, num_classes=10, channels=16):
        ...     head = nn.Linear(in_channels, num_classes)
        ...     return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), head)
        >>> networks = Networks.of(build)
        >>> networks.width, networks.defaults["channels"]
        ('channels', 16)
    """

    config: type
    """The class of a `NetworkConfig`; its defaults are the paper's own network for CIFAR-10."""
    build: Callable[[Data, Any], nn.Module]
    """Builds a network from an architecture and a ``config``."""
    depth: str | None = None
    """The field of ``config`` that says how many cells there are, of a stage or altogether."""
    width: str | None = None
    """The field of ``config`` that says how many channels the first cells have."""
    small: Mapping[str, Any] = field(default_factory=dict)
    """Fields of a network that trains in seconds and still tells architectures apart."""
    tabulated: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the networks of a table of one's own that differ from a ``small`` one's."""
    large: Mapping[str, Any] = field(default_factory=dict)
    """Fields that a network of large images takes where nothing else is asked for."""
    source: Callable[[Data, Any], list[str]] | None = None
    """The functions and classes of the network in plain Python (`gnas.export`), if it has such."""

    @property
    def defaults(self) -> dict[str, Any]:
        """The fields of ``config`` and their defaults."""
        return {field.name: field.default for field in fields(self.config)}

    def configured(self, space: str, /, **size: Any) -> Any:
        """The config with the fields that are not None.

        Args:
            space: Name of the space, for messages.
            size: Fields of ``config``.

        Raises:
            ConfigError: there is no such field, or it cannot have this value.
        """
        given = {name: value for name, value in size.items() if value is not None}
        known = self.defaults
        for name, value in given.items():
            if name not in known:
                raise ConfigError(
                    f"networks of '{space}' have no '{name}'; choose from {list(known)}"
                )
            if type(value) is not type(known[name]):
                raise ConfigError(
                    f"{name} must be of the type of {known[name]!r}, but got {value!r:.60}"
                )
        return self.config(**given)

    @staticmethod
    def of(build: Callable[..., nn.Module]) -> Networks:
        """The networks of a function ``build(graph, *, in_channels=3, num_classes=10, ...)``.

        The function's options, each with a default, become the fields of the config. Those called
        ``layers`` and ``channels`` are depth and width.

        Raises:
            ConfigError: an option has no default, or ``in_channels`` or ``num_classes`` is none;
                later, when a network is built: ``build`` fails, or returns no network.
        """
        config = _options(getattr(build, "__func__", build), bound=hasattr(build, "__func__"))
        names = {field.name for field in fields(config)}

        def built(graph: Data, options: Any) -> nn.Module:
            try:
                network = build(graph, **{name: getattr(options, name) for name in names})
            except (GnasError, MemoryError, RuntimeError):
                raise
            except Exception as error:  # of a user's own code
                raise ConfigError(
                    f"the space's `build` must return a network, but: {described(error)}"
                ) from error
            if not isinstance(network, nn.Module) or not any(True for _ in network.parameters()):
                found = type(network).__name__
                raise ConfigError(
                    "the space's `build` must return an nn.Module with parameters, but returned "
                    f"{found}{' without any' if isinstance(network, nn.Module) else ''}"
                )
            return network

        return Networks(
            config,
            built,
            depth="layers" if "layers" in names else None,
            width="channels" if "channels" in names else None,
        )


@cache
def _options(function: Callable[..., nn.Module], *, bound: bool) -> type:
    """A frozen dataclass of the options of a function, after its ``graph`` (and ``self``)."""
    parameters = [*inspect.signature(function).parameters.values()][1 + bound :]
    without = [p.name for p in parameters if p.default is p.empty]
    missing = {"in_channels", "num_classes"} - {p.name for p in parameters}
    if without or missing:
        raise ConfigError(
            f"{function.__qualname__} must have the options in_channels and num_classes, and a "
            f"default for every option, but {', '.join(sorted(missing) + without)} "
            f"{'is missing' if missing else 'has none'}"
        )
    columns = [(p.name, type(p.default), field(default=p.default)) for p in parameters]
    return make_dataclass("NetworkOptions", columns, frozen=True, kw_only=True)
