"""``gnas encoder``: train graph encoders, write embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnas.cli.output import (
    check_writable,
    console,
    hint_on_stop,
    print_next,
    report_console,
    reporting,
    same_command,
    write_json,
)
from gnas.command_line import shell_line
from gnas.config import check_seed
from gnas.data.places import check_table, table_path
from gnas.encoders.config import check_embeddings_path, check_encoder, check_encoder_path
from gnas.spaces.names import check_space

app = typer.Typer(help="Train graph encoders and write embeddings.", no_args_is_help=True)


@app.command()
def train(
    out: Annotated[Path, typer.Option(help="The weights to write (.safetensors)")],
    preset: Annotated[
        str | None, typer.Argument(help="A shipped encoder, whose recipe is taken")
    ] = None,
    space: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.py:NAME", help="Instead of PRESET: a space, such as your own"
        ),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Optimiser steps (the recipe's)")] = None,
    seed: Annotated[int, typer.Option(help="Seed of weights and pairs")] = 0,
    json: Annotated[str | None, typer.Option(help="Write the quality as JSON (- stdout)")] = None,
) -> None:
    """Train an encoder without labels: on the Weisfeiler-Lehman kernel, or the recipe's tasks."""
    if (preset is None) == (space is None):
        raise typer.BadParameter("give either PRESET or --space")
    check_writable(out)
    check_writable(json)
    check_encoder_path(out)
    check_seed(seed)
    if preset is not None:
        check_encoder(preset, file=False)
    else:
        check_space(str(space))
    from gnas.encoders.recipes import train_for_space, train_preset
    from gnas.spaces import load_space

    with (
        hint_on_stop(lambda: f"nothing is kept; start anew with: {same_command()}"),
        reporting("steps") as report,
    ):
        named = [preset] if preset is not None else ["--space", str(space)]
        words = ["gnas", "encoder", "train", *named, "--seed", str(seed)]
        command = shell_line([*words, *([] if steps is None else ["--steps", str(steps)])])
        options: dict[str, Any] = dict(steps=steps, seed=seed, command=command, report=report)
        if preset is None:
            record = train_for_space(load_space(str(space)), out, **options)
        else:
            record = train_preset(preset, out, **options)
    report_console(json).print(record.summary(), markup=False, soft_wrap=True)
    print_next(report_console(json), ["encoder", "embed", out, "--out", "embeddings.npy"])
    if json is not None:
        write_json(json, {"command": "encoder train", "encoder": record})


@app.command()
def embed(
    encoder: Annotated[str, typer.Argument(help="A shipped encoder's name, or a .safetensors")],
    out: Annotated[Path, typer.Option(help="The file to write (.npy or .safetensors)")],
    table: Annotated[
        str, typer.Option(help="Benchmark table with the cells: a name or a file")
    ] = "nasbench101",
) -> None:
    """Write the embedding of every cell of a table, row by row."""
    check_embeddings_path(out)
    check_writable(out)
    check_encoder(encoder)
    check_table(table_path(table))
    from gnas.data import load_table
    from gnas.encoders.storage import load_encoder, save_embeddings

    model, cells = load_encoder(encoder), load_table(table)
    save_embeddings(model.encode(cells.graphs), out, encoder=model.name, source=str(table))
    line = f"{out}: {len(cells)} embeddings of {model.dim} numbers by {model.name}"
    console().print(line, markup=False, soft_wrap=True)
