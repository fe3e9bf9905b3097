from __future__ import annotations

from pathlib import Path

import pytest

from gnas.cli.searching import workers_hint


@pytest.mark.parametrize(
    ("options", "command"),
    [
        ({}, "gnas worker --study run --storage {}/study.db"),
        (
            {"storage": "postgresql+psycopg://me:secret@host/db", "study": "s"},
            "gnas worker --study s --storage URL",
        ),
        ({"space": "nasbench201"}, "gnas worker --study run --storage {}/study.db"),
        (
            {"space": "a b.py:S", "evaluate": "f.py:g"},
            "gnas worker --study run --storage {}/study.db --space 'a b.py:S' --evaluate f.py:g",
        ),
    ],
)
def test_a_search_without_workers_says_how_to_start_one(
    options: dict[str, str], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = dict.fromkeys(("storage", "study", "space", "evaluate")) | options
    workers_hint(1, tmp_path / "run", **given)
    assert not capsys.readouterr().err
    workers_hint(0, tmp_path / "run", **given)
    wanted = command.format(tmp_path / "run")
    assert capsys.readouterr().err == f"waiting for workers; start one with: {wanted}\n"
