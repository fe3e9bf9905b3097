"""Job of the workers of a search: to evaluate its candidates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from gnas.data.files import FORMAT_ERRORS
from gnas.errors import ConfigError, DataError, GnasError
from gnas.evaluate.base import Evaluator, check_measures
from gnas.evaluate.efficiency import WEIGHT, EfficiencyEvaluator
from gnas.evaluate.function import FunctionEvaluator
from gnas.evaluate.training import TrainingEvaluator
from gnas.spaces import Space, space_of_record, space_record
from gnas.spaces.names import parsed_space
from gnas.spaces.registry import loaded_space
from gnas.studies import Job
from gnas.studies.job import Evaluate
from gnas.user_code import Source


@dataclass(frozen=True)
class EvaluationJob(Job):
    """Job that evaluates architectures of a space.

    Its facts are all that a measure depends on, so that searches which measure alike may share a
    study: what one of them had evaluated, the others find there.

    Examples:
        >>> from gnas.evaluate import FunctionEvaluator
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> job = EvaluationJob(NASBench201(), FunctionEvaluator(edges), wanted=("score",))
        >>> evaluate = job.open()
        >>> text = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|none~0|none~1|nor_conv_1x1~2|"
        >>> evaluate({"architecture": text, "seed": 0})["score"]
        3.0
    """

    kind: ClassVar[str] = "search"

    space: Space
    """The architectures."""
    evaluator: Evaluator
    wanted: tuple[str, ...]
    """Names of the measures that every evaluation must return; the first is the score."""

    def metadata(self) -> dict[str, Any]:
        """See `Job.metadata`."""
        about = space_record(self.space)
        return {
            "space": {name: value for name, value in about.items() if name != "file"},
            "evaluator": self.evaluator.metadata(),
            "wanted": list(self.wanted),
        }

    @classmethod
    def from_metadata(
        cls,
        facts: dict[str, Any],
        *,
        data_dir: Path | None = None,
        space: str | None = None,
        evaluate: str | None = None,
    ) -> Self:
        """See `Job.from_metadata`.

        A study never names a file to run on this machine; the command that starts a worker does.

        Args:
            facts: See `Job.from_metadata`.
            data_dir: See `Job.from_metadata`.
            space: ``FILE.py:NAME`` of the space, where it is not one of gnas.
            evaluate: ``FILE.py:FUNCTION`` of the evaluation, where that is a user's function.

        Raises:
            ConfigError: the facts are of another version, a file is not given, or has another
                content than the search's.
            DataError: they are no facts of a search.
        """
        try:
            return cls._made(facts, data_dir, space, evaluate)
        except GnasError:
            raise
        except FORMAT_ERRORS as error:
            raise DataError(
                f"a study must hold the facts of a search, but: {error!r:.200}"
            ) from error

    @classmethod
    def _made(
        cls,
        facts: dict[str, Any],
        data_dir: Path | None,
        space: str | None,
        evaluate: str | None,
    ) -> Self:
        try:
            about, how, wanted = facts["space"], facts["evaluator"], tuple(facts["wanted"])
            kind, own_space, args = how["kind"], "sha256" in about, about["args"]
        except (KeyError, TypeError) as error:
            raise ConfigError(
                f"a search must be one of this version of gnas, but lacks: {error}"
            ) from error
        if own_space:
            given = _same_file(space, about["sha256"], "--space FILE.py:NAME")
            found = loaded_space(given, args)
        else:
            found = space_of_record(about)
        evaluator: Evaluator
        if kind == FunctionEvaluator.kind and "sha256" in how:
            given = _same_file(evaluate, how["sha256"], "--evaluate FILE.py:FUNCTION")
            evaluator = FunctionEvaluator(given)
        elif kind == TrainingEvaluator.kind:
            folder = None if data_dir is None else str(data_dir)
            evaluator = TrainingEvaluator.from_metadata(how, data_dir=folder)
        else:
            raise ConfigError(
                "workers on other machines can evaluate by a training or by a function of a file, "
                f"but this search does by '{kind}', which its own command alone has"
            )
        if WEIGHT in how:
            evaluator = EfficiencyEvaluator(evaluator, how[WEIGHT])
        return cls(found, evaluator, wanted)

    def open(self) -> Evaluate:
        """See `Job.open`."""
        self.evaluator.open(self.space)
        return self.evaluation()

    def read(self) -> str | None:
        """See `Job.read`."""
        return (self.evaluator.data_facts() or {}).get("read")

    def evaluation(self) -> Evaluate:
        """Evaluation function of an open evaluator, as returned by `open`."""

        def evaluate(candidate: dict[str, Any]) -> dict[str, Any]:
            graph = self.space.from_str(candidate["architecture"])
            evaluator = self.evaluator.at(candidate.get("stage", ""))
            found = evaluator.evaluate(graph, seed=candidate["seed"])
            measures = check_measures(found, self.wanted)
            return {**measures, "score": measures[self.wanted[0]], "measures": measures}

        return evaluate


def _same_file(given: str | None, sha256: str, option: str) -> Source:
    """User file given on starting a worker, if it is that of the search."""
    if given is None:
        raise ConfigError(
            f"a worker of this search must be told which file to run; give {option} with the file "
            f"of sha256 {sha256[:12]}..."
        )
    source = Source.parse(parsed_space(given)[0])  # of a space, the arguments are recorded
    if source.sha256 != sha256:
        raise ConfigError(
            f"{option} must be the file that the search was begun with, and the modules beside it "
            f"(sha256 {sha256[:12]}...), but {source.path} has {source.sha256[:12]}..."
        )
    return source
