"""A graph network as a predictor: what it sees is the graph alone, and all of it is trained."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor, nn

from gnas.config import check_count, check_number
from gnas.encoders.graph import GraphEncoder, apply_in_chunks, pack_graphs, unpack_graphs
from gnas.encoders.graph_config import GraphEncoderConfig
from gnas.encoders.paths import PathStatistics
from gnas.errors import ConfigError
from gnas.graphs import DenseBatch, Graphs, as_batch
from gnas.predictors.base import Predictor
from gnas.predictors.channels import ChannelStatistics
from gnas.predictors.embedding import FeatureUnion
from gnas.predictors.features import FeatureMatrix
from gnas.predictors.gaussian_process import ARDGaussianProcess
from gnas.predictors.losses import affine_match, get_loss, squared
from gnas.predictors.mlp import MAX_EPOCHS, MAX_MEMBERS
from gnas.predictors.targets import Scores
from gnas.spaces.base import Space
from gnas.spaces.vocabulary import Vocabulary, functional_forms
from gnas.training.batching import shuffled_batches
from gnas.training.devices import own_generator, own_settings
from gnas.training.step import minimize

EPOCHS = 60
MAX_STEPS = 1200
"""Fewer epochs where these would be more steps than that."""
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
"""Peak of the one-cycle schedule of the head."""
DECAY = 1e-2
HEAD = 64
"""Choices; see ``docs/experiments/graph-networks.md`` for how they were made."""


@dataclass(frozen=True)
class PackedGraphs:
    """Rows are the functional forms themselves: kinds of nodes, then the upper triangle.

    These rows are for `GraphNetwork` alone, which makes graphs of them again; as numbers they
    depend on the order of nodes.

    Raises:
        GraphError: when called with a graph of more than ``vocabulary.max_nodes`` nodes or of
            another vocabulary.

    Examples:
        >>> from gnas.spaces import NASBench201, Vocabulary
        >>> cells = NASBench201().enumerate()
        >>> PackedGraphs(Vocabulary.of(NASBench201()))(cells[:3]).shape
        (3, 55)
    """

    vocabulary: Vocabulary
    name: str = field(default="graphs", init=False)

    def __call__(self, graphs: Graphs) -> FeatureMatrix:
        """Rows float64 [N, n + n (n - 1) / 2] for n nodes of the largest functional form."""
        batch = as_batch(graphs)
        forms = functional_forms(self.vocabulary, batch)
        return pack_graphs(forms.pad_to(self.vocabulary.most_nodes)).astype(np.float64)

    def __post_init__(self) -> None:
        object.__setattr__(self, "vocabulary", Vocabulary.of(self.vocabulary))


class OnPackedGraphs(Predictor):
    """A predictor on counts that takes `PackedGraphs`, as `GraphNetwork` does.

    So the two can be members of one `Average`.

    Args:
        predictor: Any predictor whose features are `PathStatistics`, `ChannelStatistics`, or both
            joined.
        random_state: See `Predictor`; the predictor's own by default.

    Raises:
        ConfigError: the predictor has other features.

    Examples:
        >>> from gnas.predictors import Average, Forest, GraphNetwork
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> trees = OnPackedGraphs(Forest(PathStatistics(space)))
        >>> Average([GraphNetwork(space), trees]).features.name
        'graphs'
    """

    def __init__(self, predictor: Predictor, *, random_state: int | None = None) -> None:
        features = predictor.features
        parts = features.parts if isinstance(features, FeatureUnion) else (features,)
        counts = [p for p in parts if isinstance(p, PathStatistics | ChannelStatistics)]
        if len(counts) < len(parts):
            raise ConfigError(
                "the predictor's features must be PathStatistics or ChannelStatistics, but got "
                f"{features.name}"
            )
        if random_state is None:
            random_state = predictor.random_state
        self.vocabulary = Vocabulary.of(counts[0])
        super().__init__(PackedGraphs(self.vocabulary), random_state=random_state)
        self.name, self.has_std = predictor.name, predictor.has_std
        self.counts = counts
        self.predictor = predictor

    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        self.predictor = self.predictor.reseeded(self.random_state)
        self.predictor._fit(self._counted(rows), targets)

    def _predict(self, rows: FeatureMatrix) -> Scores:
        return self.predictor._predict(self._counted(rows))

    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        return self.predictor._predict_std(self._counted(rows))

    def _counted(self, rows: FeatureMatrix) -> FeatureMatrix:
        """Features of every row; each distinct graph is computed once."""
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        ops, edges = unpack_graphs(distinct)
        num_nodes = (ops >= 0).sum(1)
        kinds = self.vocabulary.num_kinds
        forms = DenseBatch(edges.to(torch.uint8), ops.to(torch.int8), num_nodes, kinds, True)
        counted: FeatureMatrix = np.concatenate(
            [part.of_forms(forms) for part in self.counts], axis=1
        )
        return counted[inverse.reshape(-1)]


class GraphNetwork(Predictor):
    """Graph networks trained end to end on the scored architectures, and processes; their mean.

    A process is a Gaussian process on the embeddings as they were before training. It knows what
    pretraining found and is not misled by few scores; the trained networks adapt. All processes
    together count as one network.

    Args:
        encoder: Initial encoder: a `GraphEncoder`, pretrained or not; or a space, for a
            network of the default recipe with random weights. Of several encoders the first is
            trained.
        loss: A key of `gnas.predictors.losses.LOSSES`. The scores of a ranking loss are
            shifted and scaled to the mean and deviation of the targets.
        members: Networks, each with its own head, batches and, without an encoder, start.
        gaussian_process: Whether there is a process for every encoder; None: unless a space was
            given. Without, how far the networks lie apart is the uncertainty, if there are
            several.
        epochs: Passes over the training graphs, at most `MAX_STEPS` steps.
        body_rate: The encoder's learning rate as a share of the head's; 0 trains the head alone.
        random_state: See `Predictor`.

    Raises:
        ConfigError: an option is outside its range, or encoders of different vocabularies.

    Examples:
        >>> import numpy as np
        >>> from gnas.spaces import NASBench101
        >>> cells = NASBench101().sample_batch(40, np.random.default_rng(0))
        >>> edges = cells.adjacency.sum((1, 2)).double().numpy()
        >>> network = GraphNetwork(NASBench101(), members=1, epochs=2).fit(cells, edges)
        >>> network.name, network.predict(cells).shape
        ('dag network, bce', (40,))
    """

    def __init__(
        self,
        encoder: GraphEncoder | Sequence[GraphEncoder] | Space | Vocabulary,
        *,
        loss: str = "bce",
        members: int = 2,
        gaussian_process: bool | None = None,
        epochs: int = EPOCHS,
        body_rate: float = 1.0,
        random_state: int = 0,
    ) -> None:
        check_count(members, "members", 1, MAX_MEMBERS)
        check_count(epochs, "epochs", 1, MAX_EPOCHS)
        check_number(body_rate, "body_rate", zero=True)
        start, fresh = encoder, isinstance(encoder, Space | Vocabulary)
        if isinstance(encoder, Space | Vocabulary):
            encoder = GraphEncoder(GraphEncoderConfig(vocabulary=Vocabulary.of(encoder)))
        encoders = [*encoder] if isinstance(encoder, Sequence) else [encoder]
        if not all(isinstance(one, GraphEncoder) for one in encoders):
            raise ConfigError(
                "a graph network must start from a GraphEncoder, such as "
                '`encoders.load_encoder("dag-nasbench201")`, or from a space, but got '
                f"{[type(one).__name__ for one in encoders]}"
            )
        vocabularies = {one.config.vocabulary for one in encoders}
        if len(vocabularies) != 1:
            raise ConfigError(
                f"encoders must be at least one and share their vocabulary, but got "
                f"{[one.name for one in encoders]}"
            )
        super().__init__(PackedGraphs(vocabularies.pop()), random_state=random_state)
        network = encoders[0].config.network
        self.name = f"{network} network" + (f" x {members}" if members > 1 else "") + f", {loss}"
        self.encoders = copy.deepcopy(encoders)  # later training of the originals has no effect
        self.encoder = start if fresh else self.encoders
        self.fresh = fresh
        self.loss = loss
        self._loss = get_loss(loss)
        self.members = members
        self.gaussian_process = not fresh if gaussian_process is None else gaussian_process
        self.epochs = epochs
        self.body_rate = body_rate
        self.has_std = members > 1 or self.gaussian_process
        self._scorers: list[_Scorer] = []
        self._processes: list[ARDGaussianProcess] = []

    @own_settings()
    def _fit(self, rows: FeatureMatrix, targets: Scores) -> None:
        ops, edges = unpack_graphs(rows)  # [N, n], [N, n, n]
        values = torch.from_numpy(targets).float()  # [N]
        self._scorers = [self._trained(i, ops, edges, values) for i in range(self.members)]
        self._processes = []
        for encoder in self.encoders if self.gaussian_process else ():
            self._processes.append(
                ARDGaussianProcess(self.features, random_state=self.random_state)
            )
            self._processes[-1]._fit(_embedded(encoder, rows), targets)

    def _trained(self, member: int, ops: Tensor, edges: Tensor, targets: Tensor) -> _Scorer:
        """One member, trained."""
        seed = int(np.random.SeedSequence([self.random_state, member]).generate_state(1)[0])
        generator = torch.Generator().manual_seed(seed)
        scorer = self._start(seed)
        rates = [LEARNING_RATE * self.body_rate, LEARNING_RATE]
        parts = [[*scorer.encoder.parameters()], [*scorer.head.parameters()]]
        optimizer = torch.optim.AdamW(
            [{"params": part} for part in parts], 0.0, weight_decay=DECAY
        )
        size = min(BATCH_SIZE, len(ops))
        a_pass = len(ops) // size
        epochs = max(min(self.epochs, MAX_STEPS // a_pass), 1)
        scheduler = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, rates, total_steps=epochs * a_pass + 1
        )
        minimize(
            shuffled_batches(len(ops), size, generator, epochs=epochs),  # [B] each
            lambda rows: self._loss(scorer(ops[rows], edges[rows]), targets[rows]),
            optimizer,
            scheduler=scheduler,
        )
        scorer.eval().requires_grad_(False)
        if self._loss is not squared:
            scorer.rescale(*affine_match(scorer(ops, edges), targets))
        return scorer

    def _start(self, seed: int) -> _Scorer:
        """An encoder to train, with a new head."""
        encoder = self.encoders[0]
        if self.fresh:
            encoder = GraphEncoder(replace(encoder.config, seed=seed))
        return _Scorer(copy.deepcopy(encoder).requires_grad_(self.body_rate > 0).train(), seed)

    @own_settings()
    def _predict(self, rows: FeatureMatrix) -> Scores:
        if self.has_std:
            return self._predict_std(rows)[0]
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        outputs: Scores = self._outputs(distinct)[0]
        return outputs[inverse.reshape(-1)]

    @own_settings()
    def _predict_std(self, rows: FeatureMatrix) -> tuple[Scores, Scores]:
        if not self.has_std:
            return super()._predict_std(rows)
        distinct, inverse = np.unique(rows, axis=0, return_inverse=True)
        means = [*self._outputs(distinct)]  # members of [M]
        within = np.zeros(len(distinct))
        if self._processes:
            pairs = zip(self.encoders, self._processes, strict=True)
            found = [one._predict_std(_embedded(encoder, distinct)) for encoder, one in pairs]
            means.append(np.mean([mean for mean, _ in found], axis=0))
            within = np.mean([deviation**2 for _, deviation in found], axis=0)
        variance = np.var(means, axis=0) + within
        where = inverse.reshape(-1)
        return np.mean(means, axis=0)[where], np.sqrt(variance)[where]

    def _outputs(self, rows: FeatureMatrix) -> Scores:
        """Every network's prediction, float64 [members, N]."""
        return torch.stack([apply_in_chunks(one, rows) for one in self._scorers]).double().numpy()


def _embedded(encoder: GraphEncoder, rows: FeatureMatrix) -> FeatureMatrix:
    """Embeddings of functional forms: float64 [N, d]."""
    return apply_in_chunks(encoder, rows).double().numpy()


class _Scorer(nn.Module):
    """An encoder and a perceptron that makes one number of an embedding."""

    def __init__(self, encoder: GraphEncoder, seed: int) -> None:
        super().__init__()
        self.encoder = encoder
        with own_generator(seed):
            self.head = nn.Sequential(nn.Linear(encoder.dim, HEAD), nn.SiLU(), nn.Linear(HEAD, 1))

    def forward(self, ops: Tensor, edges: Tensor) -> Tensor:
        """Scores [N] of functional forms."""
        scores: Tensor = self.head(self.encoder(ops, edges))[:, 0]
        return scores

    def rescale(self, slope: Tensor, intercept: Tensor) -> None:
        """Replace the scores s by slope * s + intercept."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(slope)
        last.bias.mul_(slope).add_(intercept)
