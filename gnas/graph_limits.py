"""Limits of architecture graphs; see `gnas.graphs`."""

from __future__ import annotations

MAX_OPS = 127
"""Largest ``num_ops``: operations are held as int8."""
MAX_EDGE_OP = 254
"""Largest ``edge_op``: an entry of the adjacency matrix is a byte, and 0 means no edge."""
MAX_NODES = 10_000
"""Largest ``max_nodes`` of a vocabulary, so that a typing error cannot request all memory."""
