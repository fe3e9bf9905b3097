"""Networks of the architectures of a space."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, make_dataclass
from functools import cache, wraps
from typing import Any, ParamSpec, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from gnas.errors import ConfigError, GnasError
from gnas.geometric import Data
from gnas.graphs import DenseBatch
from gnas.user_code import described

Options = ParamSpec("Options")
Module = TypeVar("Module", bound=nn.Module)


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

    Examples:
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
    network: Callable[..., nn.Module]
    """The class of the networks, made from ``arguments``; without these, a function that builds a
    network from an architecture and a ``config``."""
    arguments: Callable[[Data, Any], Mapping[str, Any]] | None = None
    """The keyword arguments of ``network`` for an architecture and a ``config``: plain data, so
    that `gnas.export.python_source` can write them."""
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
    macs: Callable[[DenseBatch, Any, int], NDArray[np.int64]] | None = None
    """Counts the MACs of N networks without building them; see `Space.count_macs`."""

    def build(self, graph: Data, config: Any) -> nn.Module:
        """The network of an architecture.

        Args:
            graph: An architecture of the space.
            config: Its size and form, of the class ``config``.

        Raises:
            GraphError: ``graph`` is of another space.
            ConfigError: the code of a user's space fails, or makes no network.
        """
        try:
            if self.arguments is None:
                network = self.network(graph, config)
            else:
                network = self.network(**self.arguments(graph, config))
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
            if type(value) is list and type(known[name]) is tuple:  # JSON has no tuples
                given[name] = value = tuple(value)
            if type(value) is not type(known[name]):
                raise ConfigError(
                    f"{name} must be of the type of {known[name]!r}, but got {value!r:.60}"
                )
        return self.config(**given)

    @staticmethod
    def of(build: Callable[..., nn.Module]) -> Networks:
        """The networks of a function ``build(graph, *, in_channels=3, num_classes=10, ...)``.

        The function's options, each with a default, become the fields of the config. Those called
        ``layers`` and ``channels`` are depth and width. See also `builds`.

        Raises:
            ConfigError: an option has no default, or ``in_channels`` or ``num_classes`` is none;
                later, when a network is built: ``build`` fails, or returns no network.
        """
        config = _options(getattr(build, "__func__", build), bound=hasattr(build, "__func__"))
        names = {field.name for field in fields(config)}
        made_from = getattr(build, "arguments", None)  # of `builds`
        bound = (build.__self__,) if made_from and hasattr(build, "__self__") else ()

        def of_options(function: Callable[..., Any]) -> Callable[[Data, Any], Any]:
            @wraps(function)
            def called(graph: Data, options: Any) -> Any:
                return function(*bound, graph, **{name: getattr(options, name) for name in names})

            return called

        network: Callable[..., nn.Module] = getattr(build, "network", None) or of_options(build)
        return Networks(
            config,
            network,
            of_options(made_from) if made_from else None,
            depth="layers" if "layers" in names else None,
            width="channels" if "channels" in names else None,
        )


def builds(
    network: Callable[..., Module],
) -> Callable[[Callable[Options, Mapping[str, Any]]], Callable[Options, Module]]:
    """Decorator of a function that returns keyword arguments: it then builds ``network`` of them.

    A space whose ``build`` is such a function can be exported as Python, if the arguments are
    plain data (numbers, texts, and tuples, lists and mappings of these).

    Args:
        network: The class of the networks.

    Examples:
        >>> from torch import nn
        >>> class Classifier(nn.Linear):
        ...     pass
        >>> @builds(Classifier)
        ... def build(graph, *, in_channels=3, num_classes=10):
        ...     return {"in_features": in_channels, "out_features": num_classes}
        >>> build(None, num_classes=7)
        Classifier(in_features=3, out_features=7, bias=True)
        >>> build.arguments(None)
        {'in_features': 3, 'out_features': 10}
    """

    def decorate(arguments: Callable[Options, Mapping[str, Any]]) -> Callable[Options, Module]:
        @wraps(arguments)
        def build(*args: Options.args, **kwargs: Options.kwargs) -> Module:
            return network(**arguments(*args, **kwargs))

        vars(build).update(network=network, arguments=arguments)
        return build

    return decorate


@cache
def _options(function: Callable[..., nn.Module], *, bound: bool) -> type:
    """A frozen dataclass of the options of a function, after its ``graph`` (and ``self``)."""
    parameters = [*inspect.signature(function).parameters.values()][1 + bound :]
    without = [p.name for p in parameters if p.default is p.empty]
    missing = {"in_channels", "num_classes"} - {p.name for p in parameters}
    if without or missing:
        raise ConfigError(
            f"{function.__qualname__} must have the options in_channels and num_classes, and a "
            f"default for every option, but has no {'' if missing else 'default for '}"
            f"{', '.join(sorted(missing) or without)}"
        )
    columns = [(p.name, type(p.default), field(default=p.default)) for p in parameters]
    return make_dataclass("NetworkOptions", columns, frozen=True, kw_only=True)
