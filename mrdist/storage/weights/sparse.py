"""Weights stores of learned sparsity: one CSR matrix in AnnData's encoding, written in parallel.

The length of a row is known only once it is solved. So each block keeps its rows in the group of its progress. When all
blocks are done, the row pointers are written, and then the rows in raster order, whole chunks of the matrix at a time.
The bytes of the finished store do not depend on the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.baselines.sparse import Floats, SparseSolution, SparseWeights, predict_stack, window_of
from mrdist.errors import DamagedChunkError
from mrdist.geometry import Block, Shape, block_grid
from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.formats import version_of
from mrdist.storage.access.fresh import held, settle
from mrdist.storage.access.urls import COMPRESSORS, array_of, store_errors
from mrdist.storage.making.progress import TEMPORARY
from mrdist.storage.weights.csr import CHUNK
from mrdist.storage.weights.output import Training, WeightsOutput, chunk_side
from mrdist.storage.weights.reader import Codes, Model, WeightsReader
from mrdist.values import check_values

if TYPE_CHECKING:
    import scipy.sparse

_SCRATCH = "progress"  # goes when the store is complete
_PARTS = ("counts", "indices", "data", "unsolved")
_CHUNK = 1 << 20  # numbers; in stores of format version 1, as many as in CSR matrices for other programs


@dataclass(frozen=True, kw_only=True)
class SparseTraining(Training):
    """Everything that decides the bytes of a weights store of l1 or l0.

    Besides what `mrdist.storage.weights.output.Training` has:

    Attributes
    ----------
    window
        Side of the square of input pixels around the output pixel; None for all.
    alpha, max_iterations
        Of l1. ``alpha`` is ``"cv"`` until it is chosen.
    nonzeros, tolerance
        Of l0. ``nonzeros`` are several until one is chosen.
    alphas, folds, rule, seed
        Of the cross-validation, if there is one; the penalties to try are those of l1.
    """

    layout = "sparse"
    window: int | None
    alpha: float | str | None = None
    max_iterations: int | None = None
    nonzeros: int | Sequence[int] | None = None
    tolerance: float | None = None
    alphas: Sequence[float] | None = None
    folds: int | None = None
    rule: str | None = None
    seed: int | None = None

    @property
    def n_pixels(self) -> int:
        """Pixels of the image."""
        return self.height * self.width

    @property
    def index_dtype(self) -> np.dtype[Any]:
        """Of column numbers."""
        return np.dtype(np.int32 if self.n_pixels < 2**31 - 1 else np.int64)

    def matrix(self, pointers: npt.NDArray[np.int64], chunk: int) -> list[ArraySpec]:
        """Return the layout of the CSR matrix with these row pointers, in chunks of so many numbers."""
        n = {"nonzero": int(pointers[-1])}
        return [
            ArraySpec("indptr", {"pointer": len(pointers)}, np.int64, (chunk,), pointers),
            ArraySpec("indices", n, self.index_dtype, (chunk,)),
            ArraySpec("data", n, self.dtype, (chunk,)),
        ]

    @property
    def most_nonzeros(self) -> int:
        """Largest number of weights of a pixel for l0; 0 for l1."""
        return max(self.nonzeros) if isinstance(self.nonzeros, Sequence) else self.nonzeros or 0


class SparseOutput(WeightsOutput):
    """A weights store of learned sparsity in the making."""

    training: SparseTraining
    training_type = SparseTraining

    def write_block(self, index: int, block: Block, solution: SparseSolution) -> None:
        """Write a block's error maps and keep its rows, then its done marker.

        Parameters
        ----------
        index
            Position in the raster order of the grid.
        block
            Its pixels.
        solution
            Its weights.
        """
        side = chunk_side(self.training.shape)
        assert block.y0 % side == 0
        assert block.x0 % side == 0
        group = 0 if self.training.color == "shared" else slice(None)
        parts = (
            solution.counts,
            solution.indices.astype(self.training.index_dtype),
            solution.values.astype(self.training.dtype),
            np.array([solution.unsolved]),
        )
        with store_errors(self._url):
            self._array("train_sse")[..., *block.slices] = solution.sse[group]
            self._array("train_sst")[..., *block.slices] = solution.sst[group]
            for name, values in zip(_PARTS, parts, strict=True):
                self._scratch.create_array(
                    f"{name}-{index}",
                    data=values,
                    chunks=values.shape,
                    compressors=COMPRESSORS,
                    config={"write_empty_chunks": True},
                    overwrite=True,
                )
            self.progress.mark(index)

    def begin_search(self, n_parts: int, n_candidates: int) -> npt.NDArray[np.float64]:
        """Create or open the array of cross-validation errors; return its values.

        They are NaN where none is written yet, or what was written is damaged.

        Parameters
        ----------
        n_parts
            Parts into which the output pixels are cut for the search.
        n_candidates
            Penalties or numbers of weights to choose from.

        Returns
        -------
        ndarray
            Shape (part, candidate, fold).
        """
        assert self.training.folds is not None
        shape = (n_parts, n_candidates, self.training.folds)
        with store_errors(self._url):
            kept = self._scratch.require_array(
                "errors",
                shape=shape,
                chunks=(1, *shape[1:]),
                dtype="float64",
                fill_value=float("nan"),
                compressors=COMPRESSORS,
            )
            try:
                return np.asarray(kept[...])
            except DamagedChunkError:
                return np.stack([_errors_of(kept, part) for part in range(n_parts)])

    def write_errors(self, part: int, errors: npt.NDArray[np.float64]) -> None:
        """Keep the errors of a part, shape (candidate, fold)."""
        with store_errors(self._url):
            array_of(self._scratch, "errors")[part] = errors

    def lay_out(self) -> int:
        """Write the row pointers and create the arrays of the matrix; return the number of its chunks.

        A matrix that an earlier run has left is replaced.
        """
        training = self.training
        counts = np.zeros((training.n_groups, *training.shape), dtype=np.int64)
        with store_errors(self._url):
            for index, block in enumerate(self._blocks):
                counts[:, *block.slices] = self._kept("counts", index)
            pointers = np.concatenate([[0], np.cumsum(counts.ravel())])
            n = int(pointers[-1])
            root = held(self._group, without=TEMPORARY)
            for array in training.matrix(pointers, self._chunk):
                array.create(root, overwrite=True)
            root.update_attributes(
                {
                    "encoding-type": "csr_matrix",
                    "encoding-version": "0.1.0",
                    "shape": [training.n_groups * training.n_pixels, training.n_pixels + 1],
                }
            )
            settle(root, root_first=False)
            self._group = root
        return -(-n // self._chunk)

    def write_chunk(self, number: int) -> None:
        """Write a chunk of the matrix from the rows that the blocks have left."""
        training = self.training
        with store_errors(self._url):
            pointers = np.asarray(array_of(self._group, "indptr")[...])
            start, stop = number * self._chunk, min((number + 1) * self._chunk, int(pointers[-1]))
            first = int(np.searchsorted(pointers, start, side="right")) - 1
            last = int(np.searchsorted(pointers, stop, side="left"))
            base = int(pointers[first])
            merged = {
                "indices": np.empty(int(pointers[last]) - base, dtype=training.index_dtype),
                "data": np.empty(int(pointers[last]) - base, dtype=training.dtype),
            }
            for index, block in enumerate(self._blocks):
                rows = _rows_of(block, training)
                wanted = (rows >= first) & (rows < last)
                if not wanted.any():
                    continue
                ends = np.cumsum(self._kept("counts", index).ravel())
                parts = {name: self._kept(name, index) for name in merged}
                for position in np.flatnonzero(wanted).tolist():
                    row = int(rows[position])
                    end = int(ends[position])
                    length = int(pointers[row + 1] - pointers[row])
                    place = int(pointers[row]) - base
                    for name, values in parts.items():
                        merged[name][place : place + length] = values[end - length : end]
            for name, values in merged.items():
                self._array(name)[start:stop] = values[start - base : stop - base]

    def n_unsolved(self) -> int:
        """Return how many output pixels the iteration limit has stopped."""
        with store_errors(self._url):
            return sum(int(self._kept("unsolved", index)[0]) for index in range(len(self._blocks)))

    @cached_property
    def _chunk(self) -> int:
        """Numbers in a chunk of the matrix."""
        return CHUNK if version_of(self._group) == 1 else _CHUNK

    @property
    def _blocks(self) -> list[Block]:
        return block_grid(self.training.shape, self.progress.block)

    @property
    def _scratch(self) -> zarr.Group:
        group = self._group[_SCRATCH]
        assert isinstance(group, zarr.Group)
        return group

    def _kept(self, name: str, index: int) -> npt.NDArray[Any]:
        return np.asarray(array_of(self._scratch, f"{name}-{index}")[...])


def _errors_of(kept: zarr.Array[Any], part: int) -> npt.NDArray[np.float64]:
    try:
        return np.asarray(kept[part])
    except DamagedChunkError:
        return np.full(kept.shape[1:], np.nan)


def kept_parts(group: zarr.Group, index: int) -> list[zarr.Array[Any]]:
    """Return what a store of learned sparsity in the making keeps of a block that is done; nothing of another store."""
    arrays = [group.get(f"{_SCRATCH}/{name}-{index}") for name in _PARTS]
    return [array for array in arrays if isinstance(array, zarr.Array)]


def _rows_of(block: Block, training: SparseTraining) -> npt.NDArray[np.int64]:
    """Return the matrix rows of a block's pixels, in the order in which it keeps them."""
    pixels = np.arange(training.n_pixels).reshape(training.shape)[block.slices].ravel()
    return (np.arange(training.n_groups)[:, None] * training.n_pixels + pixels).ravel()


@dataclass(frozen=True)
class SparseModel(Model):
    """A mapping of learned sparsity.

    Besides what `mrdist.storage.Model` has:

    Attributes
    ----------
    weights
        Of all output pixels.
    """

    weights: SparseWeights

    @property
    def shape(self) -> Shape:
        """Image height and width in pixels."""
        return self.weights.shape

    @property
    def n_parameters(self) -> int:
        """Numbers that a prediction needs: the stored values, without their indices."""
        return sum(int(matrix.nnz) for matrix in self.weights.matrices)

    @property
    def n_nonzeros(self) -> int:
        """Those numbers that are not zero."""
        return sum(int(np.count_nonzero(matrix.data)) for matrix in self.weights.matrices)

    def predict(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return the images that the mapping makes of ``images``, see `mrdist.synthesis.MaskedWeights.predict`."""
        return predict_stack(self.weights, images)

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the mapping as a sparse matrix, see `mrdist.synthesis.MaskedWeights.to_scipy`."""
        matrices = self.weights.matrices
        return matrices[0] if self.weights.color == "shared" else list(matrices)


@dataclass(frozen=True)
class SparseBlock:
    """Weights of a block of output pixels, see `mrdist.storage.weights.reader.BlockWeights`."""

    window: Block
    weights: SparseWeights

    @property
    def intercept(self) -> Floats:
        """Shape (y, x, group)."""
        return self.weights.intercept

    def predict(self, x: npt.NDArray[np.generic], codes: Codes | None) -> Floats:
        """Return the block of the images whose windows are ``x``."""
        assert codes is None
        check_values(x)
        return self.weights.predict(x)


class SparseReader(WeightsReader):
    """Reads a complete weights store of learned sparsity whole or block by block."""

    training: SparseTraining
    training_type = SparseTraining

    @property
    def reach(self) -> int:
        """Rows beyond a block that its windows need."""
        window = self.training.window
        return self.training.height if window is None else min(window - 1, self.training.height)

    @property
    def numbers_per_pixel(self) -> int:
        """Numbers read for a pixel: values and places of its weights and intercepts, rounded up."""
        with store_errors(self.url):
            n = array_of(self._group, "data").shape[0]
        return 3 * -(-n // self.training.n_pixels)

    def read(self, block: Block, window: Block | None = None) -> SparseWeights:
        """Return the weights of a block of output pixels, on the input pixels in ``window``; all by default."""
        training = self.training
        window = self.frame if window is None else window
        matrices = tuple(self._matrix(group, block, window) for group in range(training.n_groups))
        return SparseWeights(training.color, training.n_channels, block.shape, matrices)

    def block(self, block: Block) -> SparseBlock:
        """Return the weights of a block with the window of input pixels that it needs."""
        window = window_of(block, self.training.window, self.training.shape)
        return SparseBlock(window, self.read(block, window))

    def model(self) -> SparseModel:
        """Return the whole mapping."""
        return SparseModel(
            **self.known,
            n_channels=self.training.n_channels,
            weights=self.read(self.frame),
        )

    def _matrix(self, group: int, block: Block, window: Block) -> scipy.sparse.csr_array:
        """Return the block's rows, read in one run from its first to its last."""
        from scipy.sparse import csr_array  # slow to import

        n_pixels, width = self.training.n_pixels, self.training.width
        first = group * n_pixels + block.y0 * width
        with store_errors(self.url):
            pointers = np.asarray(array_of(self._group, "indptr")[first : first + block.shape[0] * width + 1])
            part = slice(int(pointers[0]), int(pointers[-1]))
            data, indices = (np.asarray(array_of(self._group, name)[part]) for name in ("data", "indices"))
        rows = np.arange(block.shape[0])[:, None] * width + np.arange(block.x0, block.x1)
        matrix = csr_array((data, indices, pointers - pointers[0]), shape=(len(pointers) - 1, n_pixels + 1))
        if block.shape[1] < width:
            matrix = matrix[rows.ravel()]
        if window == self.frame:
            return matrix
        y, x = np.divmod(matrix.indices.astype(np.int64), width)
        places = (y - window.y0) * window.shape[1] + x - window.x0
        n_inputs = window.shape[0] * window.shape[1]
        places[matrix.indices == n_pixels] = n_inputs
        return csr_array((matrix.data, places, matrix.indptr), shape=(rows.size, n_inputs + 1))
