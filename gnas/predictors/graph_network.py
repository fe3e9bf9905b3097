"""A graph network as a predictor: what it sees is the graph alone, and all of it is trained."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from gnas.encoders.graph import GraphEncoder, form_rows, form_tensors
from gnas.encoders.graph_config import GraphEncoderConfig
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch
from gnas.predictors.base import Predictor
from gnas.predictors.features import Rows
from gnas.predictors.losses import LOSSES, matched
from gnas.predictors.targets import Scores
from gnas.spaces.base import Space
from gnas.spaces.vocabulary import Vocabulary, check_vocabulary

EPOCHS = 60
BATCH_SIZE = 64
LEARNING_RATE = 2e-3
"""Peak of the one-cycle schedule of the head."""
BODY_RATE = 0.3
"""The encoder learns at this share of the head's rate, if it was pretrained."""
DECAY = 1e-2
HEAD = 64
"""Choices; see ``docs/graph-networks.md`` for how they were made."""
CHUNK = 2048
"""Graphs that go through a network at once: bounds memory."""


@dataclass(frozen=True)
class FunctionalGraphs:
    """Rows are the functional forms themselves: kinds of nodes, then the upper triangle.

    These rows are for `GraphNetwork` alone, which makes graphs of them again; as numbers they
    depend on the order of nodes.

    Raises:
        GraphError: when called with a graph of more than ``vocabulary.max_nodes`` nodes or of
            another vocabulary.
    """

    vocabulary: Vocabulary
    name: str = field(default="graphs", init=False)

    def __call__(self, batch: DenseBatch) -> Rows:
        """Rows float64 [N, n + n (n - 1) / 2] for n nodes of the largest functional form."""
        vocabulary = self.vocabulary
        check_vocabulary(batch, len(vocabulary.ops), len(vocabulary.edge_ops))
        forms = vocabulary.functional(batch.pad_to(vocabulary.max_nodes))
        return form_rows(forms.pad_to(vocabulary.most_nodes)).astype(np.float64)


class GraphNetwork(Predictor):
    """Graph networks trained end to end on the scored architectures; their mean is the prediction.

    Args:
        encoder: Where training starts: a `GraphEncoder`, pretrained or not, or one for every
            member; or a space, for a network of the default recipe with random weights.
        loss: A key of `gnas.predictors.losses.LOSSES`. The scores of a ranking loss are
            shifted and scaled to the mean and deviation of the targets.
        members: Networks, each with its own head, batches and, without an encoder, start. How far
            they lie apart is the uncertainty, where there are several.
        epochs: Passes over the training graphs.
        body_rate: The encoder's learning rate as a share of the head's; 0 trains the head alone.
        seed: See `Predictor`.

    Raises:
        ConfigError: an option is outside its range, or encoders of different vocabularies.
    """

    def __init__(
        self,
        encoder: GraphEncoder | list[GraphEncoder] | Space | Vocabulary,
        *,
        loss: str = "bce",
        members: int = 2,
        epochs: int = EPOCHS,
        body_rate: float | None = None,
        seed: int = 0,
    ) -> None:
        if loss not in LOSSES:
            raise ConfigError(f"unknown loss {loss!r}; choose from {sorted(LOSSES)}")
        if members < 1 or epochs < 1:
            raise ConfigError(
                f"members and epochs must be positive, but got {members=} and {epochs=}"
            )
        if body_rate is not None and body_rate < 0:
            raise ConfigError(f"body_rate must be at least 0, but got {body_rate}")
        fresh = isinstance(encoder, Space | Vocabulary)
        if isinstance(encoder, Space | Vocabulary):
            encoder = GraphEncoder(GraphEncoderConfig(vocabulary=Vocabulary.of(encoder)))
        encoders = encoder if isinstance(encoder, list) else [encoder]
        vocabularies = {one.config.vocabulary for one in encoders}
        if len(vocabularies) != 1:
            raise ConfigError(
                f"encoders must be at least one and share their vocabulary, but got {encoders}"
            )
        super().__init__(FunctionalGraphs(vocabularies.pop()), seed=seed)
        network = encoders[0].config.network
        self.name = f"{network} network" + (f" x {members}" if members > 1 else "") + f", {loss}"
        self.encoders = encoders
        self.fresh = fresh
        self.loss = loss
        self.members = members
        self.epochs = epochs
        self.body_rate = (1.0 if fresh else BODY_RATE) if body_rate is None else body_rate
        self.has_std = members > 1
        self._scorers: list[_Scorer] = []

    def _fit(self, rows: Rows, targets: Scores) -> None:
        ops, edges = form_tensors(rows)
        values = torch.from_numpy(targets).float()
        self._scorers = [self._trained(i, ops, edges, values) for i in range(self.members)]

    def _trained(self, member: int, ops: Tensor, edges: Tensor, targets: Tensor) -> _Scorer:
        """One member, trained."""
        seed = int(np.random.SeedSequence([self.seed, member]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        scorer = self._start(member, seed)
        rates = [LEARNING_RATE * self.body_rate, LEARNING_RATE]
        parts = [[*scorer.encoder.parameters()], [*scorer.head.parameters()]]
        optimizer = torch.optim.AdamW(
            [{"params": part} for part in parts], 0.0, weight_decay=DECAY
        )
        size = min(BATCH_SIZE, len(ops))
        steps = self.epochs * (len(ops) // size)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=steps + 1)
        for _ in range(self.epochs):
            order = torch.randperm(len(ops), generator=generator)
            for start in range(0, len(ops) - size + 1, size):
                part = order[start : start + size]
                loss = LOSSES[self.loss](scorer(ops[part], edges[part]), targets[part])
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
                schedule.step()
        scorer.eval().requires_grad_(False)
        if self.loss != "squared":
            scorer.rescale(*matched(scorer(ops, edges), targets))
        return scorer

    def _start(self, member: int, seed: int) -> _Scorer:
        """An encoder to train, with a new head."""
        encoder = self.encoders[member % len(self.encoders)]
        if self.fresh:
            encoder = GraphEncoder(replace(encoder.config, seed=seed))
        return _Scorer(copy.deepcopy(encoder).requires_grad_(self.body_rate > 0).train(), seed)

    def _predict(self, rows: Rows) -> Scores:
        return self._outputs(rows).mean(0).numpy()

    def _predict_std(self, rows: Rows) -> tuple[Scores, Scores]:
        if not self.has_std:
            return super()._predict_std(rows)
        outputs = self._outputs(rows)
        return outputs.mean(0).numpy(), outputs.std(0, correction=0).numpy()

    @torch.inference_mode()
    def _outputs(self, rows: Rows) -> Tensor:
        """Every member's prediction, float64 [members, N]; each different graph is run once."""
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        parts = [form_tensors(distinct[i : i + CHUNK]) for i in range(0, len(distinct), CHUNK)]
        outputs = [torch.cat([scorer(*part) for part in parts]) for scorer in self._scorers]
        return torch.stack(outputs).double()[:, torch.from_numpy(inverse.reshape(-1))]


class _Scorer(nn.Module):
    """An encoder and a perceptron that makes one number of an embedding."""

    def __init__(self, encoder: GraphEncoder, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.head = nn.Sequential(nn.Linear(encoder.dim, HEAD), nn.SiLU(), nn.Linear(HEAD, 1))

    def forward(self, ops: Tensor, edges: Tensor) -> Tensor:
        """Scores [N] of functional forms."""
        scores: Tensor = self.head(self.encoder(ops, edges))[:, 0]
        return scores

    def rescale(self, slope: Tensor, intercept: Tensor) -> None:
        """Replaces the scores s by slope * s + intercept."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(slope)
        last.bias.mul_(slope).add_(intercept)
