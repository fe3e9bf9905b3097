"""An architecture is a PyG ``Data``; a ``DenseBatch`` holds very many of them in three tensors.

Conventions of one architecture ``Data``:

* ``x`` float32 one-hot operations ``[n, num_ops]`` (in edge-op spaces: node roles),
* ``edge_index`` int64 ``[2, e]`` in data-flow direction, every edge from a lower to a higher
  node (so the nodes are in topological order and the graph is acyclic), no edge twice,
* ``edge_op`` int64 ``[e]`` only in spaces whose operations sit on edges.
"""

from gnas.graphs.architecture import (
    architecture,
    from_networkx,
    op_indices,
    to_adjacency,
    to_networkx,
    validate,
)
from gnas.graphs.dense import DenseBatch, Graphs, as_batch, validate_batch
from gnas.graphs.functional import FunctionalForm, functional_form
from gnas.graphs.hashing import distinct, graph_hash, graph_keys
from gnas.graphs.pruning import input_nodes, live_nodes, prune, prune_batch
from gnas.graphs.transforms import EdgeOpsToNodeOps, NodeOpsToEdgeOps, edge_ops_to_node_ops

__all__ = [
    "DenseBatch",
    "EdgeOpsToNodeOps",
    "FunctionalForm",
    "Graphs",
    "NodeOpsToEdgeOps",
    "architecture",
    "as_batch",
    "distinct",
    "edge_ops_to_node_ops",
    "from_networkx",
    "functional_form",
    "graph_hash",
    "graph_keys",
    "input_nodes",
    "live_nodes",
    "op_indices",
    "prune",
    "prune_batch",
    "to_adjacency",
    "to_networkx",
    "validate",
    "validate_batch",
]
