"""Runs, results and tables as `gnas.report.page.RunReport`, by what is found at a path."""

from __future__ import annotations

from pathlib import Path

from gnas.config import checked
from gnas.data.files import FORMAT_ERRORS, check_regular, read_json
from gnas.errors import DataError, GnasError, MissingDataError
from gnas.report.benches import WHAT, bench_report
from gnas.report.circumstances import ENVIRONMENT
from gnas.report.gallery import MAX_DRAWN
from gnas.report.page import RunReport
from gnas.report.searches import search_report
from gnas.report.supernets import selection_report, supernet_report
from gnas.report.tables import table_report
from gnas.report.trainings import training_report
from gnas.runs import kind_of_run
from gnas.spaces import Space

_RESULT = "result.json"


@checked
def read_report(path: Path, space: Space | None = None, drawings: int = MAX_DRAWN) -> RunReport:
    """The report of a run's folder, a file that ``gnas bench --json`` wrote, or a table.

    Args:
        path: A folder or a file.
        space: The space of a run in a space of a user's own; see `gnas.spaces.space_of_record`.
        drawings: Candidates that get a drawing, the best ones.

    Raises:
        MissingDataError: there is nothing to report at the path, or not yet.
        DataError: a file is damaged or of something else.
        ConfigError: the space is another one.

    Examples:
        >>> import tempfile
        >>> from gnas.search import run_search
        >>> from gnas.spaces import NASBench201
        >>> def edges(graph, *, seed):
        ...     return float(graph.num_edges)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     run = Path(folder) / "edges"
        ...     _ = run_search(NASBench201(), "random", edges, budget=1, out=run)
        ...     report = read_report(run)
        >>> report.name, report.ended
        ('edges', True)
    """
    if not path.exists():
        raise MissingDataError(
            f"RUN must be a run's folder, a result or a table, but there is no {path}"
        )
    try:
        if path.is_dir():
            return _of_folder(path, space, drawings)
        check_regular(path, "a result or a table")
        if path.suffix == ".parquet":
            return table_report(path, space, drawings)
        if path.name == _RESULT and (path.parent / "config.json").exists():
            return _of_folder(path.parent, space, drawings)
        record = read_json(path, WHAT)
        if not isinstance(record, dict) or "rows" not in record:
            raise DataError(
                f"{path} must be the result of gnas bench, a table or a run's folder, but is "
                "another JSON text"
            )
        return bench_report(path, record, path.stem)
    except GnasError:
        raise
    except FORMAT_ERRORS as error:  # what was recorded has a sound form, but cannot be told
        raise DataError(f"{path} must be a whole run, but: {error!r:.200}") from error


def _of_folder(folder: Path, space: Space | None, drawings: int) -> RunReport:
    tables = sorted(folder.glob("*.parquet"))
    if tables and not (folder / "config.json").exists():
        if len(tables) > 1:
            raise DataError(
                f"{folder} must hold one table, but has {len(tables)}; name one of them"
            )
        return table_report(tables[0], space, drawings)
    kind = kind_of_run(folder)
    if kind in ("search", "nasgem search"):
        return search_report(folder, space, drawings)
    if kind == "retrain":
        return training_report(folder, space)
    if kind == "selection":
        return selection_report(folder, drawings)
    if kind == "supernet":
        return supernet_report(folder, drawings)
    if not (folder / _RESULT).exists():
        raise MissingDataError(
            f"an experiment must have ended to be told, but {folder} has no {_RESULT}"
        )
    record = read_json(folder / _RESULT, WHAT)
    if not isinstance(record, dict) or "rows" not in record:
        raise DataError(f"{folder / _RESULT} must be {WHAT}, but is another JSON text")
    about = read_json(folder / "config.json", "the config of a run")
    record |= {name: about[name] for name in ENVIRONMENT if name in about}
    return bench_report(folder / _RESULT, record, folder.resolve().name)
