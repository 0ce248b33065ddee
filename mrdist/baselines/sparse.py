"""Sparse regressions of whole images: every output pixel on all input pixels, or on a window around it.

A block of output pixels is cut into tiles of neighbours, which are solved together. Tiles lie on a fixed grid over the
image and are solved one by one on one thread, so that no bit depends on the block or on the workers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mrdist.baselines.columns import Columns, SparseRows
from mrdist.baselines.lasso import lasso_path
from mrdist.baselines.omp import GramRows, omp
from mrdist.errors import ParameterError
from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import Color
from mrdist.parts import parts
from mrdist.synthesis import check_images, to_floats

if TYPE_CHECKING:
    import scipy.sparse

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.floating]
Solver = Callable[[Columns, npt.NDArray[np.float64], "npt.NDArray[np.bool_] | None"], SparseRows]
"""Takes columns, centred targets and which columns each target may use."""

TILE_SIDE = 8
"""Side in pixels of a tile of output pixels that are solved together."""


def check_window(window: int | None, shape: Shape) -> None:
    """Raise ParameterError if a window is not odd and positive, or wider than twice the image.

    Examples
    --------
    >>> check_window(4, (64, 64))
    Traceback (most recent call last):
        ...
    mrdist.errors.ParameterError: window must be an odd number of pixels from 1 to 127, got 4.
    """
    largest = 2 * max(shape) - 1
    if window is not None and not (1 <= window <= largest and window % 2):
        raise ParameterError(f"window must be an odd number of pixels from 1 to {largest}, got {window}.")


def check_color(color: str) -> None:
    """Raise ParameterError unless the colour mode is shared or separate.

    Examples
    --------
    >>> check_color("joint")
    Traceback (most recent call last):
        ...
    mrdist.errors.ParameterError: color must be shared or separate for l1 and l0, got 'joint'.
    """
    if color not in ("shared", "separate"):
        raise ParameterError(f"color must be shared or separate for l1 and l0, got {color!r}.")


def window_of(block: Block, window: int | None, shape: Shape) -> Block:
    """Return the input pixels that a block of output pixels may use."""
    return Block(0, 0, *shape) if window is None else block.grown(window // 2).clipped(shape)


def lasso_solver(alpha: float, tolerance: float, max_iterations: int) -> Solver:
    """Return a solver for one penalty, see `mrdist.baselines.lasso`."""

    def solve(columns: Columns, targets: npt.NDArray[np.float64], allowed: Array | None) -> SparseRows:
        (coef,) = lasso_path(
            columns, targets, [alpha], tolerance=tolerance, max_iterations=max_iterations, allowed=allowed
        )
        return coef

    return solve


def omp_solver(nonzeros: int, tolerance: float) -> Solver:
    """Return a solver that adds columns one by one, see `mrdist.baselines.omp`."""
    gram: list[GramRows] = []

    def solve(columns: Columns, targets: npt.NDArray[np.float64], allowed: Array | None) -> SparseRows:
        if not gram or not gram[0].serves(columns):
            gram[:] = [GramRows(columns, nonzeros)]
        return omp(columns, targets, nonzeros=nonzeros, tolerance=tolerance, allowed=allowed, gram=gram[0])

    return solve


@dataclass(frozen=True)
class SparseSolution:
    """Weights of a block of output pixels and how well they fit the images they were trained on.

    Attributes
    ----------
    counts
        Numbers stored for each output pixel, the intercept with them, int64, shape (group, y, x).
    indices
        Their input pixels in the image's raster order, ascending, the number of pixels for the intercept; pixel after
        pixel in raster order, group after group, int64.
    values
        float64; the intercept for 1 = white.
    sse, sst
        Sum of squared training errors, and of squared deviations of the target from its mean, float64, shape (group,
        y, x); 1 = white.
    unsolved
        Output pixels that the iteration limit has stopped.
    """

    counts: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    values: npt.NDArray[np.float64]
    sse: npt.NDArray[np.float64]
    sst: npt.NDArray[np.float64]
    unsolved: int


def fit_block(
    x: Array,
    y: Array,
    block: Block,
    shape: Shape,
    unit: int,
    solver: Solver,
    *,
    window: int | None,
    color: Color,
    target_unit: int | None = None,
) -> SparseSolution:
    """Train a block of output pixels.

    Parameters
    ----------
    x
        Source images in `window_of` the block, integers in units of ``1 / unit``, shape (image, y, x, channel).
    y
        Target images in the block, integers in units of ``1 / target_unit``.
    block, shape
        The output pixels, and height and width of the image. A block begins at a multiple of `TILE_SIDE`.
    solver
        See `lasso_solver` and `omp_solver`.
    window
        Odd side of the square of input pixels around the output pixel; None for all.
    color
        Shared weights have images x channels as rows, separate ones a regression a channel.
    unit, target_unit
        Integers that stand for 1.0 in sources and targets; by default the same.

    Returns
    -------
    SparseSolution
    """
    assert block.y0 % TILE_SIDE == block.x0 % TILE_SIDE == 0
    groups = [slice(None)] if color == "shared" else [slice(c, c + 1) for c in range(x.shape[3])]
    inputs = window_of(block, window, shape)
    target_unit = unit if target_unit is None else target_unit
    maps = np.zeros((2, len(groups), *block.shape))
    rows: list[dict[tuple[int, int], tuple[Array, Array]]] = [{} for _ in groups]
    unsolved = 0
    with threadpool_limits(1, user_api="blas"):
        for number, channels in enumerate(parts(groups)):
            whole = None if window else Columns.of(as_columns(x[..., channels]), unit, target_unit)
            for tile in parts(list(block_grid(block.shape, (TILE_SIDE, TILE_SIDE)))):
                place = Block(tile.y0 + block.y0, tile.x0 + block.x0, tile.y1 + block.y0, tile.x1 + block.x0)
                own = window_of(place, window, shape)
                columns = whole or Columns.of(as_columns(x[:, *own.within(inputs), channels]), unit, target_unit)
                targets, mean = Columns.centre(as_columns(y[:, *tile.slices, channels]), target_unit)
                solved = solver(columns, targets, _allowed(place, own, window))
                unsolved += int(solved.unsolved.sum())
                _collect(solved, columns, targets, mean, tile, own, shape, rows[number], maps[:, number])
    ordered = [rows[g][y, x] for g in range(len(groups)) for y in range(block.shape[0]) for x in range(block.shape[1])]
    return SparseSolution(
        counts=np.array([len(index) for index, _ in ordered], dtype=np.int64).reshape(len(groups), *block.shape),
        indices=np.concatenate([index for index, _ in ordered]),
        values=np.concatenate([value for _, value in ordered]),
        sse=maps[0],
        sst=maps[1],
        unsolved=unsolved,
    )


def as_columns(images: Array) -> Array:
    """Return images of shape (image, y, x, channel) as columns, shape (pixel, image x channel)."""
    n, height, width, n_channels = images.shape
    return images.transpose(1, 2, 0, 3).reshape(height * width, n * n_channels)


def _allowed(tile: Block, inputs: Block, window: int | None) -> npt.NDArray[np.bool_] | None:
    if window is None:
        return None
    y, x = (
        np.abs(np.arange(a, b)[:, None] - np.arange(c, d)) <= window // 2
        for a, b, c, d in ((tile.y0, tile.y1, inputs.y0, inputs.y1), (tile.x0, tile.x1, inputs.x0, inputs.x1))
    )
    mask: npt.NDArray[np.bool_] = y[:, None, :, None] & x[None, :, None, :]
    return mask.reshape(len(y) * len(x), -1)


def _collect(
    solved: SparseRows,
    columns: Columns,
    targets: npt.NDArray[np.float64],
    mean: npt.NDArray[np.float64],
    tile: Block,
    inputs: Block,
    shape: Shape,
    rows: dict[tuple[int, int], tuple[Array, Array]],
    maps: npt.NDArray[np.float64],
) -> None:
    """Take over the rows of a tile, with their intercepts, and their training errors."""
    width = inputs.shape[1]
    ends = np.cumsum(solved.counts)
    for p, (end, count) in enumerate(zip(ends, solved.counts, strict=True)):
        index, value = solved.indices[end - count : end], solved.values[end - count : end]
        y, x = tile.y0 + p // tile.shape[1], tile.x0 + p % tile.shape[1]
        residual, intercept = targets[p].copy(), float(mean[p])
        for j, w in zip(index.tolist(), value.tolist(), strict=True):  # in a fixed order, unlike a matrix product
            residual -= w * columns.x[j]
            intercept -= w / columns.ratio * float(columns.mean[j])
        maps[:, y, x] = np.square(residual).sum(), np.square(targets[p]).sum()
        maps[:, y, x] /= columns.scale**2 * columns.ratio**2
        pixels = (index // width + inputs.y0) * shape[1] + index % width + inputs.x0
        rows[y, x] = np.append(pixels, shape[0] * shape[1]), np.append(value / columns.ratio, intercept)


@dataclass(frozen=True)
class SparseWeights:
    """Sparse weights of a block of output pixels, or of all.

    Attributes
    ----------
    color, n_channels
        Whether the channels share their weights, and how many there are.
    shape
        Height and width of the output.
    matrices
        One for shared colour, one a channel for separate: output pixels x (input pixels + 1), the intercept last.
    """

    color: Color
    n_channels: int
    shape: Shape
    matrices: tuple[scipy.sparse.csr_array, ...]

    @property
    def intercept(self) -> Floats:
        """The intercepts, shape (y, x, group)."""
        columns = [matrix[:, [-1]].toarray().reshape(self.shape) for matrix in self.matrices]
        return np.stack(columns, axis=-1)

    def predict(self, images: Array) -> Floats:
        """Return the output of images.

        Parameters
        ----------
        images
            The input pixels of the matrices, shape (image, y, x, channel).

        Returns
        -------
        ndarray
            Shape (image, y, x, channel), dtype of the weights; 1 = white, not clipped.
        """
        dtype = self.matrices[0].dtype
        n = len(images)
        out = np.empty((n, *self.shape, self.n_channels), dtype=dtype)
        for channel in range(self.n_channels):
            matrix = self.matrices[channel if len(self.matrices) > 1 else 0]
            values = np.ones((matrix.shape[1], n), dtype=dtype)
            values[:-1] = to_floats(images[..., channel], dtype).reshape(n, -1).T
            out[..., channel] = (matrix @ values).T.reshape(n, *self.shape)
        return out


def predict_stack(weights: SparseWeights, images: Array) -> Floats:
    """Apply weights of whole images to images; the result has their shape.

    Raises
    ------
    DataError
        If size or channels are not those of the weights, or floats hold NaN or lie outside 0..1.
    """
    stack = check_images(images, weights.shape, weights.n_channels)
    return weights.predict(stack).reshape(images.shape)


def to_matrices(solution: SparseSolution, n_columns: int, dtype: npt.DTypeLike) -> tuple[scipy.sparse.csr_array, ...]:
    """Return the rows of a block as a matrix for each group."""
    from scipy.sparse import csr_array  # slow to import

    matrices = []
    start = 0
    for counts in solution.counts:
        ends = np.concatenate([[0], np.cumsum(counts.ravel())])
        part = slice(start, start + int(ends[-1]))
        start = part.stop
        values = solution.values[part].astype(dtype)
        matrices.append(csr_array((values, solution.indices[part], ends), shape=(counts.size, n_columns)))
    return tuple(matrices)
