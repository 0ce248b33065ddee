"""Values of any range as shares of it, rounded once to a fixed-point unit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit

Array = npt.NDArray[Any]


@jit
def to_shares(values: Array, low: float, span: float, unit: int, out: Array) -> bool:
    """Fill ``out`` with ``(values - low) / span`` to the nearest multiple of ``1 / unit``.

    Parameters
    ----------
    values
        Numbers of shape (image, y, value).
    low, span
        What becomes 0, and what is added to it to become 1.
    unit
        Multiples of 1.
    out
        float32, of the same shape.

    Returns
    -------
    bool
        Whether all shares lie in 0..1; false if a value is NaN.
    """
    inside = True
    for image in range(values.shape[0]):
        for y in range(values.shape[1]):
            for x in range(values.shape[2]):
                units = np.rint((np.float64(values[image, y, x]) - low) / span * unit)
                inside &= (units >= 0) & (units <= unit)
                out[image, y, x] = np.float32(units / unit)
    return inside
