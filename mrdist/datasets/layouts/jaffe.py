"""The Japanese Female Facial Expression set (Lyons, Kamachi and Gyoba 1998).

::

    KA.HA1.29.tiff    person KA, happy, take 1; the last number counts the files
    KA.NE1.26.tiff    the same take, neutral
"""

from __future__ import annotations

import re

from mrdist.datasets.layouts.records import EXPRESSIONS, Layout, Listing, Record, counter, read_names
from mrdist.storage.access.files import Source

_NAME = re.compile(
    r"(?P<subject>[A-Z]{2})\.(?P<label>AN|DI|FE|HA|NE|SA|SU)(?P<take>[0-9])\.(?P<number>[0-9]+)", re.IGNORECASE
)


def read(source: Source) -> Listing:
    """Make records; a row is a take of a person."""
    return read_names(source, _NAME, _record, "the name is not <person>.<expression><take>.<number>")


def _record(path: str, name: re.Match[str]) -> Record:
    return Record(path, name["subject"].upper(), EXPRESSIONS[name["label"].upper()], name["take"])


LAYOUT = Layout("jaffe", "KA.HA1.29.tiff", "person, expression and take, number", counter(_NAME), read)
