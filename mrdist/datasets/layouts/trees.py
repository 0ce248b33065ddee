"""Folders within folders: which part of a path is a split, which an expression, and which only encloses."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from types import MappingProxyType

from mrdist.datasets.layouts.records import EXPRESSIONS

#: Name of a folder -> train, val or test.
SPLITS: Mapping[str, str] = MappingProxyType(
    {
        **dict.fromkeys(("train", "training"), "train"),
        **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
        **dict.fromkeys(("test", "testing"), "test"),
    }
)
#: Words that mark a folder of an expression rather than of a person.
_WORDS = frozenset({"neutral", "calm", "contempt", "contemptuous"})
_WORDS |= {"happy", "happiness", "joy", "smile", "smiling", "laugh", "laughing", "sad", "sadness", "angry", "anger"}
_WORDS |= {"afraid", "fear", "fearful", "scared", "disgusted", "disgust", "surprised", "surprise"}


@dataclass(frozen=True)
class Place:
    """Where a photograph lies.

    Attributes
    ----------
    path
        Below the source.
    split
        train, val or test, if it lies in a folder of that name and others lie in another.
    folders
        Without the split's, and without those that enclose all photographs.
    name
        Without its extension.
    """

    path: str
    split: str | None
    folders: tuple[str, ...]
    name: str

    def of_split(self, subject: str) -> str:
        """Return the name of a person, with the split: every split has its own names."""
        return f"{self.split}/{subject}" if self.split else subject


def composed(name: str) -> str:
    """Return a name in composed form: archives of macOS separate letters and their accents."""
    return unicodedata.normalize("NFC", name)


def split_of(name: str) -> str | None:
    """Return the split that a folder or a cell of a table names.

    Examples
    --------
    >>> split_of("Validation"), split_of("happy")
    ('val', None)
    """
    return SPLITS.get(name.strip().casefold())


def is_expression(name: str) -> bool:
    """Whether a name holds the word for an expression.

    Examples
    --------
    >>> is_expression("01_Happy"), is_expression("NE"), is_expression("ann")
    (True, True, False)
    """
    return name in EXPRESSIONS or not _WORDS.isdisjoint(re.split(r"[\W\d_]+", name.casefold()))


def places(names: Sequence[str]) -> list[Place]:
    """Split paths into their parts.

    Examples
    --------
    >>> [place.folders for place in places(["faces/neutral/ann.png", "faces/happy/ann.png"])]
    [('neutral',), ('happy',)]
    >>> [(place.split, place.folders) for place in places(["train/happy/0.png", "valid/happy/0.png"])]
    [('train', ('happy',)), ('val', ('happy',))]
    """
    parsed = [_place(name) for name in names]
    splits = {place.split for place in parsed if place.split}
    if len(splits) < 2 or not any(place.folders for place in parsed):
        # a single one only encloses, and without another folder it is the label
        parsed = [Place(place.path, None, tuple(composed(place.path).split("/")[:-1]), place.name) for place in parsed]
    return _without_enclosing(parsed)


def _place(path: str) -> Place:
    *folders, name = composed(str(PurePosixPath(path).with_suffix(""))).split("/")
    level = next((level for level, folder in enumerate(folders) if split_of(folder)), None)
    if level is None:
        return Place(path, None, tuple(folders), name)
    return Place(path, split_of(folders[level]), (*folders[:level], *folders[level + 1 :]), name)


def _without_enclosing(parsed: list[Place]) -> list[Place]:
    """Leave out the levels, counted from the photographs, at which all folders have one name.

    One that names an expression stays, if no other level does.
    """
    levels = range(1, max((len(place.folders) for place in parsed), default=0) + 1)
    at = {level: {place.folders[-level] for place in parsed if len(place.folders) >= level} for level in levels}
    named = [level for level, folders in at.items() if all(map(is_expression, folders))]
    drop = {level for level, folders in at.items() if len(folders) == 1 and (level not in named or len(named) > 1)}
    if len(drop) == len(at):  # all lie in one folder
        drop.discard(1)
    return [
        Place(
            place.path,
            place.split,
            tuple(folder for level, folder in enumerate(reversed(place.folders), 1) if level not in drop)[::-1],
            place.name,
        )
        for place in parsed
    ]


def share(names: Iterable[str]) -> float:
    """Return the share of names that are of expressions."""
    named = [is_expression(name) for name in names]
    return sum(named) / max(len(named), 1)


def repeated(rows: Sequence[tuple[object, ...]]) -> int:
    """Count rows that are there more than once."""
    return sum(n for n in Counter(rows).values() if n > 1)


def shared(rows: Iterable[tuple[object, object]]) -> float:
    """Return the share of (name, folder) whose name is there with another folder, too.

    Examples
    --------
    >>> shared([("ann", "neutral"), ("ann", "happy"), ("bob", "happy"), ("bob", "sad"), ("cid", "sad")])
    0.8
    """
    rows = list(rows)
    folders = defaultdict(set)
    for name, folder in rows:
        folders[name].add(folder)
    return sum(len(folders[name]) > 1 for name, _ in rows) / max(len(rows), 1)
