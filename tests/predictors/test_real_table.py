"""On published accuracies: parameters exactly, and the ranking that each predictor reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from gnas.data import load_table
from gnas.encoders import GraphEncoder, load_encoder
from gnas.metrics import kendall_tau, noise_ceiling
from gnas.models import nasbench101_num_params
from gnas.predictors import Forest, GraphNetwork, OneHot, default_predictor
from gnas.spaces import NASBench101

TABLE = "nasbench101/nasbench101_partial.parquet"


def test_parameters_equal_the_table(shared_data: Callable[[str], Path]) -> None:
    table = load_table(shared_data(TABLE))
    assert (nasbench101_num_params(table.graphs) == table.values("num_params")).all()


def test_ranking_reaches_the_known_floors(shared_data: Callable[[str], Path]) -> None:
    table = load_table(shared_data(TABLE))
    val_acc, test_acc = table.val_acc(), table.test_acc()
    assert round(noise_ceiling(val_acc, test_acc), 2) == 0.94
    order = np.random.default_rng(0).permutation(len(table))
    train, test = order[:100], order[100:1100]
    graphs, unseen = table.graphs[train.tolist()], table.graphs[test.tolist()]
    forest = Forest(OneHot(7, 5, with_counts=True)).fit(graphs, val_acc[train])
    ours = default_predictor(NASBench101()).fit(graphs, val_acc[train])
    assert kendall_tau(forest.predict(unseen), test_acc[test]) > 0.70
    assert kendall_tau(ours.predict(unseen), test_acc[test]) > 0.82


def test_a_graph_network_alone_ranks_well(shared_data: Callable[[str], Path]) -> None:
    table = load_table(shared_data("nasbench201/nasbench201_cifar.parquet"))
    scores, encoder = table.val_acc(dataset="cifar10-valid"), load_encoder("dag-nasbench201")
    assert isinstance(encoder, GraphEncoder)
    order = np.random.default_rng(0).permutation(len(table))
    few, rest = order[:156].tolist(), order[156:].tolist()
    model = GraphNetwork(encoder, members=1).fit(table.graphs[few], scores[few])
    assert kendall_tau(model.predict(table.graphs[rest]), scores[rest]) > 0.86
