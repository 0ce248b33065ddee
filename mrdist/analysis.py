"""Analysis of weights: their reach, their number, and their share of the output beside the intercept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError
from mrdist.geometry import Shape

if TYPE_CHECKING:
    import scipy.sparse

Floats = npt.NDArray[np.floating]


class WeightSurvey:
    """How far from their output pixel the weights of a mapping lie.

    Rows of the weight matrix may be added in any portions, all of them or a sample, dense or sparse; zeros do not count
    as weights. Squared distances are integers, so the distributions are exact for any size of image.

    Parameters
    ----------
    shape
        Image height and width in pixels.

    Examples
    --------
    A mapping that copies the pixel, and takes half as much from the one to its right:

    >>> survey = WeightSurvey((1, 3))
    >>> survey.add(np.array([[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]]), np.arange(3))
    >>> survey.per_output, survey.self_share, survey.share_within(1)
    (1.6666666666666667, 0.75, 1.0)
    """

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.n_outputs = 0
        furthest = (shape[0] - 1) ** 2 + (shape[1] - 1) ** 2
        self._mass_at = np.zeros(furthest + 1)
        self._count_at = np.zeros(furthest + 1, dtype=np.int64)
        self._mass_in_square = np.zeros(max(shape))
        self._n_led_by_self = 0

    def add(self, rows: Floats | scipy.sparse.csr_array, outputs: npt.NDArray[np.int64]) -> None:
        """Add rows of the weight matrix.

        Parameters
        ----------
        rows
            Shape (row, pixels), or (row, pixels + 1) with the intercept in the last column, which does not count as a
            weight.
        outputs
            Output pixel of each row in raster order, shape (row,).

        Raises
        ------
        ParameterError
            If the rows have another number of columns.
        """
        from scipy.sparse import coo_array  # slow to import

        height, width = self.shape
        if rows.shape[1] not in (height * width, height * width + 1):
            raise ParameterError(
                f"the rows of weights must have {height * width} columns (one per pixel of {height} x {width}) or one "
                f"more for the intercept, got {rows.shape[1]}."
            )
        table = coo_array(rows)
        weight = (table.col < height * width) & (table.data != 0)
        row, column, mass = table.row[weight], table.col[weight], np.abs(table.data[weight].astype(np.float64))
        output = outputs[row]
        dy, dx = np.abs(output // width - column // width), np.abs(output % width - column % width)
        square = dy**2 + dx**2
        self.n_outputs += len(outputs)
        self._count_at += np.bincount(square, minlength=len(self._count_at))
        self._mass_at += np.bincount(square, mass, minlength=len(self._mass_at))
        self._mass_in_square += np.bincount(np.maximum(dy, dx), mass, minlength=len(self._mass_in_square))
        largest, own = np.zeros(len(outputs)), np.zeros(len(outputs))
        np.maximum.at(largest, row, mass)
        own[row[square == 0]] = mass[square == 0]
        self._n_led_by_self += int(((own == largest) & (own > 0)).sum())

    @property
    def nonzeros(self) -> int:
        """Weights that are not zero, in all rows added."""
        return int(self._count_at.sum())

    @property
    def per_output(self) -> float:
        """Mean number of input pixels that an output pixel looks at."""
        return self.nonzeros / self.n_outputs

    @property
    def sparsity(self) -> float:
        """Share of zeros among all pairs of output and input pixel."""
        return 1 - self.per_output / (self.shape[0] * self.shape[1])

    @property
    def self_share(self) -> float:
        """Share of the sum of absolute weights that lies on the output's own pixel."""
        return self.share_within(0)

    @property
    def led_by_self(self) -> float:
        """Share of the output pixels whose largest weight is on their own pixel."""
        return self._n_led_by_self / self.n_outputs

    @property
    def median_distance(self) -> float:
        """Distance in pixels within which half of the sum of absolute weights lies."""
        distance, share = self.reach()
        return float(distance[np.searchsorted(share, 0.5 - 1e-12)]) if len(distance) else 0.0

    def share_within(self, radius: int) -> float:
        """Return the share of the sum of absolute weights in the square of side ``2 radius + 1`` around the output."""
        total = self._mass_in_square.sum()
        return float(self._mass_in_square[: radius + 1].sum() / total) if total else 0.0

    def reach(self, *, count: bool = False) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return the distribution of the distances.

        Parameters
        ----------
        count
            Count every weight once, instead of by its absolute value.

        Returns
        -------
        distance
            Distances in pixels at which there are weights, ascending.
        share
            Share of the weights within each of them, up to 1.
        """
        there = np.flatnonzero(self._count_at)
        total = np.cumsum((self._count_at if count else self._mass_at)[there].astype(np.float64))
        return np.sqrt(there.astype(np.float64)), total / total[-1] if len(total) else total

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of a report."""
        return {
            "outputs": self.n_outputs,
            "per_output": self.per_output,
            "sparsity": self.sparsity,
            "self_share": self.self_share,
            "led_by_self": self.led_by_self,
            "median_distance": self.median_distance,
            **{f"share_{2 * radius + 1}x{2 * radius + 1}": self.share_within(radius) for radius in (1, 2, 3)},
        }


@dataclass
class Roles:
    """Contributions of the weights and of the intercept to the output: mean absolute values at every pixel.

    Attributes
    ----------
    intercept
        Shape (y, x, channel); 1 = white.

    Examples
    --------
    >>> roles = Roles(np.full((1, 1, 1), 0.1))
    >>> roles.add(np.full((2, 1, 1, 1), 0.6))
    >>> round(roles.ratio, 6), round(roles.to_dict()["intercept_share"], 6)
    (5.0, 0.166667)
    """

    intercept: Floats

    def __post_init__(self) -> None:
        self._sum = np.zeros(self.intercept.shape)
        self._n_images = 0

    def add(self, predictions: Floats) -> None:
        """Add predictions of shape (image, y, x, channel), not clipped."""
        self._sum += np.abs(predictions - self.intercept).sum(axis=0, dtype=np.float64)
        self._n_images += len(predictions)

    @property
    def maps(self) -> tuple[Floats, Floats]:
        """Mean absolute output of the weights and of the intercept, averaged over channels, each (y, x)."""
        return self._sum.mean(axis=2) / max(self._n_images, 1), np.abs(self.intercept).mean(axis=2)

    @property
    def ratio(self) -> float:
        """Mean absolute output of the weights over that of the intercept; infinite without an intercept."""
        weights, intercept = (float(each.mean()) for each in self.maps)
        return weights / intercept if intercept else float("inf")

    def to_dict(self) -> dict[str, float | None]:
        """Return both means over the pixels, their ratio and the intercept's share of their sum."""
        weights, intercept = (float(each.mean()) for each in self.maps)
        total = weights + intercept
        return {
            "weights": weights,
            "intercept": intercept,
            "ratio": weights / intercept if intercept else None,
            "intercept_share": intercept / total if total else None,
        }


def spread_pixels(shape: Shape, n: int) -> npt.NDArray[np.int64]:
    """Return at most ``n`` output pixels spread evenly over an image, in raster order.

    Examples
    --------
    >>> spread_pixels((4, 4), 4)
    array([ 5,  7, 13, 15])
    >>> len(spread_pixels((128, 128), 500))
    484
    """
    height, width = shape
    if height * width <= n:
        return np.arange(height * width)
    across = max(1, min(width, n, int((n * width / height) ** 0.5)))
    down = max(1, min(height, n // across))
    y, x = (((2 * np.arange(count) + 1) * side) // (2 * count) for count, side in ((down, height), (across, width)))
    return (y[:, None] * width + x).ravel()


def patches(
    rows: Floats, shape: Shape, pixels: Sequence[tuple[int, int]], radius: int
) -> list[npt.NDArray[np.floating]]:
    """Cut the square around each output pixel out of its row of weights; NaN beyond the image.

    Parameters
    ----------
    rows
        Shape (row, pixels) or (row, pixels + 1), the weights of each output pixel.
    shape
        Image height and width in pixels.
    pixels
        Row and column of each output pixel.
    radius
        The squares' side is ``2 radius + 1``.

    Returns
    -------
    list of ndarray

    Examples
    --------
    >>> patches(np.arange(9.0)[None], (3, 3), [(0, 1)], 1)[0]
    array([[nan, nan, nan],
           [ 0.,  1.,  2.],
           [ 3.,  4.,  5.]])
    """
    height, width = shape
    images = np.asarray(rows)[:, : height * width].reshape(-1, height, width).astype(np.float64)
    padded = np.pad(images, ((0, 0), (radius, radius), (radius, radius)), constant_values=np.nan)
    side = 2 * radius + 1
    return [image[y : y + side, x : x + side] for image, (y, x) in zip(padded, pixels, strict=True)]
