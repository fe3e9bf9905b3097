"""The package's own table format: one Parquet file with everything in it.

Columns ``num_nodes`` uint8, ``adjacency`` (upper triangle, row by row: packed bits, or one byte
an entry where edges carry operations), ``ops`` (one byte a node, 255 on padding), ``hash`` (16
bytes), then one float column for each `Column`, described in its field's metadata; a missing
value is null. The schema's metadata holds the table's facts as JSON under ``gnas``.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray

from gnas.data.benchmark_table import BenchmarkTable
from gnas.data.columns import Column, Kind, Provenance
from gnas.data.files import FORMAT_ERRORS, atomic_write, check_regular
from gnas.errors import DataError, GnasError, GraphError
from gnas.graphs import DenseBatch, graph_hash, graph_keys, validate, validate_batch
from gnas.processes import ProgressCallback
from gnas.spaces import SPACES, Space
from gnas.spaces.notation import MAX_TEXT

FORMAT_VERSION = 1
ROW_GROUP = 65_536
MAX_ROWS = 10_000_000
MAX_COLUMNS = 1000
"""Columns of a file, each of which is read by opening the file."""
MAX_BYTES = 1 << 29
"""Bytes of columns, and of the matrices of all architectures, that are read; more are refused."""
STORED = 8
"""Maximum ratio of declared column bytes to the file size."""
MAX_NODES = 254
"""Nodes that a byte can count; 255 is padding."""
MAX_KINDS = 127
"""Operations that a signed byte can number."""
SPOT_CHECKS = 16
"""Rows whose hash is recomputed when a table is opened; `verify_table` recomputes all."""

_KEY, _CHECKSUM = b"gnas", b"gnas.crc32"
_TEXTS = ("name", "space", "source", "note", "licence")
_FACTS = ("name", "space", "source", "kind", "note", "licence", "recipe")
_LATER_FACTS = ("space_args",)
"""Facts that tables of earlier versions lack."""


def write_parquet(table: BenchmarkTable, path: Path) -> None:
    """Write a table whole or not at all; values that float32 holds exactly take four bytes.

    Args:
        table: The table.
        path: The file.

    Raises:
        DataError: the table breaks a rule of the format, or the file cannot be written.
    """
    if len(table) == 0:
        raise DataError("a table must have at least one row, but got none")
    graphs, facts = table.graphs, table.provenance
    space, exact = _space_of(facts, path), facts.space_args is not None
    check_graphs(graphs, space, table.digests, str(path), exact=exact)
    arrays = [
        pa.array(graphs.num_nodes.numpy().astype(np.uint8)),
        _binary(_triangle(graphs)),
        _binary(graphs.ops.numpy().view(np.uint8)),
        _binary(table.digests),
    ]
    fields = [
        pa.field(name, array.type, nullable=False)
        for name, array in zip(("num_nodes", "adjacency", "ops", "hash"), arrays, strict=True)
    ]
    for column in table.columns:
        arrays.append(_float_array(table.raw(column.name)))
        meaning = {key: value for key, value in asdict(column).items() if key != "name"}
        metadata = {_KEY: json.dumps(meaning).encode()}
        fields.append(pa.field(column.name, arrays[-1].type, metadata=metadata))
    content = _table_metadata(table)
    schema = pa.schema(fields, metadata={_KEY: content, _CHECKSUM: _checksum(content, fields)})
    _described(schema, path)
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        pq.write_table(  # into an open file: of a path that it fails on, pyarrow removes the file
            pa.Table.from_arrays(arrays, schema=schema),
            file,
            compression="zstd",
            row_group_size=ROW_GROUP,
            write_page_checksum=True,
        )


def is_own_format(schema: pa.Schema) -> bool:
    """Whether a Parquet schema is one of `write_parquet`."""
    return _KEY in (schema.metadata or {})


def check_size(path: Path, names: list[str], *, most_rows: int = MAX_ROWS) -> None:
    """Check by a Parquet file's metadata that columns can be read in bounded time and memory.

    A few kilobytes can hold columns of many gigabytes.

    Args:
        path: The file.
        names: The columns that are to be read.
        most_rows: Rows of the largest table that can be meant.

    Raises:
        DataError: there are too many rows, or too many bytes in the columns.
    """

    def measured(file: pq.ParquetFile) -> tuple[int, int]:
        facts, schema = file.metadata, file.schema_arrow
        widths = {
            field.name: field.type.byte_width if pa.types.is_fixed_size_binary(field.type) else 8
            for field in schema
            if field.name in names
        }
        # Not ``row_group(g).column(c)``: on damaged metadata pyarrow ends the whole process there.
        groups = [facts.row_group(g) for g in range(facts.num_row_groups)]
        rows = max(facts.num_rows, sum(group.num_rows for group in groups))
        stored = sum(group.total_byte_size for group in groups)
        return rows, max(rows * sum(widths.values()), stored // STORED)

    rows, size = _guarded(path, measured)
    if not 0 <= rows <= most_rows or size > MAX_BYTES:
        raise DataError(
            f"{path} must have at most {most_rows:,} rows, and {MAX_BYTES >> 20} MiB in "
            f"{len(names)} columns, but has {rows:,} rows and {size >> 20:,} MiB"
        )


def read_parquet(path: Path) -> BenchmarkTable:
    """Open a table of `write_parquet`; columns of values are read when first used.

    Raises:
        DataError: the file is damaged, of another version, or its graphs break their space.
    """
    facts, provenance, columns = _described(read_schema(path), path)
    most = min(MAX_ROWS, MAX_BYTES // facts["max_nodes"] ** 2)
    check_size(path, list(_GRAPH_TYPES), most_rows=most)
    parts = read_columns(path, list(_GRAPH_TYPES))
    graphs, digests = _graphs(parts, facts, path)
    exact = provenance.space_args is not None
    check_graphs(graphs, _space_of(provenance, path), digests, str(path), exact=exact)
    return BenchmarkTable(graphs, columns, provenance, ColumnReader(path), digests=digests)


def verify_table(
    table: BenchmarkTable, *, space: Space | None = None, progress: ProgressCallback | None = None
) -> None:
    """Check everything about a table: every hash, every graph, every column.

    Args:
        table: The table; takes about 0.5 ms a row.
        space: Its space, where that is a user's own; without it, graphs of such a space are
            checked as graphs only.
        progress: Told how many rows of how many are checked.

    Raises:
        DataError: says what is wrong, and in which row.
        ConfigError: the table is not of ``space``.

    Examples:
        >>> from gnas.data import load_table
        >>> table = load_table("nasbench101-mini").subset([0, 1])
        >>> verify_table(table)  # all is well
        >>> facts = Provenance("mine", "nasbench101", source="a draw", kind="self-made")
        >>> val_acc, percent = Column.of("val_acc"), {"val_acc": [91.5, 92.5]}
        >>> try:
        ...     verify_table(BenchmarkTable(table.graphs, [val_acc], facts, percent))
        ... except DataError as error:
        ...     print(error)
        mine: accuracies must be fractions in [0, 1], but 'val_acc' has 91.5 in row 0; they ...
    """
    facts = table.provenance
    path = facts.path or facts.name
    hint = _without_args(facts) if space is None else ""
    space = _space_of(facts, path) if space is None else facts.opened_space(space)
    for row, graph in enumerate(table.graphs):
        try:
            if space is None:
                validate(graph, num_ops=table.graphs.num_ops)
            else:
                space.validate(graph)
        except GraphError as error:
            raise DataError(f"row {row} of {path}: {error}{hint}") from error
        _check_hash(table.graphs, row, table.digests, path)
        if progress is not None and (row % 256 == 255 or row + 1 == len(table)):
            progress(row + 1, len(table))
    for column in table.columns:
        table.values(column.name)
        if column.is_accuracy:
            table.metric(column.quantity, dataset=column.dataset or "", epochs=column.epochs)


def read_schema(path: Path) -> pa.Schema:
    """The Arrow schema of a Parquet file.

    Raises:
        DataError: not a Parquet file, a damaged one, too many columns, or two of one name.
    """
    schema = _guarded(path, lambda file: file.schema_arrow)
    _check_names(schema, path)
    return schema


def read_columns(path: Path, names: list[str]) -> pa.Table:
    """The named columns of a Parquet file, page checksums verified.

    Args:
        path: The file.
        names: Names of the columns.

    Raises:
        DataError: the file is damaged, or a column is missing.
    """
    return _guarded(path, lambda file: file.read(columns=names))


def is_text(kind: pa.DataType) -> bool:
    """Whether a column has texts, also where each is stored once and numbered."""
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(is_kind(kind) for is_kind in kinds)


def read_texts(path: Path, name: str) -> list[str]:
    """A column of texts; each is looked at before any is repeated in memory.

    Args:
        path: The file.
        name: Name of the column.

    Raises:
        DataError: the file is damaged, or the column is missing, of another type, has gaps or
            no row, or holds endless texts.
    """
    kind = _guarded(path, lambda file: file.schema_arrow.field(name).type)
    if not is_text(kind):
        raise DataError(f"column '{name}' of {path} must be text without gaps, but is {kind}")
    column: pa.ChunkedArray = _guarded(
        path, lambda file: file.read(columns=[name]).column(name), dictionary=[name]
    )
    if column.null_count:
        raise DataError(
            f"column '{name}' of {path} must be text without gaps, but {column.null_count} "
            "are missing"
        )
    if len(column) == 0:
        raise DataError(f"{path} must have at least one row, but is empty")
    longest = max(
        max(map(len, chunk.dictionary.to_pylist()), default=0) for chunk in column.chunks
    )
    if longest > MAX_TEXT:
        raise DataError(
            f"texts in column '{name}' of {path} must have at most {MAX_TEXT} characters, but "
            f"one has {longest:,}"
        )
    texts: list[str] = column.to_pylist()
    return texts


def read_lists(path: Path, name: str) -> list[str]:
    """A column of lists as texts, a few rows at a time, until they are too many.

    Args:
        path: The file.
        name: Name of the column.

    Raises:
        DataError: the file is damaged, or its lists take too much memory.
    """

    def work(file: pq.ParquetFile) -> list[str]:
        texts, size = [], 0
        for batch in file.iter_batches(batch_size=1024, columns=[name]):
            size += batch.nbytes
            if size > MAX_BYTES // STORED:
                raise ValueError(f"lists in column '{name}' have more than {size >> 20} MiB")
            texts += [str(row) for row in batch.column(0).to_pylist()]
        return texts

    texts: list[str] = _guarded(path, work)
    return texts


class ColumnReader:
    """Read single columns of a file, and notice when the file has been replaced."""

    def __init__(self, path: Path) -> None:
        self._path, self._opened = path, _identity(path)

    def __call__(self, name: str) -> NDArray[Any]:
        """The values of a column.

        Raises:
            DataError: the file is not the one that was opened, is damaged or has no such column.
        """
        if _identity(self._path) != self._opened:
            raise DataError(
                f"{self._path} must not change while in use, but it has; load it again"
            )
        values: NDArray[Any] = read_columns(self._path, [name]).column(name).to_numpy()
        return values


def check_graphs(
    graphs: DenseBatch,
    space: Space | None,
    digests: NDArray[np.uint8] | None,
    path: str,
    *,
    exact: bool = True,
) -> None:
    """Check the architectures of a table, `SPOT_CHECKS` of them completely.

    Args:
        graphs: N architectures.
        space: Theirs, if it is known.
        digests: Their hashes, uint8 [N, 16], where they were stored.
        path: The file, for messages.
        exact: Whether the space's arguments are known: of a space that has some, architectures
            can be checked only then.

    Raises:
        DataError: there is none, one is not of the space or occurs twice, or a hash is not the
            graph's.
    """
    if not len(graphs):
        raise DataError(f"{path} must have a row for each architecture, but has none")
    found = graphs.num_ops, graphs.has_edge_ops
    if space is not None and (len(space.ops), bool(space.edge_ops)) != found:
        raise DataError(
            f"{path}: architectures of '{space.name}' must have (num_ops, edge ops) "
            f"{(len(space.ops), bool(space.edge_ops))}, but got {found}"
        )
    rows = np.unique(np.linspace(0, len(graphs) - 1, SPOT_CHECKS).astype(np.int64)).tolist()
    try:
        validate_batch(graphs)
        if space is not None and (exact or not space.args):
            for row in rows:
                space.validate(graphs.data(row))
    except GraphError as error:
        raise DataError(f"{path}: {error}") from error
    _check_unique(graphs, digests, path)
    if digests is not None:
        for row in rows:
            _check_hash(graphs, row, digests, path)


def _space_of(facts: Provenance, path: str | Path) -> Space | None:
    """See `Provenance.known_space`.

    Raises:
        DataError: the table names no space.
    """
    try:
        return facts.known_space()
    except GnasError as error:
        raise DataError(f"{path}: {error}") from error


def _without_args(facts: Provenance) -> str:
    """Addition to a message about a table that does not say what its space is made with."""
    space = None if facts.space_args is not None else facts.known_space()
    if space is None or not space.args:
        return ""
    return (
        f"; the table does not record the arguments of its space, name them: "
        f"--space '{facts.space}({next(iter(space.args))}=...)'"
    )


def _check_unique(graphs: DenseBatch, digests: NDArray[np.uint8] | None, path: str) -> None:
    """Node-op spaces count architectures up to isomorphism, edge-op spaces as matrices."""
    if graphs.has_edge_ops:
        rows = np.concatenate([_triangle(graphs), graphs.ops.numpy().view(np.uint8)], axis=1)
        keys = np.ascontiguousarray(rows).view(f"S{rows.shape[1]}")[:, 0]
    elif digests is not None:
        starts = np.sort(np.ascontiguousarray(digests).view(np.uint64)[:, 0])
        if (starts[1:] != starts[:-1]).all():  # sorting integers is ten times faster
            return
        keys = np.ascontiguousarray(digests).view("S16")[:, 0]
    else:
        keys = graph_keys(graphs)
    _, first, count = np.unique(keys, return_index=True, return_counts=True)
    if len(first) < len(keys):
        row = int(first[count > 1].min())
        rows = np.flatnonzero(keys == keys[row])[:2]
        raise DataError(
            f"{path}: every architecture must occur once, but {len(keys) - len(first)} repeat "
            f"(first: rows {rows.tolist()} have the same hash)"
        )


def _check_hash(graphs: DenseBatch, row: int, digests: NDArray[np.uint8], path: str) -> None:
    expected, found = graph_hash(graphs.data(row)), digests[row].tobytes().hex()
    if expected != found:
        raise DataError(
            f"{path}: the hash of row {row} must be its graph's, {expected}, but got {found}; "
            "the file is damaged or of another space"
        )


_GRAPH_TYPES: dict[str, Callable[[pa.DataType], bool]] = {
    "num_nodes": pa.types.is_uint8,
    "adjacency": pa.types.is_fixed_size_binary,
    "ops": pa.types.is_fixed_size_binary,
    "hash": lambda kind: kind == pa.binary(16),
}


def _described(schema: pa.Schema, path: Path) -> tuple[dict[str, Any], Provenance, list[Column]]:
    """Metadata of the graphs, provenance of the table, and its columns of values."""
    _check_names(schema, path)
    facts, provenance = _table_facts(schema, path)
    columns = [_column(field, path) for field in schema if field.name not in _GRAPH_TYPES]
    _check_types(schema, path)
    return facts, provenance, columns


def _check_names(schema: pa.Schema, path: Path) -> None:
    if len(schema) > MAX_COLUMNS:
        raise DataError(
            f"{path} must have at most {MAX_COLUMNS:,} columns, but has {len(schema):,}"
        )
    twice = [name for name, count in Counter(schema.names).items() if count > 1]
    if twice:
        raise DataError(
            f"every column of {path} must have a name of its own, but several are named {twice}"
        )


def _check_types(schema: pa.Schema, path: Path) -> None:
    for name, fits in _GRAPH_TYPES.items():
        if name not in schema.names:
            raise DataError(f"{path} must have a column '{name}', but has {schema.names[:8]}...")
        if not fits(schema.field(name).type):
            kind = schema.field(name).type
            raise DataError(f"column '{name}' of {path} has the wrong type {kind}")
    for field in schema:
        if field.name not in _GRAPH_TYPES and not pa.types.is_floating(field.type):
            raise DataError(f"column '{field.name}' of {path} must be floats, but is {field.type}")


def _column(field: pa.Field, path: Path) -> Column:
    try:
        column = Column(field.name, **json.loads(field.metadata[_KEY]))
        numbers = (column.epochs, column.run)
        texts_fit = isinstance(column.quantity, str) and isinstance(column.dataset, str | None)
        if not texts_fit or any(not _is_count(k) for k in numbers if k is not None):
            raise TypeError
    except FORMAT_ERRORS:
        raise DataError(
            f"column {field.name!r:.80} of {path} must say what it means in its metadata "
            "(quantity and dataset as texts, epochs and run as numbers), but does not"
        ) from None
    return column


def _is_count(value: object) -> bool:
    """Whether a value of JSON is a whole number that any program can hold."""
    return type(value) is int and 0 <= value < 2**63


def _table_metadata(table: BenchmarkTable) -> bytes:
    facts = {key: getattr(table.provenance, key) for key in (*_FACTS, *_LATER_FACTS)}
    for key in ("recipe", "space_args"):
        facts[key] = None if facts[key] is None else dict(facts[key])
    facts |= {"format_version": FORMAT_VERSION, "max_nodes": table.graphs.max_nodes}
    if table.provenance.space not in SPACES:  # how to read graphs of a space that is not here
        facts["graphs"] = [table.graphs.num_ops, table.graphs.has_edge_ops]
    return json.dumps(facts).encode()


def _checksum(facts: bytes, fields: Iterable[pa.Field]) -> bytes:
    """Guard the metadata, as the page checksums guard the values."""
    parts = [facts]
    for field in fields:
        parts += [
            field.name.encode(),
            str(field.type).encode(),
            (field.metadata or {}).get(_KEY, b""),
        ]
    return b"%08x" % zlib.crc32(b"\0".join(parts))


def _table_facts(schema: pa.Schema, path: Path) -> tuple[dict[str, Any], Provenance]:
    """Metadata of the graphs and provenance of the table."""
    content = schema.metadata[_KEY]
    if schema.metadata.get(_CHECKSUM) != _checksum(content, schema):
        raise DataError(f"{path}: the table's metadata must match its checksum, but does not")
    try:
        facts: dict[str, Any] = {**dict.fromkeys(_LATER_FACTS), **json.loads(content)}
        version = facts["format_version"]
        missing = {*_FACTS, "max_nodes"} - facts.keys()
    except FORMAT_ERRORS:
        raise DataError(f"{path}: the table's metadata must be JSON, but is damaged") from None
    if version != FORMAT_VERSION:
        raise DataError(
            f"{path} must have format version {FORMAT_VERSION}, but has {version}; "
            "convert it again with this version of gnas"
        )
    if missing:
        raise DataError(f"{path}: the table's metadata must have {sorted(missing)}")
    wrong = [key for key in _TEXTS if not isinstance(facts[key], str)]
    wrong += ["kind"] * (facts["kind"] not in get_args(Kind))
    wrong += [k for k in ("recipe", "space_args") if not isinstance(facts[k], dict | None)]
    wrong += ["max_nodes"] * (not _is_count(facts["max_nodes"]) or facts["max_nodes"] == 0)
    if wrong:
        raise DataError(
            f"{path}: {wrong[0]} in the table's metadata is of the wrong type: texts, objects "
            f"for recipe and space_args and a whole number from 1 for max_nodes are wanted, but "
            f"it is {type(facts[wrong[0]]).__name__} {facts[wrong[0]]!r:.60}"
        )
    if facts["max_nodes"] > MAX_NODES:
        raise DataError(f"{path}: max_nodes must be at most {MAX_NODES}, not {facts['max_nodes']}")
    named = {key: facts[key] for key in (*_FACTS, *_LATER_FACTS)}
    provenance = Provenance(path=str(path), **named)
    space = _space_of(provenance, path)
    if space is not None:
        facts["graphs"] = [len(space.ops), bool(space.edge_ops)]
    kinds = facts.get("graphs")
    if not (
        isinstance(kinds, list)
        and [type(part) for part in kinds] == [int, bool]
        and 1 <= kinds[0] <= MAX_KINDS
    ):
        raise DataError(
            f"{path}: graphs of {facts['space']!r:.60} must be described by their number of "
            f"operations and whether edges have some, but got {kinds!r:.60}"
        )
    return facts, provenance


def _graphs(
    parts: pa.Table, facts: dict[str, Any], path: Path
) -> tuple[DenseBatch, NDArray[np.uint8]]:
    """Decode the graph columns."""
    (num_ops, has_edge_ops), n = facts["graphs"], int(facts["max_nodes"])
    pairs = n * (n - 1) // 2
    width = pairs if has_edge_ops else (pairs + 7) // 8
    triangle, ops = _bytes(parts, "adjacency"), _bytes(parts, "ops")
    if (triangle.shape[1], ops.shape[1]) != (max(width, 1), n):
        raise DataError(
            f"{path}: adjacency and ops of {n}-node graphs must take {max(width, 1)} and {n} "
            f"bytes, but take {triangle.shape[1]} and {ops.shape[1]}"
        )
    if not has_edge_ops:
        triangle = np.unpackbits(triangle, axis=1, count=pairs)
    adjacency = np.zeros((len(triangle), n, n), dtype=np.uint8)
    adjacency[:, *np.triu_indices(n, 1)] = triangle[:, :pairs]
    graphs = DenseBatch(
        torch.from_numpy(adjacency),
        torch.from_numpy(ops.view(np.int8)),
        torch.from_numpy(parts.column("num_nodes").to_numpy().astype(np.int64)),
        num_ops,
        has_edge_ops,
    )
    return graphs, _bytes(parts, "hash")


def _triangle(graphs: DenseBatch) -> NDArray[np.uint8]:
    """The upper triangle as bytes: packed bits, or one byte an entry with edge operations."""
    n = graphs.max_nodes
    triangle = graphs.adjacency.numpy()[:, *np.triu_indices(n, 1)]
    if not graphs.has_edge_ops:
        triangle = np.packbits(triangle, axis=1)
    if triangle.shape[1] == 0:
        triangle = np.zeros((len(graphs), 1), dtype=np.uint8)
    return triangle


def _float_array(values: NDArray[Any]) -> pa.Array:
    """Float32 where that loses nothing, else float64; NaN becomes null."""
    narrow = values.astype(np.float32, copy=False)
    exact = bool(((narrow == values) | np.isnan(values)).all())
    return pa.array(narrow if exact else values.astype(np.float64), from_pandas=True)


def _binary(rows: NDArray[np.uint8]) -> pa.Array:
    """A fixed-size binary column [N] from uint8 [N, width]."""
    buffer = pa.py_buffer(np.ascontiguousarray(rows))
    return pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(rows.shape[1]), len(rows), [None, buffer]
    )


def _bytes(parts: pa.Table, name: str) -> NDArray[np.uint8]:
    """A fixed-size binary column as uint8 [N, width], writable."""
    column = parts.column(name)
    width = column.type.byte_width
    blocks = [
        np.frombuffer(chunk.buffers()[1], dtype=np.uint8)[
            chunk.offset * width : (chunk.offset + len(chunk)) * width
        ]
        for chunk in column.chunks
    ]
    return np.concatenate([np.empty(0, np.uint8), *blocks]).reshape(-1, width)


def _identity(path: Path) -> tuple[int, int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path} must stay readable, but got: {error.strerror}") from error
    return status.st_ino, status.st_size, status.st_mtime_ns


def _guarded(
    path: Path, work: Callable[[pq.ParquetFile], Any], *, dictionary: list[str] | None = None
) -> Any:
    """Result of ``work`` on an open file; ``dictionary`` columns are dictionary-encoded."""
    check_regular(path, "an intact Parquet file")
    try:
        with pq.ParquetFile(
            path, page_checksum_verification=True, read_dictionary=dictionary
        ) as file:
            return work(file)
    except PermissionError as error:
        raise DataError(f"{path} must be readable, but got: Permission denied") from error
    except (pa.ArrowException, OSError, MemoryError, *FORMAT_ERRORS) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(
            f"{path} must be an intact Parquet file, but reading it failed: {reason[0][:200]}"
        ) from error
