"""What the graphs of a space mean, without the space: enough to read them and to write it down."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, functional_form

if TYPE_CHECKING:
    from gnas.spaces.base import Space


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """The facts of a `Space` that say how its graphs are read; fields have the same names there.

    Made from a space by `of`, or by hand for graphs of one's own: ``Vocabulary(ops=("in", "conv",
    "out"), max_nodes=12)``.

    Raises:
        GraphError: there are no operations, or no room for nodes.
    """

    ops: tuple[str, ...]
    max_nodes: int
    edge_ops: tuple[str, ...] = ()
    max_edges: int | None = None
    inputs: tuple[int, ...] = ()
    outputs: tuple[int, ...] = ()
    skip_ops: tuple[int, ...] = ()
    sum_roles: tuple[int, ...] = ()
    strided_roles: tuple[int, ...] = ()
    to_output: bool = True
    learned: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.ops or type(self.max_nodes) is not int or self.max_nodes < 1:
            raise GraphError(
                "a vocabulary needs at least one operation and one node, but got "
                f"ops={self.ops} and max_nodes={self.max_nodes}"
            )

    @staticmethod
    def of(space: Space | Vocabulary) -> Vocabulary:
        """The facts of a space."""
        return Vocabulary(**{f.name: getattr(space, f.name) for f in fields(Vocabulary)})

    @staticmethod
    def from_record(record: dict[str, Any]) -> Vocabulary:
        """The vocabulary of a dictionary that JSON may have made, with lists for tuples.

        Raises:
            TypeError: fields are missing or unknown.
        """
        fixed: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in record.items()
        }
        return Vocabulary(**fixed)

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

    def functional(self, batch: DenseBatch) -> DenseBatch:
        """What the networks compute; see `Space.functional`."""
        return functional_form(
            batch,
            len(self.edge_ops),
            skips=self.skip_ops,
            sums=self.sum_roles,
            strided=self.strided_roles,
            to_output=self.to_output,
            inputs=self.inputs,
            outputs=self.outputs,
        )


def check_vocabulary(batch: DenseBatch, num_ops: int, num_edge_ops: int) -> None:
    """Raises GraphError unless the graphs are over these numbers of operations."""
    if batch.num_ops != num_ops or batch.has_edge_ops != bool(num_edge_ops):
        raise GraphError(
            f"graphs must have {num_ops} node ops and {'some' if num_edge_ops else 'no'} edge "
            f"ops, but got {batch.num_ops} and has_edge_ops={batch.has_edge_ops}"
        )
    if num_edge_ops and len(batch) and int(batch.adjacency.max()) > num_edge_ops:
        raise GraphError(
            f"edge_op must be in [0, {num_edge_ops}), but got {int(batch.adjacency.max()) - 1}"
        )


def forms_of(space: Space | Vocabulary, batch: DenseBatch) -> DenseBatch:
    """The functional forms of graphs that must be of a space, padded to it first.

    Raises:
        GraphError: they are over other operations, or larger than ``space.max_nodes``.
    """
    check_vocabulary(batch, len(space.ops), len(space.edge_ops))
    return space.functional(batch.pad_to(space.max_nodes))
