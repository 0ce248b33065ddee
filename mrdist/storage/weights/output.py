"""Start, resume and complete the weights stores of all methods.

A method has a layout of arrays and a `WeightsOutput` that writes it block by block. Every layout has the maps
``train_sse`` and ``train_sst``, from which the training's scores are computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.errors import StoreExistsError
from mrdist.geometry import Shape
from mrdist.storage.access.arrays import ArraySpec, lay_out
from mrdist.storage.access.fresh import left_out
from mrdist.storage.access.urls import (
    StorageOptions,
    array_of,
    beginning,
    check_format,
    check_same,
    clear_output,
    completing,
    consolidate,
    find_store,
    is_free,
    normalize_url,
    open_group,
    redact,
    remove_partial_files,
    store_errors,
)
from mrdist.storage.images.face_frame import FaceFrame
from mrdist.storage.images.mapped_images import MappedImages
from mrdist.storage.making.progress import TEMPORARY, Progress, remove_progress
from mrdist.storage.weights.cv_table import write_table
from mrdist.values import Color

DEFAULT_METHOD = "mr"
_UNSAID = {"method": DEFAULT_METHOD, "pool": 0, "prior": "zero", "drops_rows": False}
"""What a stored training means that does not say it."""
_STRIP_BYTES = 16 << 20
"""Of an error map, read at once when its scores are taken."""


def chunk_side(shape: Shape) -> int:
    """Return the side in pixels of the smallest piece of the work, which blocks and chunks consist of.

    It depends on the image alone, never on the work's cut. Stores of format version 1 have chunks of this side.

    Examples
    --------
    >>> chunk_side((128, 128)), chunk_side((4096, 4096))
    (16, 128)
    """
    side = 16
    while side < 128 and side * 8 < max(shape):
        side *= 2
    return side


@dataclass(frozen=True, kw_only=True)
class Training(MappedImages):
    """Everything that decides the bytes of a weights store: trainings with equal fields make equal weights.

    Attributes
    ----------
    layout
        Name of the arrays' layout, which the store says and by which its reader is found; of all trainings of a class.
    method
        As in `mrdist.train`; a store that does not say is one of masked regression.
    images
        Fingerprint of the pixels trained on.
    source, target, split
        Labels and the split whose rows are used.
    color
        Whether the channels share their weights.
    dtype
        Of the stored weights.
    height, width, n_channels
        Of the images.
    n_images
        Number of pairs.
    """

    layout: ClassVar[str]
    method: str = DEFAULT_METHOD
    images: str
    source: str
    target: str
    split: str
    color: Color
    dtype: str
    height: int
    width: int
    n_channels: int
    n_images: int

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into the attribute ``training``."""
        return asdict(self)

    def array_of_pixels(self, name: str, dtype: npt.DTypeLike, **axes: int) -> ArraySpec:
        """Return an array over the output pixels, once an output channel unless all share their weights.

        Parameters
        ----------
        name, dtype
            Of the array.
        axes
            Name and length of the axes between channel and pixels, whole in every chunk.
        """
        outputs = {"shared": (), "separate": ("channel",), "joint": ("channel_out",)}[self.color]
        lead = dict.fromkeys(outputs, self.n_channels) | axes
        side = chunk_side(self.shape)
        chunks = (*lead.values(), min(side, self.height), min(side, self.width))
        return ArraySpec(name, {**lead, "y": self.height, "x": self.width}, dtype, chunks)

    def map_of_pixels(self, name: str, dtype: npt.DTypeLike) -> ArraySpec:
        """Return an array over the output pixels, the same for all channels."""
        side = chunk_side(self.shape)
        return ArraySpec(
            name, {"y": self.height, "x": self.width}, dtype, (min(side, self.height), min(side, self.width))
        )

    @property
    def error_maps(self) -> list[ArraySpec]:
        """The maps of squared errors and of squared deviations of the target, 1 = white, that all layouts have."""
        return [self.array_of_pixels(name, np.float64) for name in ("train_sse", "train_sst")]


class WeightsOutput:
    """A weights store in the making.

    Attributes
    ----------
    training_type
        What describes its training; of all outputs of a class.
    """

    training_type: ClassVar[type[Training]]

    def __init__(self, url: str, group: zarr.Group, progress: Progress, training: Training) -> None:
        self._url = url
        self._group = group
        self.progress = progress
        self.training = training

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions) -> Self:
        """Open a store that `begin` has started."""
        group = open_group(url, storage_options, write=True)
        progress = Progress.find(group)
        assert progress is not None
        return cls(url, group, progress, cls.described(check_format(group, url)))

    @classmethod
    def described(cls, attributes: Mapping[str, Any]) -> Training:
        """Return what its attributes say of the training."""
        return cls.training_type(**attributes["training"])

    @classmethod
    def begin(
        cls,
        url: str,
        training: Training,
        arrays: Iterable[ArraySpec],
        block: Shape,
        *,
        overwrite: bool,
        codec: str | None = None,
        storage_options: StorageOptions = None,
    ) -> Self | None:
        """Start a weights store, or resume that of the same training.

        Parameters
        ----------
        url, storage_options
            Where.
        training
            What will be trained, of the ``training_type``.
        arrays
            Those of its layout.
        block
            Height and width of a block; a resumed store keeps its grid.
        overwrite
            Remove any store of mrdist that is there.
        codec
            Of a new store, see `mrdist.codecs`.

        Returns
        -------
        WeightsOutput or None
            None if the store is already complete.

        Raises
        ------
        StoreExistsError
            If ``url`` holds the output of another training, or something else.
        """
        url = normalize_url(url)
        free = is_free(url, storage_options)
        existing = None if free or overwrite else _find_same(url, training, storage_options)
        if existing is not None:
            resumed = resume_output(url, storage_options)
            if resumed is not None:
                return cls(url, *resumed, training)
            if existing.get("complete"):
                return None
        if not free:
            clear_output(url, storage_options, kind="weights", overwrite=overwrite)
        told = {"layout": training.layout, "training": training.to_dict()}
        with beginning(url, storage_options, "weights", codec=codec, **told) as group:
            progress = Progress.begin(group, training.shape, block, arrays=lay_out(group, arrays))
        return cls(url, group, progress, training)

    @property
    def chosen(self) -> dict[str, Any] | None:
        """The choice of the cross-validation; None before it, or if there is none."""
        search = check_format(self._group, self._url).get("cross_validation", {})
        chosen: dict[str, Any] | None = search.get("chosen")
        return chosen

    def write_choice(
        self,
        parameter: str,
        chosen: Mapping[str, Any],
        mse: npt.NDArray[np.float64],
        se: npt.NDArray[np.float64],
        n_images: npt.NDArray[np.int64],
    ) -> None:
        """Keep what a cross-validation has chosen and its table, see `mrdist.storage.weights.cv_table.write_table`.

        From now on it is the ``parameter`` of the training, ``alpha`` or ``nonzeros``.
        """
        grid = "alphas" if parameter == "alpha" else parameter
        with store_errors(self._url):
            attributes = check_format(self._group, self._url)
            search = {name: attributes["training"][name] for name in (grid, "folds", "rule", "seed")}
            if "cv" in self._group:  # left by a run that was stopped here
                del self._group["cv"]
            write_table(self._group, search[grid], mse, se, n_images, parameter=parameter)
            self._group.attrs["mrdist"] = {
                **attributes,
                "training": {**attributes["training"], parameter: chosen[parameter]},
                "cross_validation": {**search, "chosen": dict(chosen)},
            }

    def finish(
        self, provenance: Mapping[str, Any], face_frame: FaceFrame | None, **extra: Any
    ) -> dict[str, float | None]:
        """Reduce the error maps to scores, mark the store complete and return the scores.

        Parameters
        ----------
        provenance
            Where the weights come from.
        face_frame
            Where the faces are in the images: needed for photographs of other sizes; None if not known.
        extra
            Further attributes of the store, as ``unsolved``.
        """
        with store_errors(self._url):
            with completing(self._group, self._url, without=TEMPORARY) as root:
                self.progress.put_together(root)
                scores = self._scores(root, int(provenance.get("masked_pixels", 0)))
                if face_frame is not None:
                    face_frame.write(root)
                root.attrs["mrdist"] = {
                    **check_format(root, self._url),
                    "complete": True,
                    **extra,
                    "scores": {"train": scores},
                    "provenance": dict(provenance),
                }
            remove_progress(self._group, left_out(root))
        return scores

    def _scores(self, root: zarr.Group, n_masked: int) -> dict[str, float | None]:
        """Reduce the error maps strip by strip from the top, whatever the blocks were: one sum, in little memory.

        Pixels that no target has, ``n_masked`` of them, have no errors and count for nothing.
        """
        training = self.training
        error = explained = 0.0
        n_varying = 0
        maps = [array_of(root, name) for name in ("train_sse", "train_sst")]
        side = chunk_side(training.shape)
        row = maps[0].nbytes // training.height
        height = side * max(1, _STRIP_BYTES // (side * row))  # few reads: each waits for an object store to answer
        with ThreadPoolExecutor(len(maps)) as at_once:
            for y in range(0, training.height, height):
                strip = (..., slice(y, y + height), slice(None))
                sse, sst = at_once.map(lambda each, strip=strip: np.asarray(each[strip]), maps)
                varies = sst > 0
                error += float(sse.sum())
                explained += float((1 - sse[varies] / sst[varies]).sum())
                n_varying += int(varies.sum())
        n_terms = self._n_values() - training.n_images * n_masked * training.n_channels
        return {"mse": error / n_terms if n_terms else None, "r2": explained / n_varying if n_varying else None}

    def _n_values(self) -> int:
        """Return how many values were trained on, those of masked pixels included."""
        training = self.training
        return training.n_images * training.height * training.width * training.n_channels

    def _array(self, name: str) -> zarr.Array[Any]:
        """Return what a block of an array is written to."""
        return self.progress.array(self._group, name)


def resume_output(url: str, storage_options: StorageOptions) -> tuple[zarr.Group, Progress] | None:
    """Resume a weights store; None if it is complete, or stopped before it had a grid."""
    group = open_group(url, storage_options, write=True)
    progress = Progress.find(group)
    if progress is None:
        return None
    if check_format(group, url).get("complete"):  # the last run was stopped between its last two steps
        remove_progress(group)
        consolidate(group, url)
        return None
    remove_partial_files(url)
    return group, progress


def as_asked(training: Mapping[str, Any], search: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a stored training as its user asked for it: with the candidates of a search instead of its choice."""
    described = _UNSAID | dict(training)
    if search is None:
        return described
    asked = {name: value for name, value in search.items() if name != "chosen"}
    return described | ({"alpha": "cv"} if "alphas" in asked else {}) | asked


def _find_same(url: str, training: Training, options: StorageOptions) -> dict[str, Any] | None:
    """Return the attributes of an output of the same training, None if there is nothing at all."""
    existing = find_store(url, options)
    if existing is None:
        return None
    if existing["kind"] != "weights":
        raise StoreExistsError(
            f"{redact(url)} already holds {existing['kind']}; use --overwrite (overwrite=True) or another address."
        )
    check_same(url, "training", as_asked(existing["training"], existing.get("cross_validation")), asdict(training))
    return existing
