"""Pictures with two photographs side by side, as pix2pix has them.

::

    train/17.jpg    the left half has the label "left", the right half "right"; split train
    17.jpg          without a folder of a split, the split is drawn

``--rename left=neutral --rename right=happy`` says which half is which.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import get_args

from mrdist.datasets.layouts.records import Layout, Listing, Record, photographs
from mrdist.datasets.layouts.trees import split_of
from mrdist.datasets.photographs import Half
from mrdist.storage.access.files import Source


def read(source: Source) -> Listing:
    """Make two records of every picture."""
    listing = Listing()
    for name in photographs(source.files):
        path = PurePosixPath(name)
        split = split_of(path.parent.name)
        subject = f"{split}/{path.stem}" if split else path.stem
        listing.records.extend(Record(name, subject, half, split=split, half=half) for half in get_args(Half))
    return listing


def count(names: Sequence[str]) -> int:
    """Count nothing: names alone do not show that pictures are double, so this layout must be asked for."""
    return 0 * len(names)


LAYOUT = Layout("sides", "train/17.jpg", "split, pair; the halves' labels are left and right", count, read)
