"""Measures that a benchmark table holds."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from gnas.config import checked
from gnas.data.columns import COUNTED
from gnas.data.tables import BenchmarkTable
from gnas.errors import ConfigError, GraphError
from gnas.evaluate.base import Evaluator, Measures
from gnas.geometric import Data
from gnas.graphs import DenseBatch, as_batch
from gnas.metrics import as_scores
from gnas.spaces.base import Space, list_neighbours

Values = NDArray[np.float64]

ALWAYS = ("val_acc", "test_acc", *COUNTED)
"""Quantities that an evaluation reports wherever the table has them."""
DESCRIBED = 20_000
"""Architectures of a table of which what a predictor sees is kept: some 50 MB."""


class TableEvaluator(Evaluator):
    """Measures that a table has; architectures that are the same network were measured alike.

    A searcher asks for every different network once (`gnas.search.Searcher.key`), so no network
    is paid for twice: the measures of rows that are one network, drawn differently, are the means
    over these rows. What is counted is that of the architecture as it is drawn, as its network is
    built: dead branches have parameters too.

    Args:
        space: The whole space.
        graphs: The table's architectures.
        measures: Values of each row by the name of the measure, each [N].
        counted: Those that cost no query.
        provenance: Metadata of the table for run records; see `gnas.data.Provenance.summary`.

    Raises:
        ConfigError: there is no measure, or one of another length.

    Examples:
        >>> from gnas.data import load_table
        >>> from gnas.spaces import NASBench101
        >>> table = load_table("nasbench101-mini")
        >>> evaluator = TableEvaluator.from_table(NASBench101(), table)
        >>> found = evaluator.evaluate(table.graphs.data(0), seed=0)
        >>> 0 < found["val_acc"] < 1
        True
    """

    kind: ClassVar[str] = "table"
    instant: bool = True

    @checked
    def __init__(
        self,
        space: Space,
        graphs: DenseBatch,
        measures: Mapping[str, ArrayLike],
        *,
        counted: Sequence[str] = (),
        provenance: Mapping[str, Any] | None = None,
    ) -> None:
        self.space = TableSpace(space, graphs)
        keys, group = np.unique(self.space.keys(graphs), return_inverse=True)
        group = group.reshape(-1)
        sizes = np.bincount(group)
        self.values: dict[str, Values] = {}
        """Values of the M different networks by the name of the measure, each float64 [M]."""
        self.counts: dict[str, Values] = {}
        """What is counted, by row, each float64 [N]."""
        for name, column in measures.items():
            values = as_scores(column, f"the measure '{name}'")
            if values.shape != (len(graphs),):
                raise ConfigError(
                    f"every measure must have one value a row, but '{name}' has shape "
                    f"{values.shape} for {len(graphs)} rows"
                )
            if name in counted:
                self.counts[name] = values
            else:
                self.values[name] = np.bincount(group, values) / sizes
        if not measures:
            raise ConfigError("a table must have at least one measure, but has none")
        self.measures = tuple(measures)
        self.counted = tuple(name for name in counted if name in self.counts)
        self.provenance = dict(provenance or {})
        self._number = {int(key): k for k, key in enumerate(keys)}
        self._of_text: dict[str, tuple[int, int]] = {}  # asked for before, as keys take a while

    def __len__(self) -> int:
        """Different networks, M."""
        return len(self._number)

    @classmethod
    @checked
    def from_table(
        cls,
        space: Space,
        table: BenchmarkTable,
        measures: Sequence[str] = (),
        *,
        dataset: str | None = None,
        epochs: int | None = None,
    ) -> TableEvaluator:
        """The evaluator of a table's columns under one protocol, means over runs.

        Args:
            space: The whole space.
            table: Its table.
            measures: Quantities of the table (`gnas.data.Column.quantity`); beside them those of
                `ALWAYS` that it has.
            dataset: Images, a key of `Space.table_images` or as the table calls them; needed
                where the table has several.
            epochs: Length of the trainings; None takes the longest.

        Raises:
            ConfigError: the table has no such quantity for these images and epochs.
            DataError: an architecture lacks a value.
        """
        val, test = space.table_images.get(dataset or "", (dataset, dataset))
        images = (val, test, dataset, None)
        of_images = [c for c in table.columns if dataset is None or c.dataset in images]
        has = {column.quantity for column in of_images}
        names = dict.fromkeys([*measures, *(name for name in ALWAYS if name in has)])
        of_names = [c for c in table.columns if c.quantity in names]
        learned = [c for c in of_names if c.epochs or "_acc" in c.quantity]
        if learned and dataset is not None and not {c.dataset for c in learned} & {val, test}:
            table.select(learned[0].quantity, dataset=dataset)  # says which images there are
        found = {}
        for name in names:
            columns = [column for column in table.columns if column.quantity == name]
            order = (val, test, None) if name.startswith("val") else (test, val, None)
            known = {column.dataset for column in columns}
            of = next((choice for choice in order if choice in known), dataset)
            trained = any(column.epochs is not None for column in columns)
            found[name] = table.metric(name, dataset=of, epochs=epochs if trained else None)
        counted = [name for name in COUNTED if name in found]
        facts = {**table.provenance.summary(), "dataset": dataset, "epochs": epochs}
        return cls(space, table.graphs, found, counted=counted, provenance=facts)

    def join(self, other: TableEvaluator) -> TableEvaluator:
        """This evaluator with those measures of another table that it lacks.

        Raises:
            ConfigError: the other table lacks one of the networks.
        """
        keys = {number: key for key, number in self._number.items()}
        try:
            rows = [other._number[keys[number]] for number in range(len(self))]
        except KeyError:
            raise ConfigError(
                f"tables that are searched together must have the same networks, but "
                f"{other.provenance.get('name', 'one')} lacks some"
            ) from None
        joined = copy.copy(self)
        new = {name: values[rows] for name, values in other.values.items()}
        joined.values = {**new, **self.values}
        places = other.space.rows(self.space.enumerate()) if other.counts else []
        joined.counts = {name: counts[places] for name, counts in other.counts.items()}
        joined.counts |= self.counts
        joined.measures = tuple(dict.fromkeys([*other.measures, *self.measures]))
        joined.counted = tuple(dict.fromkeys([*self.counted, *other.counted]))
        joined.provenance = {**self.provenance, "joined": other.metadata()}
        return joined

    def number(self, graph: Data) -> int:
        """The number in [0, M) of an architecture's network.

        Raises:
            GraphError: the table does not have it.
        """
        return self._place(graph)[0]

    def _place(self, graph: Data) -> tuple[int, int]:
        """Number of the network, and row of the table."""
        text = self.space.to_str(graph)
        if text not in self._of_text:
            batch = as_batch(graph)
            key = int(self.space.keys(batch)[0])
            if key not in self._number:
                raise GraphError(
                    "an architecture must be one of the table's, but is not; make the searcher "
                    "over the space `evaluator.reachable(space)`"
                )
            self._of_text[text] = self._number[key], self.space.rows(batch)[0]
        return self._of_text[text]

    def evaluate(self, graph: Data, *, seed: int) -> Measures:
        """See `Evaluator.evaluate`; the seed has no influence."""
        number, row = self._place(graph)
        found = {name: float(values[number]) for name, values in self.values.items()}
        found |= {name: float(counts[row]) for name, counts in self.counts.items()}
        return {name: found[name] for name in self.measures}

    def count(self, graphs: DenseBatch, names: Collection[str] | None = None) -> dict[str, Values]:
        """See `Evaluator.count`."""
        wanted = [name for name in self.counted if names is None or name in names]
        if not wanted:
            return {}
        rows = self.space.rows(graphs)
        return {name: self.counts[name][rows] for name in wanted}

    def reachable(self, space: Space) -> Space:
        """The architectures that the table has."""
        return self.space

    def metadata(self) -> dict[str, Any]:
        """Metadata of the table and its columns."""
        about = {name: value for name, value in self.provenance.items() if name != "path"}
        return {"kind": self.kind, **about}


class TableSpace(Space):
    """The architectures of a space that a table has: all else is out of reach.

    Draws are uniform over the rows. Neighbours and mutations are those of the space that the table
    has, drawn as in the table; where it has no neighbour, a mutation is a random row. They are
    looked up once for each architecture, so searches should share one such space.

    Args:
        space: The whole space.
        graphs: The table's architectures.

    Examples:
        >>> from gnas.data import load_table
        >>> from gnas.spaces import NASBench101
        >>> space = TableSpace(NASBench101(), load_table("nasbench101-mini").graphs)
        >>> space.size, NASBench101().size
        (2000, 423624)
        >>> cell = space.sample(np.random.default_rng(0))
        >>> len(space.neighbours(cell)) < len(NASBench101().neighbours(cell))
        True
    """

    def __init__(self, space: Space, graphs: DenseBatch) -> None:
        self.name, self.vocabulary = space.name, space.vocabulary
        self.concatenates, self.pretrained = space.concatenates, dict(space.pretrained)
        self.wl_encoder = space.wl_encoder
        self.size = len(graphs)
        self.part_of = space
        self._graphs = graphs
        self._row_of: dict[bytes, int] = {}
        self._described: dict[Callable[[DenseBatch], Values], dict[bytes, Values]] = {}
        self._keys = space.keys(graphs).tolist()
        self._row_of = {drawn: row for row, drawn in enumerate(graphs.row_bytes())}
        self._row = {key: row for row, key in enumerate(self._keys)}
        self._near: dict[str, Tensor] = {}
        self._complete = space.size == len(graphs)

    __eq__, __hash__ = object.__eq__, object.__hash__  # as little as two tables are the same

    def __repr__(self) -> str:
        return f"<the {self.size:,} architectures of {self.whole!r} in a table>"

    @property
    def whole(self) -> Space:
        """The space of which the table has a part."""
        assert self.part_of is not None
        return self.part_of

    def keys(self, batch: DenseBatch) -> NDArray[np.uint64]:
        """See `Space.keys`; those of the table's own rows are computed once."""
        known = [self._row_of.get(drawn) for drawn in self._drawn(batch)]
        found = np.array([0 if k is None else self._keys[k] for k in known], dtype=np.uint64)
        missing = [k for k, row in enumerate(known) if row is None]
        if missing:
            found[missing] = self.whole.keys(batch[torch.tensor(missing)])
        return found

    def rows(self, batch: DenseBatch) -> list[int]:
        """The row of each architecture; of one that is drawn otherwise, a row of its network.

        Raises:
            KeyError: the table has no such network.
        """
        known = [self._row_of.get(drawn) for drawn in self._drawn(batch)]
        if None not in known:
            return [row for row in known if row is not None]
        keys = self.keys(batch).tolist()
        return [
            self._row[key] if row is None else row for row, key in zip(known, keys, strict=True)
        ]

    def described(self, batch: DenseBatch, features: Callable[[DenseBatch], Values]) -> Values:
        """See `Space.described`; rows that depend on nothing else are computed once."""
        if not getattr(features, "exact", False):
            return features(self.prune(batch))
        rows = self._described.setdefault(features, {})
        names = self._drawn(batch)
        missing = {name: k for k, name in enumerate(names) if name not in rows}
        if not missing and names:
            return np.stack([rows[name] for name in names])
        places = torch.tensor(list(missing.values()), dtype=torch.int64)
        computed = features(self.prune(batch[places]))
        new = dict(zip(missing, computed, strict=True))
        found = [new[name] if name in new else rows[name] for name in names]
        rows.update(itertools.islice(new.items(), max(0, DESCRIBED - len(rows))))
        return np.stack(found) if found else computed

    def _drawn(self, batch: DenseBatch) -> list[bytes]:
        """Architectures as the table's own rows are drawn and padded."""
        width = self._graphs.max_nodes
        return (batch.pad_to(width) if batch.max_nodes < width else batch).row_bytes()

    def sample_batch(self, count: int, rng: np.random.Generator) -> DenseBatch:
        """``count`` rows, with replacement."""
        return self._graphs[torch.from_numpy(rng.integers(len(self._graphs), size=count))]

    def enumerate(self) -> DenseBatch:
        """Every row."""
        return self._graphs

    def mutate(self, graph: Data, rng: np.random.Generator) -> Data:
        """One edit of the space that stays in the table, each equally likely."""
        if self._complete:
            return self.whole.mutate(graph, rng)
        near = self.neighbours(graph)
        return near.data(int(rng.integers(len(near)))) if len(near) else self.sample(rng)

    def neighbours(self, graph: Data) -> DenseBatch:
        """Those of the space that the table has."""
        if self._complete:
            return self.whole.neighbours(graph)
        text = self.to_str(graph)
        if text not in self._near:
            keys = self.keys(list_neighbours(self.whole, graph)).tolist()
            rows = sorted({self._row[key] for key in keys if key in self._row})
            self._near[text] = torch.tensor(rows, dtype=torch.int64)
        return self._graphs[self._near[text]]

    def prune(self, batch: DenseBatch) -> DenseBatch:
        """As the space's."""
        return self.whole.prune(batch)

    def functional_form(self, batch: DenseBatch) -> DenseBatch:
        """As the space's."""
        return self.whole.functional_form(batch)

    def check(self, graph: Data) -> None:
        """See `Space.check`; the table must have it."""
        self.whole.check(graph)
        if int(self.keys(as_batch(graph))[0]) not in self._row:
            raise GraphError("an architecture must be one of the table's, but is not")

    def to_str(self, graph: Data) -> str:
        """As the space's."""
        return self.whole.to_str(graph)

    def from_str(self, text: str) -> Data:
        """As the space's."""
        return self.whole.from_str(text)
