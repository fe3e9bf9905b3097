"""Weisfeiler-Lehman labels of functional forms as rows of numbers, and the kernel of such rows."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gnas.graphs import DenseBatch
from gnas.graphs.hashing import mix64
from gnas.predictors.features import Rows
from gnas.spaces.base import Space
from gnas.spaces.vocabulary import Vocabulary, forms_of

_BITS = np.uint64(12)  # cut off, so that a label is a whole number that float64 holds exactly


@dataclass(frozen=True)
class WLLabels:
    """The label of every node of the functional form after 0, 1, ..., ``n_iter`` rounds.

    A node begins with its kind. A round gives it a new label that stands for its old one and the
    labels of those that feed it and that it feeds, each as often as the edge's multiplicity says.
    Unlike `gnas.kernels.wl_labels` this knows multiplicities, and both directions apart. Columns
    are hashes of 52 bits, -1 on padding: only equality means something, so these rows are for
    `WLProcess` alone.

    Raises:
        GraphError: when called with a graph of more than ``space.max_nodes`` nodes or of another
            vocabulary.
    """

    space: Space
    n_iter: int = 4
    name: str = field(default="WL labels", init=False)

    def __call__(self, batch: DenseBatch) -> Rows:
        """Rows float64 [N, (n_iter + 1) * n], a round after the other."""
        forms = forms_of(self.space, batch).pad_to(Vocabulary.of(self.space).most_nodes)
        weights = forms.adjacency.numpy().astype(np.uint64)
        ops = forms.ops.numpy()
        labels = mix64(ops.astype(np.int64).astype(np.uint64) + np.uint64(2))
        rounds = [labels]
        for _ in range(self.n_iter):
            fed = (weights * mix64(labels)[:, :, None]).sum(1, dtype=np.uint64)
            feeds = (weights * mix64(labels * np.uint64(5))[:, None, :]).sum(2, dtype=np.uint64)
            labels = mix64(labels * np.uint64(3) + mix64(fed) + feeds)
            rounds.append(labels)
        rows = [np.where(ops >= 0, values >> _BITS, -1.0) for values in rounds]
        return np.concatenate(rows, axis=1).astype(np.float64)


def label_counts(rows: Rows) -> sparse.csr_array:
    """How often each label occurs in each row: float64 [N, number of labels], rows of norm 1."""
    graph, _ = (rows >= 0).nonzero()
    labels, column = np.unique(rows[rows >= 0], return_inverse=True)
    shape = (len(rows), len(labels))
    counts = sparse.csr_array((np.ones(len(graph)), (graph, column)), shape=shape)
    norms = np.sqrt(counts.multiply(counts).sum(1))
    return sparse.csr_array(counts.multiply(1 / norms[:, None]))


def exponentiated_wl(
    left: sparse.csr_array, right: sparse.csr_array, sharpness: float
) -> NDArray[np.float64]:
    """exp(sharpness (k - 1)) of the normalised kernel k of `label_counts`: [N, M]."""
    kernel: NDArray[np.float64] = np.exp(sharpness * ((left @ right.T).toarray() - 1))
    return kernel
