"""Architecture search in a hundred lines: sample, compare, embed, predict, search."""

from __future__ import annotations

import numpy as np
import torch
from torch_geometric.data import Data

from gnas import encoders, predictors
from gnas.data import load_table
from gnas.graphs import architecture, graph_hash
from gnas.kernels import wl_kernel
from gnas.metrics import kendall_tau
from gnas.predictors import MLP, Embedding
from gnas.search import bootstrap, sample_pool
from gnas.spaces import NASBench101


def sample(space: NASBench101, rng: np.random.Generator) -> Data:
    """A cell is a PyTorch Geometric graph: draw one, write one by hand, mutate one."""
    drawn = space.sample(rng)
    print("drawn:   ", space.to_str(drawn))

    conv, pool = space.ops.index("conv3x3-bn-relu"), space.ops.index("maxpool3x3")
    by_hand = architecture(
        [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]],  # input -> conv, pool -> output
        ops=[0, conv, pool, 4],
        num_ops=len(space.ops),
    )
    space.validate(by_hand)  # raises GraphError with a reason if it is no cell of the space
    print("by hand: ", by_hand)

    swapped = architecture(
        [[0, 1, 1, 0], [0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 0]], [0, pool, conv, 4], 5
    )
    assert graph_hash(swapped) == graph_hash(by_hand)  # the same cell with nodes renumbered
    print("changed: ", space.to_str(space.mutate(by_hand, rng)))
    return by_hand


def compare(space: NASBench101, cell: Data, rng: np.random.Generator) -> None:
    """The Weisfeiler-Lehman kernel: 1 for the same graph, less the more two graphs differ."""
    near = space.mutate(cell, rng)
    far = space.sample(rng)
    similarity = wl_kernel([cell, near, far], labels="op")
    print("kernel:  ", [f"{value:.2f}" for value in similarity[0].tolist()], "itself, near, far")


def embed(space: NASBench101, rng: np.random.Generator) -> None:
    """An encoder: where the kernel finds two graphs alike, the cosine of their vectors is high."""
    encoder = encoders.load_encoder("nasgem-nasbench101")
    cells = space.sample_batch(200, rng)
    vectors = torch.nn.functional.normalize(encoder.encode(cells), dim=1)
    target = encoder.config  # what the encoder was trained to
    assert isinstance(target, encoders.EncoderConfig)
    kernel = wl_kernel(cells, target.n_iter, labels=target.labels, direction=target.direction)
    first, second = np.triu_indices(len(cells), k=1)  # every pair of two different cells
    cosines = (vectors @ vectors.T).numpy()
    agreement = np.corrcoef(cosines[first, second], kernel.numpy()[first, second])[0, 1]
    print(f"encoder:  {tuple(vectors.shape)} vectors, correlation with the kernel {agreement:.3f}")


def predict_and_search(space: NASBench101, rng: np.random.Generator) -> None:
    """Train two predictors on a few cells of a benchmark table, then choose with the default."""
    table = load_table("nasbench101")  # says so if it is only the small one that gnas ships
    print("table:   ", table)
    rows = rng.permutation(len(table))
    few, rest = rows[:100].tolist(), rows[100:].tolist()
    known, unknown = table.graphs[few], table.graphs[rest]
    truth = table.val_acc()[rest]

    paper = MLP(Embedding(encoders.load_encoder("nasgem-nasbench101")))
    ours = predictors.default_predictor(space)
    for predictor in (paper, ours):
        predictor.fit(known, table.val_acc()[few])
        tau = kendall_tau(predictor.predict(unknown), truth)
        print(f"tau:      {tau:.2f} on {len(rest)} unseen cells, {type(predictor).__name__}")

    found = bootstrap(ours, unknown)
    reached, best = table.test_acc()[rest][found.rows[0]], table.test_acc()[rest].max()
    print(f"found:    test accuracy {reached:.1%}; the best of the table has {best:.1%}")

    anywhere = bootstrap(ours, sample_pool(space, rng, 5_000))  # beyond the table
    print("try next:", space.to_str(anywhere.graphs.data(0)))


def main() -> None:
    space, rng = NASBench101(), np.random.default_rng(0)
    cell = sample(space, rng)
    compare(space, cell, rng)
    embed(space, rng)
    predict_and_search(space, rng)


if __name__ == "__main__":
    main()
