"""Everything that is wrong with an images store, in one list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import DataError, StoreError
from mrdist.geometry import Block
from mrdist.storage.access.remote import StorageOptions, normalize_url, redact
from mrdist.storage.access.urls import check_format, open_group, store_errors
from mrdist.storage.images.layout import layout_problems
from mrdist.storage.images.pixels import crc_of_images
from mrdist.storage.images.reader import Images
from mrdist.values import to_integers

_SPLITS = ("train", "val", "test")
_SHOWN = 5


@plain_arguments
def check_images(url: Address, storage_options: StorageOptions = None, *, pixels: bool = True) -> list[str]:
    """List everything that is wrong with an images store, whatever program wrote it.

    Parameters
    ----------
    url
        Path or fsspec URL.
    storage_options
        Options of the fsspec filesystem.
    pixels
        Also read every pixel: reports missing or damaged chunks, floats outside 0..1, and pixels that do not match
        ``checksum``.

    Returns
    -------
    list of str
        A sentence for each problem, with what to do; empty if the store is sound.

    Examples
    --------
    >>> import tempfile, zarr
    >>> url = tempfile.mkdtemp() + "/faces.zarr"
    >>> group = zarr.create_group(url, attributes={"mrdist": {"kind": "images"}})
    >>> for label in ("neutral", "happy"):
    ...     array = group.create_array(label, data=np.full((3, 16, 16, 1), 200, np.uint8))
    >>> check_images(url)
    []
    >>> _ = group.create_array("split", data=np.array([0, 1, 1]))
    >>> print(check_images(url)[0].partition(": ")[2])
    '0', '1'; use train, val or test.
    """
    url = normalize_url(url)
    try:
        group = open_group(url, storage_options)
        with store_errors(url):
            attribute = check_format(group, url)
            if attribute["kind"] != "images":
                return [f"{redact(url)} is a store of {attribute['kind']}, not of images; check the address."]
            problems = list(layout_problems(url, group, attribute))
        if not attribute["complete"]:
            problems.append(
                f"{redact(url)} is not complete; finish it with mrdist.finish_images, or run the command that makes it "
                "again."
            )
        if problems:
            return problems
        images = Images.open(url, storage_options)
        return [*_of_rows(images), *_of_landmarks(images), *(_of_pixels(images) if pixels else ())]
    except StoreError as error:
        return [str(error)]


def _of_rows(images: Images) -> Iterator[str]:
    place = redact(images.url)
    other = sorted(set(images.split.tolist()) - set(_SPLITS))
    if other:
        yield f"the array 'split' of {place} holds values that are not splits: {_some(other)}; use train, val or test."
    twice = [name for name, n in Counter(images.image.tolist()).items() if n > 1]
    if twice:
        yield f"the array 'image' of {place} holds duplicate ids: {_some(twice)}; give each image an id of its own."
    sides = {(person, side) for person, side in zip(images.subject.tolist(), images.split.tolist(), strict=True)}
    torn = [person for person, n in Counter(person for person, _ in sides).items() if n > 1]
    if torn:
        yield (
            f"persons of {place} are in several splits: {_some(torn)}; put all images of a person into one split, or "
            "scores come out too good."
        )
    for column, label in enumerate(images.labels):
        if not images.present[:, column].any():
            yield f"no image of label {label!r} of {place} is present; remove the label, or correct 'present'."


def _of_landmarks(images: Images) -> Iterator[str]:
    points, confidence = images.landmarks, images.landmark_confidence
    if points is None or confidence is None:
        return
    lost = images.present & (confidence > 0) & ~np.isfinite(points).all(axis=(2, 3))
    for column, label in enumerate(images.labels):
        rows = np.flatnonzero(lost[:, column])
        if len(rows):
            yield (
                f"the array 'landmarks' of {redact(images.url)} lacks points of label {label!r} in rows "
                f"{_some([str(row) for row in rows])}, which 'landmark_confidence' says are there; set it to 0 there, "
                "or remove both arrays."
            )


def _of_pixels(images: Images) -> Iterator[str]:
    reader, run = images.reader(nan=True), images.chunks[0]
    rows = range(0, images.shape[0], images.chunks[1])
    for column, label in enumerate(images.labels):
        try:
            for start, stop in pairwise([*range(0, images.n_images, run), images.n_images]):
                if images.dtype.kind == "f":
                    there = images.present[start:stop, column]
                    for y in rows:
                        strip = Block(y, 0, min(y + images.chunks[1], images.shape[0]), images.shape[1])
                        what = f"images {start} to {stop - 1} of label {label!r} of {redact(images.url)}"
                        pixels = reader.read(label, start, stop, strip)[there]
                        if images.incomplete(label) is not None:
                            pixels = np.nan_to_num(pixels)
                        to_integers(pixels, what)
                sums = crc_of_images(reader, label, start, stop, images.shape, images.chunks[1])
                kept = images.kept_checksum
                wrong = [] if kept is None else np.flatnonzero(sums != kept[start:stop, column]).tolist()
                if wrong:
                    yield (
                        f"pixels of label {label!r} of {redact(images.url)} do not match 'checksum' in rows "
                        f"{_some([str(start + n) for n in wrong])}; restore them, or remove the array 'checksum'."
                    )
        except (StoreError, DataError) as error:
            yield str(error)


def _some(names: list[str]) -> str:
    return ", ".join(map(repr, names[:_SHOWN])) + ", ..." * (len(names) > _SHOWN)
