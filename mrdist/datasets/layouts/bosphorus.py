"""The Bosphorus database (Savran et al. 2008), its pictures and 2-D landmarks.

::

    bs000/bs000_N_N_0.png        person bs000, neutral, take 0
    bs000/bs000_E_HAPPY_0.png    happy
    bs000/bs000_E_HAPPY_0.lm2    its landmarks

Action units (``LFAU``, ``UFAU``, ``CAU``), turned heads (``YR``, ``PR``, ``CR``) and occlusions (``O``) are not
expressions of the whole face; they are left out.
"""

from __future__ import annotations

import re

from mrdist.datasets.layouts.records import Layout, Listing, Record, counter, read_names
from mrdist.storage.access.files import Source

_LABELS = {
    "N_N": "neutral",
    "E_HAPPY": "happy",
    "E_ANGER": "angry",
    "E_DISGUST": "disgusted",
    "E_FEAR": "afraid",
    "E_SADNESS": "sad",
    "E_SURPRISE": "surprised",
}
_NAME = re.compile(r"(?P<subject>bs[0-9]{3})_(?P<label>[A-Z]+_[A-Z0-9]+)_(?P<take>[0-9]+)", re.IGNORECASE)


def read(source: Source) -> Listing:
    """Make records of the neutral faces and the six emotions; a row is a take of a person."""
    return read_names(source, _NAME, _record, "the name is not <person>_<kind>_<expression>_<take>")


def _record(path: str, name: re.Match[str]) -> Record | str:
    label = _LABELS.get(name["label"].upper())
    if label is None:
        return "an action unit, a turned head or an occlusion, not an expression"
    return Record(path, name["subject"].lower(), label, name["take"])


LAYOUT = Layout("bosphorus", "bs000_E_HAPPY_0.png, .lm2", "person, expression, take", counter(_NAME), read)
