"""Optuna studies whose architectures our samplers choose."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from optuna.samplers import BaseSampler, RandomSampler
from optuna.storages import BaseStorage, InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from gnas.errors import ConfigError
from gnas.graphs import as_batch
from gnas.search import (
    Goal,
    LocalSearchSampler,
    NASGEMSampler,
    RandomArchitectureSampler,
    RegularizedEvolutionSampler,
    suggest_architecture,
)
from gnas.search.pareto import non_dominated
from gnas.search.samplers import ArchitectureSampler, RandomSearch
from gnas.spaces import NASGEM, NASBench101, NASBench201, Space, space_of_record

SAMPLERS: dict[str, tuple[Callable[..., ArchitectureSampler], dict[str, int]]] = {
    "random": (RandomArchitectureSampler, {}),
    "evolution": (RegularizedEvolutionSampler, {"population": 4, "tournament": 3}),
    "local": (LocalSearchSampler, {"starts": 2}),
    "nasgem": (NASGEMSampler, {"num_initial": 4, "refit_every": 3, "pool": 40, "num_elites": 1}),
}


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(params=sorted(SAMPLERS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def sampler(name: str, space: Space, **more: Any) -> ArchitectureSampler:
    make, settings = SAMPLERS[name]
    return make(space, seed=7, **{**settings, **more})


def study(
    chooser: BaseSampler, storage: BaseStorage | None = None, **options: Any
) -> optuna.Study:
    return optuna.create_study(
        storage=storage,
        sampler=chooser,
        study_name="cells",
        load_if_exists=True,
        **{"direction": "maximize", **options},
    )


def edges(trial: optuna.Trial, space: Space) -> float:
    return float(suggest_architecture(trial, space).edge_index.size(1))


def ask(study: optuna.Study, space: Space) -> optuna.Trial:
    """A trial with its architecture, as an objective would have it."""
    trial = study.ask()
    suggest_architecture(trial, space)
    return trial


def objective(trial: optuna.Trial) -> float:
    return edges(trial, NASBench201())


def texts(study: optuna.Study) -> list[str]:
    return [trial.user_attrs["architecture"] for trial in study.get_trials(deepcopy=False)]


def keys(study: optuna.Study, space: Space) -> list[int]:
    return RandomSearch(space).keys(as_batch([space.from_str(text) for text in texts(study)]))


@pytest.mark.parametrize("space", [NASBench201(), NASGEM(8)], ids=lambda space: space.name)
def test_trials_have_different_architectures(name: str, space: Space) -> None:
    ours = study(sampler(name, space))
    ours.optimize(partial(edges, space=space), n_trials=12)
    for trial in ours.trials:
        space.validate(suggest_architecture(trial, space))
        assert space_of_record(trial.user_attrs["space"]) == space
    assert len(set(keys(ours, space))) == 12
    assert edges(ours.best_trial, space) == ours.best_value  # type: ignore[arg-type]


def test_a_stopped_study_goes_on_as_if_it_had_not_been(name: str, tmp_path: Path) -> None:
    space = NASBench201()
    whole = study(sampler(name, space))
    whole.optimize(objective, n_trials=16)
    for _ in range(2):  # each with nothing but the file
        storage = JournalStorage(JournalFileBackend(str(tmp_path / "journal")))
        part = study(sampler(name, space), storage)
        part.optimize(objective, n_trials=8)
    assert texts(part) == texts(whole)


def test_minimising_is_maximising_the_negative(name: str) -> None:
    space = NASBench201()
    up, down = study(sampler(name, space)), study(sampler(name, space), direction="minimize")
    up.optimize(objective, n_trials=14)
    down.optimize(lambda trial: -objective(trial), n_trials=14)
    assert texts(up) == texts(down)


def test_pickled_and_copied_samplers_choose_alike(name: str) -> None:
    ours = study(sampler(name, NASBench201()))
    ours.optimize(objective, n_trials=6)
    other = study(pickle.loads(pickle.dumps(ours.sampler)))
    other.add_trials(ours.trials)
    for each in (ours, other):
        each.optimize(objective, n_trials=4)
    assert texts(ours) == texts(other)


def test_evolution_counts_age_from_completion() -> None:
    space = NASBench201()
    chooser = sampler("evolution", space)
    ours = study(chooser)
    trials = [ask(ours, space) for _ in range(6)]
    order = [3, 0, 5, 1, 4, 2]
    for number in order:
        ours.tell(trials[number], float(number))
    ask(ours, space)
    assert [scored.score for scored in chooser._searcher.told] == order
    parents = {scored.key for scored in chooser._searcher.told[-4:]}
    child = chooser._searcher.key(suggest_architecture(ours.ask(), space))
    best = next(s for s in chooser._searcher.told if s.score == 5)
    around = [s for s in chooser._searcher.told if s.key in parents]
    near = {key for s in around for key in chooser._searcher.keys(space.neighbours(s.graph))}
    assert best.key in parents and child in near


def test_failed_and_pruned_trials_are_not_scored_and_not_chosen_again() -> None:
    space = NASGEM(2)  # six architectures
    chooser = sampler("evolution", space, population=2)

    def sometimes(trial: optuna.Trial) -> float:
        suggest_architecture(trial, space)
        if trial.number == 0:
            raise RuntimeError("out of memory")
        if trial.number == 1:
            raise optuna.TrialPruned
        return float("inf") if trial.number == 2 else float(trial.number)

    ours = study(chooser)
    ours.optimize(sometimes, n_trials=6, catch=(RuntimeError,))
    assert len(set(texts(ours))) == 6
    with pytest.raises(ConfigError, match="none is left after 6"):
        ours.optimize(sometimes, n_trials=1)
    assert [scored.score for scored in chooser._searcher.told] == [3.0, 4.0, 5.0]
    assert ours.trials[-1].state == TrialState.FAIL  # not running for ever


def test_enqueued_architectures_go_first_and_count() -> None:
    space = NASGEM(2)
    ours = study(sampler("random", space))
    known = space.to_str(space.from_str("conv_1x1,dw_sep_conv_3x3|1"))
    ours.enqueue_trial({}, user_attrs={"architecture": known})
    waiting = space.to_str(space.from_str("conv_1x1,conv_1x1|1"))
    first = ask(ours, space)
    ours.enqueue_trial({}, user_attrs={"architecture": waiting})
    ours.tell(first, state=TrialState.FAIL)
    ours.enqueue_trial({}, user_attrs={"architecture": known})  # a retry
    trials = [ask(ours, space) for _ in range(6)]
    assert first.user_attrs["architecture"] == known
    assert [trial.user_attrs["architecture"] for trial in trials[:2]] == [waiting, known]
    assert len(set(texts(ours))) == 6
    with pytest.raises(ConfigError, match="none is left"):
        ask(ours, space)


def test_studies_of_other_spaces_are_refused_in_one_line() -> None:
    storage = InMemoryStorage()
    study(sampler("random", NASBench201()), storage).optimize(objective, n_trials=2)
    other = study(sampler("evolution", NASBench101()), storage)
    with pytest.raises(ConfigError, match=r"trial 0 of 'cells' must hold.*nasbench101") as found:
        other.optimize(objective, n_trials=1)
    assert "\n" not in str(found.value) and "use another study name" in str(found.value)
    assert other.trials[-1].state == TrialState.FAIL
    for broken, space in itertools.product((5, "no cell"), (NASGEM(8), NASBench201())):
        third = study(sampler("random", space))
        third.enqueue_trial({}, user_attrs={"architecture": broken})
        with pytest.raises(ConfigError, match=f"trial 0 of 'cells' must hold.*has '{broken}'"):
            ask(third, space)


def test_studies_of_several_objectives(name: str) -> None:
    """The same architectures as a search that is told the signed values."""

    def both(trial: optuna.Trial) -> tuple[float, float]:
        kinds = suggest_architecture(trial, NASBench201()).edge_op
        return float((kinds == 3).sum()), float(kinds.sum())

    space = NASBench201()
    chooser = sampler(name, space)
    ours = study(chooser, direction=None, directions=["maximize", "minimize"])
    ours.optimize(both, n_trials=24)
    plain = chooser._make()
    plain.aim(Goal.of(["good:max", "bad:min"]))
    for text in texts(ours):
        graph = plain.ask()
        assert space.to_str(graph) == text
        kinds = graph.edge_op
        plain.tell(graph, {"good": float((kinds == 3).sum()), "bad": float(kinds.sum())})
    values = np.array([[trial.values[0], -trial.values[1]] for trial in ours.trials])
    assert {t.number for t in ours.best_trials} >= {*non_dominated(values)}


def test_trials_without_architecture_are_passed_over_and_named() -> None:
    ours = study(RandomSampler())
    trial = ours.ask()
    with pytest.raises(ConfigError, match="trial 0 must carry an architecture, but has none"):
        suggest_architecture(trial, NASBench201())
    ours.tell(trial, 1.0)
    ours.sampler = chooser = sampler("evolution", NASBench201())
    ours.optimize(objective, n_trials=5)
    assert len(chooser._searcher.told) == 4


def test_other_hyperparameters_come_from_the_other_sampler() -> None:
    def both(trial: optuna.Trial) -> float:
        return trial.suggest_float("rate", 0, 1) + trial.suggest_int("width", 1, 9)

    plain = study(RandomSampler(seed=3))
    ours = study(sampler("random", NASBench201(), other=RandomSampler(seed=3)))
    for each in (plain, ours):
        each.optimize(both, n_trials=5)
    assert [trial.params for trial in ours.trials] == [trial.params for trial in plain.trials]
    default = study(sampler("random", NASBench201()))
    default.optimize(both, n_trials=12)
    assert len({trial.params["rate"] for trial in default.trials}) > 6


def test_threads_of_one_study_do_not_choose_the_same(name: str) -> None:
    ours = study(sampler(name, NASBench201()))
    ours.optimize(objective, n_trials=24, n_jobs=3)
    assert len(set(texts(ours))) == 24


def test_two_workers_on_one_journal_do_not_choose_the_same(name: str, tmp_path: Path) -> None:
    """Each has its own storage object and sampler, as processes have: they share the file."""
    space, path = NASGEM(8), str(tmp_path / "journal")
    studies = [
        study(sampler(name, space), JournalStorage(JournalFileBackend(path))) for _ in range(2)
    ]
    own = partial(edges, space=space)
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda each: each.optimize(own, n_trials=12), studies))
    found = keys(studies[0], space)
    assert len(found) == len(set(found)) == 24


def test_pruners_that_show_a_part_of_the_study_do_not_hide_architectures() -> None:
    ours = study(sampler("random", NASGEM(2)), pruner=optuna.pruners.HyperbandPruner())
    ours.optimize(partial(edges, space=NASGEM(2)), n_trials=6)
    assert len(set(texts(ours))) == 6
    with pytest.raises(ConfigError, match="none is left"):
        ask(ours, NASGEM(2))


def test_a_trial_has_one_architecture_however_often_it_is_asked_for() -> None:
    space = NASBench201()
    ours = study(sampler("random", space))
    trial = ours.ask()
    first, second = (suggest_architecture(trial, space) for _ in range(2))
    assert space.to_str(first) == space.to_str(second) == trial.user_attrs["architecture"]
    assert "architecture" not in ours.ask().user_attrs  # nobody wants one of this trial
    frozen = ours.trials[0]
    assert space.to_str(suggest_architecture(frozen, space)) == space.to_str(first)
    fixed = optuna.trial.FixedTrial({})
    with pytest.raises(ConfigError, match="must carry an architecture, but has none"):
        suggest_architecture(fixed, space)
