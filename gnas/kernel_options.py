"""Options of Weisfeiler-Lehman kernels; see `gnas.kernels`."""

from __future__ import annotations

from typing import Literal

Labels = Literal["degree", "op", "op+degree"]
"""What the label of a node in round 0 is."""
Direction = Literal["out", "in", "both", "joint", "undirected"]
"""The neighbours that a round looks at."""
