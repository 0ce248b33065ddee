"""Apply the weights of masked regression to images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import VECTOR_BYTES, jit
from mrdist._kernels.lanes_synthesis import GROUPS, MAX_PLANES, merge_channels, split_channels, weigh
from mrdist.errors import DataError
from mrdist.geometry import ReceptiveField, Shape
from mrdist.values import Color, check_values, unit_of

if TYPE_CHECKING:
    import scipy.sparse

Array = npt.NDArray[Any]

_TILE_COLUMNS = 256
_TILE_BYTES = 1 << 19  # weights of a tile, measured: they stay in the second level of cache


@dataclass(frozen=True)
class MaskedWeights:
    """Weights and intercepts of a masked regression.

    Attributes
    ----------
    field
        The receptive field.
    color
        Whether the channels share their weights, have their own, or see each other.
    n_channels
        Channels of the images that the weights were trained on.
    coef
        float32 or float64, shape (offset, y, x) for shared, (channel, offset, y, x) for separate and (channel_out,
        channel_in, offset, y, x) for joint colour.
    intercept
        Same dtype, shape (y, x) for shared and (channel, y, x) for other colour; 1 = white.

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

    @property
    def n_parameters(self) -> int:
        """Weights of taps inside the image, and intercepts."""
        n_fields = self.coef.size // (self.field.n_offsets * self.shape[0] * self.shape[1])
        return n_fields * int(self.field.in_bounds(self.shape).sum()) + self.intercept.size

    @property
    def n_nonzeros(self) -> int:
        """Weights and intercepts that are not zero."""
        return int(np.count_nonzero(self.coef)) + int(np.count_nonzero(self.intercept))

    def predict(self, images: npt.NDArray[np.generic]) -> npt.NDArray[np.floating]:
        """Return the images that the mapping makes of ``images``.

        Parameters
        ----------
        images
            uint8 or uint16 (the largest value means 1.0) or floats in 0..1, shape (image, y, x) or
            (image, y, x, channel), or one image without the first axis.

        Returns
        -------
        ndarray
            In the shape of ``images`` and the dtype of the weights; 1 = white, not clipped.

        Raises
        ------
        DataError
            If size or channels are not those of the weights, or floats hold NaN or lie outside 0..1.
        """
        stack = check_images(images, self.shape, self.n_channels)
        return self._applied(stack, self.field.halo).reshape(images.shape)

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
        return self._applied(window, 0)

    def _applied(self, images: npt.NDArray[np.generic], margin: int) -> npt.NDArray[np.floating]:
        if self.color != "joint":
            return self._applied_apart(images, margin, self.coef, self.intercept)
        outputs = np.arange(self.n_channels)
        total = np.zeros((), dtype=self.coef.dtype)
        for turn in range(self.n_channels):  # output k sees channel k + turn, as if that were its own
            inputs = (outputs + turn) % self.n_channels
            intercept = self.intercept if turn == 0 else np.zeros_like(self.intercept)
            total = total + self._applied_apart(images[..., inputs], margin, self.coef[outputs, inputs], intercept)
        return total

    def _applied_apart(
        self, images: npt.NDArray[np.generic], margin: int, coef: Array, intercept: Array
    ) -> npt.NDArray[np.floating]:
        """Apply weights with which no channel sees another."""
        out = np.empty((len(images), *self.shape, images.shape[3]), dtype=self.coef.dtype)
        unit = unit_of(images.dtype)
        if images.dtype == np.float16:  # numba has none
            images = images.astype(np.float32)
        _apply(
            # the kernel requires C order
            np.ascontiguousarray(images),
            margin,
            # v / unit = v / (unit + 1) + v / (unit (unit + 1)), whose sum is rounded as the quotient, without dividing
            (1 / (unit + 1), 1 / (unit * (unit + 1))),
            np.ascontiguousarray(coef).reshape(-1, self.field.n_offsets, *self.shape),
            np.ascontiguousarray(intercept).reshape(-1, *self.shape),
            self.field.size,
            self.field.dilation,
            out,
        )
        return out

    def norms(self, *, intercept: bool = False) -> npt.NDArray[np.float64]:
        """Return the l1 norm of every output pixel's weights, the mean over channels, for an importance map.

        Parameters
        ----------
        intercept
            Whether the intercept counts like a weight.

        Returns
        -------
        float64 array of shape (y, x)
        """
        taps = (-4, -3) if self.color == "joint" else -3
        norms = np.abs(self.coef).sum(axis=taps, dtype=np.float64)
        if intercept:
            norms += np.abs(self.intercept)
        mean: npt.NDArray[np.float64] = norms.reshape(-1, *self.shape).mean(axis=0)
        return mean

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the mapping as one sparse matrix over flattened images.

        Returns
        -------
        csr_array or list of csr_array
            Shape (pixels, pixels + 1), the intercept in the last column; taps outside the image are not stored.
            For separate and joint colour a list, one matrix an output channel; that of joint colour has the columns
            of all input channels, one channel after the other, before the intercept's.
        """
        if self.color == "shared":
            return _to_csr(self.field, self.coef[np.newaxis], self.intercept)
        coef = self.coef if self.color == "joint" else self.coef[:, np.newaxis]
        return [_to_csr(self.field, c, b) for c, b in zip(coef, self.intercept, strict=True)]


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


def check_images(images: npt.NDArray[np.generic], shape: Shape, n_channels: int) -> npt.NDArray[np.generic]:
    """Return images, or one image without the first axis, as a stack (image, y, x, channel) of a known size.

    Raises
    ------
    DataError
        If size or channels are not those of the weights, or floats hold NaN or lie outside 0..1.

    Examples
    --------
    >>> check_images(np.zeros((4, 5, 3)), (4, 5), 3).shape
    (1, 4, 5, 3)
    """
    own = (*shape, n_channels)
    if images.shape == own or (n_channels == 1 and images.shape == shape):
        stack = images.reshape(1, *own)
    else:
        stack = as_stack(images)
    if stack.shape[1:] != own:
        raise DataError(
            f"the weights map images of {shape[0]} x {shape[1]} pixels and {n_channels} channel(s), got "
            f"{stack.shape[1]} x {stack.shape[2]} and {stack.shape[3]}; resize or convert the images first."
        )
    check_values(stack)
    return stack


def to_floats(images: npt.NDArray[np.generic], dtype: npt.DTypeLike = np.float64) -> npt.NDArray[np.floating]:
    """Return images as floats, 1 = white: integers as shares of their largest, floats as they are.

    Examples
    --------
    >>> to_floats(np.array([0, 51, 255], dtype=np.uint8))
    array([0. , 0.2, 1. ])
    """
    unit = 1 if images.dtype.kind == "f" else unit_of(images.dtype)
    floats: npt.NDArray[np.floating] = np.divide(images, unit, dtype=dtype)
    return floats


def to_pixels(images: npt.NDArray[np.floating], dtype: npt.DTypeLike) -> npt.NDArray[np.generic]:
    """Return images of floats as those of ``dtype``, clipped to 0..1; integers are rounded shares of their largest.

    Examples
    --------
    >>> to_pixels(np.array([-0.1, 0.5, 0.999, 1.2]), np.uint8)
    array([  0, 128, 255, 255], dtype=uint8)
    """
    if np.dtype(dtype).kind == "f":
        clipped: Array = np.clip(images, 0, 1).astype(dtype, copy=False)
        return clipped
    pixels: Array = np.empty(images.shape, dtype=dtype)
    _round(images.reshape(-1), unit_of(dtype), pixels.reshape(-1))
    return pixels


def _to_csr(field: ReceptiveField, coef: Array, intercept: Array) -> scipy.sparse.csr_array:
    """Return the matrix of weights of shape (input channel, offset, y, x)."""
    from scipy.sparse import csr_array  # slow to import

    height, width = intercept.shape
    n_pixels, n_inputs = height * width, len(coef)
    inside = np.tile(field.in_bounds((height, width)), (n_inputs, 1, 1))
    stored = np.concatenate([inside, np.ones((1, height, width), dtype=bool)])
    pixels = np.arange(n_pixels).reshape(height, width)
    shifts = np.add.outer(np.arange(n_inputs) * n_pixels, field.offsets @ (width, 1)).ravel()
    columns = np.concatenate([pixels + shifts[:, None, None], np.full((1, height, width), n_inputs * n_pixels)])
    values = np.concatenate([coef.reshape(-1, height, width), intercept[None]])
    # pixel-major order: a row's taps are in raster order, so its column indices ascend
    by_pixel = np.moveaxis(stored, 0, -1)
    indptr = np.concatenate([[0], np.cumsum(by_pixel.sum(axis=-1).ravel())])
    return csr_array(
        (np.moveaxis(values, 0, -1)[by_pixel], np.moveaxis(columns, 0, -1)[by_pixel], indptr),
        shape=(n_pixels, n_inputs * n_pixels + 1),
    )


@jit
def _round(values: Array, white: int, pixels: Array) -> None:
    zero, one, unit = values.dtype.type(0), values.dtype.type(1), values.dtype.type(white)
    for k in range(len(values)):
        value = values[k]
        if value < zero:
            value = zero
        if value > one:
            value = one
        pixels[k] = np.rint(value * unit)


@jit
def _apply(
    images: Array,  # (image, row, column, channel)
    margin: int,  # rows and columns of zeros that the images lack on every side, the field's halo or none
    shares: tuple[float, float],
    coef: Array,  # (group, tap, y, x)
    intercept: Array,  # (group, y, x)
    size: int,
    dilation: int,
    out: Array,  # (image, y, x, channel)
) -> None:
    """Tile by tile, so that a tile's weights stay in cache while the images pass, a few at a time."""
    n_images, height, width, n_channels = out.shape
    n_groups, n_taps = coef.shape[:2]
    n_alike = n_channels // n_groups  # channels that share their weights
    reach = (size - 1) * dilation
    batch = max(1, min(n_images, MAX_PLANES // n_alike))
    tile_columns = -(-width // -(-width // _TILE_COLUMNS))
    tile_rows = max(1, 2 * reach, _TILE_BYTES // ((n_taps + 1) * tile_columns * out.itemsize))
    pitch = tile_columns + reach
    plane = (min(tile_rows, height) + reach) * pitch
    lines = np.empty(batch * n_channels * plane, dtype=out.dtype)
    merged = np.empty(batch * n_channels * tile_columns, dtype=out.dtype)
    flat, flat_coef, flat_intercept = out.reshape(-1), coef.reshape(-1), intercept.reshape(-1)
    area = height * width
    for y0 in range(0, height, tile_rows):
        rows = min(tile_rows, height - y0)
        for x0 in range(0, width, tile_columns):
            columns = min(tile_columns, width - x0)
            for n0 in range(0, n_images, batch):
                n = min(batch, n_images - n0)
                for k in range(n):
                    corner, extent = (n0 + k, y0 - margin, x0 - margin), (rows + reach, columns + reach)
                    _cut(images, corner, extent, shares, lines, k * plane, n * plane, pitch)
                for y in range(y0, y0 + rows):
                    place, pixel = y * width + x0, (n0 * height + y) * width + x0
                    made, start, stride = (flat, pixel, area) if n_channels == 1 else (merged, 0, tile_columns)
                    for group in range(n_groups):
                        for p in range(group * n_alike * n, (group + 1) * n_alike * n, MAX_PLANES):
                            _weigh_row(
                                flat_coef, group * n_taps * area + place, area,
                                flat_intercept, group * area + place,
                                lines, p * plane + (y - y0) * pitch, plane, dilation * pitch, dilation,
                                size, min(MAX_PLANES, (group + 1) * n_alike * n - p), columns,
                                made, start + p * stride, stride,
                            )  # fmt: skip
                    if n_channels > 1:
                        for k in range(n):
                            pixel = ((n0 + k) * height + y) * width + x0
                            merge_channels(
                                merged, k * tile_columns, n * tile_columns,
                                flat, pixel * n_channels, columns, n_channels,
                            )  # fmt: skip


@jit
def _cut(
    images: Array,
    corner: tuple[int, int, int],
    extent: tuple[int, int],
    shares: tuple[float, float],
    planes: Array,
    start: int,
    stride: int,
    pitch: int,
) -> None:
    """Write a rectangle of an image to one plane a channel, as shares of white, with zeros beyond the image."""
    height, width, n_channels = images.shape[1:]
    n, y0, x0 = corner
    rows, columns = extent
    left, right = max(0, -x0), max(0, min(columns, width - x0))
    high, low = planes.dtype.type(shares[0]), planes.dtype.type(shares[1])
    for i in range(rows):
        inside = 0 <= y0 + i < height
        line = start + i * pitch
        if inside:
            pixel = (n * height + y0 + i) * width + x0 + left
            split_channels(images, pixel * n_channels, right - left, n_channels, high, low, planes, line + left, stride)
        for c in range(n_channels):
            for j in range(left if inside else columns):
                planes[line + c * stride + j] = 0
            for j in range(right, columns):
                planes[line + c * stride + j] = 0


@jit
def _weigh_row(
    coef: Array, coef_start: int, coef_stride: int,
    intercept: Array, intercept_start: int,
    lines: Array, line_start: int, line_stride: int, row_step: int, column_step: int,
    size: int, count: int, n: int,
    out: Array, out_start: int, out_stride: int,
) -> None:  # fmt: skip
    """Write ``n`` pixels of a row of ``count`` planes, see `weigh`; the last group of lanes may repeat a few."""
    lanes = VECTOR_BYTES // out.itemsize
    if n < lanes:
        for p in range(count):
            for k in range(n):
                total = intercept[intercept_start + k]
                for tap in range(size * size):
                    line = line_start + p * line_stride + tap // size * row_step + tap % size * column_step
                    total += coef[coef_start + tap * coef_stride + k] * lines[line + k]
                out[out_start + p * out_stride + k] = total
        return
    k = 0
    while k < n:
        groups = GROUPS if n - k >= GROUPS * lanes else 1
        at = min(k, n - lanes)
        weigh(
            coef, coef_start + at, coef_stride,
            intercept, intercept_start + at,
            lines, line_start + at, line_stride, row_step, column_step,
            size, count, groups,
            out, out_start + at, out_stride,
        )  # fmt: skip
        k += groups * lanes
