"""Apply the weights of masked regression to images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.sparse

from mrdist._lanes import jit
from mrdist.errors import DataError
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.moments import Color, padded_window, unit_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class MaskedWeights:
    """Weights and intercepts of a masked regression.

    Attributes
    ----------
    field
        The receptive field.
    color
        Whether the channels share their weights.
    n_channels
        Channels of the images that the weights were trained on.
    coef
        float32 or float64, shape (offset, y, x) for shared and (channel, offset, y, x) for separate colour.
    intercept
        Same dtype, shape (y, x) or (channel, y, x); 1 = white.

    Examples
    --------
    >>> field = ReceptiveField(1)
    >>> weights = MaskedWeights(field, "shared", 1, np.full((1, 2, 2), 0.5), np.full((2, 2), 0.25))
    >>> weights.predict(np.full((1, 2, 2), 255, dtype=np.uint8))
    array([[[0.75, 0.75],
            [0.75, 0.75]]])
    """

    field: ReceptiveField
    color: Color
    n_channels: int
    coef: npt.NDArray[np.floating]
    intercept: npt.NDArray[np.floating]

    @property
    def shape(self) -> Shape:
        """Image height and width in pixels."""
        height, width = self.intercept.shape[-2:]
        return height, width

    def predict(self, images: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``images``.

        Parameters
        ----------
        images
            uint8 or uint16 (the largest value means 1.0) or floats, shape (image, y, x) or
            (image, y, x, channel).

        Returns
        -------
        ndarray
            In the shape of ``images`` and the dtype of the weights; 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels are not those of the weights.
        """
        stack = as_stack(images)
        if stack.shape[1:3] != self.shape or stack.shape[3] != self.n_channels:
            raise DataError(
                f"the weights map images of {_size(self.shape)} pixels and {self.n_channels} channel(s), got "
                f"{_size(stack.shape[1:3])} and {stack.shape[3]}; resize or convert the images first."
            )
        window = padded_window(stack, Block(0, 0, *self.shape).grown(self.field.halo))
        return self.predict_window(window).reshape(images.shape)

    def predict_window(self, window: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
        """Apply the weights to images that already carry the field's halo.

        Parameters
        ----------
        window
            Shape (image, y + 2 halo, x + 2 halo, channel), zero outside the image.

        Returns
        -------
        ndarray
            Shape (image, y, x, channel).
        """
        unit = 1 if window.dtype.kind == "f" else unit_of(window.dtype)
        out = np.empty((window.shape[0], *self.shape, window.shape[3]), dtype=self.coef.dtype)
        coef = self.coef.reshape(-1, self.field.n_offsets, *self.shape)
        taps = self.field.offsets + self.field.halo
        _apply(window, float(unit), coef, self.intercept.reshape(-1, *self.shape), taps, out)
        return out

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the mapping as one sparse matrix over flattened images.

        Returns
        -------
        csr_array or list of csr_array
            Shape (pixels, pixels + 1), the intercept in the last column; taps outside the image are not stored.
            For separate colour a list, one matrix a channel.
        """
        if self.color == "shared":
            return _to_csr(self.field, self.coef, self.intercept)
        return [_to_csr(self.field, c, b) for c, b in zip(self.coef, self.intercept, strict=True)]


def as_stack(images: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """Return images of shape (image, y, x) or (image, y, x, channel) with the channel axis.

    Raises
    ------
    DataError
        If the array has another number of axes.
    """
    if images.ndim not in (3, 4):
        raise DataError(f"images must have the shape (image, y, x) or (image, y, x, channel), got {images.shape}.")
    return images if images.ndim == 4 else images[..., None]


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _to_csr(field: ReceptiveField, coef: Array, intercept: Array) -> scipy.sparse.csr_array:
    height, width = intercept.shape
    n_pixels = height * width
    stored = np.concatenate([field.in_bounds((height, width)), np.ones((1, height, width), dtype=bool)])
    pixels = np.arange(n_pixels).reshape(height, width)
    shifts = field.offsets[:, 0] * width + field.offsets[:, 1]
    columns = np.concatenate([pixels + shifts[:, None, None], np.full((1, height, width), n_pixels)])
    values = np.concatenate([coef, intercept[None]])
    # pixel-major order: a row's taps are in raster order, so its column indices ascend
    by_pixel = np.moveaxis(stored, 0, -1)
    indptr = np.concatenate([[0], np.cumsum(by_pixel.sum(axis=-1).ravel())])
    return scipy.sparse.csr_array(
        (np.moveaxis(values, 0, -1)[by_pixel], np.moveaxis(columns, 0, -1)[by_pixel], indptr),
        shape=(n_pixels, n_pixels + 1),
    )


@jit
def _apply(window: Array, white: float, coef: Array, intercept: Array, taps: Array, out: Array) -> None:
    """Row by row, so that a row's weights stay in cache while the images pass."""
    n_images, height, width, n_channels = out.shape
    n_groups, n_taps = coef.shape[:2]
    rows = taps[-1, 0] + 1
    unit = out.dtype.type(white)
    plane = np.empty((rows, window.shape[2]), dtype=out.dtype)
    result = np.empty(width, dtype=out.dtype)
    for y in range(height):
        for n in range(n_images):
            for channel in range(n_channels):
                group = channel % n_groups
                for i in range(rows):
                    for j in range(plane.shape[1]):
                        plane[i, j] = out.dtype.type(window[n, y + i, j, channel]) / unit
                result[:] = intercept[group, y]
                for tap in range(n_taps):
                    values = plane[taps[tap, 0], taps[tap, 1] : taps[tap, 1] + width]
                    factors = coef[group, tap, y]
                    for j in range(width):
                        result[j] += factors[j] * values[j]
                for j in range(width):
                    out[n, y, j, channel] = result[j]
