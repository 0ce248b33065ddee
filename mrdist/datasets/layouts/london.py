"""The Face Research Lab London Set (DeBruine and Jones 2017).

::

    neutral_front/001_03.jpg    person 001, label "neutral"
    neutral_front/001_03.tem    its landmarks
    smiling_front/001_08.jpg    the same person, label "smiling"
"""

from __future__ import annotations

import re

from mrdist.datasets.layouts.records import Layout, Listing, Record, counter, read_names
from mrdist.storage.access.files import Source

_NAME = re.compile(r"(?P<label>[^/]+)_front/(?P<subject>[A-Za-z0-9]+)_(?P<shot>[0-9]+)")


def read(source: Source) -> Listing:
    """Make records; the person's id alone pairs photographs, never a position in a listing."""
    return read_names(source, _NAME, _record, "the name is not <label>_front/<person>_<shot>")


def _record(path: str, name: re.Match[str]) -> Record:
    return Record(path, name["subject"], name["label"])


LAYOUT = Layout("london", "neutral_front/001_03.jpg, .tem", "expression, person and shot", counter(_NAME), read)
