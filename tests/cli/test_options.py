"""Options that are made from the fields of configurations."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from gnas.cli import app
from gnas.cli.options import field_options
from tests.test_seeds import commands


@dataclass(frozen=True)
class Settings:
    kind: Literal["fast", "exact"] = "fast"
    lambda_: Annotated[float, Field(gt=0)] = 0.5
    max_steps: Annotated[int, Field(ge=2, le=9)] | None = None
    sizes: tuple[Annotated[int, Field(ge=1)], ...] = (3, 4)
    names: tuple[str, ...] | None = None
    is_quiet: bool = False
    seed: int = 0


@pytest.fixture
def run() -> Any:
    own, found = typer.Typer(), dict[str, Any]()

    @own.command()
    @field_options(
        Settings, kind="How to count", lambda_="Weight", sizes="Sizes", names="Names", seed="Seed"
    )
    @field_options(Settings, defaults=False, max_steps="Steps", is_quiet="Say nothing")
    def count(
        *,
        setting: Annotated[list[str] | None, typer.Option("--set")] = None,
        **given: Any,
    ) -> None:
        found.update(given)

    def run(*words: str) -> tuple[Any, dict[str, Any]]:
        found.clear()
        return CliRunner().invoke(own, words), found

    return run


def test_a_command_takes_the_fields_that_were_given(run: Any) -> None:
    assert run()[1] == {}
    assert run("--lambda", "2", "--max-steps", "7")[1] == {"lambda_": 2.0, "max_steps": 7}
    assert run("--kind", "exact", "--set", "a=1")[1] == {"kind": "exact"}
    assert run("--is-quiet")[1] == {"is_quiet": True}


def test_tuples_are_given_with_commas(run: Any) -> None:
    found = run("--sizes", "5,6", "--names", "a,b")[1]
    assert found == {"sizes": (5, 6), "names": ("a", "b")}
    assert run("--names", "none")[1] == {"names": ()}
    assert run("--names", "a, b")[1] == {"names": ("a", "b")}  # as help shows defaults
    wrong = run("--sizes", "5,x")[0]
    assert wrong.exit_code == 2 and "--sizes: must be whole numbers" in wrong.output


def test_types_and_choices_are_those_of_the_fields(run: Any) -> None:
    for words in (["--kind", "slow"], ["--lambda", "x"], ["--max-steps", "1.5"]):
        assert run(*words)[0].exit_code == 2, words


def test_ranges_are_those_of_the_fields(run: Any) -> None:
    assert run("--max-steps", "2")[1] == {"max_steps": 2}
    for number in ("1", "10"):
        done = run("--max-steps", number)[0]
        assert done.exit_code == 2 and "'--max-steps'" in done.output
    assert "[2<=x<=9]" in run("--help")[0].output


def test_help_has_the_defaults_and_ends_with_set(run: Any) -> None:
    text = re.sub(r"[│\s]+", " ", run("--help")[0].output)
    assert (
        "How to count (fast)" in text
        and "Weight (0.5)" in text
        and "Sizes (3, 4)" in text
        and "Seed (0)" in text
        and "Steps (" not in text
    )
    places = [text.index(f" --{name} ") for name in ("max-steps", "kind", "lambda", "set")]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "bench nasbench101 --workers many",
            "'--workers': must be a whole number, but got 'many'",
        ),
        ("search nasgem --lambda=-1", "'--lambda': must be at least 0, but got '-1'"),
        ("search nasgem --lambda much", "'--lambda': must be a number, but got 'much'"),
        ("search toponas --order 3", "'--order': must be at most 2, but got '3'"),
        (
            "tabulate nasgem --out x.parquet --cells 0",
            "'--cells': must be at least 1, but got '0'",
        ),
    ],
)
def test_refused_values_are_named_in_the_words_of_configs(arguments: str, message: str) -> None:
    done = CliRunner().invoke(app, arguments.split())
    assert done.exit_code == 2
    assert message in re.sub(r"[│\s]+", " ", done.stderr)


def test_no_help_has_square_brackets_which_rich_takes_for_styles() -> None:
    texts = [
        (path, option.name, option.help)
        for path, command in commands(typer.main.get_command(app))
        for option in command.params
        if getattr(option, "help", None)
    ]
    assert len(texts) > 200
    assert not [one for one in texts if re.search(r"\[[a-z ]", one[2])]


def test_errors_name_options_and_not_how_they_are_checked() -> None:
    wrong = CliRunner().invoke(app, ["search", "nasgem", "--prior", "x"]).output
    assert "'x' is not one of" in wrong and "Value error" not in wrong
    twice = CliRunner().invoke(app, ["search", "nasgem", "--lambda", "1", "--set", "lambda=1"])
    assert "lambda must be given by its own option alone" in " ".join(twice.output.split())
