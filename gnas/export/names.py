"""Names of the forms in which a network leaves, and of their files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, get_args

from gnas.errors import ConfigError

Form = Literal["onnx", "pt2", "python", "safetensors"]
FORMS: tuple[Form, ...] = get_args(Form)
SUFFIXES = {"onnx": ".onnx", "pt2": ".pt2", "python": ".py", "safetensors": ""}
"""File suffix of each export format; "safetensors" writes a folder."""


def check_out(form: str, out: Path) -> None:
    """Check a form and the name of its file before any work.

    Raises:
        ConfigError: there is no such form, or the name does not end as it must.
    """
    if form not in FORMS:
        raise ConfigError(
            f"the form must be one of {list(FORMS)} (pt2 is torch.export's), but got '{form}'"
        )
    if SUFFIXES[form] and out.suffix != SUFFIXES[form]:
        raise ConfigError(f"the output of '{form}' must end in {SUFFIXES[form]}, but got {out}")
    if SUFFIXES[form] and out.is_dir():
        raise ConfigError(f"the output of '{form}' must be a file, but {out} is a folder")
    if not SUFFIXES[form] and out.exists() and not out.is_dir():
        raise ConfigError(f"the output of '{form}' must be a folder, but {out} is a file")
