"""Weisfeiler-Lehman labels of functional forms as rows of numbers, and the kernel of such rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import get_args

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gnas.errors import ConfigError
from gnas.graphs import Graphs, as_batch
from gnas.graphs.hashing import mix64
from gnas.kernel_options import Direction
from gnas.predictors.features import FeatureMatrix
from gnas.spaces.vocabulary import HasVocabulary, Vocabulary, functional_forms

_BITS = np.uint64(12)  # cut off, so that a label is a whole number that float64 holds exactly


@dataclass(frozen=True)
class WLLabels:
    """The label of every node of the functional form after 0, 1, ..., ``n_iter`` rounds.

    A node begins with its kind. A round gives it a new label that stands for its old one and the
    labels of its neighbours, each as often as the edge's multiplicity says (which
    `gnas.kernels.wl_labels` does not know). ``direction`` says which neighbours, see
    `gnas.kernels`; with "both" the rounds of "out" and of "in" alternate. Columns are hashes of 52
    bits, -1 on padding: only equality means something, so these rows are for `WLGaussianProcess`
    alone.

    Args:
        space: The space, or its vocabulary, which is all that is kept of it.
        n_iter: Rounds.

    Raises:
        ConfigError: ``direction`` is unknown.
        GraphError: when called with a graph of more than ``max_nodes`` nodes or of another
            vocabulary.

    Examples:
        >>> from gnas.spaces import NASBench101
        >>> space = NASBench101()
        >>> WLLabels(space, n_iter=2)(space.enumerate()[:3]).shape
        (3, 21)
    """

    space: HasVocabulary | Vocabulary
    n_iter: int = 4
    direction: Direction = "joint"
    name: str = field(default="WL labels", init=False)

    def __post_init__(self) -> None:
        if self.direction not in get_args(Direction):
            raise ConfigError(
                f"direction must be one of {list(get_args(Direction))}, but got {self.direction!r}"
            )
        object.__setattr__(self, "space", self.vocabulary)

    @property
    def vocabulary(self) -> Vocabulary:
        """Vocabulary of the graphs."""
        return Vocabulary.of(self.space)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, (n_iter + 1) * n], round by round; twice as wide with "both"."""
        forms = functional_forms(self.vocabulary, as_batch(graphs)).pad_to(
            self.vocabulary.most_nodes
        )
        weights = forms.adjacency.numpy().astype(np.uint64)  # [N, n, n], multiplicities
        ops = forms.ops.numpy()  # [N, n]
        start = mix64(ops.astype(np.int64).astype(np.uint64) + np.uint64(2))
        directions = ["out", "in"] if self.direction == "both" else [self.direction]
        # Labels of the two directions must differ even where the neighbours are alike.
        rounds = [[start, mix64(start)][: len(directions)]]
        for _ in range(self.n_iter):
            rounds.append(
                [
                    mix64(labels * np.uint64(3) + _around(weights, labels, direction))
                    for labels, direction in zip(rounds[-1], directions, strict=True)
                ]
            )
        rows = [np.where(ops >= 0, v >> _BITS, -1.0) for values in rounds for v in values]
        return np.concatenate(rows, axis=1).astype(np.float64)


def _around(
    weights: NDArray[np.uint64], labels: NDArray[np.uint64], direction: str
) -> NDArray[np.uint64]:
    """Hash of the labels of every node's neighbours, weighted by multiplicity.

    Shapes: [N, n, n], [N, n] -> [N, n].
    """
    around = np.zeros_like(labels)  # [N, n]
    if direction != "out":  # the sources of the edges that end at each node
        fed = (weights * mix64(labels)[:, :, None]).sum(1, dtype=np.uint64)  # [N, n]
        around += mix64(fed) if direction == "joint" else fed
    if direction != "in":  # the targets of the edges that start there
        salt = np.uint64(5 if direction == "joint" else 1)
        hashed = mix64(labels * salt)[:, None, :]  # [N, 1, n]
        around += (weights * hashed).sum(2, dtype=np.uint64)
    return around


def label_counts(rows: FeatureMatrix) -> sparse.csr_array:
    """Normalised label counts of each row: float64 [N, number of labels]."""
    graph, _ = (rows >= 0).nonzero()
    labels, column = np.unique(rows[rows >= 0], return_inverse=True)
    shape = (len(rows), len(labels))
    counts = sparse.csr_array((np.ones(len(graph)), (graph, column)), shape=shape)
    norms = np.sqrt(counts.multiply(counts).sum(1))
    return sparse.csr_array(counts.multiply(1 / norms[:, None]))


def exponentiated_wl(
    left: sparse.csr_array, right: sparse.csr_array, sharpness: float
) -> NDArray[np.float64]:
    """exp(sharpness (k - 1)) of the normalised kernel k of `label_counts`: [N, M].

    Args:
        left: Label counts [N, L].
        right: Label counts [M, L].
        sharpness: Factor of the exponent.
    """
    kernel: NDArray[np.float64] = np.exp(sharpness * ((left @ right.T).toarray() - 1))
    return kernel
