"""What every reader of a layout returns, and what the readers share."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType

from mrdist.datasets.photographs import Half
from mrdist.storage.access.files import Source

PHOTOGRAPHS = frozenset(
    {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".pgm", ".ppm", ".jp2", ".tga", ".npy"}
)
LANDMARKS = frozenset({".tem", ".pts", ".lm2", ".csv", ".json", ".ljson"})
#: Directions of the face, by the names of ``--angle``.
ANGLES = ("front", "half-left", "half-right", "full-left", "full-right")

#: Two-letter codes of the seven expressions, as KDEF and JAFFE have them.
EXPRESSIONS: Mapping[str, str] = MappingProxyType(
    {
        "NE": "neutral",
        "AF": "afraid",
        "FE": "afraid",
        "AN": "angry",
        "DI": "disgusted",
        "HA": "happy",
        "SA": "sad",
        "SU": "surprised",
    }
)


@dataclass(frozen=True)
class Record:
    """One photograph of a dataset.

    Attributes
    ----------
    path
        Its name below the source.
    subject
        The person's id.
    label
        The expression.
    session
        Distinguishes takes of one person; a row of the store is one take.
    landmarks
        Name of its landmark file.
    split
        train, val or test, where the dataset says so.
    angle
        Direction of the face, one of `ANGLES`.
    half
        Which half of the picture it is.
    """

    path: str
    subject: str
    label: str
    session: str = ""
    landmarks: str | None = None
    split: str | None = None
    angle: str = "front"
    half: Half | None = None


@dataclass(frozen=True)
class Listing:
    """The files of a source, sorted by a reader.

    Attributes
    ----------
    records
        Photographs whose names fit.
    unfit
        Photographs whose names, or whose rows in a manifest, do not fit -> the reason.
    skipped
        Photographs that fit but do not show an expression (an action unit, for example) -> the reason.
    """

    records: list[Record] = field(default_factory=list)
    unfit: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Layout:
    """A way to arrange a dataset in folders.

    Attributes
    ----------
    name
        For ``--layout``.
    example
        Names of files.
    meaning
        Meaning of the parts of a name.
    count
        Counts how many of the photographs' names fit.
    read
        Makes records.
    """

    name: str
    example: str
    meaning: str
    count: Callable[[Sequence[str]], int]
    read: Callable[[Source], Listing]


def photographs(names: Iterable[str]) -> list[str]:
    """Return the names that are photographs' by their extension."""
    return [name for name in names if PurePosixPath(name).suffix.lower() in PHOTOGRAPHS]


def beside(names: Iterable[str]) -> Mapping[str, str]:
    """Return the landmark files by the path of the photograph they belong to, without its extension."""
    paths = [PurePosixPath(name) for name in names]
    return {str(path.with_suffix("")): str(path) for path in paths if path.suffix.lower() in LANDMARKS}


def read_names(
    source: Source, pattern: re.Pattern[str], record: Callable[[str, re.Match[str]], Record | str], unfit: str
) -> Listing:
    """Read a layout in which a photograph's name says everything.

    Parameters
    ----------
    source
        The files.
    pattern
        What the photographs' paths without extension must end with, from a ``/`` on.
    record
        Makes a record from a path and its match, or says why there is none.
    unfit
        Why the others are not used.
    """
    listing = Listing()
    for name in photographs(source.files):
        match = ends_with(pattern, name)
        made = unfit if match is None else record(name, match)
        if isinstance(made, Record):
            listing.records.append(made)
        else:
            (listing.unfit if match is None else listing.skipped)[name] = made
    return listing


def ends_with(pattern: re.Pattern[str], name: str) -> re.Match[str] | None:
    """Match a whole number of last parts of a path, its extension left out."""
    return re.fullmatch(rf"(?:.*/)?(?:{pattern.pattern})", str(PurePosixPath(name).with_suffix("")), pattern.flags)


def counter(pattern: re.Pattern[str]) -> Callable[[Sequence[str]], int]:
    """Return a function that counts the names that match."""
    return lambda names: sum(ends_with(pattern, name) is not None for name in names)
