"""Staging beside an images store in the making, for images that do not fill whole chunks yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Shape
from mrdist.storage.access.chunks import UNCOMPRESSED
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    check_output,
    create_group,
    normalize_url,
    open_group,
    remove_output,
    store_errors,
)


@dataclass(frozen=True)
class Staging:
    """Whole images on their way into a store: written one by one, in any order, read in runs that fill chunks.

    Attributes
    ----------
    url, storage_options
        Of the images store to come; the staged images lie beside it.
    """

    url: str
    storage_options: StorageOptions = field(repr=False)

    @property
    def _place(self) -> str:
        return f"{normalize_url(self.url)}.staging"

    def create(self, n_images: int, n_labels: int, shape: Shape, n_channels: int, dtype: str = "uint8") -> None:
        """Create the staging, replacing what an interrupted run has left."""
        self.remove()
        with store_errors(self._place):
            create_group(self._place, self.storage_options, "staging").create_array(
                "images",
                shape=(n_labels, n_images, *shape, n_channels),
                chunks=(1, 1, *shape, n_channels),
                dtype=dtype,
                compressors=UNCOMPRESSED,
                chunk_key_encoding={"name": "default", "separator": "."},  # one folder, not four for each image
                config={"write_empty_chunks": True},
            )

    def write(self, label: int, row: int, image: npt.NDArray[Any]) -> None:
        """Stage one image."""
        with store_errors(self._place):
            array = self._images()
            array.with_config({"write_empty_chunks": True})[label, row] = image

    def read(self, label: int, rows: Sequence[int]) -> npt.NDArray[Any]:
        """Return staged images; a row that was never written is black."""
        with store_errors(self._place):
            array = self._images()
            return np.stack([np.asarray(array[label, row]) for row in rows])

    def remove(self) -> None:
        """Remove the staged images."""
        check_output(self._place, self.storage_options, kind="staging", overwrite=True)
        remove_output(self._place, self.storage_options)

    def _images(self) -> zarr.Array[Any]:
        return array_of(open_group(self._place, self.storage_options, write=True), "images")
