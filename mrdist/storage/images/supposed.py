"""Images stores that do not exist: sizes without pixels, for plans."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import numpy.typing as npt
import zarr
from zarr.storage import MemoryStore

from mrdist.geometry import Shape
from mrdist.storage.images.reader import Images


class SupposedImages(Images):
    """Images without pixels, every one of a person of its own."""

    def fingerprint(self, labels: Sequence[str], rows: npt.NDArray[np.int64]) -> str:  # noqa: ARG002
        """Return nothing: there are no pixels to tell from others."""
        return ""

    @cached_property
    def reads_straight(self) -> bool:
        """Yes, as of any store that mrdist makes."""
        return True

    @property
    def landmarks(self) -> npt.NDArray[np.float32]:
        """One point on every face: how many there are decides nothing of a plan."""
        return np.zeros((self.n_images, len(self.labels), 1, 2), dtype=np.float32)


def suppose_images(
    labels: Sequence[str],
    n_images: int,
    shape: Shape,
    n_channels: int,
    chunks: tuple[int, int, int, int],
    dtype: npt.DTypeLike = np.uint8,
) -> Images:
    """Return an images store of these sizes, as a training sees it before it reads a pixel.

    Parameters
    ----------
    labels, n_images, shape, n_channels, chunks, dtype
        As in `mrdist.storage.Images`.

    Examples
    --------
    >>> images = suppose_images(["neutral", "happy"], 1000, (512, 512), 3, (64, 64, 64, 3))
    >>> images.n_read(images.rows(images.labels, "all")), images.subject[999]
    (1000, np.str_('999'))
    """
    group = zarr.group(MemoryStore(), zarr_format=3)
    return SupposedImages("supposed", None, tuple(labels), n_images, shape, n_channels, np.dtype(dtype), chunks, group)
