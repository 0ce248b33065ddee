"""Folders of two domains for each split, as image-to-image translation has them.

::

    trainA/17.jpg    label "A", split train
    trainB/17.jpg    label "B", paired by the equal name
    testA/3.jpg      split test

A name may repeat its domain (``trainA/17_A.jpg``).
"""

from __future__ import annotations

import re

from mrdist.datasets.layouts.records import Layout, Listing, Record, counter, read_names
from mrdist.datasets.layouts.trees import SPLITS
from mrdist.storage.access.files import Source

_NAME = re.compile(r"(?P<split>train|val|valid|validation|dev|test)(?P<label>[AB])/(?P<subject>[^/]+?)(?:_(?P=label))?")


def read(source: Source) -> Listing:
    """Make records; equal names in two splits are two people."""
    return read_names(source, _NAME, _record, "the photograph is not in a folder such as trainA, trainB or testA")


def _record(path: str, name: re.Match[str]) -> Record:
    split = SPLITS[name["split"]]
    return Record(path, f"{split}/{name['subject']}", name["label"], split=split)


LAYOUT = Layout("domains", "trainA/17.jpg, trainB/17.jpg", "split and label (A or B), pair", counter(_NAME), read)
