"""One folder for each expression, with equal names for one person.

::

    neutral/ann.png
    happy/ann.png     the same person
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

from mrdist.datasets.layouts.records import Found, Layout, Record, read_names
from mrdist.storage.files import Source

_NAME = re.compile(r"(?P<label>[^/]+)/(?P<subject>[^/]+)")


def read(source: Source) -> Found:
    """Make records of everything that lies in a folder."""
    return read_names(source, _NAME, _record, "the photograph lies in no folder named after an expression")


def _record(path: str, name: re.Match[str]) -> Record:
    return Record(path, name["subject"], name["label"])


def count(names: Sequence[str]) -> int:
    """Count the photographs whose name lies in two folders or more.

    Examples
    --------
    >>> count(["neutral/ann.png", "happy/ann.png", "happy/bob.png"])
    2
    """
    folders = defaultdict(set)
    for path in map(PurePosixPath, names):
        folders[path.stem].add(path.parent)
    return sum(len(folders[path.stem]) > 1 and path.parent.name != "" for path in map(PurePosixPath, names))


LAYOUT = Layout("folders", "neutral/ann.png, happy/ann.png", "expression, person", count, read)
