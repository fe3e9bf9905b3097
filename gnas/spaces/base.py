"""Base class of search spaces."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from gnas.config import check_count
from gnas.errors import ConfigError, GraphError, UnsupportedError
from gnas.geometric import Data
from gnas.graphs import (
    DenseBatch,
    architecture,
    distinct,
    graph_keys,
    to_adjacency,
    validate,
)
from gnas.spaces.config import check_named
from gnas.spaces.networks import NetworkConfig, Networks
from gnas.spaces.notation import Notation
from gnas.spaces.suggestions import Trial, suggested
from gnas.spaces.supernets import Supernets
from gnas.spaces.vocabulary import Vocabulary
from gnas.user_code import Source

if TYPE_CHECKING:
    from gnas.figure import Figure

NEIGHBOUR_DRAWS = 300
"""Mutations that stand for the neighbours of an architecture where a space cannot list them."""


class Space(ABC):
    """A set of architectures: facts about it, and ways to draw, change, check and write them.

    Searchers call `sample_batch` for a first population or a pool to score, `mutate` to vary one
    architecture and `neighbours` to vary it in every way; readers of files call `from_str`, which
    validates. A space knows no tables, files or devices. Methods never change the caller's graph.

    Two spaces of one class with the same arguments are equal, and hash and print alike.

    A subclass sets ``name`` and ``vocabulary`` and defines the abstract methods. With a ``build``
    of its own (see there) its architectures can be trained, retrained and exported too.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> cell = space.sample(np.random.default_rng(0))
        >>> child = space.mutate(cell, np.random.default_rng(1))
        >>> len(space.neighbours(cell)), space.to_str(child) != space.to_str(cell)
        (24, True)
    """

    name: str
    """Name in messages, tables and figures; the key in `SPACES` of a built-in space."""
    vocabulary: Vocabulary
    """Vocabulary of its graphs."""
    concatenates: bool = False
    """Whether the last node concatenates what enters it, so that nodes share its channels."""
    size: int | None = None
    """Number of different architectures, where the space can enumerate them."""
    notations: tuple[Notation, ...] = ()
    """Other projects' ways to write architectures, by name: see `Notation`."""
    pretrained: Mapping[str, int] = MappingProxyType({})
    """Names of graph encoders that ship for exactly this vocabulary, each with the number of
    samples from which on it was measured to help the default predictor."""
    graph_networks: tuple[str, ...] = ()
    """Kinds of graph encoders that ship for exactly this vocabulary (`gnas.encoders.networks`)."""
    wl_encoder: str = ""
    """The NASGEM encoder trained on it (`gnas.encoders`): the name of a shipped one, or the path
    of one's own ``.safetensors``."""
    table_images: Mapping[str, tuple[str | None, str | None]] = MappingProxyType({})
    """By image data set, what its published tables call the images of validation and of test
    accuracies; None where they have one kind only. Empty for a space without such tables."""
    part_of: Space | None = None
    """The space of which it is a part, such as the rows of a table; records name that one."""
    loaded: tuple[Source, dict[str, Any]] | None = None
    """The user's file that it was loaded from, and the arguments then, if it was."""
    args: dict[str, Any]
    """The arguments that it was made with, defaults included."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Keep the arguments, which are the space's identity."""
        space = super().__new__(cls)
        signature = inspect.signature(cls.__init__)
        if cls.__init__ is object.__init__:
            signature = inspect.Signature([*signature.parameters.values()][:1])
        bound = signature.bind(space, *args, **kwargs)
        bound.apply_defaults()
        space.args = {}
        for name, value in [*bound.arguments.items()][1:]:
            several = signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
            space.args |= value if several else {name: value}
        return space

    def __init_subclass__(cls) -> None:
        """A ``build`` of one's own replaces the networks of the space that it is derived from."""
        super().__init_subclass__()
        if "build" in vars(cls) and "networks" not in vars(cls):
            cls.networks = Space.networks  # type: ignore[method-assign]

    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]:
        return (), self.args

    def __reduce_ex__(self, protocol: Any) -> Any:
        if self.loaded is None:
            return super().__reduce_ex__(protocol)
        from gnas.spaces.registry import loaded_space

        return loaded_space, self.loaded  # other processes load the file again

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and _fixed(self.args) == _fixed(other.args)

    def __hash__(self) -> int:
        return hash((type(self), _fixed(self.args)))

    def __repr__(self) -> str:
        args = ", ".join(f"{name}={value!r}" for name, value in self.args.items())
        return f"{type(self).__name__}({args})"

    @property
    def ops(self) -> tuple[str, ...]:
        """See `Vocabulary.ops`."""
        return self.vocabulary.ops

    @property
    def edge_ops(self) -> tuple[str, ...]:
        """See `Vocabulary.edge_ops`."""
        return self.vocabulary.edge_ops

    @property
    def max_nodes(self) -> int:
        """See `Vocabulary.max_nodes`."""
        return self.vocabulary.max_nodes

    @property
    def networks(self) -> Networks | None:
        """Builder of its networks; None if the space has no ``build``."""
        own = "build" in vars(self) or type(self).build is not Space.build
        return Networks.of(self.build) if own else None

    @property
    def supernets(self) -> Supernets | None:
        """The supernet that a differentiable search learns in; None where the space has none."""
        return None

    def network_config(self, **size: Any) -> Any:
        """The size and form of a network: an instance of ``networks.config``.

        Args:
            size: Its fields that differ from the defaults; those that are None do not.

        Raises:
            UnsupportedError: the space does not say how its networks are built.
            ConfigError: the networks have no such field, or not this value.
        """
        return self.needed_networks().configured(self.name, **size)

    def network(self, graph: Data, config: NetworkConfig | None = None) -> nn.Module:
        """The network of an architecture, of a size from `network_config`.

        Args:
            graph: An architecture of this space.
            config: Size and form; None for the paper's own network for CIFAR-10.

        Shapes:
            The network maps images [B, in_channels, H, W] to logits [B, num_classes].

        Raises:
            UnsupportedError: the space does not say how its networks are built.
            GraphError: ``graph`` breaks a rule of the space.
            ConfigError: ``config`` is that of another space's networks.
        """
        networks = self.needed_networks()
        config = networks.config() if config is None else config
        if type(config) is not networks.config:
            raise ConfigError(
                f"networks of '{self.name}' must have a {networks.config.__name__}, "
                f"but got a {type(config).__name__}"
            )
        return networks.build(graph, config)

    def count_macs(
        self, batch: DenseBatch, config: Any, image_size: int
    ) -> NDArray[np.int64] | None:
        """Multiply-accumulates of one image through each network of a size: int64 [N].

        None where they are counted on built networks only, one at a time.

        Args:
            batch: N architectures of this space.
            config: See `network`.
            image_size: Height and width in pixels.
        """
        count = None if self.networks is None else self.networks.macs
        return None if count is None else count(batch, config, image_size)

    def needed_networks(self) -> Networks:
        """`networks`, where there must be some.

        Raises:
            UnsupportedError: the space does not say how its networks are built.
        """
        networks = self.networks
        if networks is None:
            raise UnsupportedError(
                f"space '{self.name}' must have a `build` method to make networks, but has none"
            )
        return networks

    def build(self, graph: Data, **size: Any) -> nn.Module:
        """The network of an architecture.

        A space of one's own defines it with arguments that have defaults, such as ``def
        build(self, graph, *, in_channels=3, num_classes=10, channels=32, layers=2)``: they become
        the options of `gnas retrain`, `gnas export` and the like.

        Args:
            graph: An architecture of this space.
            size: Arguments of `network_config`: ``in_channels``, ``num_classes``, ....

        Shapes:
            See `network`.

        Raises:
            GnasError: see `network_config` and `network`.
        """
        return self.network(graph, self.network_config(**size))

    @abstractmethod
    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` independent draws; the space's docstring says from which distribution.

        Args:
            count: Number of architectures.
            rng: Source of randomness.
        """

    @abstractmethod
    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """A different architecture of the space, one edit away from ``graph``.

        Args:
            graph: An architecture of the space.
            rng: Source of randomness.
        """

    @abstractmethod
    def check(self, graph: Data) -> None:
        """Raise GraphError if ``graph``, sound as a graph, breaks a rule of this space."""

    def check_own(self, graph: Data) -> None:
        """Check that something is a sound graph over this space's operations; see `validate`.

        Raises:
            GraphError: it is not.
        """
        x = graph.x if isinstance(graph, Data) else None
        if not isinstance(x, torch.Tensor) or x.dim() != 2 or x.size(1) != len(self.ops):
            raise GraphError(
                f"an architecture of '{self.name}' must be a graph with one-hot x [n, "
                f"{len(self.ops)}], but got {graph!r:.120}"
            )
        if ("edge_op" in graph) != bool(self.edge_ops):
            raise GraphError(
                f"an architecture of '{self.name}' must have {'an' if self.edge_ops else 'no'} "
                f"edge_op, but got {graph!r:.120}"
            )
        validate(graph)
        self._check_edge_ops(graph)

    def _check_edge_ops(self, graph: Data) -> None:
        """Raise GraphError if an edge has an operation that is none of this space."""
        largest = int(graph.edge_op.max()) if self.edge_ops and graph.num_edges else 0
        if self.edge_ops and largest >= len(self.edge_ops):
            raise GraphError(f"edge_op must be in [0, {len(self.edge_ops)}), got {largest}")

    def sample(self, rng: np.random.Generator) -> Data:
        """One draw from the distribution of `sample_batch`."""
        return draw_batch(self, 1, rng).data(0)

    def mutate_batch(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """Every architecture one random edit away from where it was; padded to ``max_nodes``.

        Faster than `mutate` where a space overrides it, and then free to draw edits otherwise.

        Args:
            batch: N architectures of the space.
            rng: Source of randomness.
        """
        mutated = DenseBatch.from_data([self.mutate(graph, rng) for graph in batch])
        return mutated.pad_to(self.max_nodes)

    def neighbours(self, graph: Data) -> DenseBatch:
        """Other architectures one edit away from ``graph``, each once up to isomorphism.

        All of them where the space can list them. Otherwise the different ones among
        `NEIGHBOUR_DRAWS` mutations, always the same for the same graph.
        """
        rng = np.random.default_rng(0)
        draws = [self.mutate(graph.clone(), rng) for _ in range(NEIGHBOUR_DRAWS)]
        return self._others(DenseBatch.from_data([graph, *draws]))

    def _others(self, batch: DenseBatch) -> DenseBatch:
        """The different architectures of a batch that differ from its first one, as they are."""
        return batch[torch.from_numpy(distinct(self.prune(batch))[1:])]

    def enumerate(self) -> DenseBatch:
        """Every architecture of the space once, in a fixed order.

        Raises:
            UnsupportedError: the space is too large to enumerate.
        """
        raise UnsupportedError(f"space '{self.name}' is too large to enumerate; sample from it")

    def count(self) -> int:
        """Number of architectures of the space.

        Raises:
            UnsupportedError: it is not known, since the space is too large to enumerate.
        """
        return len(self.enumerate()) if self.size is None else self.size

    def suggest(self, trial: Trial) -> Data:
        """An architecture by ordinary parameters of an Optuna trial.

        So any of Optuna's samplers can choose it, ``study.best_params`` says which it is, and
        `optuna.importance` what of it matters. The same parameters give the same architecture, and
        every architecture has parameters that give it. Here: ``nodes``, the number of nodes,
        ``op_0``, ... and ``edge_0_1``, ...; what breaks a rule of the space prunes the trial. The
        built-in and ready-made spaces have parameters that always give an architecture.

        Args:
            trial: An ``optuna.Trial``, or an ``optuna.trial.FixedTrial`` of ``best_params``.

        Raises:
            optuna.TrialPruned: the parameters give no architecture of the space.

        Examples:
            >>> from optuna.trial import FixedTrial
            >>> from gnas.spaces import EdgeOpSpace
            >>> space = EdgeOpSpace(num_nodes=2, edge_ops=("skip", "conv"), skip="skip")
            >>> space.to_str(space.suggest(FixedTrial({"edge_0_1": "conv"})))
            '|conv~0|'
        """
        return suggested(self, trial)

    def prune(self, batch: DenseBatch) -> DenseBatch:
        """The architectures reduced to the nodes that the network is built from."""
        return batch

    def representative(self, batch: DenseBatch) -> DenseBatch:
        """Architectures of this space that stand for those given, in what their networks compute.

        Where a space overrides it, architectures of one function share their representative, so
        that what is measured on a network is measured once. Here: the pruned graph.
        """
        return self.prune(batch)

    def repair(self, batch: DenseBatch, rng: np.random.Generator) -> DenseBatch:
        """Graphs whose edges were changed at random, by rules that the space can restore.

        Here: as they are.

        Args:
            batch: N graphs of the space's vocabulary.
            rng: Source of randomness.
        """
        return batch

    def functional_form(self, batch: DenseBatch) -> DenseBatch:
        """Functional forms of architectures, without dead branches and skip connections.

        Raises:
            GraphError: the graphs carry edge operations where this space has none, or reversely.
        """
        return self.vocabulary.functional_form(batch)

    def keys(self, batch: DenseBatch) -> NDArray[np.uint64]:
        """Equal for architectures that are the same network, however they are drawn: uint64 [N].

        Raises:
            GraphError: see `functional_form`.
        """
        if type(self).functional_form is not Space.functional_form:
            return graph_keys(self.functional_form(batch))
        return graph_keys(self.vocabulary.functional_form(batch, in_order=False))

    def described(
        self, batch: DenseBatch, features: Callable[[DenseBatch], NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Features of the pruned graphs of N architectures: [N, F].

        Args:
            batch: N architectures of the space.
            features: Features to compute.
        """
        return features(self.prune(batch))

    def validate(self, graph: Data) -> None:
        """Check that ``graph`` is an architecture of this space.

        Raises:
            GraphError: says which rule is broken and what was found.
        """
        validate(graph, num_ops=len(self.ops))
        if ("edge_op" in graph) != bool(self.edge_ops):
            raise GraphError(
                f"architectures of '{self.name}' must "
                f"{'carry' if self.edge_ops else 'not carry'} edge_op"
            )
        self._check_edge_ops(graph)
        self.check(graph)

    def draw(self, graph: Data) -> dict[str, Figure]:
        """Pictures of an architecture, by name.

        Args:
            graph: An architecture of this space.

        Raises:
            GraphError: it is not.
        """
        from gnas.spaces.drawing import architecture_figure

        self.validate(graph)
        return {"architecture": architecture_figure(self.vocabulary, graph)}

    def op_names(self, graph: Data) -> list[str]:
        """Names of the operations: of the edges in the order of ``edge_index``, or of the nodes.

        Args:
            graph: An architecture of this space.

        Raises:
            GraphError: it is no graph, or one over other operations.

        Examples:
            >>> from gnas.spaces import NASBench201
            >>> space = NASBench201()
            >>> cell = space.from_str("|none~0|+|none~0|none~1|+|skip_connect~0|none~1|none~2|")
            >>> space.op_names(cell)
            ['skip_connect']
        """
        self.check_own(graph)
        if self.edge_ops:
            return [self.edge_ops[code] for code in graph.edge_op.tolist()]
        return [self.ops[code] for code in graph.x.argmax(1).tolist()]

    def to_str(self, graph: Data) -> str:
        """One line of text: the operations, a bar, the upper triangle row by row in hex.

        Raises:
            GraphError: it is no graph, or one over other operations.
        """
        self.check_own(graph)
        adjacency, ops = to_adjacency(graph)
        n = len(ops)
        bits = adjacency[tuple(torch.triu_indices(n, n, 1))].tolist()
        code = int("".join(map(str, bits)) or "0", 2)
        digits = (len(bits) + 3) // 4
        return f"{','.join(self.ops[op] for op in ops.tolist())}|{code:0{max(digits, 1)}x}"

    def from_str(self, text: str) -> Data:
        """The architecture that `to_str` wrote, validated; white space does not matter.

        Raises:
            GraphError: the text is malformed, or its graph is not of this space.
        """
        names, _, digits = "".join(text.split()).partition("|")
        ops = [self._op_index(name) for name in names.split(",")]
        n = len(ops)
        num_pairs = n * (n - 1) // 2
        try:
            code = int(digits, 16)
        except ValueError:
            code = -1
        if code < 0 or code >> num_pairs:
            raise GraphError(
                f"an architecture text must be 'op,op,...|hex' with {num_pairs} bits of upper "
                f"triangle for its {n} ops, but got {text[:80]!r}"
            )
        adjacency = np.zeros((n, n), dtype=np.int64)
        adjacency[np.triu_indices(n, 1)] = [int(bit) for bit in f"{code:0{num_pairs}b}"][
            :num_pairs
        ]
        graph = architecture(adjacency, ops, len(self.ops))
        self.validate(graph)
        return graph

    @classmethod
    def of_text(cls, text: str) -> Space | None:
        """The space of this class whose notation a bare text is in; None if it is in another one.

        Only the command line asks, where nobody named a space.
        """
        return None

    def _take(self, name: str | None, build: Callable[..., nn.Module] | None) -> None:
        """Set a name and a builder passed as arguments."""
        check_named(name, build)
        if name is not None:
            self.name = name
        if build is not None:
            vars(self)["build"] = build

    def _op_index(self, name: str) -> int:
        try:
            return self.ops.index(name)
        except ValueError:
            raise GraphError(
                f"unknown operation {name[:40]!r}; '{self.name}' has {list(self.ops)}"
            ) from None


def check_is_space(space: object) -> None:
    """Check that an argument is a space.

    Raises:
        ConfigError: it is something else, such as a space's name or class.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> check_is_space(NASBench201())
    """
    if isinstance(space, Space):
        return
    advice = "; load_space makes one of a name" if isinstance(space, str) else ""
    advice = "; call the class" if isinstance(space, type) else advice
    raise ConfigError(
        f"a space must be an object such as NASBench101(), but got {space!r:.80}{advice}"
    )


def check_draw(count: object, rng: object) -> None:
    """Check the arguments of a random draw.

    Args:
        count: Number of architectures.
        rng: Source of randomness.

    Raises:
        ConfigError: the number is none, or the source is no generator of NumPy.
    """
    check_count(count, "count", 0)
    if not isinstance(rng, np.random.Generator):
        raise ConfigError(
            f"rng must be a generator such as np.random.default_rng(0), but got {rng!r:.80}"
        )


def draw_batch(space: Space, count: int, rng: np.random.Generator) -> DenseBatch:
    """`Space.sample_batch`, which a user may have written, with the number of draws checked.

    Args:
        space: The space.
        count: Number of architectures.
        rng: Source of randomness.

    Raises:
        ConfigError: it returned another number of them, or no batch.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> len(draw_batch(NASBench201(), 5, np.random.default_rng(0)))
        5
    """
    batch = space.sample_batch(count, rng)
    if isinstance(batch, DenseBatch) and len(batch) == count:
        return batch
    found = f"{len(batch)}" if isinstance(batch, DenseBatch) else f"a {type(batch).__name__}"
    raise ConfigError(
        f"`sample_batch` of '{space.name}' must return a DenseBatch of as many architectures as "
        f"it is asked for, repeats included: {count}, but returned {found}"
    )


def list_neighbours(space: Space, graph: Data) -> DenseBatch:
    """`Space.neighbours`, which a user may have written, of a copy of the graph.

    Args:
        space: The space.
        graph: An architecture of the space.

    Raises:
        ConfigError: it returned something else than a batch.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> len(list_neighbours(space, space.sample(np.random.default_rng(0))))
        24
    """
    found = space.neighbours(graph.clone())
    if isinstance(found, DenseBatch):
        return found
    raise ConfigError(
        f"`neighbours` of '{space.name}' must return a DenseBatch, but returned a "
        f"{type(found).__name__}; `as_batch` makes one of a list"
    )


def _fixed(value: Any) -> Any:
    """A value that compares by content and has a hash, as a space's arguments must."""
    if isinstance(value, Mapping):
        return frozenset((key, _fixed(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(map(_fixed, value))
    return frozenset(value) if isinstance(value, set) else value
