"""Features: widths of the operations of cells whose output concatenates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.predictors.features import FeatureMatrix
from gnas.spaces.base import Space
from gnas.spaces.vocabulary import Vocabulary, check_vocabulary

_FLOOR = 0.02  # a cost of nothing, before the logarithm


@dataclass(frozen=True)
class ChannelStatistics:
    """Isomorphism-invariant counts in which every node weighs as much as it has channels.

    Where the output concatenates what enters it, each of these nodes has a share of its channels,
    and every other node is as wide as the widest that it feeds. `PathStatistics` takes an
    operation on a fifth of the channels for one on all of them. An input that feeds the output
    is projected and added: it has no share. Widths are fractions of the output's. Columns:

    * how many nodes share the output's channels, one over that, whether the input feeds the
      output, and the summed width of the nodes that the input feeds;
    * for every operation: its nodes' summed and largest width, how many have full width, the
      logarithm of their summed squared widths (a convolution's cost), the share of the output's
      channels that come from one, and the summed width of those that the input feeds;
    * for every operation, and for the learned ones together: how many lie between the input and
      a channel of the output, by the mean path (each of n edges that meet taken with probability
      1 / n), the longest and the shortest; of each the mean and deviation over the channels, the
      most and the least.

    Args:
        space: One whose output concatenates; its first and last operation are input and output.

    Raises:
        ConfigError: the space's output does not concatenate.
        GraphError: when called with a graph of another vocabulary.

    Examples:
        >>> from gnas.spaces import NASBench101
        >>> space = NASBench101()
        >>> ChannelStatistics(space)(space.enumerate()[:3]).shape
        (3, 70)
    """

    space: Space
    name: str = field(default="channel statistics", init=False)
    exact: ClassVar[bool] = True
    """A row is the same bits whatever else is in its batch."""

    def __post_init__(self) -> None:
        if not self.space.concatenates:
            raise ConfigError(
                f"space must have outputs that concatenate, but '{self.space.name}' has none; "
                "take `PathStatistics`"
            )

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the graphs."""
        return self.space.vocabulary

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, 4 + 6 k + 12 (k + 1)] for k operations between input and output."""
        batch = as_batch(graphs)
        check_vocabulary(batch, len(self.space.ops), 0)
        return self.of_forms(self.space.functional_form(batch))

    def of_forms(self, forms: DenseBatch) -> FeatureMatrix:
        """As calling it, of N functional forms."""
        edges = (forms.adjacency > 0).double()  # [N, n, n]
        inner = torch.arange(1, len(self.space.ops) - 1)
        kinds = (forms.ops[:, :, None] == inner).double()  # [N, n, k]
        is_learned = torch.tensor(
            [name in self.vocabulary.learned for name in self.space.ops[1:-1]]
        )
        learned = kinds[:, :, is_learned].sum(2, keepdim=True)  # [N, n, 1]
        feeds = edges[torch.arange(len(forms)), :, forms.num_nodes - 1]  # [N, n]
        residual = feeds[:, 0].clone()  # [N]: whether the input feeds the output
        feeds[:, 0] = 0
        shares = feeds / feeds.sum(1, keepdim=True).clamp_min(1)  # [N, n]
        widths = _widths(edges, shares)  # [N, n]
        columns = [
            torch.stack([feeds.sum(1), shares.amax(1), residual], 1),
            (edges[:, 0] * widths).sum(1, keepdim=True),
            _by_kind(edges, kinds, widths, shares),
            *(
                _over_channels(found, shares)
                for found in _met(edges, torch.cat([kinds, learned], 2))
            ),
        ]
        rows: FeatureMatrix = torch.cat(columns, 1).numpy()
        return rows


def _widths(edges: Tensor, shares: Tensor) -> Tensor:
    """Every node's fraction of the output's channels, 0 for the output: [N, n]."""
    widths = shares.clone()
    for v in range(edges.size(1) - 2, 0, -1):
        widest = (edges[:, v] * widths).amax(1)  # [N]
        widths[:, v] = torch.where(shares[:, v] > 0, shares[:, v], widest)
    return widths


def _by_kind(edges: Tensor, kinds: Tensor, widths: Tensor, shares: Tensor) -> Tensor:
    """Channel statistics of the operations: [N, n, k] -> [N, 6 k]."""
    wide = kinds * widths[:, :, None]  # [N, n, k]
    return torch.cat(
        [
            wide.sum(1),
            wide.amax(1),
            (wide == 1).double().sum(1),
            torch.log(wide.square().sum(1) + _FLOOR),
            (kinds * shares[:, :, None]).sum(1),
            (wide * edges[:, 0, :, None]).sum(1),
        ],
        1,
    )


def _met(edges: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Operations of each kind up to every node, by mean, longest and shortest path.

    Shapes: kinds [N, n, k] -> [N, n, k] each.
    """
    mean, most, least = kinds.clone(), kinds.clone(), kinds.clone()
    for v in range(1, edges.size(1)):
        into = edges[:, :v, v, None]  # [N, v, 1]
        mean[:, v] += (into * mean[:, :v]).sum(1) / into.sum(1).clamp_min(1)
        most[:, v] += (into * most[:, :v]).amax(1)
        fewest = torch.where(into > 0, least[:, :v], torch.inf).amin(1)  # [N, k]
        least[:, v] += torch.where(into.sum(1) > 0, fewest, 0.0)
    return mean, most, least


def _over_channels(values: Tensor, shares: Tensor) -> Tensor:
    """Mean, deviation, most and least over the output's channels: [N, n, k] -> [N, 4 k]."""
    weights = shares[:, :, None]  # [N, n, 1]
    mean = (weights * values).sum(1)  # [N, k]
    square = (weights * values.square()).sum(1)
    most = torch.where(weights > 0, values, 0.0).amax(1)
    least = torch.where(weights > 0, values, torch.inf).amin(1).nan_to_num(posinf=0.0)
    return torch.cat([mean, (square - mean.square()).clamp_min(0).sqrt(), most, least], 1)
