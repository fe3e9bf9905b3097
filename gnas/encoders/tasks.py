"""Pretraining tasks of graph networks, whose targets follow from the graphs alone.

None needs an accuracy. Each task is a head on a `GraphEncoder` and knows the answers for a pool of
functional forms; `loss` is near 1 for a head that has learnt nothing and 0 for a perfect one, so
tasks can be added up.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from gnas.encoders.graph import GraphEncoder
from gnas.encoders.paths import PathStatistics, log_flows
from gnas.graphs import DenseBatch
from gnas.kernels import wl_features

HIDDEN_SHARE = 0.25
"""Choice: share of the nodes whose operation `Masked` hides."""
FLOWS = 64
"""Choice: random gains that `flow` asks for."""
_FLOW_SEED = 5


@dataclass(frozen=True)
class TaskBatch:
    """Some forms of the pool on their way through an encoder."""

    encoder: GraphEncoder
    ops: Tensor
    edges: Tensor
    rows: Tensor
    """Their places in the pool, int64 [B]."""
    generator: torch.Generator

    @cached_property
    def embeddings(self) -> Tensor:
        """[B, d], computed once for all tasks that want them."""
        embeddings: Tensor = self.encoder(self.ops, self.edges)
        return embeddings


class Task(nn.Module, ABC):
    """A head and the answers for a pool."""

    @abstractmethod
    def loss(self, batch: TaskBatch) -> Tensor:
        """About 1 for a constant answer, 0 for right ones."""


class Regression(Task):
    """A linear head tells numbers about the graph: squared error, columns standardised.

    Args:
        encoder: Its embeddings are read.
        answers: Numbers of every form of the pool [P, T]; constant columns are left out.
        weights: Weights of the columns, scaled to sum 1.
    """

    def __init__(self, encoder: GraphEncoder, answers: np.ndarray, weights: np.ndarray) -> None:
        super().__init__()
        deviation = answers.std(0)
        kept = deviation > 1e-6 * np.maximum(np.abs(answers.mean(0)), 1)
        scaled = (answers - answers.mean(0))[:, kept] / deviation[kept]  # [P, T]
        self.answers = torch.from_numpy(scaled).float()
        self.weights = torch.from_numpy(weights[kept] / weights[kept].sum()).float()
        self.head = nn.Linear(encoder.dim, self.answers.size(1))

    def loss(self, batch: TaskBatch) -> Tensor:
        """Share of the variance that is not explained."""
        error = (self.head(batch.embeddings) - self.answers[batch.rows]).square()  # [B, T]
        loss: Tensor = (error @ self.weights).mean()
        return loss


def properties(encoder: GraphEncoder, forms: DenseBatch) -> Task:
    """Cheap properties: every column of `PathStatistics`, each group of columns alike."""
    statistics = PathStatistics(encoder.config.vocabulary)
    shares = {name: 1 / max(width, 1) for name, width in statistics.widths.items()}
    return Regression(encoder, statistics.of_forms(forms), np.array(statistics.per_column(shares)))


def flow(encoder: GraphEncoder, forms: DenseBatch) -> Task:
    """A cheap surrogate of training: what arrives if a signal flows through the cell.

    Every operation passes on a random share of what it gets, where edges add up and where they
    average; the answer is the logarithm of what leaves the cell, for `FLOWS` draws of shares.
    """
    kinds = encoder.config.vocabulary.num_kinds
    gains = np.exp(-np.random.default_rng(_FLOW_SEED).uniform(0, 3, (kinds, FLOWS)))
    answers = log_flows(encoder.config.vocabulary, forms, torch.from_numpy(gains)).numpy()
    return Regression(encoder, answers, np.ones(answers.shape[1]))


class Masked(Task):
    """Some nodes' operations are hidden; their states must tell which they are.

    The inputs and outputs of a cell are hidden as others are: only where they never vary does
    that make the task easier.
    """

    def __init__(self, encoder: GraphEncoder, forms: DenseBatch) -> None:
        super().__init__()
        ops = forms.ops[forms.ops >= 0].long()
        share = torch.bincount(ops, minlength=encoder.hidden).double() / len(ops)  # [kinds]
        self.entropy = float(-(share * share.clamp(min=1e-12).log()).sum().clamp(max=-0.01))
        self.head = nn.Linear(encoder.network.out_width, encoder.hidden)

    def loss(self, batch: TaskBatch) -> Tensor:
        """Cross-entropy of the hidden operations, in units of what knowing shares alone gives."""
        ops = batch.ops
        hide = torch.rand(ops.shape, generator=batch.generator) < HIDDEN_SHARE  # [B, n]
        hide &= ops >= 0
        if not hide.any():
            return batch.edges.new_zeros(())
        states = batch.encoder.states(ops.masked_fill(hide, batch.encoder.hidden), batch.edges)
        return cross_entropy(self.head(states[hide]), ops[hide]) / self.entropy


class WL(Task):
    """The cosine of two embeddings is the Weisfeiler-Lehman kernel of their graphs, as in NASGEM.

    Every two graphs of a batch are a pair. Embeddings are moved by a learnt vector first, since
    cosines need an origin.

    Source: Cheng et al., NASGEM, AAAI 2021, eq. 3-4.
    """

    def __init__(self, encoder: GraphEncoder, forms: DenseBatch) -> None:
        super().__init__()
        counts = wl_features(forms, 3, labels="op", direction="undirected")
        norms = np.sqrt(np.asarray(counts.multiply(counts).sum(1)).reshape(-1))
        self.counts = sparse.csr_array(sparse.diags_array(1 / norms) @ counts)
        some = self.counts[: 1000 if len(forms) > 1000 else None]
        values = (some @ some.T).toarray()  # [at most 1000, the same]
        self.variance = max(float(values[~np.eye(len(values), dtype=bool)].var()), 1e-6)
        self.head = nn.Linear(encoder.dim, encoder.dim)

    def loss(self, batch: TaskBatch) -> Tensor:
        """Squared error of the cosine, in units of the kernel's variance."""
        rows = self.counts[batch.rows.numpy()]
        kernel = torch.from_numpy((rows @ rows.T).toarray()).float()  # [B, B]
        unit = normalize(self.head(batch.embeddings))  # [B, d]
        apart = ~torch.eye(len(unit), dtype=torch.bool)
        return (unit @ unit.T - kernel)[apart].square().mean() / self.variance


MAKERS: dict[str, Callable[[GraphEncoder, DenseBatch], Task]] = {
    "properties": properties,
    "flow": flow,
    "masked": Masked,
    "wl": WL,
}
"""By the name that encoder configs take: a task from an encoder and a pool of forms."""
