"""Names that act on terminals, on markup, on mathtext or on XML, wherever they are shown."""

from __future__ import annotations

import io
import logging
import os
import pty
import re
import subprocess
import sys
import xml.dom.minidom
from pathlib import Path

import pytest
import typer
from rich.table import Table
from typer.testing import CliRunner

from gnas import cli
from gnas.cli.output import console, progress_bar, set_up_logging
from gnas.errors import DataError
from gnas.figure import Figure
from gnas.printable import amount, printable
from gnas.runs import to_json, write_figures

NAMES = [
    "[/]",
    "[bold]x[/red]",
    "[link=file:///x]y[/link]",
    ":smile:",
    "\x1b[31mred\x1b[0m",
    "\x1b]0;title\x07",
    "\x9b31m",
    "a\rb",
    "a\x08b",
    "\u202egnp.exe",
    "\u2028",
    "$x_{$",
    r"$\frac{$",
    "_under",
    "-->",
    "<svg onload=x>&amp;",
    "\udcff\udcfe",
    "\x00",
    "\U0001f600",
    "%s %(x)s {0}",
]


def shown(name: str) -> str:
    """What stands on a terminal instead: nothing that it acts on."""
    text = printable(name)
    assert not set(text) & {chr(i) for i in [*range(9), *range(11, 32), *range(127, 160)]}
    return text


def test_plain_text_stays_as_it_is() -> None:
    for text in ("", "a b/c-d.txt", "[/]", "été 日本 μ ±", "a\n\tb", "$x$", "\U0001f600"):
        assert printable(text) == text


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("\x1b[31m", "\\x1b[31m"),
        ("a\rb", "a\\rb"),
        ("\u202e", "\\u202e"),
        ("\udcff", "\\udcff"),
        ("\x9b", "\\x9b"),
        ("\U000e0001", "\\U000e0001"),
    ],
)
def test_what_acts_on_terminals_is_escaped(text: str, escaped: str) -> None:
    assert printable(text) == escaped


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_consoles_print_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    target = console()
    target.print(f"before {name} after", soft_wrap=True)
    target.print(name, name, sep="|")
    table = Table(title=name, caption=name)
    table.add_column(name)
    table.add_column("plain", footer=name)
    table.add_row(name, name)
    target.print(table)
    out = capsys.readouterr().out
    assert f"before {shown(name)} after" in out
    assert f"{shown(name)}|{shown(name)}" in out
    assert out.count(shown(name)) >= 7
    assert "\x1b" not in out


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_progress_bars_show_names_as_they_are(name: str) -> None:
    with progress_bar() as bar:
        task = bar.add_task(name, total=2)
        target = console()
        target.file = io.StringIO()
        target.print(bar.get_renderable())
        bar.update(task, completed=1)
    assert shown(name).split()[0] in target.file.getvalue()


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_errors_and_logs_show_names_as_they_are(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # pytest keeps what it sees for its report, and pytest-xdist cannot send lone surrogates
    monkeypatch.setattr(logging.getLogger("gnas"), "propagate", False)
    root = typer.Typer(cls=cli.Commands, pretty_exceptions_enable=False)
    root.callback()(cli.options)

    @root.command()
    def fail() -> None:
        raise DataError(f"file {name} is damaged")

    result = CliRunner().invoke(root, ["fail"])
    line = shown(re.sub(r"\s*\n\s*", " ", f"file {name} is damaged"))
    assert result.stderr == f"error: {line}\n"
    set_up_logging(logging.INFO)
    logging.getLogger("gnas.test").warning("file %s is odd", name)
    logged = capsys.readouterr().err
    assert logged == f"warning: file {shown(name)} is odd\n"


@pytest.mark.parametrize(
    "args",
    [
        ["search", "toponas", "--dataset", "\x1b[31m"],
        ["search", "toponas", "--\x1b[31m"],
        ["\x1b[31m"],
        ["search", "\x1b[31m"],
        ["search", "toponas", "--epochs", "\x1b[31m"],
        ["search", "toponas", "--set", "\x1b[31m"],
        ["bench", "nasbench101", "--samples", "\x1b[31m"],
        ["bench", "supernet", "\x1b[31m"],
        ["show", "a\x1b[31m", "b\x1b[31m"],
    ],
    ids=ascii,
)
def test_usage_errors_escape_what_they_quote(args: list[str]) -> None:
    result = CliRunner().invoke(cli.app, args)
    assert result.exit_code == 2
    assert "\x1b[31m" not in result.output


def test_terminals_get_no_escapes_of_names(tmp_path: Path) -> None:
    """On a real terminal, with colours on, and by a name that is no UTF-8."""
    name = b"x\x1b]0;owned\x07\x9b31m\xff[bold].json"
    main, side = pty.openpty()
    command = [sys.executable, "-m", "gnas", "show", os.fsdecode(name)]
    environ = {**os.environ, "TERM": "xterm-256color", "PYTHONPATH": os.getcwd()}
    subprocess.run(command, cwd=tmp_path, stdout=side, stderr=side, env=environ, check=False)
    os.close(side)
    written = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:
            break
        if not part:
            break
        written += part
    os.close(main)
    assert b"error: " in written and b"[bold].json" in written
    assert not any(sign in written for sign in (b"\x1b]", b"\x07", b"\x9b", b"\xff"))


@pytest.mark.parametrize("name", NAMES, ids=ascii)
@pytest.mark.filterwarnings("ignore:Glyph")
def test_figures_show_names_as_they_are(name: str, tmp_path: Path) -> None:
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    axes.set_title(name)
    axes.set_xlabel(name)
    axes.set_ylabel(name)
    axes.plot([1, 1000], [1, 1000], label=f"a {name}")
    axes.legend(title=name)
    axes.text(1, 1, name)
    axes.set_xscale("log")
    figure.suptitle(name)
    _, svg = write_figures(tmp_path, {"figure": figure})
    assert axes.get_title() == shown(name)
    text = svg.read_text(encoding="utf-8")
    xml.dom.minidom.parseString(text)
    assert "<svg onload" not in text
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert any("10^{" in label for label in labels), "powers stay formulas"


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_json_holds_names_as_they_are(name: str) -> None:
    import json

    text = to_json({name: [name]})
    assert json.loads(text.encode("utf-8")) == {name: [name]}


@pytest.mark.parametrize(
    ("count", "noun", "text"),
    [
        (1, "query", "1 query"),
        (0, "query", "0 queries"),
        (1, "class", "1 class"),
        (1200, "search", "1,200 searches"),
        (2, "test image", "2 test images"),
    ],
)
def test_amounts_agree_in_number(count: int, noun: str, text: str) -> None:
    assert amount(count, noun) == text
