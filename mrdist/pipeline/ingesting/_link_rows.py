"""Who is on the images of linked arrays: ids, subjects and splits from lists, coordinates or tables."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from mrdist.arguments import shown
from mrdist.datasets.splits import split_by_subject
from mrdist.errors import DataError, ParameterError
from mrdist.storage import Link, StorageOptions, is_local, read_coordinate, read_file, redact

PERIODS = {"year": 4, "month": 7, "day": 10}
"""Characters of a date that name the period it lies in."""
SPLITS = ("train", "val", "test")
_COORDINATES = ("time", "image", "sample", "t")
Column = str | Sequence[str]


def rows_of(
    address: str,
    link: Link,
    options: StorageOptions,
    n_images: int,
    image: Column | None,
    subject: Column | None,
    split: Column | None,
    split_by: str | None,
    seed: int,
) -> dict[str, list[str]]:
    """Return id, subject and split of every image."""
    chosen = link.select.get("image")
    first, last = chosen if isinstance(chosen, tuple) else (0, n_images)

    def column(name: str, given: Column | None) -> list[str] | None:
        if given is None:
            return None
        values = _texts(given, address, options)
        if values is None:
            raise ParameterError(
                f"{name} is {shown(given)}, but there is no one-dimensional array of this name beside "
                f"{redact(address)}; give another name, FILE:COLUMN of a table, or a list."
            )
        if len(values) != n_images:
            values = values[first:last]
        if len(values) != n_images:
            raise ParameterError(f"{name} must have one entry for each of the {n_images} images, got {len(values)}.")
        return values

    ids = column("image", image)
    if ids is None:
        found = next(
            (each for name in ("time", "image", "sample", "t") if (each := _texts(name, address, options))), None
        )
        found = found if found is None or len(found) == n_images else found[first:last]
        ids = found if found is not None and len(set(found)) == len(found) == n_images else None
    dates = ids
    ids = ids or [str(number) for number in range(n_images)]
    if len(set(ids)) < len(ids):
        raise DataError(
            "the ids of the images are not all different; name another array with --image, or leave it out."
        )
    people = column("subject", subject)
    if split_by is not None:
        if dates is None or any(len(each) < 10 or each[4:5] != "-" for each in dates):
            raise ParameterError(
                f"split_by {split_by} needs dates, but the images have none; name their array with --image, such as "
                "--image time."
            )
        people = [each[: PERIODS[split_by]] for each in dates]
    people = people or ids
    sides = column("split", split) or split_by_subject(people, seed)
    wrong = sorted(set(sides) - set(SPLITS))
    if wrong:
        raise DataError(f"split must be one of {', '.join(SPLITS)}, got {wrong[0]!r}; correct the column.")
    return {"image": ids, "subject": people, "split": sides}


def _texts(given: Column, address: str, options: StorageOptions) -> list[str] | None:
    """Return a column: a list, an array beside another, or a column of a table."""
    if not isinstance(given, str):
        return list(map(str, given))
    table, colon, name = given.rpartition(":")
    if colon and PurePosixPath(table).suffix.lower() in (".csv", ".tsv", ".txt"):
        content = read_file(table, None if is_local(table) else options)
        if content is None:
            raise ParameterError(f"there is no table {redact(table)}; check the address.")
        text = content.decode("utf-8-sig")
        dialect = csv.excel_tab if "\t" in text.partition("\n")[0] else csv.excel
        rows = list(csv.DictReader(io.StringIO(text), dialect=dialect))
        if not rows or name not in rows[0]:
            there = ", ".join(rows[0]) if rows else "no rows"
            raise ParameterError(f"{redact(table)} has no column {name!r}; it has {there}.")
        return [row[name] for row in rows]
    values = read_coordinate(address, given, None if is_local(address) else options)
    if values is None:
        return None
    if values.dtype.kind == "M":
        text_of = np.datetime_as_string(values.astype("M8[s]"))
        whole = all(each.endswith("T00:00:00") for each in text_of)
        return [str(each)[:10] if whole else str(each) for each in text_of]
    return [each.isoformat() if hasattr(each, "isoformat") else str(each) for each in values.tolist()]
