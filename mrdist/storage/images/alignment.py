"""Where the images of a store come from: the frame, the photographs, and the way back to their pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import StoreFormatError
from mrdist.geometry import block_grid
from mrdist.storage.access.arrays import write_array, write_strings
from mrdist.storage.access.codecs import compressors_of
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    check_format,
    open_group,
    redact,
    store_errors,
)
from mrdist.storage.images.layout import LANDMARKS
from mrdist.storage.images.reader import Images
from mrdist.values import unit_of

Floats = npt.NDArray[np.floating[Any]]
#: Nodes along a side at which a warp is kept: the first lies on the frame's edge, the last on the opposite one.
NODES = 17
#: Number of training images that make the mean face; more would not change it.
_MEAN_OF = 256
_ORIGIN = ("photograph", "photograph_size", "warp", "measure", "quality")
_FRAME = ("reference_points", "mean_face", *LANDMARKS)


@dataclass(frozen=True)
class Alignment:
    """Position of every image of a store in its photograph.

    Attributes
    ----------
    photograph : sequence of sequence of str
        Per image and label the name of the photograph, empty where there is none.
    size : int array of shape (image, label, 2)
        Height and width of the photograph in pixels, 0 where there is none.
    warp : float32 array of shape (image, label, 17, 17, 2)
        (y, x) in the photograph, pixel centres at integers, of 17 x 17 nodes of the frame in raster order; the
        first and the last node lie on the edges of the image. NaN where there is no image.
    measures : sequence of str
        Names of the measures of quality.
    quality : float32 array of shape (image, label, measure)
        NaN where an image has no such measure.
    """

    photograph: Sequence[Sequence[str]]
    size: npt.NDArray[np.integer[Any]]
    warp: npt.NDArray[np.float32]
    measures: Sequence[str]
    quality: npt.NDArray[np.float32]

    def positions(self, row: int, column: int, points: Floats) -> Floats:
        """Return where points of an image lie in its photograph.

        Parameters
        ----------
        row, column : int
            Image and label.
        points : array of shape (n, 2)
            (x, y) in sides of the image, 0..1.

        Returns
        -------
        float64 array of shape (n, 2)
            (x, y) in pixels of the photograph, from the nodes by a bicubic spline.
        """
        from scipy.interpolate import RectBivariateSpline  # a store is opened without it

        nodes = np.linspace(0, 1, NODES)
        return np.stack(
            [
                RectBivariateSpline(nodes, nodes, self.warp[row, column, ..., axis]).ev(points[:, 1], points[:, 0])
                for axis in (1, 0)
            ],
            axis=-1,
        )


def write_alignment(url: str, alignment: Alignment, storage_options: StorageOptions = None) -> None:
    """Write where the images come from into a store that is not complete yet."""
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        n_images, n_labels = alignment.size.shape[:2]
        names = group.create_array(
            "photograph",
            shape=(n_images, n_labels),
            chunks=(max(n_images, 1), n_labels),
            dtype="string",
            dimension_names=("image", "label"),
            compressors=compressors_of(group),
            config={"write_empty_chunks": True},
        )
        names[...] = np.array([list(row) for row in alignment.photograph], dtype=np.dtypes.StringDType())
        write_strings(group, "measure", alignment.measures, "measure", len(alignment.measures))
        for name, values, dimensions in (
            ("photograph_size", alignment.size.astype(np.int32), ("image", "label", "extent")),
            ("warp", alignment.warp, ("image", "label", "node_y", "node_x", "extent")),
            ("quality", alignment.quality, ("image", "label", "measure")),
        ):
            group.create_array(
                name,
                data=values,
                # pixels as they lie have no measures: an axis of length 0, and zarr 3.4 takes no chunk of length 0
                chunks=(min(1024, max(n_images, 1)), *(max(length, 1) for length in values.shape[1:])),
                dimension_names=dimensions,
                compressors=compressors_of(group),
                config={"write_empty_chunks": True},
            )


def read_alignment(images: Images) -> Alignment:
    """Read where the images of a store come from.

    Raises
    ------
    StoreFormatError
        If the store does not record it: only ``mrdist ingest`` writes it.
    """
    group = images._group
    if "warp" not in group:
        raise StoreFormatError(
            f"{redact(images.url)} does not record the photographs of its images; write it with mrdist ingest."
        )
    with store_errors(images.url):
        photograph, size, warp, measure, quality = (np.asarray(array_of(group, name)[...]) for name in _ORIGIN)
    return Alignment(
        [[str(name) for name in row] for row in photograph], size, warp, tuple(str(name) for name in measure), quality
    )


def write_frame(
    url: str,
    reference: Floats,
    present: npt.NDArray[np.bool_],
    split: Sequence[str],
    storage_options: StorageOptions = None,
) -> None:
    """Write the reference's landmarks and every label's mean face, once all pixels are written.

    The mean face is that of the first 256 training images, in 0..1 (1 = white), and NaN where there is none.

    Parameters
    ----------
    url
        An images store that is not complete yet.
    reference
        (x, y) of the reference's landmarks in sides of the frame, shape (point, 2), pupils first; empty if the
        photographs were not aligned.
    present, split
        Per image and label whether it is there, and per image which split it is in.
    """
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        if len(reference):
            # the landmarks of the images may be other ones, and an axis has one length in a store
            axis = "reference_point" if "landmarks" in group else "point"
            write_array(group, "reference_points", reference, axis, "xy")
        labels: list[str] = check_format(group, url)["labels"]
        first = array_of(group, labels[0])
        height, width, n_channels = first.shape[1:]
        means = group.create_array(
            "mean_face",
            shape=(len(labels), height, width, n_channels),
            chunks=(1, height, width, n_channels),
            dtype="float32",
            dimension_names=("label", "y", "x", "channel"),
            compressors=compressors_of(group),
            config={"write_empty_chunks": True},
        )
        training = np.array([side == "train" for side in split])
        for column, label in enumerate(labels):
            rows = np.flatnonzero(training & present[:, column])[:_MEAN_OF]
            mean = np.full((height, width, n_channels), np.nan)
            array = array_of(group, label)
            unit = 1 if array.dtype.kind == "f" else unit_of(array.dtype)
            for block in block_grid((height, width), (array.chunks[1], array.chunks[2])) if len(rows) else ():
                window = np.asarray(array[rows[0] : rows[-1] + 1, *block.slices])[rows - rows[0]]
                mean[block.slices] = window.mean(axis=0, dtype=np.float64) / unit
            means[column] = mean


def read_frame(images: Images) -> tuple[Floats, Floats]:
    """Return the reference's landmarks (x, y), shape (point, 2), and the mean faces, shape (label, y, x, channel).

    Raises
    ------
    StoreFormatError
        If the store has none: it was not written by ``mrdist ingest`` or ``generate``.
    """
    group = images._group
    if "mean_face" not in group:
        raise StoreFormatError(
            f"{redact(images.url)} has no mean face and no landmarks; write it with mrdist ingest or generate."
        )
    with store_errors(images.url):
        points = array_of(group, "reference_points")[...] if "reference_points" in group else np.empty((0, 2))
        return np.asarray(points), np.asarray(array_of(group, "mean_face")[...])


def copy_alignment(images: Images, url: str, storage_options: StorageOptions = None) -> None:
    """Copy the frame and the photographs of a store into a store of the same images."""
    with store_errors(url):
        group = open_group(url, storage_options, write=True)
        for name in (*_FRAME, *_ORIGIN):
            if name in images._group:
                array = array_of(images._group, name)
                copy = group.create_array(
                    name,
                    shape=array.shape,
                    chunks=array.chunks,
                    dtype="string" if array.dtype.kind == "T" else array.dtype,
                    dimension_names=array.metadata.to_dict()["dimension_names"],  # type: ignore[arg-type]
                    compressors=compressors_of(group),
                    config={"write_empty_chunks": True},
                    attributes=dict(array.attrs),
                )
                copy[...] = array[...]
