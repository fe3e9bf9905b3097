"""The command ``gnas``: one file per verb, none of which imports anything heavy by itself.

Exit codes: 0 done, 1 an error that the message explains in one line, 2 wrong usage, 130 Ctrl-C,
143 asked to end (SIGTERM).
"""

from __future__ import annotations

import atexit
import gc
import logging
import os
import re
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from types import FrameType
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from typer.core import TyperGroup

from gnas import __version__
from gnas.cli import (
    bench,
    data,
    encoder,
    evaluate,
    export,
    leaderboard,
    report,
    retrain,
    search,
    show,
    tabulate,
    worker,
)
from gnas.cli.output import hinted_stops, set_up_logging, until_end
from gnas.command_line import override_command_line
from gnas.config import requirement
from gnas.errors import GnasError
from gnas.printable import printable
from gnas.processes import GC_THRESHOLDS
from gnas.runs import NOTICE
from gnas.user_code import INTERRUPTED, TERMINATED, described, raised_in

UsageError: type[Any] = typer.BadParameter.__mro__[1]
"""The parent of what typer raises where options or arguments do not fit."""
AGAIN_S = 0.02
"""Seconds after which a signal that was lost is delivered again."""
LONGEST = 1500
"""Characters of the longest error that is shown whole."""
CHECK = "Value error, "
"""What pydantic's message of a failed check begins with."""
MEND = "mend your file; `gnas --debug ...` shows the traceback"
"""Advice where a user's code fails."""
_LINE_END = re.compile(r"\s*\n\s*")


class Commands(TyperGroup):
    """Commands whose errors become one line on stderr and an exit code."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Let ``--debug`` and ``--verbose`` stand anywhere before a ``--``."""
        ctx.meta[__name__] = tuple(args)
        end = args.index("--") if "--" in args else len(args)
        front = [arg for arg in args[:end] if arg in ("--debug", "--verbose")]
        rest = [arg for arg in args[:end] if arg not in ("--debug", "--verbose")]
        with _plain_usage_errors():
            if any("\0" in arg for arg in args):
                raise typer.BadParameter("arguments must not hold NUL characters")
            _check_no_value_is_empty(args[:end])
            return super().parse_args(ctx, [*front, *rest, *args[end:]])

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see the module's exit codes."""
        try:
            with (
                override_command_line(ctx.meta[__name__]),
                hinted_stops(),
                until_end,
                _plain_usage_errors(),
            ):
                return super().invoke(ctx)
        except KeyboardInterrupt as stop:
            raise _fail(ctx, _with_notes("interrupted", stop), INTERRUPTED) from None
        except SystemExit as stop:
            if hasattr(stop, "__notes__"):
                _fail(ctx, _with_notes("asked to end", stop))
            elif stop.code != TERMINATED and (place := raised_in(stop)) is not None:
                raise _fail(ctx, f"{place}: ends the program itself; {MEND}") from None
            raise
        except BrokenPipeError:  # the reader of a pipe has enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(1) from None
        except GnasError as error:
            raise _fail(ctx, str(error)) from None
        except MemoryError:
            raise _fail(ctx, "out of memory") from None
        except OSError as error:
            where = f": {error.filename}" if error.filename else ""
            raise _fail(ctx, f"{error.strerror or error}{where}") from None
        except Exception as error:
            text = str(error) if isinstance(error, RuntimeError) else ""  # torch's MemoryError
            if "allocate memory" in text or "out of memory" in text:
                raise _fail(ctx, "out of memory") from None
            if (place := raised_in(error)) is None:
                raise
            raise _fail(ctx, f"{place}: {described(error)}; {MEND}") from None


@contextmanager
def _plain_usage_errors() -> Iterator[None]:
    """Say in the words of other errors, and escaped, what typer is about to show."""
    try:
        yield
    except UsageError as error:
        text, cause = str(error.message), error.__cause__
        if isinstance(cause, ValidationError) and not text.startswith(CHECK):  # a typed option
            text = requirement(cause)
        error.message = printable(text.removeprefix(CHECK))
        raise


def _check_no_value_is_empty(args: Sequence[str]) -> None:
    """Check values: an empty path would be the folder that the command was started in."""
    for before, arg in pairwise(["", *args]):
        name = before if arg == "" else arg[:-1]
        if re.fullmatch("--[^=]+", name) and (arg == "" or arg.endswith("=")):
            raise typer.BadParameter(
                f"{name} must have a value, but got an empty one (a shell's variable may be unset)"
            )


def _with_notes(message: str, stop: BaseException) -> str:
    return "; ".join([message, *getattr(stop, "__notes__", ())])


def _fail(ctx: Any, message: str, code: int = 1) -> typer.Exit:
    if ctx.params.get("debug"):
        traceback.print_exc()
    line = printable(_LINE_END.sub(" ", message.strip()))  # spaces of names stay
    if len(line) > LONGEST:  # a name of thousands of characters
        line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 2 :]}"
    sys.stderr.write(f"error: {line}\n")
    return typer.Exit(code)


app = typer.Typer(
    name="gnas",
    cls=Commands,
    help="Neural architecture search on graphs: searches, benchmarks, predictors and tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def print_version(wanted: bool) -> None:
    """Print ``gnas 0.1.0`` and exit, if wanted."""
    if wanted:
        typer.echo(f"gnas {__version__}")
        raise typer.Exit


@app.callback()
def options(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and all logs.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Log what is being done.")] = False,
    version: Annotated[
        bool,
        typer.Option("--version", callback=print_version, is_eager=True, help="Show version."),
    ] = False,
) -> None:
    """Options that stand before or after any verb."""
    level = logging.DEBUG if debug else logging.INFO if verbose else NOTICE
    set_up_logging(level)


app.add_typer(bench.app, name="bench")
app.add_typer(data.app, name="data")
app.add_typer(encoder.app, name="encoder")
app.command()(evaluate.evaluate)
app.command()(export.export)
app.command()(leaderboard.leaderboard)
app.command()(report.report)
app.command()(retrain.retrain)
app.add_typer(search.app, name="search")
app.command()(show.show)
app.command("tabulate")(tabulate.tabulate)
app.command()(worker.worker)


def _signal_again(lost: sys.UnraisableHookArgs) -> None:
    """Deliver again a signal whose exception was raised where Python can only ignore it.

    That is in destructors, weak references' callbacks and the like, of SQLAlchemy for example.
    """
    stop = lost.exc_value
    if isinstance(stop, KeyboardInterrupt):
        number = signal.SIGINT
    elif isinstance(stop, SystemExit) and stop.code == TERMINATED:
        number = signal.SIGTERM
    else:
        sys.__unraisablehook__(lost)
        return
    _send_soon(number)  # not inside this hook


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt, but not inside PyTorch's import.

    Its C++ code runs Python where an exception ends the process ("terminate called").
    """
    while frame is not None:
        if frame.f_globals.get("__name__") == "torch" and frame.f_code.co_name == "<module>":
            return _send_soon(number)
        frame = frame.f_back
    raise KeyboardInterrupt


def _send_soon(number: int) -> None:
    """Send this process a signal again."""
    again = threading.Timer(AGAIN_S, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()


def main() -> None:
    """Run the command line of this process; asked to end, it cleans up as after Ctrl-C."""
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    os.environ["MPLBACKEND"] = "agg"  # figures are files; an unknown name is an error at import
    os.environ["MATPLOTLIBRC"] = os.devnull  # and look the same whatever style a user has
    if os.environ.get("COLUMNS") == "0":  # of a terminal that does not know its width
        del os.environ["COLUMNS"]  # rich would print nothing
    sys.unraisablehook = _signal_again
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, _interrupt)
    gc.set_threshold(*GC_THRESHOLDS)
    atexit.register(gc.freeze)  # nor is it worth looking through everything at the end
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, open(os.devnull, "w"))
        reconfigure = getattr(getattr(sys, name), "reconfigure", None)
        if reconfigure is not None:  # a terminal may lack any character
            reconfigure(errors="backslashreplace")
    try:
        app(prog_name="gnas")
    except KeyboardInterrupt:  # before or after a command ran
        sys.exit(INTERRUPTED)
    except OSError as error:  # --help and --version print before a command runs
        sys.stderr.write(f"error: {printable(str(error.strerror or error))}\n")
        sys.exit(1)
    finally:  # everything is reported and cleaned up: Ctrl-C now need not wait
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(128 + number))
