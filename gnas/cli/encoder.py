"""``gnas encoder``: train graph encoders, write embeddings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from gnas.cli.options import field_options
from gnas.cli.output import (
    check_other_file,
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
from gnas.encoders.config import (
    EncoderConfig,
    check_embeddings_path,
    check_encoder,
    check_encoder_path,
    encoder_space,
)
from gnas.errors import ConfigError, MissingDataError
from gnas.printable import amount
from gnas.spaces.names import SPACE_HOMES, check_space

app = typer.Typer(help="Train graph encoders and write embeddings.", no_args_is_help=True)


@app.command()
@field_options(EncoderConfig, steps="Optimiser steps (the recipe's)", defaults=False)
@field_options(EncoderConfig, seed="Seed of weights and pairs")
def train(
    *,
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
    json: Annotated[str | None, typer.Option(help="Write the quality as JSON (- stdout)")] = None,
    **given: Any,
) -> None:
    """Train an encoder without labels: on the Weisfeiler-Lehman kernel, or the recipe's tasks."""
    if (preset is None) == (space is None):
        raise typer.BadParameter("give either PRESET or --space")
    check_writable(out)
    check_writable(json)
    check_other_file(json, out)
    check_encoder_path(out)
    steps, seed = given.get("steps"), given.get("seed", EncoderConfig.seed)
    check_seed(seed)
    if preset is not None:
        check_encoder(preset, file=False)
    else:
        check_space(str(space))
    from gnas.encoders.recipes import train_for_space, train_preset
    from gnas.spaces import load_space

    hint_on_stop(lambda: f"nothing is kept; start anew with: {same_command()}")
    with reporting("steps") as report:
        named = [preset] if preset is not None else ["--space", str(space)]
        words = ["gnas", "encoder", "train", *named, "--seed", str(seed)]
        command = shell_line([*words, *([] if steps is None else ["--steps", str(steps)])])
        options: dict[str, Any] = dict(steps=steps, seed=seed, command=command, report=report)
        if preset is None:
            record = train_for_space(load_space(str(space)), out, **options)
        else:
            record = train_preset(preset, out, **options)
    report_console(json).print(record.summary(), markup=False, soft_wrap=True)
    if (taken := encoder_space(str(out))) in SPACE_HOMES and has_table(taken):
        print_next(report_console(json), ["encoder", "embed", out, "--out", "embeddings.npy"])
    if json is not None:
        write_json(json, {"command": "encoder train", "encoder": record})


@app.command()
def embed(
    encoder: Annotated[str, typer.Argument(help="A shipped encoder's name, or a .safetensors")],
    out: Annotated[Path, typer.Option(help="The file to write (.npy or .safetensors)")],
    table: Annotated[
        str | None,
        typer.Option(
            help="Benchmark table with the cells: a name or a file (that of the encoder's space)"
        ),
    ] = None,
) -> None:
    """Write the embedding of every cell of a table, row by row."""
    check_embeddings_path(out)
    check_writable(out)
    check_encoder(encoder)
    check_other_file(out, encoder)
    table = table_for(encoder, table)
    from gnas.data import load_table
    from gnas.encoders.storage import load_encoder, save_embeddings

    model, cells = load_encoder(encoder), load_table(table)
    save_embeddings(model.encode(cells.graphs), out, encoder=encoder, source=str(table))
    line = (
        f"{out}: {amount(len(cells), 'embedding')} of {amount(model.dim, 'number')} by {encoder}"
    )
    console().print(line, markup=False, soft_wrap=True)


def table_for(encoder: str, table: str | None) -> str:
    """The table whose cells an encoder embeds, checked by its head.

    Args:
        encoder: Name of a shipped encoder, or its file.
        table: Name or file of the table; None takes the table that is called as the encoder's
            space.

    Raises:
        ConfigError: the table is of another space, or must be given.
        DataError: the table is damaged.
        MissingDataError: there is no such table.
    """
    space = encoder_space(encoder)
    if table is None:
        wanted = f"of '{space}'" if space else "of its vocabulary"
        if space not in SPACE_HOMES or not has_table(space):
            raise ConfigError(
                f"encoder '{encoder}' takes architectures {wanted}, of which no table was found; "
                "give one by --table"
            )
        table = space
    try:
        check_table(table_path(table), space=space if space in SPACE_HOMES else None)
    except ConfigError as error:
        raise ConfigError(
            f"encoder '{encoder}' takes architectures of '{space}': {error}; give another --table"
        ) from error
    return table


def has_table(name: str) -> bool:
    """Whether a table of this name, or one that stands in for it, is there."""
    try:
        table_path(name)
    except MissingDataError:
        return False
    return True
