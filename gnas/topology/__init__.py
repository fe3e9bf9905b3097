"""TopoNAS' distributions over the topology of a cell; they know nothing of operations or networks.

`TopologyCodes` says what may be chosen, `TopologyDistribution` learns what to choose.
"""

from gnas.topology.codes import (
    TopologyCodes,
    candidate_edges,
    codes,
    enumerate_joint,
    is_valid,
)
from gnas.topology.distribution import TopologyDistribution
from gnas.topology_options import MAX_NUM_NODES, NUM_INPUTS, Mode, TopologySpace

__all__ = [
    "MAX_NUM_NODES",
    "NUM_INPUTS",
    "Mode",
    "TopologyCodes",
    "TopologyDistribution",
    "TopologySpace",
    "candidate_edges",
    "codes",
    "enumerate_joint",
    "is_valid",
]
