"""A table of photographs: ``manifest.csv``, ``.tsv`` or ``.parquet`` beside them.

::

    path,subject,expression,landmarks,split
    a/1.jpg,ann,neutral,a/1.pts,train
    a/2.jpg,ann,happy,,train

``landmarks`` and ``split`` may be empty or missing; a column ``session`` distinguishes takes of one person. Other
columns are not read, and names of columns ignore case. Cells are separated by commas, semicolons or tabs, as
spreadsheets write them, in UTF-8 or UTF-16. Paths are relative to the manifest's folder or to the source.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Sequence
from pathlib import PurePosixPath

from mrdist.datasets.layouts.records import PHOTOGRAPHS, Layout, Listing, Record, photographs
from mrdist.datasets.layouts.trees import split_of
from mrdist.errors import DataError
from mrdist.storage.access.files import Source

NAMES = ("manifest.csv", "manifest.tsv", "manifest.parquet")
#: Of a table that is given by its own name; Excel saves tab-separated text as .txt.
SUFFIXES = (".csv", ".tsv", ".txt", ".parquet")
_NEEDED = ("path", "subject", "expression")
_OTHER = ("landmarks", "split", "session")


def find(source: Source) -> str | None:
    """Return the name of the source's manifest: at the top, or in a folder that encloses all photographs.

    Raises
    ------
    DataError
        There are two.
    """
    tables = [PurePosixPath(name) for name in source.files if PurePosixPath(name).name.lower() in NAMES]
    parents = [PurePosixPath(name).parents for name in photographs(source.files)]
    tables = [table for table in tables if all(table.parent in above for above in parents)]
    least = min((len(table.parts) for table in tables), default=0)
    names = [str(table) for table in tables if len(table.parts) == least]
    if len(names) > 1:
        raise DataError(f"{source} holds {' and '.join(names)}: keep one of them.")
    return names[0] if names else None


def read(source: Source, name: str | None = None) -> Listing:
    """Make a record of every row; a row that does not name a file of the source is unfit.

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
        rows = _parquet(content, str(file)) if file.suffix == ".parquet" else _table(_text(content, str(file)))
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
            f"{', '.join(filter(None, rows[0]))}: rename them."
        )
    listing, names, folder = Listing(), set(source.files), PurePosixPath(name).parent

    def below(path: str) -> str:
        """Return a path as the source has it, from one relative to the manifest's folder or the source, or absolute."""
        path = path.replace("\\", "/").removeprefix(f"{source.url}/").removeprefix("./")
        inside = str(folder / path)
        return inside if inside in names else path

    for number, row in enumerate(rows, 1):
        path, landmarks = below(row["path"]), row.get("landmarks") and below(row["landmarks"])
        reason = _unfit(row, path, landmarks, names)
        if reason is None:
            split = split_of(row.get("split", ""))
            listing.records.append(
                Record(path, row["subject"], row["expression"], row.get("session", ""), landmarks or None, split)
            )
        else:
            listing.unfit[f"{name} row {number} ({path})"] = reason
    return listing


def _unfit(row: dict[str, str], path: str, landmarks: str | None, names: set[str]) -> str | None:
    empty = [column for column in _NEEDED if not row[column]]
    if empty:
        return f"{' and '.join(empty)} must not be empty"
    if path.startswith("/") or ".." in PurePosixPath(path).parts:
        return "the path leads out of the folder"
    if path not in names:
        return "the file does not exist"
    if PurePosixPath(path).suffix.lower() not in PHOTOGRAPHS:
        return "not a photograph by its extension"
    if landmarks and landmarks not in names:
        return f"the landmark file {landmarks} does not exist"
    if row.get("split") and split_of(row["split"]) is None:
        return f"the split must be train, val or test, not {row['split']!r}"
    return None


def _text(content: bytes, name: str) -> str:
    is_wide = content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    try:
        return content.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"Manifest {name} cannot be read as text in UTF-{16 if is_wide else 8} ({error.reason} at byte "
            f"{error.start}): save it as CSV UTF-8."
        ) from error


def _table(text: str) -> list[dict[str, str]]:
    """Read a table whose header shows the delimiter; rows of empty cells are left out."""
    first, _, rest = text.partition("\n")
    if first.strip().lower() in ("sep=,", "sep=;"):  # a hint for Excel
        text = rest
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    lines = io.StringIO(text, newline="")
    reader = csv.DictReader(lines, restval="", delimiter=delimiter, skipinitialspace=True)
    reader.fieldnames = _columns(reader.fieldnames or [])
    rows = [{name: (value or "").strip() for name, value in row.items() if name is not None} for row in reader]
    return [row for row in rows if any(row.values())]


def _columns(names: Sequence[str]) -> list[str]:
    """Return the names of columns in lower case.

    Raises
    ------
    DataError
        Two that are read have one name.
    """
    lower = [name.strip().lower() for name in names]
    for name in (*_NEEDED, *_OTHER):
        if lower.count(name) > 1:
            raise DataError(f"The manifest has two columns named {name!r}; keep one of them.")
    return lower


def _parquet(content: bytes, name: str) -> list[dict[str, str]]:
    try:
        import pyarrow.parquet as parquet  # large, and seldom needed
    except ImportError as error:
        raise DataError(
            f"Manifest {name} is Parquet, which needs pyarrow: pip install 'mrdist[parquet]', or save it as CSV."
        ) from error
    table = parquet.read_table(io.BytesIO(content))
    rows = table.rename_columns(_columns(table.column_names)).to_pylist()
    return [{column: "" if value is None else str(value).strip() for column, value in row.items()} for row in rows]


def count(names: Sequence[str]) -> int:
    """Count nothing: a manifest is recognised by its own name."""
    return 0 * len(names)


LAYOUT = Layout(
    "manifest", "manifest.csv or .parquet", "columns path, subject, expression, landmarks, split", count, read
)
