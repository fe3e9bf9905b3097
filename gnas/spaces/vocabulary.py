"""Vocabulary of a space: the meaning of the operations and roles in its graphs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from gnas.config import field_names, from_record
from gnas.errors import ConfigError, GraphError
from gnas.graph_limits import MAX_NODES, MAX_OPS

if TYPE_CHECKING:
    from gnas.graphs import DenseBatch

_NAME = re.compile(r"[\w.-]+")


class HasVocabulary(Protocol):
    """A space, or anything else whose graphs have a vocabulary."""

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of its graphs."""
        ...


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Vocabulary of architecture graphs: that of a space, or a custom one.

    Raises:
        GraphError: there are no operations, no room for nodes, or a field is of another type.

    Examples:
        >>> vocabulary = Vocabulary(ops=("in", "conv", "out"), max_nodes=12, learned=("conv",))
        >>> vocabulary.num_kinds, vocabulary.most_nodes
        (3, 12)
    """

    ops: tuple[str, ...]
    """Names of the columns of ``x``: operations, or node roles if operations sit on edges."""
    max_nodes: int
    """Most nodes that an architecture has."""
    edge_ops: tuple[str, ...] = ()
    """Names of the ``edge_op`` values; empty if operations sit on nodes."""
    max_edges: int | None = None
    """Most edges that an architecture has, where that is far from every pair of nodes."""
    inputs: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes at which data enters, where not node 0 alone."""
    outputs: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes at which data leaves, where not the last node alone."""
    skip_ops: tuple[int, ...] = ()
    """Values of ``edge_op`` that return their input as it is."""
    sum_roles: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes that only add up what enters them."""
    strided_roles: tuple[int, ...] = ()
    """Columns of ``x`` of the nodes whose edges halve the maps, so that no skip is an identity."""
    to_output: bool = True
    """Whether a node without a path to an output computes nothing; else leaves are outputs."""
    learned: tuple[str, ...] = ()
    """The operations of ``ops`` and ``edge_ops`` that have weights."""

    def __post_init__(self) -> None:
        for name in ("ops", "edge_ops", "learned"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple) or not all(isinstance(text, str) for text in texts):
                raise GraphError(f"{name} must be a tuple of names, but got {texts!r:.80}")
        if not self.ops or type(self.max_nodes) is not int or self.max_nodes < 1:
            raise GraphError(
                "a vocabulary needs at least one operation and one node, but got "
                f"ops={self.ops} and max_nodes={self.max_nodes!r:.80}"
            )
        if self.max_nodes > MAX_NODES:
            raise GraphError(f"max_nodes must be at most {MAX_NODES}, but got {self.max_nodes}")
        if self.max_edges is not None and (type(self.max_edges) is not int or self.max_edges < 0):
            raise GraphError(
                f"max_edges must be a whole number from 0 or None, but got {self.max_edges!r:.80}"
            )
        if not isinstance(self.to_output, bool):
            raise GraphError(f"to_output must be true or false, but got {self.to_output!r:.80}")
        of_nodes = ("inputs", "outputs", "sum_roles", "strided_roles")
        for name, known in (*((n, self.ops) for n in of_nodes), ("skip_ops", self.edge_ops)):
            places = getattr(self, name)
            if not isinstance(places, tuple) or not all(
                type(k) is int and 0 <= k < len(known) for k in places
            ):
                raise GraphError(
                    f"{name} must be a tuple of whole numbers in [0, {len(known)}), but got "
                    f"{places!r:.80}"
                )

    @staticmethod
    def of(source: HasVocabulary | Vocabulary) -> Vocabulary:
        """The vocabulary of a space; a vocabulary is its own."""
        found = source if isinstance(source, Vocabulary) else getattr(source, "vocabulary", None)
        if not isinstance(found, Vocabulary):
            raise ConfigError(
                "this must be a space such as NASBench101(), or a Vocabulary, but is "
                f"{source!r:.80}"
            )
        return found

    @staticmethod
    def from_record(record: dict[str, Any]) -> Vocabulary:
        """The vocabulary of a dictionary that JSON may have made, with lists for tuples.

        Raises:
            ConfigError: fields are missing or unknown.
            GraphError: a value is impossible.
        """
        missing = field_names(Vocabulary) - {*record}
        if missing:
            raise ConfigError(f"a vocabulary must have the field {min(missing)}, but lacks it")
        return from_record(Vocabulary, record)

    @property
    def num_kinds(self) -> int:
        """Kinds of nodes of a functional form: operations (or roles), then edge operations."""
        return len(self.ops) + len(self.edge_ops)

    @property
    def most_nodes(self) -> int:
        """Nodes of the largest functional form: every edge's operation is one."""
        if not self.edge_ops:
            return self.max_nodes
        pairs = self.max_nodes * (self.max_nodes - 1) // 2
        return self.max_nodes + (pairs if self.max_edges is None else self.max_edges)

    def functional_form(self, batch: DenseBatch, *, in_order: bool = True) -> DenseBatch:
        """Functional forms (`gnas.graphs.functional_form`), without dead branches and skips.

        Args:
            batch: N graphs.
            in_order: See there.

        Raises:
            GraphError: the graphs carry edge operations where this has none, or reversely.
        """
        from gnas.graphs import functional_form

        return functional_form(
            batch,
            len(self.edge_ops),
            skips=self.skip_ops,
            sums=self.sum_roles,
            strided=self.strided_roles,
            to_output=self.to_output,
            inputs=self.inputs,
            outputs=self.outputs,
            in_order=in_order,
        )


def operation_names(ops: Iterable[str], learned: Iterable[str] = ()) -> tuple[str, ...]:
    """Operations that a user names, if a text can hold them.

    Args:
        ops: The names.
        learned: Those of operations with weights.

    Raises:
        ConfigError: there are none or too many, one occurs twice or is no plain word, or
            ``learned`` are not some of them.
    """
    if isinstance(ops, str) or isinstance(learned, str):
        raise ConfigError(f"operations must be a tuple of names, but got {ops!r} and {learned!r}")
    names, with_weights = tuple(ops), tuple(learned)
    wrong = [n for n in names if not isinstance(n, str) or not _NAME.fullmatch(n)]
    if not names or wrong or len(set(names)) < len(names) or len(names) > MAX_OPS - 2:
        raise ConfigError(
            f"operations must be 1 to {MAX_OPS - 2} different names of letters, digits, '_', '-' "
            f"and '.', but got {names!r:.80}"
        )
    if set(with_weights) - set(names):
        raise ConfigError(f"learned must be some of {names!r:.80}, but got {with_weights!r:.80}")
    return names


def check_vocabulary(batch: DenseBatch, num_ops: int, num_edge_ops: int) -> None:
    """Raise GraphError unless the graphs are over these numbers of operations.

    Args:
        batch: N graphs.
        num_ops: Expected number of node operations.
        num_edge_ops: Expected number of edge operations.
    """
    if batch.num_ops != num_ops or batch.has_edge_ops != bool(num_edge_ops):
        raise GraphError(
            f"graphs must have {num_ops} node ops and {'some' if num_edge_ops else 'no'} edge "
            f"ops, but got {batch.num_ops} and has_edge_ops={batch.has_edge_ops}"
        )
    if num_edge_ops and len(batch) and int(batch.adjacency.max()) > num_edge_ops:
        raise GraphError(
            f"edge_op must be in [0, {num_edge_ops}), but got {int(batch.adjacency.max()) - 1}"
        )


def functional_forms(vocabulary: Vocabulary, batch: DenseBatch) -> DenseBatch:
    """The functional forms of graphs that must be of a vocabulary, padded to it first.

    Args:
        vocabulary: Vocabulary of the graphs.
        batch: N graphs.

    Raises:
        GraphError: they are over other operations, or larger than ``vocabulary.max_nodes``.
    """
    check_vocabulary(batch, len(vocabulary.ops), len(vocabulary.edge_ops))
    return vocabulary.functional_form(batch.pad_to(vocabulary.max_nodes))
