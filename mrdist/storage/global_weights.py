"""Weights stores of the methods that see the whole image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.baselines.global_weights import Floats, GlobalWeights, check_images
from mrdist.errors import ParameterError
from mrdist.geometry import Block, Shape
from mrdist.storage.methods import (
    AnyTraining,
    Codes,
    Model,
    WeightsOutput,
    WeightsReader,
    begin_output,
    begun,
    chunk_side,
    create_error_maps,
    create_map,
)
from mrdist.storage.urls import StorageOptions, store_errors

Maps = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class GlobalTraining(AnyTraining):
    """What decides the bytes of a weights store of a method that sees the whole image."""


class GlobalOutput(WeightsOutput):
    """A weights store of a method that sees the whole image, in the making."""

    training: GlobalTraining

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions) -> GlobalOutput:
        """Open a store that `global_output` has begun."""
        return cls(*begun(url, storage_options, GlobalTraining))

    def write_block(self, index: int, block: Block, intercept: Maps, sse: Maps, sst: Maps) -> None:
        """Write a block's whole chunks, then its done marker.

        Parameters
        ----------
        index
            Position in the raster order of the grid.
        block
            Its pixels.
        intercept, sse, sst
            Intercepts and training errors, shape (group, y, x).
        """
        side = chunk_side(self.training.shape)
        assert block.y0 % side == 0
        assert block.x0 % side == 0
        group = 0 if self.training.color == "shared" else slice(None)
        with store_errors(self._url):
            self._array("intercept")[..., *block.slices] = intercept[group].astype(self.training.dtype)
            self._array("train_sse")[..., *block.slices] = sse[group]
            self._array("train_sst")[..., *block.slices] = sst[group]
            self.progress.mark(index)


def global_output(
    url: str, training: GlobalTraining, block: Shape, *, overwrite: bool, storage_options: StorageOptions = None
) -> GlobalOutput | None:
    """Begin a weights store of a global method, or resume one, see `mrdist.storage.methods.begin_output`."""
    found = begin_output(url, training, block, _create_arrays, overwrite=overwrite, storage_options=storage_options)
    return None if found is None else GlobalOutput(*found, training)


def _create_arrays(group: zarr.Group, training: GlobalTraining) -> None:
    create_map(group, training, "intercept", training.dtype)
    create_error_maps(group, training)


@dataclass(frozen=True)
class GlobalModel(Model):
    """A mapping trained by a method that sees the whole image.

    Besides what `mrdist.storage.Model` has:

    Attributes
    ----------
    weights
        Of all output pixels.
    """

    weights: GlobalWeights

    @property
    def shape(self) -> Shape:
        """Image height and width in pixels."""
        return self.weights.shape

    @property
    def n_parameters(self) -> int:
        """Numbers that a prediction needs."""
        return self.weights.intercept.size

    @property
    def n_nonzeros(self) -> int:
        """Those of them that are not zero."""
        return int(np.count_nonzero(self.weights.intercept))

    def predict(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return the images that the mapping makes of ``images``, see `mrdist.synthesis.MaskedWeights.predict`."""
        stack = check_images(images, self.shape, self.n_channels)
        return self.weights.combine(None, len(stack)).reshape(images.shape)

    def to_scipy(self) -> None:  # type: ignore[override]
        """Raise ParameterError: the weights are dense."""
        raise ParameterError(
            f"the weights of method {self.method} are dense and have no sparse form; export those of mr, l1 or l0."
        )


@dataclass(frozen=True)
class GlobalBlock:
    """Weights of a block of output pixels, see `mrdist.storage.methods.BlockWeights`."""

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
        return self.training.n_groups

    def read(self, block: Block) -> GlobalWeights:
        """Return the weights of a block of output pixels."""
        return GlobalWeights(self.training.color, self.training.n_channels, None, self._read("intercept", block))

    def block(self, block: Block) -> GlobalBlock:
        """Return the weights of a block; it needs no pixels but its codes."""
        return GlobalBlock(block, self.read(block))

    def model(self) -> GlobalModel:
        """Return the whole mapping."""
        return GlobalModel(
            url=self.url,
            storage_options=self.storage_options,
            attributes=self.attributes,
            n_channels=self.training.n_channels,
            weights=self.read(self.frame),
        )
