"""Open and apply the weights stores of all methods: whole, or block by block with a `WeightsReader`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import ParameterError, StoreFormatError
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.morphing.dials import Dials
from mrdist.storage.access.straight import read_place
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    check_format,
    consolidate,
    normalize_url,
    open_group,
    open_kind,
    redact,
    store_errors,
)
from mrdist.storage.images.coordinates import describe_weights
from mrdist.storage.images.datasets import read_dataset
from mrdist.storage.images.face_frame import FaceFrame
from mrdist.storage.images.links import OwnUnits
from mrdist.storage.images.reader import Images
from mrdist.storage.weights.cv_table import open_table
from mrdist.storage.weights.output import DEFAULT_METHOD, Training

if TYPE_CHECKING:
    import scipy.sparse
    import xarray as xr

Floats = npt.NDArray[np.floating]
Codes = npt.NDArray[np.float64]
"""Codes that global methods compute from whole images, shape (image, channel, component)."""

_READERS = {
    "masked": ("mrdist.storage.weights.masked", "MaskedReader"),
    "global": ("mrdist.storage.weights.whole", "GlobalReader"),
    "sparse": ("mrdist.storage.weights.sparse", "SparseReader"),
    "morph": ("mrdist.storage.weights.morph_reader", "MorphReader"),
}
_LAYOUTS = {  # of the methods whose stores did not say it
    **dict.fromkeys(("mr", "pixel"), "masked"),
    **dict.fromkeys(("l2", "kernel", "pca", "mean"), "global"),
    **dict.fromkeys(("l1", "l0"), "sparse"),
}
_RESUME = "run the command that makes it again to resume it"


class BlockWeights(Protocol):
    """The part of a mapping that makes a block of output pixels."""

    @property
    def window(self) -> Block:
        """Input pixels that `predict` needs: the block at least, and beyond the image where it may be zeros."""

    @property
    def intercept(self) -> Floats:
        """The intercepts, shape (y, x, channel); one channel where all share them."""

    def predict(self, x: npt.NDArray[np.generic], codes: Codes | None) -> Floats:
        """Return the block of the images.

        Parameters
        ----------
        x
            Their windows, shape (image, y, x, channel), zeros outside the image.
        codes
            What `WeightsReader.codes` has made of the same images.

        Returns
        -------
        ndarray
            Shape (image, y, x, channel) and the dtype of the weights; 1 = white, not clipped.
        """


class Moving(Protocol):
    """What a mapping does that moves a face by its landmarks, in a photograph of any size."""

    @property
    def n_points(self) -> int:
        """How many landmarks the faces of the training had."""

    @property
    def control(self) -> npt.NDArray[np.integer]:
        """Which of these it moves."""

    @property
    def mean_points(self) -> Floats:
        """Where the mean face has those that it moves, (x, y) in sides of the frame, shape (n, 2)."""

    def move(self, image: npt.NDArray[np.generic], points: Floats) -> npt.NDArray[np.float32]:
        """Return a photograph, shape (y, x, channel), whose face, at the points that it moves, is changed."""

    def move_as_mean(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return what `Model.predict` does, and tell nobody that the landmarks are not known."""


@dataclass(frozen=True)
class Model(ABC):
    """A trained mapping of any method, read from a weights store.

    Attributes
    ----------
    url, storage_options
        Where it came from.
    attributes
        MaskedTraining options, scores and provenance, as stored.
    """

    url: str
    storage_options: StorageOptions = field(repr=False)
    attributes: Mapping[str, Any]
    n_channels: int

    @property
    def method(self) -> str:
        """Name of the method, as in `mrdist.train`."""
        return str(self.attributes["training"].get("method", DEFAULT_METHOD))

    @property
    @abstractmethod
    def shape(self) -> Shape:
        """Image height and width in pixels."""

    @property
    @abstractmethod
    def n_parameters(self) -> int:
        """Numbers that a prediction needs."""

    @property
    @abstractmethod
    def n_nonzeros(self) -> int:
        """Those numbers that are not zero."""

    @property
    def moving(self) -> Moving | None:
        """How it moves faces; None if it changes the pixels of the frame where they lie."""
        return None

    @abstractmethod
    def predict(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return the images that the mapping makes of ``images``, see `mrdist.synthesis.MaskedWeights.predict`."""

    def make(
        self,
        images: npt.NDArray[np.generic],
        landmarks: npt.NDArray[np.floating] | None,  # noqa: ARG002
    ) -> Floats:
        """Return the same of images of a store, for methods that need landmarks, too.

        Parameters
        ----------
        images
            Shape (image, y, x, channel).
        landmarks
            Those of each, shape (image, point, 2), see `mrdist.storage.Images.landmarks_of`.
        """
        return self.predict(images)

    def predict_nothing(self) -> Floats:
        """Return what the mapping makes of black: an image of intercepts, shape (y, x, channel)."""
        made: Floats = self.predict(np.zeros((1, *self.shape, self.n_channels), dtype=np.float32))[0]
        return made

    @abstractmethod
    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the mapping as a sparse matrix, see `mrdist.synthesis.MaskedWeights.to_scipy`.

        Raises
        ------
        ParameterError
            If the method's weights are dense.
        """

    def to_xarray(self) -> xr.Dataset:
        """Return the store as an xarray Dataset, lazily.

        Its variables say what they are and in which unit (attributes ``long_name`` and ``units``). Pixels have their
        places as coordinates ``y`` and ``x``. Weights of masked regression have the offsets of their inputs as ``dy``
        and ``dx``: ``dataset.set_xindex(["dy", "dx"]).coef.sel(dy=0, dx=1)`` is the weight of the pixel to the right.
        """
        group = open_kind(self.url, self.storage_options, "weights", _RESUME)
        described = self.attributes.get("provenance", {}).get("units", {})
        scales = {side: units.scale for side, one in described.items() if (units := OwnUnits.of(one)) is not None}
        return describe_weights(read_dataset(group, self.url), scales)

    @property
    def cv(self) -> xr.Dataset | None:
        """The errors of the cross-validation that has chosen the hyperparameters, None if there was none.

        ``mse (field, alpha, fold)`` and its standard error over the folds ``se (field, alpha)``; 1 = white.
        Of l0, ``nonzeros`` stand in the place of ``alpha``.
        """
        return open_table(open_kind(self.url, self.storage_options, "weights", _RESUME))


class WeightsReader(ABC):
    """Reads a complete weights store of any method whole or block by block.

    Attributes
    ----------
    url, storage_options
        Where.
    attributes
        The attribute ``mrdist`` of the store.
    training
        What was trained.
    dials
        How strongly an expression is applied; None where the method cannot tell, see `turned`.
    makes_whole_images
        Whether a block costs as much as the image, of which it is cut out.
    field
        Of the methods whose pixels see a few around them, what they see; None where they see the whole image.
    """

    training_type: ClassVar[type[Training]]
    makes_whole_images: ClassVar[bool] = False
    field: ReceptiveField | None = None
    training: Training
    dials: Dials | None = None

    def __init__(
        self, url: str, storage_options: StorageOptions, attributes: Mapping[str, Any], group: zarr.Group
    ) -> None:
        self.url = url
        self.storage_options = storage_options
        self.attributes = attributes
        self.training = self.training_type(**attributes["training"])
        self._group = group

    @staticmethod
    def open(url: Address, storage_options: StorageOptions = None) -> WeightsReader:
        """Open a weights store with the reader of its layout; errors are those of `open_weights`."""
        url = normalize_url(url)
        group = open_kind(url, storage_options, "weights", _RESUME)
        attributes = check_format(group, url)
        method = attributes["training"].get("method", DEFAULT_METHOD)
        layout = attributes.get("layout") or _LAYOUTS.get(method)
        if layout not in _READERS:
            raise StoreFormatError(
                f"{redact(url)} was trained by the method {method!r} and has the layout {layout!r}, but this mrdist "
                f"reads {', '.join(_READERS)}; upgrade mrdist."
            )
        module, name = _READERS[layout]
        reader: WeightsReader = getattr(import_module(module), name)(url, storage_options, attributes, group)
        return reader

    def turned(self, dials: Dials | None) -> WeightsReader:
        """Return a reader that applies an expression as strongly as asked.

        Raises
        ------
        ParameterError
            If dials are given, but the method has none.
        """
        if dials is None:
            return self
        raise ParameterError(
            f"strength and mouth are for mappings trained by the method morph, but {redact(self.url)} was trained by "
            f"{self.training.method}; leave them out."
        )

    @property
    def frame(self) -> Block:
        """All output pixels."""
        return Block(0, 0, *self.training.shape)

    def units_of(self, side: Literal["source", "target"]) -> OwnUnits | None:
        """Return what 0 and 1 mean of the linked source or target that it was learnt from, None of other images."""
        return OwnUnits.of(self.attributes.get("provenance", {}).get("units", {}).get(side))

    @property
    def n_masked(self) -> int:
        """Pixels that no target had."""
        return int(self.attributes.get("provenance", {}).get("masked_pixels", 0))

    @property
    def unlearnt(self) -> npt.NDArray[np.bool_] | None:
        """Pixels, shape (y, x), for which no image had all values that they need; None if there are none."""
        return None

    @property
    def face_frame(self) -> FaceFrame | None:
        """Where the faces are in the training images; None in a store of an older mrdist that did not keep it."""
        return FaceFrame.read(self.url, self._group)

    def add_face_frame(self, face_frame: FaceFrame | None) -> None:
        """Add where the faces are to a store of an older mrdist; a store that has it is left as it is."""
        if face_frame is None or self.face_frame is not None:
            return
        with store_errors(self.url):
            group = open_group(self.url, self.storage_options, write=True)
            face_frame.write(group)
            consolidate(group, self.url)

    @property
    def known(self) -> dict[str, Any]:
        """What every `Model` says of its store."""
        return {"url": self.url, "storage_options": self.storage_options, "attributes": self.attributes}

    @property
    @abstractmethod
    def reach(self) -> int:
        """Rows that the window of a block of whole rows has beyond the block's, at most."""

    @property
    @abstractmethod
    def numbers_per_pixel(self) -> int:
        """Numbers that `block` reads for a pixel."""

    def codes(self, images: Images, label: str, rows: npt.NDArray[np.int64]) -> Codes | None:  # noqa: ARG002
        """Return the codes of whole images that all blocks need, None if blocks need only their windows.

        Parameters
        ----------
        images
            An images store.
        label
            Of the inputs.
        rows
            The images.

        Returns
        -------
        ndarray or None
            Shape (image, channel, component).
        """
        return None

    def unmoved(self, images: Images, label: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:  # noqa: ARG002
        """Return the rows whose images stay as they are, since the mapping moves faces whose landmarks are not known.

        Parameters and errors are those of `codes`.
        """
        return rows[:0]

    @abstractmethod
    def block(self, block: Block) -> BlockWeights:
        """Return what makes a block of output pixels."""

    @abstractmethod
    def model(self) -> Model:
        """Return the whole mapping."""

    def norms(self, block: Block, *, intercept: bool) -> npt.NDArray[np.float64]:  # noqa: ARG002
        """Return the l1 norm of every output pixel's weights in a block, see `mrdist.synthesis.MaskedWeights.norms`.

        Raises
        ------
        ParameterError
            If the method has no weights of pixels.
        """
        raise ParameterError(
            f"{redact(self.url)} was trained by the method {self.training.method}, but only mappings with receptive "
            "fields can be refined; use one of those, or leave the refinement out."
        )

    def _read(self, name: str, block: Block) -> Any:
        """Return an array over the output pixels in a block."""
        with store_errors(f"{self.url}/{name}"):
            array = array_of(self._group, name)
            return read_place(array, (*(slice(0, length) for length in array.shape[:-2]), *block.slices))


@plain_arguments
def open_weights(url: Address, storage_options: StorageOptions = None) -> Model:
    """Open a trained mapping of any method.

    Parameters
    ----------
    url
        Path or fsspec URL of a weights store.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    Model
        With ``predict``, ``to_scipy`` and ``to_xarray``.

    Raises
    ------
    StoreNotFoundError, StoreFormatError, StoreIncompleteError
        If there is none of this kind, of this format, or its training is not finished.
    """
    return WeightsReader.open(url, storage_options).model()
