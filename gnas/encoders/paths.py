"""Counts over what a network computes: operations, neighbours, paths, and how signals flow."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from gnas.graphs import DenseBatch, Graphs, as_batch, input_nodes
from gnas.spaces.vocabulary import HasVocabulary, Vocabulary, functional_forms

FeatureMatrix = NDArray[np.float64]

CHUNK_SIZE = 8_000
"""Graphs of 30 nodes that are counted at a time, of smaller ones more: bounds memory."""
FLOW = 0.2
"""Choice: what passes an operation of the kind that a flow dampens."""
_FLOOR = 1e-4  # a flow of nothing, before the logarithm


@dataclass(frozen=True)
class PathStatistics:
    """Isomorphism-invariant counts over the functional form of an architecture.

    The functional form (`Space.functional_form`) has no dead branch and no skip connection, so two
    cells of one function have the same row. A kind is a column of ``x``, or an edge operation;
    "learned" is the union of the kinds that have weights. Columns come in named groups:

    * size: nodes, edges, edges by multiplicity, edges of the input, into outputs, and of both;
    * ops: nodes of every kind; degrees: their summed in- and out-degree; depth: their summed
      longest distance from an input;
    * pairs: edges by the kinds they join; joined: the same for pairs joined by any path;
    * length: paths from an input to an output by number of nodes, and their spread (least, most
      and mean); counts: paths by number of every kind; spreads: their spread; learned and
      learned spread: the same for learned operations; only: paths that hold one kind alone.
      Counts of paths are log(1 + count);
    * walk: mean and deviation of the number of every kind, and of learned operations, on a random
      walk from the output back to an input, and on one from the input forward. Where n edges meet,
      each is taken with probability 1 / n: so much of a sum comes from each of its terms;
    * flow: the logarithm of what arrives at the output if 1 enters and each operation of some
      kinds passes on `FLOW` of it, where edges add up and where they average: kind by kind,
      all kinds but one, and all. It stands for the least paths in ever more lenient ways.

    Args:
        space: The space, or its vocabulary, which is all that is kept of it.

    Raises:
        GraphError: when called with a graph of more than ``max_nodes`` nodes or of another
            vocabulary.

    Source: the closest prior art is GRAF (Kadlecova et al., Surprisingly Strong Performance
    Prediction with Neural Graph Features, ICML 2024): operation counts, path lengths and node
    degrees of cells, read by trees. Differences: these columns are counted over the functional
    form; path counts by kind, random walks and flows are additions.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> features = PathStatistics(NASBench201())
        >>> features(NASBench201().enumerate()[:3]).shape
        (3, 282)
        >>> features.widths["depth"]
        7
    """

    space: HasVocabulary | Vocabulary
    name: str = field(default="path statistics", init=False)
    exact: ClassVar[bool] = True
    """A row is the same bits whatever else is in its batch."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "space", self.vocabulary)

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the graphs."""
        return Vocabulary.of(self.space)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, F], F independent of the batch."""
        return self.of_forms(functional_forms(self.vocabulary, as_batch(graphs)))

    def of_forms(self, forms: DenseBatch) -> FeatureMatrix:
        """As calling it, of N functional forms."""
        chunk = max(1, min(20_000, CHUNK_SIZE * 30**2 // max(forms.max_nodes, 1) ** 2))
        parts = []
        for start in range(0, max(len(forms), 1), chunk):
            groups = self._groups(forms[start : start + chunk])
            parts.append(torch.cat([groups[name] for name in self.widths], 1))
        rows: FeatureMatrix = torch.cat(parts).numpy()
        return rows

    @property
    def widths(self) -> dict[str, int]:
        """Columns of every group, in the order of the columns."""
        kinds, paths = self._num_kinds, self._longest_path + 1
        return {
            "size": 6,
            "ops": kinds,
            "degrees": 2 * kinds,
            "depth": kinds,
            "pairs": kinds**2,
            "joined": kinds**2,
            "length": paths,
            "length spread": 3,
            "counts": kinds * paths,
            "spreads": kinds * 3,
            "learned": paths,
            "learned spread": 3,
            "only": kinds,
            "walk": 4 * (kinds + 1),
            "flow": 2 * (2 * kinds + 1),
        }

    def columns(self, *groups: str) -> tuple[int, ...]:
        """The columns of some groups, ascending."""
        ends = dict(zip(self.widths, np.cumsum(list(self.widths.values())).tolist(), strict=True))
        found = [range(ends[name] - self.widths[name], ends[name]) for name in groups]
        return tuple(sorted(column for columns in found for column in columns))

    def per_column(self, of_groups: Mapping[str, float]) -> tuple[float, ...]:
        """The value of its group for every column."""
        return tuple(of_groups[name] for name, width in self.widths.items() for _ in range(width))

    @property
    def _longest_path(self) -> int:
        """Most nodes of a path: between n feature maps lie at most n - 1 operations."""
        return self.vocabulary.max_nodes + bool(self.vocabulary.edge_ops)

    @property
    def _num_kinds(self) -> int:
        return len(self.vocabulary.ops) + len(self.vocabulary.edge_ops)

    def _groups(self, forms: DenseBatch) -> dict[str, Tensor]:
        """Every group of columns, float64 [N, width]."""
        edges = forms.adjacency.double()  # [N, n, n], multiplicities
        once = (edges > 0).double()  # [N, n, n], 0 or 1
        kinds = (forms.ops[:, :, None] == torch.arange(self._num_kinds)).double()  # [N, n, k]
        starts, ends = path_ends(self.vocabulary, forms)  # [N, n] each
        by_kind = kinds.transpose(1, 2)  # [N, k, n]
        around = torch.stack([edges.sum(1), edges.sum(2), _longest(once)], 2)  # [N, n, 3]
        found = by_kind @ around  # [N, k, 3]
        size = [
            forms.num_nodes,
            once.sum((1, 2)),
            edges.sum((1, 2)),
            (edges.sum(2) * starts).sum(1),
            (edges.sum(1) * ends).sum(1),
            (edges * starts[:, :, None] * ends[:, None, :]).sum((1, 2)),
        ]
        return {
            "size": torch.stack([part.double() for part in size], 1),
            "ops": kinds.sum(1),
            "degrees": found[:, :, :2].flatten(1),  # [N, 2 k]
            "depth": found[:, :, 2],
            "pairs": (by_kind @ edges @ kinds).flatten(1),  # [N, k^2]
            "joined": (by_kind @ _reachability(once) @ kinds).flatten(1),
            **self._paths(forms, edges, kinds, starts, ends),
        }

    def _paths(
        self, forms: DenseBatch, edges: Tensor, kinds: Tensor, starts: Tensor, ends: Tensor
    ) -> dict[str, Tensor]:
        """The groups that follow paths."""
        vocabulary = self.vocabulary
        names = [*vocabulary.ops, *vocabulary.edge_ops]
        is_learned = torch.tensor([name in vocabulary.learned for name in names])
        learned = kinds[:, :, is_learned].sum(2, keepdim=True)  # [N, n, 1]
        weights = torch.cat([kinds, learned], 2)  # [N, n, k + 1]
        real = (forms.ops >= 0).double()[:, :, None]  # [N, n, 1]
        counts = _path_counts(
            edges, torch.cat([real, weights], 2), starts, ends, self._longest_path + 1
        )
        logs, spread = torch.log1p(counts), _spread(counts)  # [N, k + 2, paths], [N, k + 2, 3]
        inner = (~(starts | ends)[:, :, None] if vocabulary.to_output else real > 0).double()
        only = 1 - inner * (1 - kinds)  # [N, n, k]: 0 at inner nodes of another kind
        back, forth = _averaged(edges, 1), _averaged(edges, 2)  # [N, n, n] each
        damped = _dampers(kinds, inner)  # [N, n, 2 k + 1]
        return {
            "length": logs[:, 0],
            "length spread": spread[:, 0],
            "counts": logs[:, 1:-1].flatten(1),
            "spreads": spread[:, 1:-1].flatten(1),
            "learned": logs[:, -1],
            "learned spread": spread[:, -1],
            "only": torch.log1p(_flow(edges, only, starts, ends)),
            "walk": torch.cat([_moments(m, weights, starts, ends) for m in (back, forth)], 1),
            "flow": torch.cat([_log_flow(m, damped, starts, ends) for m in (edges, back)], 1),
        }


def path_ends(vocabulary: Vocabulary, forms: DenseBatch) -> tuple[Tensor, Tensor]:
    """First and last nodes of paths: bool [N, n] each."""
    starts = input_nodes(forms, vocabulary.inputs)
    if not vocabulary.to_output:
        return starts, (forms.adjacency.sum(2) == 0) & (forms.ops >= 0)
    ends = torch.nn.functional.one_hot(forms.num_nodes - 1, forms.max_nodes).bool()
    ends |= torch.isin(forms.ops.long(), torch.tensor(vocabulary.outputs, dtype=torch.int64))
    return starts, ends


def log_flows(vocabulary: Vocabulary, forms: DenseBatch, gains: Tensor) -> Tensor:
    """Logarithm of what leaves a cell if 1 enters, where edges add up and where they average.

    Args:
        vocabulary: Knows where data enters and leaves.
        forms: N functional forms.
        gains: Gain of an operation of each kind in S flows.

    Shapes: gains float64 [number of kinds, S] -> float64 [N, 2 S].
    """
    edges = forms.adjacency.double()  # [N, n, n], multiplicities
    passed = gains[forms.ops.long().clamp(min=0)]  # [N, n, S]
    starts, ends = path_ends(vocabulary, forms)
    both = (edges, _averaged(edges, 1))
    return torch.cat([_log_flow(m, passed, starts, ends) for m in both], 1)


def _reachability(edges: Tensor) -> Tensor:
    """1 where a path leads from i to j, else 0: float64 [N, n, n]."""
    reach = edges.clone()  # [N, n, n], of which columns before j are done
    for j in range(edges.size(1)):  # columns in topological order
        through = edges[:, :, j].clone()  # [N, n]: edges from i to j
        through += (reach[:, :, :j] * edges[:, None, :j, j]).sum(2)
        reach[:, :, j] = (through > 0).double()  # [N, n]
    return reach


def _longest(edges: Tensor) -> Tensor:
    """Edges on the longest path from any source to every node: float64 [N, n]."""
    depth = edges.new_zeros(edges.shape[:2])  # [N, n]
    for j in range(1, edges.size(1)):
        depth[:, j] = ((depth[:, :j] + 1) * edges[:, :j, j]).amax(1)  # [N]
    return depth


def _arriving(edges: Tensor, state: Tensor, j: int) -> Tensor:
    """Sum over the edges into node j of the source nodes' values: [N, n, ...] -> [N, ...]."""
    before = state[:, :j].flatten(2)  # [N, j, ...]
    return (edges[:, None, :j, j] @ before)[:, 0].view(state[:, j].shape)


def _path_counts(
    edges: Tensor, weights: Tensor, starts: Tensor, ends: Tensor, width: int
) -> Tensor:
    """Number of input-output paths of weight 0, 1, ..., width - 1.

    Args:
        edges: Multiplicities [N, n, n].
        weights: S kinds of weight, 0 or 1 per node [N, n, S]; a path's is the sum of its nodes'.
        starts: bool [N, n].
        ends: bool [N, n].
        width: More than any path's weight.

    Shapes:
        -> float64 [N, S, width].
    """
    size, n, kinds = weights.shape
    counts = edges.new_zeros(size, n, kinds, width)  # [N, n, S, width]
    counts[..., 0] = starts.double()[:, :, None]
    for j in range(n):
        if j:
            counts[:, j] += _arriving(edges, counts, j)
        shifted = torch.nn.functional.pad(counts[:, j, :, :-1], (1, 0))  # [N, S, width], one more
        counts[:, j] = torch.where(weights[:, j, :, None] > 0, shifted, counts[:, j])
    return (counts * ends[:, :, None, None]).sum(1)  # [N, S, width]


def _spread(counts: Tensor) -> Tensor:
    """Smallest, largest and mean weight over all paths counted: [N, S, W] -> [N, S, 3]."""
    weights = torch.arange(counts.size(2), dtype=counts.dtype)
    present = counts > 0  # [N, S, W]
    smallest = torch.where(present, weights, torch.inf).amin(2)  # [N, S]
    largest = torch.where(present, weights, -torch.inf).amax(2)  # [N, S]
    mean = (counts * weights).sum(2) / counts.sum(2)  # [N, S]
    return torch.stack([smallest, largest, mean], 2).nan_to_num(0.0, posinf=0.0, neginf=0.0)


def _averaged(edges: Tensor, dim: int) -> Tensor:
    """Edges as shares of what enters (1) or leaves (2) a node."""
    return edges / edges.sum(dim, keepdim=True).clamp_min(1)


def _moments(edges: Tensor, weights: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Mean and deviation over weighted paths of each weight: [N, n, S] -> [N, 2 S]."""
    size, n, kinds = weights.shape
    state = edges.new_zeros(size, n, 3, kinds)  # [N, n, 3, S]: sums of 1, w and w^2 over paths
    state[:, :, 0] = starts.double()[:, :, None]
    for j in range(n):
        if j:
            state[:, j] += _arriving(edges, state, j)
        w, (total, first) = weights[:, j], (state[:, j, 0], state[:, j, 1].clone())  # [N, S] each
        state[:, j, 1] = first + w * total
        state[:, j, 2] += 2 * w * first + w * w * total
    total, first, second = (state * ends[:, :, None, None]).sum(1).unbind(1)  # [N, S] each
    total = total.clamp_min(1e-12)
    mean = first / total  # [N, S]
    return torch.cat([mean, (second / total - mean.square()).clamp_min(0).sqrt()], 1)


def _dampers(kinds: Tensor, inner: Tensor) -> Tensor:
    """Gain of each node in 2 k + 1 flows: one kind damped, all others, all: [N, n, S]."""
    hit = kinds * inner  # [N, n, k]
    every = hit.sum(2, keepdim=True)  # [N, n, 1]
    return 1 - (1 - FLOW) * torch.cat([hit, every - hit, every], 2)


def _flow(edges: Tensor, gains: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    """Flow at the outputs for a unit flow into every input: gains [N, n, S] -> [N, S]."""
    state = starts.double()[:, :, None] * gains  # [N, n, S]
    for j in range(1, gains.size(1)):
        state[:, j] += _arriving(edges, state, j) * gains[:, j]  # [N, S]
    return (state * ends[:, :, None]).sum(1)


def _log_flow(edges: Tensor, gains: Tensor, starts: Tensor, ends: Tensor) -> Tensor:
    return torch.log(_flow(edges, gains, starts, ends) + _FLOOR)
