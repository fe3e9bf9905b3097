from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import pytest
from optuna.trial import TrialState
from typer.testing import CliRunner

from gnas.cli import app
from gnas.data.images.config import ProxyImagesConfig
from gnas.studies import CandidateStudy
from gnas.tabulate import TabulateConfig
from gnas.training.recipe import ProxyRecipe
from tests import commands
from tests.studies.jobs import Doubling
from tests.tabulate.test_tabulate import candidates, job_of

TINY = TabulateConfig(
    cells=2,
    seeds=1,
    num_train=64,
    num_val=50,
    num_test=50,
    network={"stem_channels": 4},
    recipe=ProxyRecipe(epochs=1, batch_size=32),
)


def opened(file: Path, config: TabulateConfig = TINY) -> CandidateStudy:
    study = CandidateStudy.open(job_of(config), name="tiny", storage=file)
    study.plan(candidates(config))
    return study


def worker(study: str, storage: Path | str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "gnas", "worker", "--study", study, "--storage", str(storage)]
    return commands.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    )


def test_a_worker_trains_until_the_study_is_finished(tmp_path: Path) -> None:
    study = opened(tmp_path / "study.db")
    with worker("tiny", tmp_path / "study.db") as process:
        assert process.stderr is not None
        told = list[str]()
        while not told or not told[-1].startswith("no candidate waits"):
            told.append(process.stderr.readline().rstrip("\n"))
            assert told[-1], "it ended without idling"
        assert study.progress().done == 2
        study.finish()
        output, errors = process.communicate(timeout=120)
    assert process.returncode == 0
    told += errors.splitlines()
    assert told.pop(1).startswith("digits: 10 classes")
    assert told[0] == "study tiny (search): 0 of 2 candidates are evaluated"
    assert re.fullmatch(r"candidate 0: architecture .*, seed 1", told[1])
    assert re.fullmatch(r"candidate 0: score 0\.\d+ after \d+ s", told[2])
    assert told[5] == "no candidate waits now; waiting for more" and len(told) == 6
    assert output == "study tiny is finished; 2 candidates evaluated here\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_worker_gives_its_candidate_back(tmp_path: Path, number: signal.Signals) -> None:
    long = TabulateConfig(cells=1, seeds=1, recipe=ProxyRecipe(epochs=10_000))
    study = opened(tmp_path / "study.db", long)
    with worker("tiny", tmp_path / "study.db") as process:
        deadline = time.monotonic() + 120
        while not study._trials(TrialState.RUNNING):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.5)
        process.send_signal(number)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    stopped = {signal.SIGINT: "interrupted", signal.SIGTERM: "asked to end"}[number]
    (last,) = errors.splitlines()[3:]
    assert last.startswith(f"error: {stopped}; start it again with: gnas worker --s")
    claim = study.claim()
    assert claim is not None and claim.candidate == candidates(long)[0]


def test_refusals_are_one_line(tmp_path: Path) -> None:
    opened(tmp_path / "study.db")
    for name, storage, message in (
        ("tiny", tmp_path / "none", "error: a study's file must exist"),
        ("large", tmp_path / "study.db", "has 'tiny', not 'large'"),
        ("tiny", "mysql://bob:secret@host/db", "but got a mysql URL"),
    ):
        with worker(name, storage) as process:
            output, errors = process.communicate(timeout=60)
        assert process.returncode == 1 and output == ""
        assert message in errors and errors.count("\n") == 1 and "secret" not in errors


class Trainings(Doubling):
    """Facts of a search whose candidates are trained on images of a folder."""

    kind: ClassVar[str] = "search"

    def metadata(self) -> dict[str, Any]:
        images = ProxyImagesConfig(dataset="folder", data_dir="elsewhere").metadata()
        return {"evaluator": {"kind": "training", "images": images}}


def test_images_are_looked_for_before_torch_is_imported(tmp_path: Path) -> None:
    CandidateStudy.open(Trainings(), name="s", storage=tmp_path / "study.db")
    (tmp_path / "folder").mkdir()
    program = "import sys; sys.modules['torch'] = None; from gnas.cli import main; main()"
    words = ["worker", "--study", "s", "--storage", "study.db"]
    for data_dir, message in (
        ([], "folder needs the folder of its images: give --data-dir"),
        (["--data-dir", "folder"], "at least 2 classes, but .*/folder has \\[\\]"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", program, *words, *data_dir],
            cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )  # fmt: skip
        assert done.returncode == 1 and re.fullmatch(f"error: .*{message}.*\n", done.stderr)


def test_a_study_of_another_kind(tmp_path: Path) -> None:
    CandidateStudy.open(Doubling(seconds=0.0), name="numbers", storage=tmp_path / "study.db")
    words = ["worker", "--study", "numbers", "--storage", str(tmp_path / "study.db")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 1 and done.stdout == ""
    assert "the study must be of the kind 'search', but is of kind 'doubling'" in done.stderr
