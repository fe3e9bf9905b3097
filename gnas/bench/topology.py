"""Mean accuracy of every topology of NAS-Bench-201 over its operations."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr

from gnas.bench.config import TopologyBench
from gnas.bench.tables import open_table, scores_name, table_images
from gnas.data.tables import BenchmarkTable
from gnas.geometric import Data
from gnas.graphs import DenseBatch, architecture, graph_hash, prune
from gnas.spaces import NASBench201
from gnas.spaces.nasbench201 import EDGES, NUM_NODES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TopologyRow:
    """One set of edges, over all choices of operations on them; accuracies are fractions."""

    edges: tuple[tuple[int, int], ...]
    """The joined nodes: 0 is the input, 3 the output."""
    cells: int
    """Cells with exactly these edges: 4 to the power of their number in a whole table."""
    mean_acc: float
    """Eq. 24 of the paper."""
    std_acc: float
    """Standard deviation over these cells; 0 for a single one."""
    best_acc: float
    isomorphism_class: int
    """Topologies with the same number are the same but for the order of the inner nodes."""
    live_edges: int
    """Edges on paths from input to output; 0 where no path joins them."""


@dataclass(frozen=True)
class TopologyResult:
    """The whole figure; field by field the JSON object that ``--json`` writes."""

    command: str
    config: TopologyBench
    table: Mapping[str, Any]
    """Name, path, sha256, rows and provenance; the name of the accuracies (``column``)."""
    rows: tuple[TopologyRow, ...]
    """By number of edges, the best mean first."""
    num_classes: int
    """Isomorphism classes among the topologies."""
    spearman: float
    """Rank correlation of the number of edges with the mean accuracy, over the topologies that
    join input and output."""
    spearman_live: float
    """The same with the number of live edges."""
    seconds: float


def bench_topology(config: TopologyBench) -> TopologyResult:
    """Average the accuracies of a NAS-Bench-201 table over each of the 64 topologies.

    Raises:
        ConfigError: the table is of another space, or has no such column.
        MissingDataError: there is no such table.
        DataError: the table is damaged, or has a cell for no topology.

    Source: Huang et al., Explicitly Learning Topology for Differentiable NAS, 2020, figure 1 and
    eq. 24.
    """
    start = time.monotonic()
    table = open_table(NASBench201, config.table, config.data_dir)
    name, values = accuracies(table, config)
    rows = topology_rows(table.graphs, values)
    joined = [row for row in rows if row.live_edges]
    means = [row.mean_acc for row in joined]
    return TopologyResult(
        command="bench topology",
        config=config,
        table={**table.provenance.summary(), "column": name},
        rows=rows,
        num_classes=len({row.isomorphism_class for row in rows}),
        spearman=_correlation([len(row.edges) for row in joined], means),
        spearman_live=_correlation([row.live_edges for row in joined], means),
        seconds=time.monotonic() - start,
    )


def accuracies(table: BenchmarkTable, config: TopologyBench) -> tuple[str, Floats]:
    """Name and mean over runs of the accuracy that the config names, fractions [N]."""
    val, test = table_images(NASBench201, table, config.dataset)
    images = val if config.split == "val" else test
    quantity = f"{config.split}_acc"
    name = scores_name(table.select(quantity, dataset=images, epochs=config.epochs))
    return name, table.metric(quantity, dataset=images, epochs=config.epochs)


def topology_rows(graphs: DenseBatch, scores: Floats) -> tuple[TopologyRow, ...]:
    """One row for each set of edges among the cells, by number of edges, the best first.

    Args:
        graphs: N NAS-Bench-201 cells.
        scores: Their accuracies [N].
    """
    sources, targets = map(list, zip(*EDGES, strict=True))
    joined = graphs.adjacency[:, sources, targets].numpy() > 0  # [N, 6]
    masks, group = np.unique(joined, axis=0, return_inverse=True)
    classes: dict[str, int] = {}
    rows = []
    for k, mask in enumerate(masks):
        own = scores[group.reshape(-1) == k]
        plain = _with_one_operation(mask)
        live = prune(plain)
        rows.append(
            TopologyRow(
                edges=tuple(edge for edge, there in zip(EDGES, mask, strict=True) if there),
                cells=len(own),
                mean_acc=float(own.mean()),
                std_acc=float(own.std(ddof=1)) if len(own) > 1 else 0.0,
                best_acc=float(own.max()),
                isomorphism_class=classes.setdefault(graph_hash(plain), len(classes)),
                live_edges=int(live.edge_index.size(1)),
            )
        )
    return tuple(sorted(rows, key=lambda row: (len(row.edges), -row.mean_acc)))


def _with_one_operation(mask: NDArray[np.bool_]) -> Data:
    """The cell with the same operation on every edge of a topology."""
    adjacency = np.zeros((NUM_NODES, NUM_NODES), dtype=np.int64)
    for (i, j), there in zip(EDGES, mask, strict=True):
        adjacency[i, j] = int(there)
    return architecture(torch.from_numpy(adjacency), [0, 1, 1, 2], 3, edge_ops=True)


def _correlation(counts: list[int], means: list[float]) -> float:
    return float(spearmanr(counts, means).statistic)
