"""What the values of pixels mean as integers, which channels share what, and what is refused; without any kernel."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError

Color = Literal["shared", "separate", "joint"]
COLORS: tuple[Color, ...] = ("shared", "separate", "joint")

FIXED_POINT = 1 << 22
"""Integer units of 1.0 in float images."""
_ROUNDED = 1 << 18  # floats at a time


def unit_of(dtype: npt.DTypeLike) -> int:
    """Return the integer that stands for 1.0 (white) in images of ``dtype``.

    Raises
    ------
    DataError
        If images of this dtype have no agreed meaning.

    Examples
    --------
    >>> unit_of("uint8"), unit_of("uint16"), unit_of("float32")
    (255, 65535, 4194304)
    """
    if np.dtype(dtype) in (np.uint8, np.uint16):
        return int(np.iinfo(np.dtype(dtype)).max)
    if np.dtype(dtype).kind == "f":
        return FIXED_POINT
    raise DataError(f"images must be uint8, uint16 or floats in 0..1, got {np.dtype(dtype)}; convert them first.")


def dtype_of_sums(n_rows: int, unit: int) -> np.dtype[Any]:
    """Return the integers that hold sums over so many rows."""
    return np.dtype(np.uint32 if n_rows * unit**2 < 2**32 else np.int64)


def check_rows(n_rows: int, unit: int) -> int:
    """Return ``n_rows`` if the products of so many rows can be summed exactly.

    Raises
    ------
    DataError
        If their sum might not fit into int64.
    """
    limit = (2**63 - 1) // unit**2
    if n_rows > limit:
        raise DataError(
            f"{n_rows} rows exceed the {limit} that can be summed exactly for images in units of 1/{unit}; use fewer "
            "images or images of fewer bits."
        )
    return n_rows


def to_integers(images: npt.NDArray[Any], what: str = "images") -> npt.NDArray[Any]:
    """Return images as integers: uint8 and uint16 unchanged, floats rounded once to multiples of 2^-22.

    Parameters
    ----------
    images
        Array of any shape; floats must lie in 0..1.
    what
        Name of the images in error messages.

    Returns
    -------
    ndarray
        uint8, uint16 or int32, in units of ``1 / unit_of(images.dtype)``.

    Raises
    ------
    DataError
        If a float is NaN or lies outside 0..1, or the dtype has no agreed meaning.

    Examples
    --------
    >>> to_integers(np.array([0.0, 0.5, 1.0]))
    array([      0, 2097152, 4194304], dtype=int32)
    """
    check_values(images, what)
    if images.dtype.kind != "f":
        return images
    values = images.reshape(-1)
    integers = np.empty(len(values), dtype=np.int32)
    for start in range(0, len(values), _ROUNDED):  # all at once would take four times the memory of the images
        part = slice(start, start + _ROUNDED)
        integers[part] = np.rint(values[part].astype(np.float64) * FIXED_POINT)
    return integers.reshape(images.shape)


def check_values(images: npt.NDArray[Any], what: str = "images") -> None:
    """Raise DataError if ``images`` are floats with NaN or beyond 0..1, or of a dtype without an agreed meaning."""
    if unit_of(images.dtype) != FIXED_POINT or not images.size:
        return
    low, high = images.min(), images.max()
    if not (low >= 0 and high <= 1):
        kind = "NaN" if np.isnan(low) or np.isnan(high) else f"values from {low:g} to {high:g}"
        raise DataError(f"{what} hold {kind}, but float images must lie in 0..1; clean, clip or rescale them first.")


def groups_of(color: Color, n_channels: int) -> tuple[int, int]:
    """Return the number of independent systems a pixel, and of channels that each of them sees and predicts.

    Examples
    --------
    >>> [groups_of(color, 3) for color in COLORS]
    [(1, 1), (3, 1), (1, 3)]
    """
    return {"shared": (1, 1), "separate": (n_channels, 1), "joint": (1, n_channels)}[color]
