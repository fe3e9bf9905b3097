"""A benchmark table as a shop: searchers buy accuracies, and no network twice."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch_geometric.data import Data

from gnas.errors import GraphError
from gnas.graphs import DenseBatch, as_batch, graph_keys
from gnas.search.samplers import Searcher
from gnas.spaces.base import Space

Values = NDArray[np.float64]
Indices = NDArray[np.int64]


class Shop:
    """A table in which every different network can be bought once.

    Args:
        space: The architectures of the table.
        val_acc: Validation accuracy of each different network [M].
        test_acc: Test accuracy of each [M].
        number: From a graph's key to its network.
    """

    def __init__(
        self, space: TableSpace, val_acc: Values, test_acc: Values, number: Mapping[int, int]
    ) -> None:
        self.space = space
        self.val_acc = val_acc
        self.test_acc = test_acc
        self._number = number

    @staticmethod
    def of(space: Space, graphs: DenseBatch, val_acc: Values, test_acc: Values) -> Shop:
        """The shop of a table's rows: those that are one network have the mean of their values.

        Args:
            space: The whole space.
            graphs: N architectures.
            val_acc: Validation accuracy of each row [N].
            test_acc: Test accuracy of each row [N].
        """
        reachable = TableSpace(space, graphs)
        keys, group = np.unique(reachable.keys(graphs), return_inverse=True)
        group = group.reshape(-1)
        sizes = np.bincount(group)
        return Shop(
            reachable,
            np.bincount(group, val_acc) / sizes,
            np.bincount(group, test_acc) / sizes,
            {int(key): k for k, key in enumerate(keys)},
        )

    def purchases(self, searcher: Searcher, budget: int) -> Indices:
        """The networks that a searcher buys, in order: int64 [budget].

        A search ends when it has bought the optimum, as nothing could change its choice any more;
        the rest of its row repeats the optimum.
        """
        bought = np.full(budget, self.val_acc.argmax())
        for k in range(budget):
            graph = searcher.ask()
            number = self._number[searcher.key(graph)]
            if number == bought[-1]:
                break
            bought[k] = number
            searcher.tell(graph, float(self.val_acc[number]))
        return bought


class TableSpace(Space):
    """The architectures of a space that a table has: all else is out of reach.

    Draws are uniform over the rows. Neighbours and mutations are those of the space that the table
    has, drawn as in the table; where it has no neighbour, a mutation is a random row. They are
    looked up once for each architecture, so searches should share one such space.

    Args:
        space: The whole space.
        graphs: The table's architectures.
    """

    def __init__(self, space: Space, graphs: DenseBatch) -> None:
        for fact in Space.__annotations__:
            setattr(self, fact, getattr(space, fact))
        self.size = len(graphs)
        self._whole = space
        self._graphs = graphs
        self._row = {key: row for row, key in enumerate(self.keys(graphs).tolist())}
        self._near: dict[str, Tensor] = {}
        self._complete = space.size == len(graphs)

    def keys(self, graphs: DenseBatch) -> NDArray[np.uint64]:
        """Equal for the same network, however it is drawn: uint64 [N]."""
        return graph_keys(self._whole.functional(graphs))

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` rows, with replacement."""
        return self._graphs[torch.from_numpy(rng.integers(len(self._graphs), size=count))]

    def enumerate(self) -> DenseBatch:
        """Every row."""
        return self._graphs

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One edit of the space that stays in the table, each equally likely."""
        if self._complete:
            return self._whole.mutate(graph, rng)
        near = self.neighbours(graph)
        return near.data(int(rng.integers(len(near)))) if len(near) else self.sample(rng)

    def neighbours(self, graph: Data) -> DenseBatch:
        """Those of the space that the table has."""
        if self._complete:
            return self._whole.neighbours(graph)
        text = self.to_str(graph)
        if text not in self._near:
            keys = self.keys(self._whole.neighbours(graph)).tolist()
            rows = sorted({self._row[key] for key in keys if key in self._row})
            self._near[text] = torch.tensor(rows, dtype=torch.int64)
        return self._graphs[self._near[text]]

    def live(self, batch: DenseBatch) -> DenseBatch:
        """As the space's."""
        return self._whole.live(batch)

    def functional(self, batch: DenseBatch) -> DenseBatch:
        """As the space's."""
        return self._whole.functional(batch)

    def check(self, graph: Data) -> None:
        """See `Space.check`; the table must have it."""
        self._whole.check(graph)
        if int(self.keys(as_batch(graph))[0]) not in self._row:
            raise GraphError("an architecture must be one of the table's, but is not")

    def to_str(self, graph: Data) -> str:
        """As the space's."""
        return self._whole.to_str(graph)

    def from_str(self, text: str) -> Data:
        """As the space's."""
        return self._whole.from_str(text)
