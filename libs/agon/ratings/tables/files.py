"""Files of votes as lazy frames: what a file is, is read from its first bytes, whatever its name says.

CSV (comma, semicolon, tab or bar), JSON lines, a JSON array, Parquet, a folder of any of these, standard input; CSV and
JSON also compressed with gzip or zstd.
"""

import gzip
import json
import sys
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import polars as pl

from agon.errors import InvalidRequest

Kind = Literal["parquet", "csv", "json lines", "json", "counts", "frame"]

STANDARD_INPUT = "-"
_SNIFFED = 1 << 16
_INFERRED = 10_000
_SEPARATORS = ",\t;|"
_GZIP, _ZSTD, _PARQUET = b"\x1f\x8b", b"\x28\xb5\x2f\xfd", b"PAR1"
_FOLDER = (("*.parquet", "parquet"), ("*.jsonl*", "json lines"), ("*.csv*", "csv"))


@dataclass(frozen=True, slots=True)
class Table:
    """A file before its columns are understood."""

    frame: pl.LazyFrame
    kind: Kind
    names: tuple[str, ...]
    """The columns, as the file has them."""
    first_row: int
    """How the file counts its first record: 2 in CSV, where the header is row 1; 0 in a frame; else 1."""

    def row(self, record: int) -> int:
        """The 1-based row of a record (from 0)."""
        return record + self.first_row


def scan(source: str) -> Table:
    """Open a file, a folder of files, or `-` for standard input; nothing but a head is read from a file yet.

    Raises `InvalidRequest` for what is no table and `OSError` for what can't be opened.
    """
    if source == STANDARD_INPUT:
        return _sniffed(sys.stdin.buffer.read(), "standard input")
    path = Path(source)
    if path.is_dir():
        return _folder(path)
    with path.open("rb") as file:
        head = file.read(_SNIFFED)
    return _sniffed(path, source, head)


def _folder(path: Path) -> Table:
    if (path / "preferences").is_dir():  # what `agon export` writes: votes that count are there, all others beside it
        path = path / "preferences"
    for pattern, kind in _FOLDER:
        files = sorted(path.rglob(pattern))
        if files and kind == "parquet":
            return _table(pl.scan_parquet(files, hive_partitioning=True), "parquet", str(path))
        if files and kind == "json lines":
            return _table(pl.scan_ndjson(files, infer_schema_length=None), "json lines", str(path))
        if files:
            return _table(pl.scan_csv(files, infer_schema=False), "csv", str(path))
    raise InvalidRequest(f"{path}: no *.parquet, *.jsonl or *.csv in this folder")


def _sniffed(source: Path | bytes, name: str, head: bytes | None = None) -> Table:
    start = head if head is not None else bytes(source)[:_SNIFFED] if isinstance(source, bytes) else b""
    if start.startswith(_PARQUET):
        return _table(pl.scan_parquet(BytesIO(source) if isinstance(source, bytes) else source), "parquet", name)
    text = _inflated(start, name)
    first = text.lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if not first:
        raise InvalidRequest(f"{name} is empty: it needs a header and votes")
    if b"\0" in text[:4096]:
        raise InvalidRequest(f"{name} is no table that can be read: CSV, JSON lines, JSON or Parquet is")
    if first == b"[":
        return _table(_json_array(_whole(source, name), name), "json", name)
    if first == b"{":
        counts = _counts(source, text, name)
        if counts is not None:
            return counts
        lines = _table(pl.scan_ndjson(source, infer_schema_length=_INFERRED), "json lines", name)
        if pl.Null in lines.frame.collect_schema().dtypes():  # a column that is empty at first: look at all of it
            lines = _table(pl.scan_ndjson(source, infer_schema_length=None), "json lines", name)
        return lines
    header = text.splitlines()[0].decode("utf-8", "replace")
    separator = max(_SEPARATORS, key=header.count)
    return _table(pl.scan_csv(source, separator=separator, infer_schema=False), "csv", name)


def _table(frame: pl.LazyFrame, kind: Kind, name: str) -> Table:
    try:
        names = tuple(frame.collect_schema().names())
    except pl.exceptions.PolarsError as error:
        raise InvalidRequest(f"{name} can't be read as {kind}: {first_line(error)}") from error
    return Table(frame, kind, names, first_row=2 if kind == "csv" else 1)


def first_line(error: Exception) -> str:
    """What polars says, without its advice to programmers."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _inflated(head: bytes, name: str) -> bytes:
    """The first bytes as text. A zstd head is not inflated (the standard library can't): the name has to tell."""
    if head.startswith(_GZIP):
        try:
            return gzip.GzipFile(fileobj=BytesIO(head)).read1(_SNIFFED)
        except (OSError, EOFError) as error:
            raise InvalidRequest(f"{name} looks like gzip and is none: {error}") from error
    if head.startswith(_ZSTD):
        return b'{"' if ".json" in name else b","
    return head


def _whole(source: Path | bytes, name: str) -> bytes:
    data = source if isinstance(source, bytes) else source.read_bytes()
    if data.startswith(_ZSTD):
        raise InvalidRequest(f"{name}: a JSON array can't be read from zstd, inflate it first (`zstd -d`)")
    return gzip.decompress(data) if data.startswith(_GZIP) else data


def _json_array(data: bytes, name: str) -> pl.LazyFrame:
    try:
        return pl.read_json(data, infer_schema_length=None).lazy()
    except pl.exceptions.PolarsError as error:
        raise InvalidRequest(f"{name} can't be read as a JSON array of objects: {first_line(error)}") from error


def _counts(source: Path | bytes, head: bytes, name: str) -> Table | None:
    """leaderbot's counts: one object with `models`, pairs `X` and their outcomes `Y`; None for anything else."""
    if b'"models"' not in head:
        return None
    try:
        data: Any = json.loads(_whole(source, name))
    except ValueError:
        return None
    if not isinstance(data, dict) or not {"models", "X", "Y"} <= data.keys():
        return None
    models, pairs, outcomes = data["models"], data["X"], data["Y"]
    if len(pairs) != len(outcomes):
        raise InvalidRequest(f"{name}: X has {len(pairs)} pairs and Y has counts of {len(outcomes)}")
    for at, (pair, counts) in enumerate(zip(pairs, outcomes, strict=True)):
        if not (len(pair) == 2 and all(isinstance(i, int) and 0 <= i < len(models) for i in pair)):
            raise InvalidRequest(f"{name}: X[{at}] is {pair}, not two places in `models`")
        if not (3 <= len(counts) <= 4 and all(isinstance(n, int) and n >= 0 for n in counts)):
            raise InvalidRequest(f"{name}: Y[{at}] is {counts}, not wins, losses, ties and perhaps both bad, as counts")
    words = ("model_a", "model_b", "tie", "both_bad")
    columns = {
        "model_a": [models[i] for (i, _), row in zip(pairs, outcomes, strict=True) for _ in row],
        "model_b": [models[j] for (_, j), row in zip(pairs, outcomes, strict=True) for _ in row],
        "winner": [word for row in outcomes for word, _ in zip(words, row, strict=False)],
        "votes": [n for row in outcomes for n in row],
    }
    return Table(pl.DataFrame(columns, schema_overrides={"votes": pl.Int64}).lazy(), "counts", tuple(columns), 1)
