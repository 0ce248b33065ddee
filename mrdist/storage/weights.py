"""Weights stores of masked regression: written block by block, resumable, complete or refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.errors import StoreExistsError
from mrdist.geometry import Block, ReceptiveField, Shape
from mrdist.moments import Color
from mrdist.solvers import Solution
from mrdist.storage.progress import Progress, remove_progress
from mrdist.storage.urls import (
    COMPRESSOR,
    FORMAT_VERSION,
    StorageOptions,
    check_format,
    check_same,
    clear_output,
    consolidate,
    create_group,
    describe,
    normalize_url,
    open_group,
    open_kind,
    redact,
    remove_partial_files,
    store_errors,
)
from mrdist.synthesis import MaskedWeights

if TYPE_CHECKING:
    import xarray as xr

_RESUME = "run the command that makes it again to resume it"


def chunk_side(shape: Shape) -> int:
    """Return the side of a weights chunk in pixels: it depends on the image alone, never on the work's cut.

    Examples
    --------
    >>> chunk_side((128, 128)), chunk_side((4096, 4096))
    (16, 128)
    """
    side = 16
    while side < 128 and side * 8 < max(shape):
        side *= 2
    return side


@dataclass(frozen=True)
class Training:
    """What decides the bytes of a weights store: two trainings with equal fields make equal weights.

    Attributes
    ----------
    images
        Fingerprint of the pixels trained on.
    source, target, split
        Labels and the split whose rows are used.
    receptive_field, dilation, alpha, color, penalize_intercept
        As in `mrdist.MaskedRegression`.
    dtype
        Of the stored weights.
    height, width, n_channels
        Of the images.
    n_images
        Number of pairs.
    """

    images: str
    source: str
    target: str
    split: str
    receptive_field: int
    dilation: int
    alpha: float
    color: Color
    penalize_intercept: bool
    dtype: str
    height: int
    width: int
    n_channels: int
    n_images: int

    @property
    def field(self) -> ReceptiveField:
        """The receptive field."""
        return ReceptiveField(self.receptive_field, self.dilation)

    @property
    def n_groups(self) -> int:
        """Independent regressions a pixel."""
        return 1 if self.color == "shared" else self.n_channels


class TrainOutput:
    """A weights store in the making."""

    def __init__(self, url: str, group: zarr.Group, progress: Progress) -> None:
        self._url = url
        self._group = group
        self.progress = progress
        self.training = Training(**check_format(group, url)["training"])

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions) -> TrainOutput:
        """Open a store that `train_output` has begun."""
        group = open_group(url, storage_options, write=True)
        progress = Progress.find(group)
        assert progress is not None
        return cls(url, group, progress)

    def write_block(self, index: int, block: Block, solution: Solution) -> None:
        """Write a block's whole chunks, then its done marker.

        Parameters
        ----------
        index
            Position in the raster order of the grid.
        block
            Its pixels.
        solution
            Its weights.
        """
        side = chunk_side((self.training.height, self.training.width))
        assert block.y0 % side == 0
        assert block.x0 % side == 0
        dtype = self.training.dtype
        group = 0 if self.training.color == "shared" else slice(None)
        with store_errors(self._url):
            self._array("coef")[..., *block.slices] = solution.coef[group].astype(dtype)
            self._array("intercept")[..., *block.slices] = solution.intercept[group].astype(dtype)
            self._array("train_sse")[..., *block.slices] = solution.sse[group]
            self._array("train_sst")[..., *block.slices] = solution.sst[group]
            self.progress.mark(index)

    def finish(self, provenance: Mapping[str, Any]) -> dict[str, float | None]:
        """Reduce the error maps to scores, mark the store complete and return the scores."""
        with store_errors(self._url):
            scores = self._scores()
            self._group.attrs["mrdist"] = {
                **check_format(self._group, self._url),
                "complete": True,
                "scores": {"train": scores},
                "provenance": dict(provenance),
            }
            remove_progress(self._group)
            consolidate(self._group)
        return scores

    def _scores(self) -> dict[str, float | None]:
        """Reduce the error maps strip by strip from the top, whatever the blocks were: one sum, in little memory."""
        training = self.training
        error = explained = 0.0
        n_varying = 0
        side = chunk_side((training.height, training.width))
        for y in range(0, training.height, side):
            sse, sst = (np.asarray(self._array(name)[..., y : y + side, :]) for name in ("train_sse", "train_sst"))
            varies = sst > 0
            error += float(sse.sum())
            explained += float((1 - sse[varies] / sst[varies]).sum())
            n_varying += int(varies.sum())
        n_terms = training.n_images * training.height * training.width * training.n_channels
        return {"mse": error / n_terms, "r2": explained / n_varying if n_varying else None}

    def _array(self, name: str) -> zarr.Array[Any]:
        array = self._group[name]
        assert isinstance(array, zarr.Array)
        return array.with_config({"write_empty_chunks": True})


def train_output(
    url: str,
    training: Training,
    block: Shape,
    *,
    overwrite: bool,
    storage_options: StorageOptions = None,
) -> TrainOutput | None:
    """Begin a weights store, or resume the one that the same training has begun.

    Parameters
    ----------
    url, storage_options
        Where.
    training
        What will be trained.
    block
        Height and width of a block; a store that is resumed keeps the grid it was begun with.
    overwrite
        Remove any store of mrdist that is there.

    Returns
    -------
    TrainOutput or None
        None if the store is already complete.

    Raises
    ------
    StoreExistsError
        If another training's output, or something else, is there.
    """
    url = normalize_url(url)
    found = None if overwrite else _found(url, training, storage_options)
    if found is not None:
        group = open_group(url, storage_options, write=True)
        progress = Progress.find(group)
        if found.get("complete"):
            if progress is not None:  # the last run was stopped between its last two steps
                remove_progress(group)
                consolidate(group)
            return None
        if progress is not None:
            remove_partial_files(url)
            return TrainOutput(url, group, progress)
    clear_output(url, storage_options, kind="weights", overwrite=overwrite)
    with store_errors(url):
        attributes: dict[str, Any] = {
            "kind": "weights",
            "format_version": FORMAT_VERSION,
            "complete": False,
            "training": asdict(training),
        }
        group = create_group(url, storage_options, attributes)
        _create_arrays(group, training)
        progress = Progress.begin(group, (training.height, training.width), block)
    return TrainOutput(url, group, progress)


def _found(url: str, training: Training, options: StorageOptions) -> dict[str, Any] | None:
    """Return the attributes of an output of the same training, None if there is nothing at all."""
    try:
        found = describe(url, options)
    except FileNotFoundError:
        return None
    if found["kind"] != "weights":
        raise StoreExistsError(
            f"{redact(url)} already holds {found['kind']}; choose another address, or --overwrite (overwrite=True)."
        )
    check_same(url, "training", found["training"], asdict(training))
    return found


def _create_arrays(group: zarr.Group, training: Training) -> None:
    field, shape = training.field, (training.height, training.width)
    side = min(chunk_side(shape), shape[0]), min(chunk_side(shape), shape[1])
    channel = () if training.color == "shared" else (training.n_channels,)
    channel_name = () if training.color == "shared" else ("channel",)
    for name, dtype, taps, tap_name in (
        ("coef", training.dtype, (field.n_offsets,), ("offset",)),
        ("intercept", training.dtype, (), ()),
        ("train_sse", "float64", (), ()),
        ("train_sst", "float64", (), ()),
    ):
        group.create_array(
            name,
            shape=(*channel, *taps, *shape),
            chunks=(*channel, *taps, *side),
            dtype=dtype,
            dimension_names=(*channel_name, *tap_name, "y", "x"),
            compressors=COMPRESSOR,
        )
    group.create_array("offsets", data=field.offsets, dimension_names=("offset", "axis"))


@dataclass(frozen=True)
class Model(MaskedWeights):
    """A trained mapping, read from a weights store.

    Besides what `mrdist.synthesis.MaskedWeights` has:

    Attributes
    ----------
    url
        Where it came from.
    attributes
        Training options, scores and provenance, as stored.
    """

    url: str
    storage_options: StorageOptions
    attributes: Mapping[str, Any]

    def to_xarray(self) -> xr.Dataset:
        """Return the store as an xarray Dataset, lazily."""
        import xarray as xr  # brings pandas, which a worker does not need

        group = open_kind(self.url, self.storage_options, "weights", _RESUME)
        dataset: xr.Dataset = xr.open_zarr(group.store, consolidated=True)
        return dataset


@dataclass(frozen=True)
class WeightsReader:
    """Reads a complete weights store whole or block by block.

    Attributes
    ----------
    url, storage_options
        Where.
    attributes
        The attribute ``mrdist`` of the store.
    training
        What was trained.
    """

    url: str
    storage_options: StorageOptions
    attributes: Mapping[str, Any]
    training: Training
    _group: zarr.Group

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions = None) -> WeightsReader:
        """Open a weights store; errors are those of `open_weights`."""
        url = normalize_url(url)
        group = open_kind(url, storage_options, "weights", _RESUME)
        attributes = check_format(group, url)
        return cls(url, storage_options, attributes, Training(**attributes["training"]), group)

    def read(self, block: Block) -> MaskedWeights:
        """Return the weights of a block of output pixels."""
        training = self.training
        return MaskedWeights(
            training.field,
            training.color,
            training.n_channels,
            self._read("coef", block),
            self._read("intercept", block),
        )

    def _read(self, name: str, block: Block) -> npt.NDArray[np.floating]:
        with store_errors(f"{self.url}/{name}"):
            array = self._group[name]
            assert isinstance(array, zarr.Array)
            return np.asarray(array[..., *block.slices])


def open_weights(url: str, storage_options: StorageOptions = None) -> Model:
    """Open a trained mapping.

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
    reader = WeightsReader.open(url, storage_options)
    weights = reader.read(Block(0, 0, reader.training.height, reader.training.width))
    return Model(
        field=weights.field,
        color=weights.color,
        n_channels=weights.n_channels,
        coef=weights.coef,
        intercept=weights.intercept,
        url=reader.url,
        storage_options=storage_options,
        attributes=reader.attributes,
    )
