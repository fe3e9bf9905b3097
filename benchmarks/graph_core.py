"""Times the hot paths of the graph core: enumerating, sampling, keys, pruning, hashing.

Each line has the dense-batch way and the one-graph-at-a-time way on a part of the same data, both
in graphs a second. Run from the repository's root: python benchmarks/graph_core.py
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from gnas.graphs import graph_hash, graph_keys, prune, prune_batch
from gnas.spaces import NASGEM, NASBench101


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    rng = np.random.default_rng(0)
    cells, large = NASBench101(), NASGEM(30)
    took = seconds(cells.enumerate)
    everything = cells.enumerate()
    print(f"enumerate all {len(everything):,} NAS-Bench-101 cells: {took:.2f} s (target 60 s)")
    took = seconds(lambda: large.sample_batch(100_000, rng))
    print(f"sample 100,000 cells of 30 nodes: {took:.2f} s (target 2 s)")
    sampled = large.sample_batch(20_000, rng)
    few = list(sampled[:200])
    rows = [
        ("prune, 30 nodes", lambda: prune_batch(sampled), lambda: [prune(g) for g in few]),
        (
            "key / md5 hash, 30 nodes",
            lambda: graph_keys(sampled),
            lambda: list(map(graph_hash, few)),
        ),
        (
            "key / md5 hash, 7 nodes",
            lambda: graph_keys(everything[:20_000]),
            lambda: [graph_hash(everything.data(i)) for i in range(200)],
        ),
    ]
    print(f"{'':28}{'dense batch':>14}{'one by one':>14}{'ratio':>9}   (graphs a second)")
    for name, batched, single in rows:
        fast, slow = 20_000 / seconds(batched), 200 / seconds(single)
        print(f"{name:28}{fast:14,.0f}{slow:14,.0f}{fast / slow:9.0f}")


if __name__ == "__main__":
    main()
