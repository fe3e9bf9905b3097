"""Every public seed: 0, large ones, none, and those that are none of them."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import FunctionType
from typing import Any

import numpy as np
import optuna
import pytest
import torch
import typer.main
from sklearn.ensemble import ExtraTreesRegressor
from torch import nn
from typer.testing import CliRunner

import gnas
from gnas.bench import experiment, supernet
from gnas.bench.config import (
    DARTSBench,
    NASBench101Bench,
    NASBench201Bench,
    NASGEMBench,
    PredictorsBench,
    RankingBench,
    SearchBench,
    SupernetBench,
)
from gnas.cli import app
from gnas.config import SEEDS, check_seed, seed_32
from gnas.data.images import config as image_config
from gnas.data.images import loading, parts, splits, subsets
from gnas.encoders.config import PRESETS
from gnas.encoders.graph_config import graph_preset
from gnas.encoders.paths import PathStatistics
from gnas.encoders.recipes import train_preset
from gnas.errors import ConfigError
from gnas.predictors import (
    average,
    baselines,
    calibrated,
    defaults,
    gaussian_process,
    graph_network,
    mlp,
)
from gnas.predictors.base import Predictor
from gnas.predictors.registry import make_predictor
from gnas.predictors.wl import WLLabels
from gnas.proxies.measure import ProxyConfig
from gnas.retrain.config import RetrainConfig
from gnas.search.nasgem import accuracy, learning, searcher
from gnas.search.nasgem.config import NasgemConfig
from gnas.search.samplers import evolution, local_search, predictor_search, random_search, study
from gnas.search.samplers.listed import ListedSearch
from gnas.search.toponas.config import ToponasConfig
from gnas.spaces import NASBench201
from gnas.tabulate.config import TabulateConfig
from gnas.training import short
from gnas.training.recipe import ProxyRecipe

SPACE = NASBench201()
FEATURES = PathStatistics(SPACE)
TREES = baselines.Forest(FEATURES, num_trees=2)
GRAPHS = SPACE.sample_batch(12, np.random.default_rng(0))
SCORES = np.linspace(0, 1, 12)
GOOD: tuple[Any, ...] = (0, 2**32, SEEDS - 1, np.uint64(2**32 + 1))
BAD: tuple[Any, ...] = (-1, 2**63, 2**64, 1.5, True, "1", np.int64(-1))

optuna.logging.set_verbosity(optuna.logging.WARNING)


def fitted(make: Callable[..., Predictor]) -> Callable[..., object]:
    """Makes a predictor with a seed and uses it."""

    def use(seed: Any) -> None:
        predictor = make(random_state=seed)
        found = predictor.fit(GRAPHS, SCORES).predict(GRAPHS)
        assert np.array_equal(found, make(random_state=seed).fit(GRAPHS, SCORES).predict(GRAPHS))

    return use


def asked(make: Callable[..., Any]) -> Callable[..., object]:
    """Makes a searcher with a seed and asks it."""
    return lambda seed: make(SPACE, seed=seed).ask()


def nasgem_search(seed: Any) -> object:
    """Has NASGEM's searcher choose its first cell."""
    chosen = searcher.NasgemSearch(SPACE, TREES, num_initial=3, pool=30, seed=seed)
    chosen.aim(chosen.goal)
    return chosen.ask()


def sampled(make: Callable[..., study.ArchitectureSampler]) -> Callable[..., list[float | None]]:
    """Makes a sampler with a seed and has it choose, also after a predictor's first fit."""

    def use(seed: Any) -> list[float | None]:
        a_study = optuna.create_study(sampler=make(seed=seed), direction="maximize")

        def objective(trial: optuna.Trial) -> float:
            study.suggest_architecture(trial, SPACE)
            return trial.suggest_float("lr", 0, 1)

        a_study.optimize(objective, n_trials=5)
        return [trial.value for trial in a_study.trials]

    return use


def nasgem_sampler(seed: Any) -> study.NASGEMSampler:
    return study.NASGEMSampler(SPACE, TREES, num_initial=3, refit_every=1, pool=20, seed=seed)


def gaussian_noise(seed: Any) -> parts.ImageParts:
    return parts.load_images("digits", num_train=20, num_val=10, num_test=10, seed=seed)


def drawn(seed: Any) -> object:
    task = experiment.RankingTask.__new__(experiment.RankingTask)
    object.__setattr__(task, "graphs", GRAPHS)
    object.__setattr__(task, "candidates", np.arange(12))
    return experiment.RankingTask.draw(task, seed, 0)


def trained(seed: Any) -> object:
    recipe = ProxyRecipe(epochs=1, batch_size=10, recalibrate=0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    return short.train_proxy(network, gaussian_noise(0), recipe, seed=seed)


def search_images(seed: Any) -> object:
    images = parts.open_search_images(image_config.SearchImagesConfig(), num_parts=2)
    return images.batches("train", 8, seed=seed)


LABELS = torch.arange(40) % 4
CALLS: dict[str, Callable[..., object]] = {
    "bench.experiment:RankingTask.draw": drawn,
    "bench.experiment:draw_rows": partial(experiment.draw_rows, 9, 5),
    "bench.config:NASBench101Bench": NASBench101Bench,
    "bench.config:NASBench201Bench": NASBench201Bench,
    "bench.config:NASGEMBench": NASGEMBench,
    "bench.config:RankingBench": partial(RankingBench, table="a.parquet", samples=(100,)),
    "bench.config:DARTSBench": partial(DARTSBench, table="a.parquet"),
    "bench.config:PredictorsBench": partial(PredictorsBench, space="nasgem", table="nasgem-mini"),
    "bench.config:SearchBench": partial(SearchBench, space="nasbench201"),
    "bench.config:SupernetBench": SupernetBench,
    "bench.config:SupernetBench.plan": partial(SupernetBench().plan, "darts"),
    "data.images.loading:BatchSchedule": partial(loading.BatchSchedule, count=9, batch_size=3),
    "data.images.parts:load_images": gaussian_noise,
    "data.images.config:SearchImagesConfig": image_config.SearchImagesConfig,
    "data.images.splits:split_evenly": lambda seed: splits.split_evenly(LABELS, 2, seed),
    "data.images.config:ProxyImagesConfig": image_config.ProxyImagesConfig,
    "data.images.config:TrainImagesConfig": lambda seed: image_config.TrainImagesConfig(
        split_seed=seed
    ),
    "data.images.config:NumberedImagesConfig": image_config.NumberedImagesConfig,
    "data.images.subsets:draw_share": lambda seed: subsets.draw_share(LABELS.tolist(), 50, seed),
    "data.images.splits:hold_out": lambda seed: splits.hold_out(LABELS, 0.5, seed),
    "data.images.splits:split_share": lambda seed: splits.split_share(LABELS, 0.5, seed),
    "bench.supernet:one_shot_rows": partial(supernet.one_shot_rows, LABELS),
    "encoders.config:EncoderConfig": partial(replace, PRESETS["nasgem-30"]()),
    "encoders.graph_config:GraphEncoderConfig": partial(replace, graph_preset("dag-nasbench201")),
    "predictors.registry:make_predictor": lambda seed: make_predictor(
        "forest", SPACE, random_state=seed
    ),
    "predictors.average:Average": fitted(partial(average.Average, [TREES, TREES])),
    "predictors.average:Average.reseeded": average.Average([TREES, TREES]).reseeded,
    "predictors.base:Predictor": fitted(partial(baselines.Forest, FEATURES, num_trees=2)),
    "predictors.base:Predictor.reseeded": TREES.reseeded,
    "predictors.baselines:BoostedTrees": fitted(
        partial(baselines.BoostedTrees, FEATURES, num_trees=2)
    ),
    "predictors.baselines:Forest": fitted(partial(baselines.Forest, FEATURES, num_trees=2)),
    "predictors.baselines:GaussianProcess": fitted(partial(baselines.GaussianProcess, FEATURES)),
    "predictors.baselines:IdentityPredictor": partial(baselines.IdentityPredictor, FEATURES),
    "predictors.baselines:Regressor": fitted(
        partial(baselines.Regressor, FEATURES, ExtraTreesRegressor(2))
    ),
    "predictors.calibrated:Calibrated": partial(
        calibrated.Calibrated, gaussian_process.ARDGaussianProcess(FEATURES)
    ),
    "predictors.calibrated:Calibrated.reseeded": calibrated.Calibrated(
        gaussian_process.ARDGaussianProcess(FEATURES)
    ).reseeded,
    "predictors.defaults:default_predictor": lambda seed: defaults.default_predictor(
        SPACE, random_state=seed
    ),
    "predictors.graph_network:OnPackedGraphs": fitted(
        partial(graph_network.OnPackedGraphs, TREES)
    ),
    "predictors.mlp:MLP": fitted(partial(mlp.MLP, FEATURES, epochs=2)),
    "predictors.gaussian_process:ARDGaussianProcess": fitted(
        partial(gaussian_process.ARDGaussianProcess, FEATURES)
    ),
    "predictors.gaussian_process:WLGaussianProcess": fitted(
        partial(gaussian_process.WLGaussianProcess, WLLabels(SPACE))
    ),
    "proxies.measure:ProxyConfig": ProxyConfig,
    "retrain.config:RetrainConfig": RetrainConfig,
    "search.nasgem.config:NasgemConfig": NasgemConfig,
    "search.nasgem.searcher:NasgemSearch": nasgem_search,
    "search.nasgem.learning:random_walk_predictor": partial(learning.random_walk_predictor, 5),
    "search.samplers.base:Searcher": asked(random_search.RandomSearch),
    "search.samplers.evolution:RegularizedEvolution": asked(evolution.RegularizedEvolution),
    "search.samplers.listed:ListedSearch": partial(ListedSearch, SPACE, GRAPHS),
    "search.samplers.local_search:LocalSearch": asked(local_search.LocalSearch),
    "search.samplers.predictor_search:PredictorSearch": asked(predictor_search.PredictorSearch),
    "search.samplers.predictor_search:bayes_search": asked(predictor_search.bayes_search),
    "search.samplers.predictor_search:nasgem_search": asked(predictor_search.nasgem_search),
    "search.samplers.random_search:RandomSearch": asked(random_search.RandomSearch),
    "search.samplers.study:ArchitectureSampler": sampled(
        partial(study.ArchitectureSampler, partial(random_search.RandomSearch, SPACE))
    ),
    "search.samplers.study:LocalSearchSampler": sampled(partial(study.LocalSearchSampler, SPACE)),
    "search.samplers.study:NASGEMSampler": sampled(nasgem_sampler),
    "search.samplers.study:RandomArchitectureSampler": sampled(
        partial(study.RandomArchitectureSampler, SPACE)
    ),
    "search.samplers.study:RegularizedEvolutionSampler": sampled(
        partial(study.RegularizedEvolutionSampler, SPACE)
    ),
    "search.toponas.config:ToponasConfig": ToponasConfig,
    "tabulate.config:TabulateConfig": lambda seed: TabulateConfig(draw_seed=seed),
    "training.short:fresh_network": lambda seed: short.fresh_network(
        lambda: nn.Linear(2, 2), seed
    ),
    "training.short:train_proxy": trained,
    "data.images.parts:ImageParts.batches": search_images,
}
"""How each is called with a seed."""
ELSEWHERE = {
    "bench.experiment:run": "RankingTask.draw",
    "bench.experiment:run_fits": "RankingTask.draw",
    "training.devices:own_generator": "the config of a search or training",
    "training.devices:seed_generators": "the config of a search or training",
    "training.devices:seed_numpy_and_python": "the config of a search or training",
    "training.devices:step_seed": "the config of a search or training",
    "training.loop:seeded": "the config of a search or training",
    "predictors.registry:own_predictor": "Predictor.reseeded",
    "bench.supernet:SupernetSearch": "the record of a search that SupernetBench.plan planned",
    "encoders.recipes:train_for_space": "EncoderConfig",
    "search.samplers.registry:make_searcher": "a Searcher",
    "bench.search_runs:queries": "a Searcher",
    "report.page:Outcome": "the record of a run that has ended",
    "bench.search_runs:SearchTrajectory": "a record, whose seed a Searcher had",
    "search.toponas.selection:SelectionResult": "a record of searches of a ToponasPlan",
    "search.toponas.selection:Validated": "the record of a search that a ToponasPlan planned",
    "config:check_seed": "what all others call",
    "config:seed_32": "a test of its own below",
    "data.images.parts:search_loaders": "ImageParts.batches",
    "data.images.subsets:make_subset": "a test of its own below",
    "encoders.recipes:train_preset": "a test of its own below",
    "evaluate.base:Evaluator.evaluate": "the driver's seed, which SearchPlan checks",
    "evaluate.function:FunctionEvaluator.evaluate": "the driver's seed",
    "evaluate.table:TableEvaluator.evaluate": "the driver's seed",
    "evaluate.training:TrainingEvaluator.evaluate": "the driver's seed",
    "evaluate.efficiency:EfficiencyEvaluator.evaluate": "the driver's seed",
    "search.draws:draw_candidates": "NasgemSearch",
    "search.draws:draw_pool": "NasgemSearch",
    "search.plan:SearchPlan": "a Searcher, and check_seed",
    "search.run:run_search": "SearchPlan",
    "predictors.graph_network:GraphNetwork": "Predictor; its fits take their seeds from numpy",
    "search.nasgem.accuracy:ByAccuracy": "Predictor",
}
"""Where the seeds of the others go."""
NONE_IS_RANDOM = {name for name in CALLS if name.startswith("search.samplers.study:")}
OPTIONAL = {"predictors.graph_network:OnPackedGraphs"}


def with_seeds() -> Iterator[str]:
    """Every public class, method and function of the package that takes a seed."""
    for module in pkgutil.walk_packages(gnas.__path__, "gnas."):
        if module.name.endswith("__main__") or module.name.startswith("gnas.cli"):
            continue
        for name, found in vars(importlib.import_module(module.name)).items():
            if getattr(found, "__module__", None) != module.name or name.startswith("_"):
                continue
            members = {name: found}
            if inspect.isclass(found):
                own = vars(found).items()
                members |= {f"{name}.{k}": v for k, v in own if k[0] != "_" and callable(v)}
            for path, what in members.items():
                try:
                    names = inspect.signature(what).parameters
                except (TypeError, ValueError):
                    continue
                if any(n in ("seed", "random_state") or n.endswith("_seed") for n in names):
                    yield f"{module.name.removeprefix('gnas.')}:{path}"


def test_every_public_seed_is_tested() -> None:
    assert set(with_seeds()) == {*CALLS, *ELSEWHERE}, "say here how it is called with a seed"


def call(name: str, seed: Any) -> object:
    if name.endswith("draw_rows"):
        return CALLS[name](seed)
    predictors = name.startswith("predictors.") and not isinstance(CALLS[name], FunctionType)
    return CALLS[name](**{"random_state" if predictors else "seed": seed})


@pytest.mark.parametrize("name", CALLS)
def test_seeds(name: str) -> None:
    for seed in GOOD:
        call(name, seed)
    for seed in BAD:
        with pytest.raises(
            ConfigError, match=r"(seed|random_state) must be a whole number from 0 below 2\^63"
        ):
            call(name, seed)
    if name in NONE_IS_RANDOM | OPTIONAL:
        call(name, None)
    else:
        with pytest.raises(ConfigError, match="but got None"):
            call(name, None)


def test_samplers_without_a_seed_get_through_a_fit() -> None:
    runs = [sampled(nasgem_sampler)(None) for _ in range(3)]
    assert [len(run) for run in runs] == [5, 5, 5]
    assert runs[0] != runs[1]  # each by a seed of its own


def test_nothing_is_drawn_or_trained_with_a_bad_seed(tmp_path: Path) -> None:
    for seed in BAD:
        with pytest.raises(ConfigError, match="seed must be"):
            train_preset("dag-nasbench201", tmp_path / "a.safetensors", seed=seed)
    (tmp_path / "train" / "a").mkdir(parents=True)
    (tmp_path / "train" / "a" / "1.png").write_bytes(b"")
    for seed in (*BAD, None):
        with pytest.raises(ConfigError, match="seed must be"):
            subsets.make_subset(tmp_path / "train", 50.0, seed)
    assert accuracy.ByAccuracy.__init__.__kwdefaults__ == {"random_state": 0}


def test_small_seeds_are_their_own_and_large_ones_differ() -> None:
    assert [seed_32(seed) for seed in (0, 7, 2**32 - 1)] == [0, 7, 2**32 - 1]
    large = [seed_32(seed) for seed in range(2**32, 2**32 + 100)]
    assert all(0 <= seed < 2**32 for seed in large) and len(set(large)) == 100
    assert type(check_seed(np.int64(3))) is int


def commands(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command that takes a seed."""
    if hasattr(command, "commands"):
        for name, child in command.commands.items():
            yield from commands(child, (*path, name))
    elif any(option.name == "seed" for option in command.params):
        yield path, command


CELL = "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"
ARGUMENTS = {
    "bench nasbench201": ["--table", "a.parquet"],
    "bench nasgem": ["--table", "a.parquet"],
    "bench darts": ["--table", "a.parquet"],
    "bench predictors": ["nasgem", "--table", "a.parquet"],
    "bench search": ["nasbench201", "--table", "a.parquet"],
    "bench supernet": ["nasbench201", "--table", "a.parquet"],
    **{
        name: ["--space", "nasbench201", "--dataset", "digits"]
        for name in ("random", "evolution", "local", "predictor", "bayes")
    },
    "search": ["nasbench201"],
    "train": ["dag-nasbench201", "--out", "a.safetensors"],
    "subset": [".", "--percent", "10", "--out", "list.txt"],
    "export": [
        "|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|",
        "--to",
        "onnx",
        "--out",
        "a.onnx",
    ],
    "retrain": ["|nor_conv_3x3~0|+|none~0|none~1|+|none~0|none~1|skip_connect~2|"],
}


@pytest.mark.parametrize("path", [path for path, _ in commands(typer.main.get_command(app))])
@pytest.mark.parametrize("seed", ["-1", str(2**63), str(2**64)])
def test_commands(
    path: tuple[str, ...], seed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_bytes(b"")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    arguments = [
        *path,
        *ARGUMENTS.get(" ".join(path), ARGUMENTS.get(path[-1], [])),
        "--seed",
        seed,
    ]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 1, done.output
    assert "seed must be a whole number" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "Traceback" not in done.output
