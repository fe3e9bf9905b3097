"""Optuna samplers that choose architectures, for other people's studies."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState

from gnas.config import check_seed, checked, seed_32
from gnas.errors import ConfigError
from gnas.geometric import Data
from gnas.predictors import Predictor
from gnas.search.objectives import Goal, Objective
from gnas.search.samplers.base import Searcher
from gnas.search.samplers.evolution import RegularizedEvolution
from gnas.search.samplers.history import ARCHITECTURE, SPACE, StudyHistory, check_recorded
from gnas.search.samplers.local_search import LocalSearch
from gnas.search.samplers.predictor_search import PredictorSearch, nasgem_predictor
from gnas.search.samplers.random_search import RandomSearch
from gnas.search.settings import ELITE, EVERY, POOL, POPULATION, START, STARTS, TOURNAMENT
from gnas.spaces import space_record
from gnas.spaces.base import Space


@checked
def suggest_architecture(trial: optuna.trial.BaseTrial, space: Space) -> Data:
    """Suggest the architecture of a trial: call it in the objective, or on a finished trial.

    The first call on a trial chooses the architecture, as ``trial.suggest_float`` does a number;
    further calls return the same one.

    Args:
        trial: Trial of a study with an `ArchitectureSampler`, or any that has an architecture.
        space: The sampler's.

    Raises:
        ConfigError: the trial has none, and its study has another kind of sampler; the trial or
            its study holds architectures of another space; or all were chosen.
        GraphError: its text is malformed, or of another space.

    Examples:
        >>> from gnas.search import RegularizedEvolutionSampler
        >>> from gnas.spaces import NASBench201
        >>> optuna.logging.set_verbosity(optuna.logging.WARNING)
        >>> space = NASBench201()
        >>> def edges(trial):
        ...     return float(suggest_architecture(trial, space).num_edges)
        >>> study = optuna.create_study(
        ...     direction="maximize", sampler=RegularizedEvolutionSampler(space, seed=0)
        ... )
        >>> study.optimize(edges, n_trials=10)
        >>> len(study.trials)
        10
    """
    text = trial.user_attrs.get(ARCHITECTURE)
    sampler = trial.study.sampler if isinstance(trial, optuna.Trial) else None
    if isinstance(sampler, ArchitectureSampler):
        text = sampler.choose(cast(optuna.Trial, trial))
    elif text is None:
        raise ConfigError(
            f"trial {trial.number} must carry an architecture, but has none; give its study a "
            "sampler of gnas.search, for example NASGEMSampler(space), or let Optuna's own choose "
            "by space.suggest(trial)"
        )
    check_recorded(trial.user_attrs, space, f"trial {trial.number}")
    return space.from_str(text)


class ArchitectureSampler(BaseSampler):
    """Optuna sampler that lets a searcher choose the architecture of every trial.

    When the objective calls `suggest_architecture`, the searcher is restored from the study's
    finished trials and asked for an architecture, which is written as text to the trial's user
    attribute ``architecture``, and its space to ``space``. All state is in the study, so several
    processes can work on it, and an interrupted study can be continued.

    What counts: finished trials, minimised or maximised as the study says, in one direction or in
    several, in the order of their completion. Failed and pruned trials have no score, but their
    architectures are not chosen again; to retry, enqueue a trial with the same user attribute (as
    Optuna's ``RetryHeartbeatStaleTrialCallback`` does). A trial enqueued with the attribute keeps
    it, so that known architectures can go first. Those of running and waiting trials are not
    chosen again either, if every process sees at once what another one wrote to the storage
    (which files on some network drives do not guarantee).

    Args:
        make: Makes the searcher, given ``seed=``; must be picklable if the sampler is pickled.
        seed: Fixes the architectures of a study that one process runs; random if None.
        other: Chooses all other hyperparameters of the objective (``trial.suggest_float``);
            Optuna's TPESampler if None.

    Raises:
        ConfigError: a setting that the searcher refuses.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> sampler = ArchitectureSampler(partial(RandomSearch, space), seed=0)
        >>> study = optuna.create_study(direction="maximize", sampler=sampler)
        >>> study.optimize(lambda trial: suggest_architecture(trial, space).num_edges, n_trials=3)
        >>> text = study.best_trial.user_attrs["architecture"]
        >>> space.from_str(text).num_edges == study.best_value
        True
    """

    def __init__(
        self,
        make: Callable[..., Searcher],
        *,
        seed: int | None = None,
        other: BaseSampler | None = None,
    ) -> None:
        chosen = secrets.randbits(63) if seed is None else check_seed(seed)
        self._make = partial(make, seed=chosen)
        self._other = TPESampler(seed=seed_32(chosen)) if other is None else other
        self._start()

    def _start(self) -> None:
        self._searcher = self._make()
        self._record = space_record(self._searcher.space)
        self._history = StudyHistory(self._searcher)
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"_make": self._make, "_other": self._other}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._start()

    def choose(self, trial: optuna.Trial) -> str:
        """The architecture of a trial as text, chosen now if it has none; see the class.

        Raises:
            ConfigError: the study holds architectures of another space, or all were chosen.
        """
        text = trial.user_attrs.get(ARCHITECTURE)
        if text is None:
            with self._lock:
                return self._choose(trial.study, trial)
        where = f"trial {trial.number} of '{trial.study.study_name}'"
        self._history.parse(trial.user_attrs, where)
        return str(text)

    def _choose(self, study: optuna.Study, trial: optuna.Trial) -> str:
        """Write a choice to the trial that no other trial has."""
        count = len(study.directions)
        if len(self._searcher.goal.objectives) != count:  # values come signed
            self._searcher.aim(Goal(tuple(Objective(f"value {k}", "max") for k in range(count))))
        past = self._history.read(study, exclude=trial.number)
        self._searcher.restore(
            past.told, asked=trial.number, pending=past.pending, dropped=past.dropped
        )
        while True:
            graph = self._searcher.ask()
            key = self._searcher.key(graph)
            # Another process may have chosen the same while this one fitted a predictor,
            if self._history.trials_with_key(study, key, exclude=trial.number):
                continue
            text = self._searcher.space.to_str(graph)
            self._history.cache(text, graph, key)
            trial.set_user_attr(SPACE, self._record)
            trial.set_user_attr(ARCHITECTURE, text)
            # or be writing it now: the later writer sees the other.
            if not self._history.trials_with_key(study, key, exclude=trial.number):
                return text

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """See `optuna.samplers.BaseSampler`; for the sampler of the other hyperparameters."""
        self._other.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """See `optuna.samplers.BaseSampler`; for the sampler of the other hyperparameters."""
        self._other.after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """See `optuna.samplers.BaseSampler`; for the sampler of the other hyperparameters."""
        return self._other.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """See `optuna.samplers.BaseSampler`; for the sampler of the other hyperparameters."""
        return self._other.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """See `optuna.samplers.BaseSampler`; for the sampler of the other hyperparameters."""
        return self._other.sample_independent(study, trial, param_name, param_distribution)

    def reseed_rng(self) -> None:
        """Reseed the other sampler; architectures depend on the number of the trial."""
        self._other.reseed_rng()


class RandomArchitectureSampler(ArchitectureSampler):
    """Architectures from `RandomSearch`: the space's own distribution without repeats.

    Args:
        space: Space of the architectures.
        seed: See `ArchitectureSampler`.
        other: See `ArchitectureSampler`.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> sampler = RandomArchitectureSampler(space, seed=0)
        >>> study = optuna.create_study(direction="maximize", sampler=sampler)
        >>> study.optimize(lambda trial: suggest_architecture(trial, space).num_edges, n_trials=3)
        >>> len({trial.user_attrs["architecture"] for trial in study.trials})
        3
    """

    def __init__(
        self, space: Space, *, seed: int | None = None, other: BaseSampler | None = None
    ) -> None:
        super().__init__(partial(RandomSearch, space), seed=seed, other=other)


class RegularizedEvolutionSampler(ArchitectureSampler):
    """Architectures from `RegularizedEvolution`; completion is birth, so ages are exact.

    Args:
        space: Space of the architectures.
        population: Members alive.
        tournament: Members drawn to choose one parent.
        seed: See `ArchitectureSampler`.
        other: See `ArchitectureSampler`.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> sampler = RegularizedEvolutionSampler(space, seed=0)
        >>> study = optuna.create_study(direction="maximize", sampler=sampler)
        >>> study.optimize(lambda trial: suggest_architecture(trial, space).num_edges, n_trials=3)
        >>> len(study.trials)
        3
    """

    def __init__(
        self,
        space: Space,
        *,
        population: int = POPULATION,
        tournament: int = TOURNAMENT,
        seed: int | None = None,
        other: BaseSampler | None = None,
    ) -> None:
        make = partial(RegularizedEvolution, space, population=population, tournament=tournament)
        super().__init__(make, seed=seed, other=other)


class LocalSearchSampler(ArchitectureSampler):
    """Architectures from `LocalSearch`: the neighbours of the best, then another climb.

    Args:
        space: Space of the architectures.
        starts: Random architectures at the beginning of every climb.
        seed: See `ArchitectureSampler`.
        other: See `ArchitectureSampler`.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> sampler = LocalSearchSampler(space, starts=2, seed=0)
        >>> study = optuna.create_study(direction="maximize", sampler=sampler)
        >>> study.optimize(lambda trial: suggest_architecture(trial, space).num_edges, n_trials=3)
        >>> len(study.trials)
        3
    """

    def __init__(
        self,
        space: Space,
        *,
        starts: int = STARTS,
        seed: int | None = None,
        other: BaseSampler | None = None,
    ) -> None:
        super().__init__(partial(LocalSearch, space, starts=starts), seed=seed, other=other)


class NASGEMSampler(ArchitectureSampler):
    """Architectures from `PredictorSearch`: NASGEM's predictor and bootstrap by default.

    Args:
        space: Space of the architectures.
        predictor: Any predictor; None for `nasgem_predictor`: NASGEM's encoder and perceptron
            where there is an encoder for the space, otherwise `gnas.predictors.default_predictor`.
            One that knows its uncertainty is followed by expected improvement.
        num_initial: Random architectures before the first fit.
        refit_every: Finished trials between two fits.
        pool: Random candidates for the predictor.
        num_elites: Number of best architectures whose neighbours join the pool; 0 is the paper's
            bootstrap.
        seed: See `ArchitectureSampler`.
        other: See `ArchitectureSampler`.

    Examples:
        >>> from gnas.spaces import NASBench201
        >>> space = NASBench201()
        >>> study = optuna.create_study(direction="maximize", sampler=NASGEMSampler(space, seed=0))
        >>> study.optimize(lambda trial: suggest_architecture(trial, space).num_edges, n_trials=3)
        >>> len(study.trials)
        3
    """

    def __init__(
        self,
        space: Space,
        predictor: Predictor | None = None,
        *,
        num_initial: int = START,
        refit_every: int = EVERY,
        pool: int = POOL,
        num_elites: int = ELITE,
        seed: int | None = None,
        other: BaseSampler | None = None,
    ) -> None:
        chosen = nasgem_predictor(space) if predictor is None else predictor
        make = partial(
            PredictorSearch,
            space,
            chosen,
            num_initial=num_initial,
            refit_every=refit_every,
            pool=pool,
            num_elites=num_elites,
        )
        super().__init__(make, seed=seed, other=other)
