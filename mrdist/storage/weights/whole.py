"""Weights stores of the methods that see the whole image: what it is compared with, and weights of what comes out.

An image's codes are the inner products with the images in ``basis`` (or a kernel of them), times ``rotation`` where
there is one; ``coef (component, y, x)`` weighs them. There is never a matrix of input by output pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.baselines.dual import (
    Array,
    Matrix,
    gaussian,
    gram_unit,
    images_of,
    inner_products,
    integers_of,
    rows_of,
)
from mrdist.baselines.global_weights import Floats, GlobalWeights
from mrdist.errors import ParameterError
from mrdist.geometry import Block, Shape, block_grid
from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.fresh import held, settle
from mrdist.storage.access.urls import COMPRESSORS, array_of, check_format, store_errors
from mrdist.storage.images.reader import Images
from mrdist.storage.weights.output import Training, WeightsOutput, chunk_side
from mrdist.storage.weights.reader import Codes, Model, WeightsReader
from mrdist.synthesis import check_images, to_floats
from mrdist.values import check_values

_STRIP_BYTES = 64 << 20  # of images and basis that are read at a time
_BASIS_CHUNK = 2 << 20


@dataclass(frozen=True, kw_only=True)
class GlobalTraining(Training):
    """Everything that decides the bytes of a weights store of a method that sees the whole image.

    Besides what `mrdist.storage.weights.output.Training` has:

    Attributes
    ----------
    alpha, penalize_intercept, gamma, components
        As in `mrdist.train`; None where the method has no such option. ``alpha`` is ``"cv"`` until it is chosen.
    alphas, folds, rule, seed
        Of the cross-validation, if there is one.
    """

    layout = "global"
    alpha: float | str | None = None
    penalize_intercept: bool | None = None
    gamma: float | None = None
    components: int | None = None
    alphas: Sequence[float] | None = None
    folds: int | None = None
    rule: str | None = None
    seed: int | None = None

    @property
    def n_rows(self) -> int:
        """Rows of every regression."""
        return self.n_images * (self.n_channels if self.color == "shared" else 1)

    @property
    def n_components(self) -> int:
        """Codes of an image's channel."""
        return self.components or (0 if self.alpha is None else self.n_rows)

    @property
    def rows_of_a_chunk(self) -> int:
        """Rows of the chunks of the weights."""
        chunks = self.array_of_pixels("coef", self.dtype, component=self.n_components).grown().chunks
        assert chunks is not None
        return chunks[-2]

    def arrays(self, image_dtype: npt.DTypeLike, *, with_norms: bool = False) -> list[ArraySpec]:
        """Return the layout of the weights.

        Parameters
        ----------
        image_dtype
            Of the source images, which are the basis unless there are components.
        with_norms
            Whether there are squared norms of the source images, of which a Gaussian kernel is made.
        """
        maps = [self.array_of_pixels("intercept", self.dtype), *self.error_maps]
        if not self.n_components:
            return maps
        maps.append(self.array_of_pixels("coef", self.dtype, component=self.n_components))
        if self.components is not None:
            return [*maps, self.array_of_pixels("basis", self.dtype, component=self.components)]
        lead = {} if self.color == "shared" else {"channel": self.n_channels}
        rows, components = {"row": self.n_rows}, {"component": self.n_components}
        norms = [ArraySpec("norms", lead | rows, np.float64)] if with_norms else []
        height, width = (min(chunk_side(self.shape), size) for size in self.shape)
        image = height * width * self.n_channels * np.dtype(image_dtype).itemsize
        return [
            *maps,
            ArraySpec("rotation", lead | rows | components, np.float64),
            *norms,
            ArraySpec(
                "basis",
                {"image": self.n_images, "y": self.height, "x": self.width, "channel": self.n_channels},
                image_dtype,
                (min(self.n_images, max(1, _BASIS_CHUNK // image)), height, width, self.n_channels),
            ),
        ]


class GlobalOutput(WeightsOutput):
    """A weights store in the making: the first pass leaves inner products and the source images, the second weights."""

    training: GlobalTraining
    training_type = GlobalTraining

    @property
    def summed(self) -> npt.NDArray[np.bool_]:
        """Which blocks' inner products are kept, in raster order."""
        return np.asarray(self._kept("summed")[...])

    def begin_sums(self, labels: Sequence[str]) -> None:
        """Make room for the inner products of every block, of the images of some labels; harmless to repeat."""
        n_blocks, training = self.progress.done.size, self.training
        with store_errors(self._url):
            root = held(self._group)
            room = self.progress.room("gram", root)
            for label in labels:
                shape = (n_blocks, training.n_groups, training.n_rows, training.n_rows)
                name, chunks = _room_of(label), (1, *shape[1:])
                room.require_array(name, shape=shape, chunks=chunks, dtype="int64", compressors=COMPRESSORS)
            room.require_array("summed", shape=(n_blocks,), chunks=(1,), dtype="bool", compressors=COMPRESSORS)
            settle(root)

    def write_basis(self, block: Block, images: Array) -> None:
        """Keep the source images in a block, shape (image, y, x, channel)."""
        with store_errors(self._url):
            self._array("basis")[:, *block.slices] = images

    def write_sums(self, index: int, grams: Mapping[str, npt.NDArray[np.int64]]) -> None:
        """Keep the inner products of a block, by label, shape (group, row, row)."""
        with store_errors(self._url):
            for label, gram in grams.items():
                self._kept(_room_of(label))[index] = gram
            self._kept("summed")[index] = True

    def total_sums(self, label: str) -> npt.NDArray[np.int64]:
        """Return the inner products over all blocks, shape (group, row, row)."""
        with store_errors(self._url):
            kept = self._kept(_room_of(label))
            return np.asarray(sum(np.asarray(kept[index]) for index in range(kept.shape[0])))

    @property
    def operators(self) -> dict[str, Matrix] | None:
        """The operators that turn targets into weights, as given to `write_operators`; None before."""
        room = self.progress.room("operators")
        if "names" not in room.attrs:
            return None
        names = room.attrs["names"]
        assert isinstance(names, list)
        with store_errors(self._url):
            return {str(name): np.asarray(array_of(room, str(name))[...]) for name in names}

    def write_operators(self, attributes: Mapping[str, Any], kept: Mapping[str, Matrix], **operators: Matrix) -> None:
        """Keep what was solved between the two passes.

        Parameters
        ----------
        attributes
            Attributes of the store.
        kept
            Arrays of the store.
        operators
            What the second pass needs, arrays with the group first.
        """
        with store_errors(self._url):
            for name, values in kept.items():
                self._array(name)[...] = values[0] if self.training.color == "shared" else values
            root = held(self._group)
            room = self.progress.room("operators", root)
            for name, values in operators.items():
                room.create_array(name, data=values, compressors=COMPRESSORS, overwrite=True)
            root.attrs["mrdist"] = {**check_format(root, self._url), **attributes}
            room.attrs["names"] = list(operators)  # the last that is written: without it there are no operators
            settle(root)
            self._group = root

    def rows_at_a_time(self, names: Sequence[str]) -> int:
        """Return how many rows of these arrays, at least, fill the chunks that a block writes."""
        return max((self._array(name).chunks[-2] for name in names), default=1)

    def write_weights(self, block: Block, maps: Mapping[str, Matrix]) -> None:
        """Write whole chunks of maps, each with the group first and the pixels last."""
        side = chunk_side(self.training.shape)
        assert block.y0 % side == 0
        assert block.x0 % side == 0
        group = 0 if self.training.color == "shared" else slice(None)
        with store_errors(self._url):
            for name, values in maps.items():
                array = self._array(name)
                for part in block_grid(block.shape, (array.chunks[-2], array.chunks[-1])):  # they may be large
                    place = Block(block.y0 + part.y0, block.x0 + part.x0, block.y0 + part.y1, block.x0 + part.x1)
                    array[..., *place.slices] = values[group][..., *part.slices].astype(array.dtype, copy=False)

    def _kept(self, name: str) -> zarr.Array[Any]:
        return array_of(self.progress.room("gram"), name).with_config({"write_empty_chunks": True})


def _room_of(label: str) -> str:
    return label if label != "summed" else "summed images"  # beside the marker of that name


@dataclass(frozen=True)
class GlobalBlock:
    """Weights of a block of output pixels, see `mrdist.storage.weights.reader.BlockWeights`."""

    window: Block
    weights: GlobalWeights

    @property
    def intercept(self) -> Floats:
        """Shape (y, x, group)."""
        return np.moveaxis(self.weights.intercept.reshape(-1, *self.weights.shape), 0, -1)

    def predict(self, x: npt.NDArray[np.generic], codes: Codes | None) -> Floats:
        """Return the block of the images with these codes."""
        return self.weights.combine(codes, len(x))


class GlobalReader(WeightsReader):
    """Reads a complete weights store of a method that sees the whole image."""

    training: GlobalTraining
    training_type = GlobalTraining

    @property
    def reach(self) -> int:
        """Rows beyond a block that its windows need: none, the codes stand for all pixels."""
        return 0

    @property
    def numbers_per_pixel(self) -> int:
        """Weights and intercepts of an output pixel."""
        return self.training.n_groups * (self.training.n_components + 1)

    def codes(self, images: Images, label: str, rows: npt.NDArray[np.int64]) -> Codes | None:
        """Return the codes of some images of a store, shape (image, channel, component)."""
        reader = images.reader()

        def read(strip: Block) -> Array:
            slabs = [
                reader.read(label, start, stop, strip)[chosen]
                for start, stop, chosen in images.slabs(rows, images.chunks[0])
            ]
            return np.concatenate([np.empty((0, *strip.shape, images.n_channels), images.dtype), *slabs])

        return self.codes_of(read, images.dtype, len(rows))

    def codes_of(self, read: Callable[[Block], Array], dtype: npt.DTypeLike, n_images: int) -> Codes | None:
        """Return the codes of images that are read strip by strip.

        Parameters
        ----------
        read
            Returns the images in a block, shape (image, y, x, channel).
        dtype, n_images
            Of the images.
        """
        training = self.training
        if not training.n_components:
            return None
        itemsize = self._group["basis"].dtype.itemsize  # type: ignore[union-attr]
        line = training.shape[1] * training.n_channels
        numbers = n_images * np.dtype(dtype).itemsize + (training.components or training.n_images) * itemsize
        side = chunk_side(training.shape)
        height = max(1, _STRIP_BYTES // (numbers * line * side)) * side
        strips = block_grid(training.shape, (height, training.shape[1]))
        total: Any = 0
        norms: Any = 0
        for strip in strips:
            images = read(strip)
            if training.components is not None:
                check_values(images)
                x = rows_of(to_floats(images), training.n_groups)
                basis = self._read("basis", strip).reshape(training.n_groups, -1, x.shape[2])
                total = total + x @ np.swapaxes(basis, 1, 2).astype(np.float64)
                continue
            x = rows_of(integers_of(images), training.n_groups)
            total = total + inner_products(x, rows_of(integers_of(self._basis(strip)), training.n_groups))
            norms = norms + np.square(x.astype(np.float64)).sum(axis=2)
        if training.components is None:
            unit = gram_unit(dtype)
            total = total / (unit * gram_unit(self._group["basis"].dtype))  # type: ignore[union-attr]
            if "norms" in self._group:
                gamma, own = self.attributes["gamma"], self._whole("norms", 1)
                total = np.stack(
                    [gaussian(k, n / unit**2, m, gamma) for k, n, m in zip(total, norms, own, strict=True)]
                )
            total = total @ self._whole("rotation", 2)
        return images_of(total, training.n_channels)

    def read(self, block: Block) -> GlobalWeights:
        """Return the weights of a block of output pixels."""
        coef = self._read("coef", block) if self.training.n_components else None
        return GlobalWeights(self.training.color, self.training.n_channels, coef, self._read("intercept", block))

    def block(self, block: Block) -> GlobalBlock:
        """Return the weights of a block; it needs no pixels but its codes."""
        return GlobalBlock(block, self.read(block))

    @property
    def strips(self) -> list[Block]:
        """The output pixels in strips of whole chunks."""
        side, (height, width) = chunk_side(self.training.shape), self.training.shape
        row = self.numbers_per_pixel * width * np.dtype(self.training.dtype).itemsize
        return block_grid((height, width), (max(1, _STRIP_BYTES // (row * side)) * side, width))

    def model(self) -> GlobalModel:
        """Return the whole mapping."""
        return GlobalModel(
            **self.known,
            n_channels=self.training.n_channels,
            reader=self,
        )

    def sizes(self, count: Callable[[Array], int]) -> int:
        """Return a sum over the numbers that a prediction needs, in pieces that fit into memory."""
        names = ["rotation"] * ("rotation" in self._group) + ["norms"] * ("norms" in self._group)
        total = sum(count(self._whole(name, 1)) for name in names)
        for strip in self.strips:
            weights = self.read(strip)
            total += count(weights.intercept) + (0 if weights.coef is None else count(weights.coef))
            if self.training.n_components:
                total += count(self._read("basis", strip) if self.training.components else self._basis(strip))
        return total

    def _basis(self, block: Block) -> Array:
        with store_errors(f"{self.url}/basis"):
            return np.asarray(array_of(self._group, "basis")[:, *block.slices])

    def _whole(self, name: str, n_axes: int) -> Matrix:
        """Return an array of the rows, with the group first."""
        with store_errors(f"{self.url}/{name}"):
            values = np.asarray(array_of(self._group, name)[...])
        return values.reshape(-1, *values.shape[-n_axes:])


@dataclass(frozen=True)
class GlobalModel(Model):
    """A mapping trained by a method that sees the whole image; its weights stay in the store until they are needed.

    Besides what `mrdist.storage.Model` has:

    Attributes
    ----------
    reader
        Reads them.
    """

    reader: GlobalReader

    @property
    def shape(self) -> Shape:
        """Image height and width in pixels."""
        return self.reader.training.shape

    @property
    def n_parameters(self) -> int:
        """Numbers that a prediction needs: intercepts, weights of the codes, and what makes the codes."""
        return self.reader.sizes(lambda values: values.size)

    @property
    def n_nonzeros(self) -> int:
        """Those numbers that are not zero."""
        return self.reader.sizes(lambda values: int(np.count_nonzero(values)))

    def predict(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return the images that the mapping makes of ``images``, see `mrdist.synthesis.MaskedWeights.predict`."""
        stack = check_images(images, self.shape, self.n_channels)
        codes = self.reader.codes_of(lambda strip: stack[:, *strip.slices], stack.dtype, len(stack))
        out = np.empty(stack.shape, dtype=self.reader.training.dtype)
        for strip in self.reader.strips:
            out[:, *strip.slices] = self.reader.read(strip).combine(codes, len(stack))
        return out.reshape(images.shape)

    def to_scipy(self) -> Any:
        """Raise ParameterError: the weights are dense."""
        raise ParameterError(
            f"weights of method {self.method} are dense, not sparse; export a mapping with receptive fields, or one of "
            "learned sparsity."
        )
