"""The Karolinska Directed Emotional Faces (Lundqvist, Flykt and Öhman 1998).

::

    AF01/AF01NES.JPG    session A, person F01 (female), neutral, straight
    AF01/AF01HAHL.JPG   the same take, happy, half left profile

Every person sat twice, which gives the rows F01-A and F01-B. The angles are S (straight), HL and HR (half left
and right), FL and FR (full left and right).
"""

from __future__ import annotations

import re

from mrdist.datasets.layouts.records import EXPRESSIONS, Layout, Listing, Record, counter, read_names
from mrdist.storage.access.files import Source

_ANGLES = {"S": "front", "HL": "half-left", "HR": "half-right", "FL": "full-left", "FR": "full-right"}
_NAME = re.compile(
    r"(?P<session>[AB])(?P<subject>[FM][0-9]{2})(?P<label>AF|AN|DI|HA|NE|SA|SU)(?P<angle>S|HL|HR|FL|FR)", re.IGNORECASE
)


def read(source: Source) -> Listing:
    """Make records of all angles; a row is one session of a person."""
    return read_names(source, _NAME, _record, "the name is not <session><sex><number><expression><angle>")


def _record(path: str, name: re.Match[str]) -> Record:
    session, subject, label, angle = (part.upper() for part in name.groups())
    return Record(path, subject, EXPRESSIONS[label], session, angle=_ANGLES[angle])


LAYOUT = Layout("kdef", "AF01/AF01NES.JPG", "session, sex and number, expression, angle", counter(_NAME), read)
