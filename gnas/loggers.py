"""Experiment trackers: Weights & Biases, MLflow, or a custom one.

A run's ``metrics.jsonl`` is the source: each line is reported to the trackers exactly once, also
if the run is killed and resumed. ``loggers.json`` beside it records the trackers' run identifiers
and the last reported step.
"""

from __future__ import annotations

import json
import logging
import math
import os
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar, Literal

from gnas.data.files import FORMAT_ERRORS, as_data_error, atomic_write, read_json, read_json_lines
from gnas.errors import ConfigError, DataError
from gnas.printable import printable
from gnas.runs import NOTICE, to_json

logger = logging.getLogger(__name__)

STATE = "loggers.json"
"""The file in a run's folder that says what trackers know of it."""
EVERY_S = 1.0
"""Seconds between messages to trackers at least, and ten times as long as a message takes: a
search in a table has thousands of lines in a moment."""
PROJECT = "gnas"
"""Project of W&B, or experiment of MLflow, where the user names none."""
FILES = ("config.json", "metrics.jsonl", "result.json")
"""Files of a run that trackers keep, with its figures."""

Status = Literal["running", "finished", "failed", "killed"]


@dataclass(frozen=True)
class MetricLine:
    """A line of ``metrics.jsonl``: an epoch, or an evaluation of a search."""

    step: int
    """Number of the epoch, from 1, or of the evaluation, from 0."""
    values: Mapping[str, float | str]
    """Everything that is a finite number or a text, by name."""

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> MetricLine:
        """Make one of a line's record.

        Measures of an evaluation are named as in TensorBoard: ``search/val_acc``, or with the
        evaluator's stage in front.

        Args:
            record: The line, as JSON has it.

        Raises:
            KeyError, TypeError or ValueError: it has no step.

        Examples:
            >>> MetricLine.of({"epoch": 2, "val_acc": 0.5, "genotype": None})
            MetricLine(step=2, values={'epoch': 2, 'val_acc': 0.5})
            >>> MetricLine.of({"number": 0, "measures": {"score": 1.0}, "stage": ""})
            MetricLine(step=0, values={'search/score': 1.0})
        """
        if "epoch" in record:
            return cls(int(record["epoch"]), _scalars(record))
        stage = record.get("stage") or "search"
        told = {
            **(record.get("measures") or {}),
            **{name: record.get(name) for name in ("expected", "architecture", "error")},
        }
        return cls(int(record["number"]), {f"{stage}/{k}": v for k, v in _scalars(told).items()})


@dataclass(frozen=True)
class LoggedRun:
    """A run as reported to a tracker."""

    folder: Path
    name: str
    """Name of the folder, preceded by those of the runs that it is a part of."""
    group: str | None
    """Folder of the whole run that it is a part of, as one of several trainings is."""
    config: Mapping[str, Any]
    """Content of ``config.json``: ``config``, ``data``, ``versions``, ..."""
    identity: str | None
    """Result of `RunLogger.open` at the start of the run; None for a new run."""


class RunLogger(ABC):
    """A tracker of experiments.

    A run calls `open`, then `log` as often as there are new lines, then `close`; then perhaps
    `open` for another run. It does so in its main process alone. Whatever one of them raises
    ends the logging, with a warning, and not the run.

    Examples:
        >>> class Printer(RunLogger):
        ...     name = "printer"
        ...     def open(self, run):
        ...         return run.identity or run.name, None
        ...     def log(self, lines):
        ...         print([line.step for line in lines])
        ...     def close(self, result, files, status):
        ...         print(status, result)
    """

    name: ClassVar[str]
    """Its key in ``loggers.json``."""

    @abstractmethod
    def open(self, run: LoggedRun) -> tuple[str, int | None]:
        """Begin a run, or go on with the one that ``run.identity`` names.

        Args:
            run: The run.

        Returns:
            The tracker's name for the run, and the last step that the tracker knows, None if it
            cannot say.
        """

    @abstractmethod
    def log(self, lines: Sequence[MetricLine]) -> None:
        """Add lines.

        Args:
            lines: New ones, in the order of their steps.
        """

    @abstractmethod
    def close(self, result: Mapping[str, Any], files: Sequence[Path], status: Status) -> None:
        """End the run.

        Args:
            result: Its summary: numbers and texts by name; empty if it has none.
            files: Files of the run, in its folder.
            status: Final status.
        """


class WandbLogger(RunLogger):
    """Weights & Biases, by its own client; the environment variables ``WANDB_*`` hold.

    With ``WANDB_MODE=offline`` nothing is sent; ``wandb sync`` does that later.

    Args:
        project: Name of the project; None for ``WANDB_PROJECT``, or "gnas".
        options: Further ones of ``wandb.init``: ``entity``, ``tags``, ``notes``, ...

    Raises:
        ConfigError: wandb is not installed.
    """

    name = "wandb"

    def __init__(self, project: str | None = None, **options: Any) -> None:
        _check_installed(self.name)
        self._project, self._options = project, options
        self._run: Any = None
        self._folder = Path()

    def open(self, run: LoggedRun) -> tuple[str, int | None]:
        """See `RunLogger`; files of wandb lie in the run's folder, or in ``WANDB_DIR``."""
        _set_defaults(WANDB_INIT_TIMEOUT="30", WANDB_FINISH_TIMEOUT="60")
        import wandb

        self._folder = run.folder
        identity = run.identity or secrets.token_hex(4)
        self._run = wandb.init(
            **{
                "project": self._project or os.environ.get("WANDB_PROJECT", PROJECT),
                "name": run.name,
                "group": run.group,
                "job_type": str(run.config["config"].get("command", "run")),
                "config": dict(run.config),
                "dir": os.environ.get("WANDB_DIR", str(run.folder)),
                "settings": wandb.Settings(console="off", silent=True),
                **self._options,
                "id": identity,
                "resume": "allow",
                "reinit": "create_new",
            }
        )
        if os.environ.get("WANDB_MODE") != "disabled":
            sync = f"wandb sync {self._run.settings.sync_dir}"
            logger.log(NOTICE, "wandb: %s", self._run.url if not self._run.offline else sync)
        first = self._run.starting_step
        return identity, first - 1 if first else None

    def log(self, lines: Sequence[MetricLine]) -> None:
        """See `RunLogger`; texts are logged too."""
        for line in lines:
            self._run.log(dict(line.values), step=line.step, commit=True)

    def close(self, result: Mapping[str, Any], files: Sequence[Path], status: Status) -> None:
        """See `RunLogger`; files become an artifact, pictures images of the run too."""
        import wandb

        self._run.summary.update({f"result/{name}": value for name, value in result.items()})
        if status == "finished":
            for path in (path for path in files if path.suffix == ".png"):
                self._run.summary[f"figures/{path.stem}"] = wandb.Image(str(path))
            artifact = wandb.Artifact(f"run-{self._run.id}", type="run")
            for path in files:
                artifact.add_file(str(path), name=str(path.relative_to(self._folder)))
            self._run.log_artifact(artifact)
        self._run.finish(exit_code=int(status != "finished"))


class MlflowLogger(RunLogger):
    """MLflow, by its own client; ``MLFLOW_TRACKING_URI`` and the like hold.

    Args:
        tracking_uri: A server, or a file such as ``sqlite:///mlflow.db``; None for MLflow's
            choice.
        experiment: Name; None for ``MLFLOW_EXPERIMENT_NAME``, or "gnas".

    Raises:
        ConfigError: mlflow is not installed.
    """

    name = "mlflow"
    _STEP = "gnas.step"
    """Tag with the last step that was logged."""
    _MOST_PARAMS, _MAX_METRICS, _LONGEST = 100, 1000, 6000
    """Limits of a message, see ``MlflowClient.log_batch``."""

    def __init__(self, tracking_uri: str | None = None, experiment: str | None = None) -> None:
        _check_installed(self.name)
        self._uri, self._experiment = tracking_uri, experiment
        self._client: Any = None
        self._run = ""
        self._folder = Path()

    def open(self, run: LoggedRun) -> tuple[str, int | None]:
        """See `RunLogger`; parameters are those of the first start, MLflow changes none."""
        _set_defaults(
            MLFLOW_HTTP_REQUEST_MAX_RETRIES="2",
            MLFLOW_HTTP_REQUEST_TIMEOUT="20",
            MLFLOW_LOGGING_LEVEL="WARNING",
        )
        from mlflow.entities import Param
        from mlflow.tracking import MlflowClient

        self._client, self._folder = MlflowClient(tracking_uri=self._uri), run.folder
        if run.identity is not None:
            self._run = run.identity
            self._client.update_run(self._run, status="RUNNING")
            tags = self._client.get_run(self._run).data.tags
            return self._run, int(tags[self._STEP]) if self._STEP in tags else None
        name = self._experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        found = self._client.get_experiment_by_name(name)
        number = found.experiment_id if found else self._client.create_experiment(name)
        about = {key: value for key, value in run.config.items() if key not in ("config", "data")}
        commit = about.pop("git_commit", None)
        tags = {"mlflow.source.git.commit": commit} if commit else {}
        tags |= {"gnas.folder": str(run.folder), **({"group": run.group} if run.group else {})}
        tags |= {key: text[: self._LONGEST] for key, text in _flat(about).items()}
        self._run = self._client.create_run(number, run_name=run.name, tags=tags).info.run_id
        params = [
            Param(key[:250], text[: self._LONGEST])
            for key, text in _flat(
                {**run.config["config"], "data": run.config.get("data") or {}}
            ).items()
        ]
        for k in range(0, len(params), self._MOST_PARAMS):
            self._client.log_batch(self._run, params=params[k : k + self._MOST_PARAMS])
        logger.log(NOTICE, "mlflow: run %s in %s", self._run, self._client.tracking_uri)
        return self._run, None

    def log(self, lines: Sequence[MetricLine]) -> None:
        """See `RunLogger`; texts stand in the artifact ``metrics.jsonl`` alone."""
        from mlflow.entities import Metric, RunTag

        def send() -> None:
            tag = RunTag(self._STEP, str(last))  # with the metrics, in one transaction
            self._client.log_batch(self._run, metrics=batch, tags=[tag])

        now, batch, last = int(1000 * time.time()), list[Any](), 0
        for line in lines:
            own = [
                Metric(_key(name), float(value), now, line.step)
                for name, value in line.values.items()
                if not isinstance(value, str)
            ]
            if batch and len(batch) + len(own) > self._MAX_METRICS:
                send()
                batch = []
            batch, last = batch + own, line.step
        send()

    def close(self, result: Mapping[str, Any], files: Sequence[Path], status: Status) -> None:
        """See `RunLogger`; numbers of the result become metrics, texts tags, files artifacts."""
        from mlflow.entities import Metric, RunTag

        now = int(1000 * time.time())
        self._client.log_batch(
            self._run,
            metrics=[
                Metric(_key(f"result/{name}"), float(value), now, 0)
                for name, value in result.items()
                if not isinstance(value, str)
            ],
            tags=[
                RunTag(_key(f"result.{name}"), value[: self._LONGEST])
                for name, value in result.items()
                if isinstance(value, str)
            ],
        )
        if status == "finished":
            for path in files:
                place = str(path.parent.relative_to(self._folder))
                self._client.log_artifact(self._run, str(path), None if place == "." else place)
        self._client.set_terminated(self._run, status=status.upper())


LOGGERS: dict[str, type[RunLogger]] = {"wandb": WandbLogger, "mlflow": MlflowLogger}
"""Loggers by the names that ``--log`` takes."""


@dataclass
class _State:
    """Record of a run in a tracker."""

    run: str | None = None
    logged: int = -1
    status: Status = "running"


class RunLog:
    """Relay of what a run writes into its folder to its loggers.

    Args:
        folder: The run's; None tells nothing.
        loggers: Whom.

    Raises:
        ConfigError: they are no list of loggers, each with a name of its own.
        DataError: ``loggers.json`` is damaged.
    """

    def __init__(self, folder: Path | None, loggers: Sequence[RunLogger]) -> None:
        _check_loggers(loggers)
        self._folder = folder or Path()
        self._loggers = [] if folder is None else [*loggers]
        self._states = _read_states(folder) if folder is not None and loggers else {}
        self._open: set[str] = set()
        self._begun, self._next_at = False, -math.inf

    def update(self, *, at_once: bool = False) -> None:
        """Tell what is new in ``metrics.jsonl``.

        Args:
            at_once: Also if something was told a moment ago, see `EVERY_S`.
        """
        start = time.monotonic()
        self._begun = True
        if not self._loggers or (not at_once and start < self._next_at):
            return
        lines = self._lines()
        for one in [*self._loggers]:
            with self._guarded(one):
                if one.name not in self._states:
                    self._states[one.name] = _State()
                    self._keep(one)  # a resumed run tries again what fails now
                self._tell(one, lines)
        now = time.monotonic()
        self._next_at = now + max(EVERY_S, 10 * (now - start))

    def close(self, status: Status) -> None:
        """Tell the rest, the result and how the run ended, if it was told of before.

        Args:
            status: Final status.
        """
        if not self._begun:
            return
        self.update(at_once=True)
        for one in [*self._loggers]:
            if one.name in self._open:
                with self._guarded(one):
                    one.close(*_result(self._folder), status)
                    self._keep(one, status=status)
        self._open.clear()

    def _tell(self, one: RunLogger, lines: Sequence[MetricLine]) -> None:
        state = self._states[one.name]
        new = [line for line in lines if line.step > state.logged]
        if one.name not in self._open:
            if state.status == "finished" and not new:
                return
            state.run, known = one.open(self._about(state.run))
            self._open.add(one.name)
            self._keep(one, status="running")
            if known is not None:
                new = [line for line in new if line.step > known]
        if new:
            before = state.logged
            # kept first: a run that is killed in between lacks the lines instead of having them
            # twice, unless the tracker itself says what it knows
            self._keep(one, logged=new[-1].step)
            try:
                one.log(new)
            except Exception:
                self._keep(one, logged=before)
                raise

    def _about(self, identity: str | None) -> LoggedRun:
        folder = self._folder.resolve()
        config = read_json(folder / "config.json", "the config of a run")
        whole = folder  # a part's part, as the trainings of a selection are, is of the same group
        while _is_run(whole.parent) and whole.parent != whole:
            whole = whole.parent
        name = folder.relative_to(whole.parent).as_posix()
        return LoggedRun(folder, name, whole.name if whole != folder else None, config, identity)

    def _lines(self) -> list[MetricLine]:
        path = self._folder / "metrics.jsonl"
        if not path.exists():
            return []
        what = "the metrics of a run"
        with as_data_error(path, what):
            return [MetricLine.of(record) for record in read_json_lines(path, what)]

    def _keep(self, one: RunLogger, **changes: Any) -> None:
        for name, value in changes.items():
            setattr(self._states[one.name], name, value)
        known = {name: asdict(state) for name, state in self._states.items()}
        with atomic_write(self._folder / STATE) as temporary:
            temporary.write_text(to_json(known), encoding="utf-8")

    @contextmanager
    def _guarded(self, one: RunLogger) -> Iterator[None]:
        """Inside, whatever a logger raises ends it, and nothing else."""
        try:
            yield
        except Exception as error:  # of a foreign package: any
            self._loggers.remove(one)
            self._open.discard(one.name)
            reason = (str(error) or type(error).__name__).splitlines()[0]
            logger.warning(
                "logging to %s ended: %s; the run goes on, its metrics.jsonl has everything, and "
                "once resumed it sends what is missing",
                one.name,
                printable(reason[:200]).rstrip(".:; "),
            )


@contextmanager
def logging_run(folder: Path | None, loggers: Sequence[RunLogger]) -> Iterator[RunLog]:
    """A run's log inside; told at the end how the run ended.

    Args:
        folder: The run's; None tells nothing.
        loggers: Whom.

    Raises:
        ConfigError: see `RunLog`.
        DataError: ``loggers.json`` is damaged.
    """
    log = RunLog(folder, loggers)
    try:
        yield log
    except BaseException as error:
        log.close("failed" if isinstance(error, Exception) else "killed")
        raise
    log.close("finished")


def _check_loggers(loggers: object) -> None:
    given: Sequence[Any] = loggers if isinstance(loggers, list | tuple) else [loggers]
    wrong = [one for one in given if not isinstance(getattr(one, "name", None), str)]
    wrong += [one for one in given if not isinstance(one, RunLogger)]
    if given is not loggers or wrong:
        raise ConfigError(
            f"loggers must be a list of RunLogger, each with a `name`, but got "
            f"{wrong[0] if wrong else loggers!r:.80}; `make_loggers` makes them of names"
        )
    names = [one.name for one in given]
    if len({*names}) < len(names):
        raise ConfigError(f"every logger must have a name of its own, but they are {names}")


def make_loggers(names: Sequence[str]) -> list[RunLogger]:
    """Loggers by name, each once.

    Args:
        names: Keys of `LOGGERS`.

    Raises:
        ConfigError: there is no such logger, or its package is not installed.

    Examples:
        >>> make_loggers([])
        []
    """
    for name in names:
        if name not in LOGGERS:
            raise ConfigError(f"unknown logger '{name}'; choose from {sorted(LOGGERS)}")
    return [LOGGERS[name]() for name in dict.fromkeys(names)]


def logged_by(folder: Path) -> list[str]:
    """The loggers that a run or a part of it was told to use, of `LOGGERS`.

    Args:
        folder: The run's.

    Raises:
        DataError: ``loggers.json`` is damaged.
    """
    found = dict[str, None]()
    for path in [folder / STATE, *sorted(folder.glob(f"*/{STATE}"))]:
        if path.exists():
            found |= dict.fromkeys(_read_states(path.parent))
    return [name for name in LOGGERS if name in found]


def _is_run(folder: Path) -> bool:
    """Whether a folder is that of a run; a ``config.json`` may be another program's."""
    try:
        return "command" in read_json(folder / "config.json", "the config of a run")["config"]
    except (DataError, *FORMAT_ERRORS):
        return False


def _read_states(folder: Path) -> dict[str, _State]:
    path, what = folder / STATE, "what trackers know of a run"
    if not path.exists():
        return {}
    with as_data_error(path, what):
        states = {name: _State(**state) for name, state in read_json(path, what).items()}
        for state in states.values():
            if type(state.logged) is not int or not isinstance(state.run, str | None):
                raise ValueError(f"it has {state!r:.80}")
        return states


def _result(folder: Path) -> tuple[dict[str, float | str], list[Path]]:
    """Numbers and texts of a run's result, and the files that trackers keep."""
    path = folder / "result.json"
    files = [folder / name for name in FILES]
    files += sorted((folder / "figures").glob("*.[ps][nv]g"))
    found = read_json(path, "the result of a run") if path.exists() else {}
    summary = _scalars({**found, **(found.get("metrics") or {})})
    summary.pop("command", None)
    return summary, [file.resolve() for file in files if file.exists()]


def _scalars(record: Mapping[str, Any]) -> dict[str, float | str]:
    return {
        name: value
        for name, value in record.items()
        if isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))
    }


def _flat(record: Mapping[str, Any], start: str = "") -> dict[str, str]:
    """Nested mappings as one of texts: ``{"a": {"b": 1}}`` is ``{"a.b": "1"}``."""
    found = dict[str, str]()
    for name, value in record.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{start}{name}.")
        else:
            found[_key(start + name)] = value if isinstance(value, str) else json.dumps(value)
    return found


def _key(name: str) -> str:
    """A name of the characters that MLflow takes."""
    return re.sub(r"[^\w\-. /]", "_", name)  # letters of any language


def _set_defaults(**variables: str) -> None:
    """Bound how long a client waits and what it prints, where the user has not done so."""
    for name, value in variables.items():
        os.environ.setdefault(name, value)


def _check_installed(name: str) -> None:
    spec = find_spec(name)
    if spec is None or spec.origin is None:  # a folder of that name is no package
        raise ConfigError(
            f"logging to {name} needs the package {name}; install it: pip install 'gnas[{name}]'"
        )
