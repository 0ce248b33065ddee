"""Inputs of the sparse regressions: centred columns, exact where images are integers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Self

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Columns of a regression, each centred: an integer, ``n_rows`` times the value minus the sum of its column.

    Products of two columns are integers as well, exact in float64 up to 2^53 (some 5000 rows of uint8 images), in
    whatever order they are added. A column that does not vary is exactly zero.

    Attributes
    ----------
    x
        Shape (column, row), float64, C order: a column's rows lie side by side.
    mean
        Means of the columns, 1 = white, shape (column,).
    scale
        Value of white (1.0) in ``x``.
    ratio
        Value of white in the targets, divided by ``scale``: not 1 if they are integers of another unit.
    """

    x: Floats
    mean: Floats
    scale: float
    ratio: float = 1.0

    @classmethod
    def of(cls, values: npt.NDArray[Any], unit: int, target_unit: int | None = None) -> Self:
        """Centre columns of shape (column, row), integers in units of ``1 / unit``.

        Examples
        --------
        >>> columns = Columns.of(np.array([[0, 255], [7, 7]]), 255)
        >>> columns.x
        array([[-255.,  255.],
               [   0.,    0.]])
        >>> columns.mean[0]
        np.float64(0.5)
        """
        x, mean = cls.centre(values, unit)
        return cls(x, mean, float(unit * values.shape[1]), 1.0 if target_unit is None else target_unit / unit)

    @staticmethod
    def centre(values: npt.NDArray[Any], unit: int) -> tuple[Floats, Floats]:
        """Return centred columns (or targets) and their means, as `Columns` holds them."""
        n_rows = values.shape[1]
        total = values.sum(axis=1, dtype=np.int64)
        x = values.astype(np.float64, order="C")
        x *= n_rows
        x -= total[:, None]
        return x, total / (float(unit) * n_rows)

    @property
    def n_columns(self) -> int:
        """Number of columns."""
        return len(self.x)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        n_rows: int = self.x.shape[1]
        return n_rows

    @cached_property
    def first(self) -> npt.NDArray[np.int64]:
        """Index of the first column that equals each column, shape (column,)."""
        seen: dict[bytes, int] = {}  # by digest: the columns themselves would be held twice
        digests = (blake2b(column).digest() for column in self.x)
        return np.array([seen.setdefault(digest, j) for j, digest in enumerate(digests)], dtype=np.int64)

    @cached_property
    def single(self) -> npt.NDArray[np.float32]:
        """The columns in float32, rows first: shape (row, column), C order."""
        return np.ascontiguousarray(self.x.T, dtype=np.float32)

    @cached_property
    def length(self) -> Floats:
        """Norms, shape (column,)."""
        length: Floats = np.sqrt(np.einsum("ij,ij->i", self.x, self.x))
        return length


@dataclass(frozen=True)
class SparseRows:
    """Weights of some targets, row after row: CSR without a matrix around it.

    Attributes
    ----------
    counts
        Non-zeros of each target, int64.
    indices
        Columns, ascending in a row, int64.
    values
        float64.
    unsolved
        Whether the iteration limit has stopped each target.
    """

    counts: npt.NDArray[np.int64]
    indices: npt.NDArray[np.int64]
    values: Floats
    unsolved: npt.NDArray[np.bool_]
