"""NASGEM's claims on measured accuracies of cells of up to 30 nodes."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from gnas.bench.config import NASGEMBench
from gnas.bench.experiment import RankingTask, draw_rows
from gnas.bench.ranking import agreement_of, rank_table
from gnas.bench.result import BenchResult
from gnas.bench.setups import KnownValues, NumEdges, PredictorSetup, predictor_setups
from gnas.bench.tables import open_table, scores_name
from gnas.data.tables import BenchmarkTable
from gnas.encoders import NASGEMEncoder, load_encoder
from gnas.metrics import noise_ceiling
from gnas.predictors import MLP, Embedding, IdentityPredictor, make_predictor
from gnas.search.settings import NASGEM_POOL
from gnas.spaces import NASGEM

DEGREE = 3
"""Degree of the polynomial in ln(MACs) subtracted from accuracies at equal MACs."""
PROTOCOL = {
    "train": "mean validation accuracy over the runs of the sampled cells, by rank",
    "rank": "all cells that are not samples, against mean test accuracy over the runs",
    "pick": "the best predicted of these cells",
    "bias": "best mean test accuracy of the table, minus that of the pick",
    "neighbours": (
        "R2 of the mean validation accuracy of the 10 nearest samples, 5-fold cross-validated "
        "among the samples"
    ),
    "untrained": "the encoder's network with new random weights",
}
EQUAL_MACS = (
    f"of all accuracies, a polynomial of degree {DEGREE} in ln(MACs), fitted to the whole table, "
    "is taken away"
)


def bench_nasgem(
    config: NASGEMBench,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    workers: int = 1,
) -> BenchResult:
    """Run the experiment: draw samples, fit every predictor, rank the rest, pick one.

    Args:
        config: The experiment.
        progress: Called with (fits done, fits in all).
        workers: Processes that fit; the numbers are the same for any number.

    Raises:
        ConfigError: the table has too few cells for ``config.samples``, lacks a column, or is
            of another space.
        MissingDataError: there is no such table.
        DataError: the table is damaged.
        ProcessError: a process was killed.

    Source: Cheng et al., NASGEM, AAAI 2021, sections 4.1 and 4.3, figures 3 and 4.
    """
    began = time.monotonic()
    table = open_table(NASGEM, config.table, config.data_dir)
    scores = [table.val_acc(), table.test_acc()]
    names = [scores_name(table.select(f"{split}_acc")) for split in ("val", "test")]
    if config.equal_macs:
        scores = [at_equal_macs(one, table.values("macs")) for one in scores]
        names = [f"{name} at equal MACs" for name in names]
    task = RankingTask(
        graphs=table.graphs.pad_to(NASGEM().max_nodes),
        visible_graphs=table.graphs.pad_to(NASGEM().max_nodes),
        train_scores=scores[0],
        true_scores=scores[1],
        candidates=draw_rows(len(table), NASGEM_POOL, config.seed),
        smoothness=True,
    )
    return rank_table(
        "bench nasgem",
        config,
        table,
        task,
        participants(table, config.encoders, config.predictors),
        columns=(names[0], names[1]),
        ceiling=(noise_ceiling(*scores), f"{names[0]} itself"),
        agreement=(agreement_of(table), "val_acc"),
        protocol={**PROTOCOL, **({"equal MACs": EQUAL_MACS} if config.equal_macs else {})},
        began=began,
        quantity="residual_acc" if config.equal_macs else "test_acc",
        progress=progress,
        workers=workers,
    )


def participants(
    table: BenchmarkTable, encoders: Sequence[str], predictors: Sequence[str] | None = None
) -> list[PredictorSetup]:
    """Predictors for this table: with and without embeddings, their controls and bounds.

    Args:
        table: Labelled cells.
        encoders: See `predictor_setups`.
        predictors: See `predictor_setups`; None adds those on random walks.
    """
    space = NASGEM()
    found = predictor_setups(
        space,
        encoders,
        wiring_only=False,
        params=KnownValues(table.graphs, table.values("num_params"), "number of parameters"),
        predictors=predictors,
    )
    if predictors is None or "mlp" in predictors:
        for name in encoders:
            encoder = load_encoder(name)
            if isinstance(encoder, NASGEMEncoder):
                control = Embedding(untrained(encoder))
                found.append(PredictorSetup(MLP(control), "MLP", f"{name}, untrained"))
    if predictors is None:
        walks = (make_predictor(name, space) for name in ("mlp-walks", "gp-walks"))
        found += [PredictorSetup(one, one.name, one.features.name) for one in walks]
    macs = KnownValues(table.graphs, table.values("macs"), "MACs")
    for trivial in (macs, NumEdges()):
        found.append(PredictorSetup(IdentityPredictor(trivial), "none", trivial.name))
    return found


def untrained(encoder: NASGEMEncoder) -> NASGEMEncoder:
    """The same network and standardised inputs with new random weights: the control."""
    config = replace(encoder.config, seed=encoder.config.seed + 1)
    fresh = NASGEMEncoder(config, f"{encoder.name}, untrained")
    fresh.shift.copy_(encoder.shift)
    fresh.scale.copy_(encoder.scale)
    last = fresh.layers[-1]
    assert isinstance(last, torch.nn.Linear)
    if not bool(last.weight.any()):  # zero before training, where a sketch stands beside it
        generator = torch.Generator().manual_seed(config.seed)
        torch.nn.init.kaiming_uniform_(last.weight, nonlinearity="relu", generator=generator)
    return fresh.eval()


def at_equal_macs(scores: NDArray[np.float64], macs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores without what a polynomial in ln(MACs) says of them; means stay.

    Args:
        scores: float [N].
        macs: Multiply-accumulates [N], positive.
    """
    fit = np.polynomial.Polynomial.fit(np.log(macs.astype(np.float64)), scores, DEGREE)
    rest: NDArray[np.float64] = scores - fit(np.log(macs.astype(np.float64))) + scores.mean()
    return rest
