"""How commands take an architecture: as a text, a file, or a run's folder."""

from __future__ import annotations

from pathlib import Path


def read_architecture(what: str) -> str:
    """The text of the architecture in a file or a run's folder, or ``what`` itself.

    A file may hold the text, a genotype as JSON, or be a run's ``result.json``.

    Raises:
        MissingDataError: neither a file, nor a run with a result, nor an architecture.
        DataError: the file cannot be read.
    """
    import json

    from gnas.errors import DataError, MissingDataError

    if any(sign in what for sign in "({|"):
        return what
    path = Path(what) / "result.json" if Path(what).is_dir() else Path(what)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise MissingDataError(
            f"GENOTYPE must be a file, a run's folder or a text "
            f"'Genotype(normal=...)', but there is no {path}"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise DataError(f"{path} must be a file with a genotype, but: {reason}") from error
    try:
        record = json.loads(text)
    except (ValueError, RecursionError):
        record = None
    if isinstance(record, dict):
        if isinstance(record.get("genotype"), dict):
            return json.dumps(record["genotype"])
        if isinstance(record.get("architecture"), str):
            return str(record["architecture"])
    return text
