from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import networkx as nx
import numpy as np
import pytest

from gnas.bench.config import TopologyBench
from gnas.bench.topology import TopologyRow, bench_topology, topology_rows
from gnas.errors import ConfigError
from gnas.spaces import NASBench201
from gnas.spaces.nasbench201 import EDGES
from gnas.viz.topology import topology_figures


@pytest.fixture(scope="module")
def rows() -> tuple[TopologyRow, ...]:
    """Over all 15,625 cells, each scored by its row."""
    return topology_rows(NASBench201().enumerate(), np.arange(15_625.0))


def as_digraph(row: TopologyRow) -> nx.DiGraph:
    graph = nx.DiGraph()
    graph.add_nodes_from((i, {"role": role}) for i, role in enumerate("isso"))
    graph.add_edges_from(row.edges)
    return graph


def test_every_set_of_edges_is_averaged_over_all_operations(rows: tuple[TopologyRow, ...]) -> None:
    space = NASBench201()
    groups = defaultdict(list)
    for k, cell in enumerate(space.enumerate()):  # read back from the benchmark's strings
        names = [part.split("~") for part in space.to_str(cell).split("|")]
        chosen = [part[0] for part in names if len(part) == 2]
        groups[tuple(e for e, op in zip(EDGES, chosen, strict=True) if op != "none")].append(k)
    assert len(rows) == 64 and {row.edges for row in rows} == set(groups)
    for row in rows:
        own = groups[row.edges]
        assert row.cells == len(own) == 4 ** len(row.edges)
        assert row.mean_acc == pytest.approx(np.mean(own))
        assert row.best_acc == max(own)
        assert row.std_acc == pytest.approx(np.std(own, ddof=1) if len(own) > 1 else 0)


def test_isomorphic_topologies_share_a_number(rows: tuple[TopologyRow, ...]) -> None:
    for a, b in combinations(rows, 2):
        same = nx.is_isomorphic(
            as_digraph(a), as_digraph(b), node_match=lambda x, y: x["role"] == y["role"]
        )
        assert same == (a.isomorphism_class == b.isomorphism_class)


def test_live_edges_are_on_paths_from_input_to_output(rows: tuple[TopologyRow, ...]) -> None:
    for row in rows:
        paths = list(nx.all_simple_edge_paths(as_digraph(row), 0, 3))
        assert row.live_edges == len({edge for path in paths for edge in path})


def test_the_published_figure(shared_data: Callable[[str], Path]) -> None:
    """The paper: 6 edges are on average worse than the best topologies of 5 and of 4."""
    table = str(shared_data("nasbench201/nasbench201_cifar.parquet"))
    result = bench_topology(TopologyBench(table=table))
    best = {n: max(r.mean_acc for r in result.rows if len(r.edges) == n) for n in range(7)}
    assert best[6] < min(best[5], best[4])
    lost = [row.mean_acc for row in result.rows if not row.live_edges]
    assert len(lost) == 17 and lost == pytest.approx([0.1] * 17, abs=1e-4)
    figure = topology_figures(result)["topologies"]
    assert result.table["column"] == "cifar10_test_acc_200"
    assert figure.axes[0].get_ylabel().endswith("of cifar10_test_acc_200")
    val = bench_topology(TopologyBench(table=table, split="val"))
    assert val.table["column"] == "cifar10_val_acc_200"
    axes = topology_figures(val)["topologies"].axes[0]
    assert axes.get_ylabel().endswith("of cifar10_val_acc_200")
    with pytest.raises(ConfigError, match="no 'test_acc' on 'ImageNet16-120'; choose from"):
        bench_topology(TopologyBench(table=table, dataset="imagenet16-120"))


def test_a_table_of_another_space() -> None:
    with pytest.raises(
        ConfigError, match=r"must hold architectures of nasbench201, but .* nasbench1"
    ):
        bench_topology(TopologyBench(table="nasbench101"))


def test_impossible_settings() -> None:
    with pytest.raises(ConfigError, match="split must be one of test, val, but got 'train'"):
        TopologyBench(split="train")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"dataset must be one of .* but got 'svhn'"):
        TopologyBench(dataset="svhn")  # type: ignore[arg-type]
