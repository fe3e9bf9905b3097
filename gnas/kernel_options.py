"""Options of Weisfeiler-Lehman kernels; see `gnas.kernels`."""

from __future__ import annotations

from typing import Literal

Labels = Literal["degree", "op", "op+degree"]
"""Label of a node in round 0."""
Direction = Literal["out", "in", "both", "joint", "undirected"]
"""The neighbours that a round looks at."""
