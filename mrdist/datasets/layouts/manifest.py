"""A table of photographs: ``manifest.csv`` or ``manifest.parquet`` beside them.

::

    path,subject,expression,landmarks,split
    a/1.jpg,ann,neutral,a/1.pts,train
    a/2.jpg,ann,happy,,train

``landmarks`` and ``split`` may be empty or missing; a column ``session`` tells takes of one person apart. Other columns
are not read. Paths are those below the folder.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import PurePosixPath

from mrdist.datasets.layouts.records import PHOTOGRAPHS, Found, Layout, Record
from mrdist.errors import DataError
from mrdist.storage.files import Source

NAMES = ("manifest.csv", "manifest.parquet")
_NEEDED = ("path", "subject", "expression")
_SPLITS = ("train", "val", "test")


def find(source: Source) -> str | None:
    """Return the name of the source's manifest.

    Raises
    ------
    DataError
        There are two.
    """
    names = [name for name in NAMES if name in source.files]
    if len(names) > 1:
        raise DataError(f"{source} holds {' and '.join(names)}: keep the one that is meant.")
    return names[0] if names else None


def read(source: Source, name: str | None = None) -> Found:
    """Make a record of every row; one that names no file of the source is listed as unfit.

    Parameters
    ----------
    source
        The files.
    name
        The manifest's name, by default one of `NAMES`.

    Raises
    ------
    DataError
        There is no manifest, it cannot be read, or it lacks a column.
    """
    name = name or find(source)
    if name is None or name not in source.files:
        raise DataError(f"{source} holds no {name or ' or '.join(NAMES)}.")
    file = source.file(name)
    try:
        content = file.read_bytes()
        rows = _csv(content) if file.suffix == ".csv" else _parquet(content, str(file))
    except (OSError, ValueError, csv.Error) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(f"Manifest {file} cannot be read: {error}.") from error
    if not rows:
        raise DataError(f"Manifest {file} has no rows.")
    missing = [column for column in _NEEDED if column not in rows[0]]
    if missing:
        raise DataError(
            f"Manifest {file} lacks the column{'s' * (len(missing) > 1)} {', '.join(missing)}; it has "
            f"{', '.join(rows[0])}."
        )
    found, names = Found(), set(source.files)
    for number, row in enumerate(rows, 1):
        path = row["path"].replace("\\", "/").removeprefix("./")
        reason = _unfit(row, path, names)
        if reason is None:
            landmarks, split = row.get("landmarks") or None, row.get("split") or None
            found.records.append(
                Record(path, row["subject"], row["expression"], row.get("session", ""), landmarks, split)
            )
        else:
            found.unfit[f"{name} row {number} ({path})"] = reason
    return found


def _unfit(row: dict[str, str], path: str, names: set[str]) -> str | None:
    empty = [column for column in _NEEDED if not row[column]]
    if empty:
        return f"{' and '.join(empty)} must not be empty"
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        return "the path leads out of the folder"
    if path not in names:
        return "there is no such file"
    if PurePosixPath(path).suffix.lower() not in PHOTOGRAPHS:
        return "not a photograph by its extension"
    if row.get("landmarks") and row["landmarks"] not in names:
        return f"there is no landmark file {row['landmarks']}"
    if row.get("split") and row["split"] not in _SPLITS:
        return f"the split must be train, val or test, not {row['split']!r}"
    return None


def _csv(content: bytes) -> list[dict[str, str]]:
    reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), restval="")
    return [{str(name): (value or "").strip() for name, value in row.items() if name is not None} for row in reader]


def _parquet(content: bytes, name: str) -> list[dict[str, str]]:
    try:
        import pyarrow.parquet as parquet  # large, and seldom needed
    except ImportError as error:
        raise DataError(
            f"Manifest {name} is Parquet, which needs pyarrow: pip install 'mrdist[parquet]', or save it as CSV."
        ) from error
    rows = parquet.read_table(io.BytesIO(content)).to_pylist()
    return [{column: "" if value is None else str(value).strip() for column, value in row.items()} for row in rows]


def count(names: Sequence[str]) -> int:
    """Count nothing: a manifest is told by its own name."""
    return 0 * len(names)


LAYOUT = Layout(
    "manifest", "manifest.csv or .parquet", "columns path, subject, expression, landmarks, split", count, read
)
