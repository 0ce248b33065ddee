"""Weights stores of shape and appearance: how faces move, a masked regression, and the picture of opened lips.

The arrays of the regression are those of any masked regression. The group ``shape`` holds how landmarks move, and the
group ``mouth`` what opened lips show. While it is made, the pairs of photographs lie in ``progress/warped``, an images
store, warped to one shape.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Block
from mrdist.moments import unit_of
from mrdist.morphing.landmark_sums import LIPS, Lips
from mrdist.morphing.mouths import Mouth, MouthRegion, MouthSums
from mrdist.morphing.shapes import Shapes
from mrdist.storage.access.arrays import ArraySpec, create_arrays
from mrdist.storage.access.chunks import UNCOMPRESSED
from mrdist.storage.access.urls import StorageOptions, array_of, check_format, open_as_is, store_errors
from mrdist.storage.images.reader import Images
from mrdist.storage.images.writer import create_images, finish_images, write_images
from mrdist.storage.making.progress import Progress
from mrdist.storage.weights.masked import MaskedTraining, TrainOutput

SHAPE, MOUTH = "shape", "mouth"
_WARPED, _SUMS = "warped", "warping"
_NUMBERS = ("size", "rates", "share_open", "mean_strength", "ring")


@dataclass(frozen=True, kw_only=True)
class MorphTraining(MaskedTraining):
    """Everything that decides the bytes of a weights store of shape and appearance.

    Besides what `mrdist.storage.weights.masked.MaskedTraining` has:

    Attributes
    ----------
    landmarks
        Hash of the landmarks trained on.
    scheme, n_points
        What they mean, as in `mrdist.storage.Landmarks`, and how many there are.
    """

    layout = "morph"
    method: str = "morph"
    landmarks: str
    scheme: str
    n_points: int

    @property
    def lips(self) -> Lips | None:
        """Where the lips are among the landmarks, if that is known."""
        return LIPS.get(self.scheme)


class MorphOutput(TrainOutput):
    """A weights store of shape and appearance in the making."""

    training: MorphTraining
    training_type = MorphTraining

    @property
    def shapes(self) -> Shapes | None:
        """How faces move; None before `write_shapes`."""
        with store_errors(self._url):
            return read_shapes(self._group)

    def write_shapes(self, shapes: Shapes) -> None:
        """Write how faces move; it may be repeated."""
        of_point = ("control_point", "xy")
        arrays = [
            ArraySpec.holding("control", shapes.control, "control_point"),
            ArraySpec.holding("reference", shapes.reference, *of_point),
            ArraySpec.holding("canonical", shapes.canonical, *of_point),
            ArraySpec.holding("anchors", shapes.anchors, "anchor", "xy"),
            ArraySpec.holding("movement", shapes.movement, "dial", *of_point),
            ArraySpec.holding("share", shapes.share, "control_point"),
            ArraySpec.holding("gauge", shapes.gauge, *of_point),
        ]
        rates = [None if np.isnan(rate) else rate for rate in shapes.rates]
        numbers = {name: getattr(shapes, name) for name in _NUMBERS} | {"rates": rates}
        with store_errors(self._url):
            group = self._group.create_group(SHAPE, overwrite=True)
            create_arrays(group, arrays)
            # last, in one write: without them the shapes are not there
            group.update_attributes({name: _plain(value) for name, value in numbers.items()})

    @property
    def warped_url(self) -> str:
        """Where the warped pairs lie."""
        return f"{self._url.rstrip('/')}/progress/{_WARPED}"

    def begin_warping(
        self, images: Images, rows: npt.NDArray[np.int64], region: MouthRegion | None, options: StorageOptions
    ) -> int:
        """Begin the images store of warped pairs and the sums of mouths, unless they are there.

        Returns
        -------
        int
            Number of pairs that a task warps.
        """
        training, dtype = self.training, warped_dtype(images.dtype)
        with store_errors(self._url):
            room = self.progress.room(_SUMS)
            if "run" in room.attrs:
                return int(room.attrs["run"])  # type: ignore[arg-type]
        run, *_ = create_images(
            self.warped_url,
            labels=[training.source, training.target],
            image=images.image[rows].tolist(),
            subject=images.subject[rows].tolist(),
            split=images.split[rows].tolist(),
            shape=images.shape,
            n_channels=images.n_channels,
            dtype=dtype,
            overwrite=True,
            storage_options=options,
        )
        n_runs = -(-len(rows) // run)
        arrays = [ArraySpec("done", {"run": n_runs}, np.bool_, (1,), compressors=UNCOMPRESSED)]
        if region is not None:
            for each in fields(MouthSums):
                shape = getattr(MouthSums.zeros(region, images.n_channels), each.name).shape
                axes = {"run": n_runs, **{f"axis_{k}": side for k, side in enumerate(shape)}}
                arrays.append(ArraySpec(each.name, axes, np.int64, (1, *shape)))
        with store_errors(self._url):
            create_arrays(room, arrays)
            room.update_attributes({"run": run})
        return run

    @property
    def warped(self) -> npt.NDArray[np.bool_]:
        """Which runs of pairs are warped."""
        with store_errors(self._url):
            return np.asarray(array_of(self.progress.room(_SUMS), "done")[...])

    def write_warped(
        self,
        index: int,
        start: int,
        pairs: dict[str, npt.NDArray[np.unsignedinteger[Any]]],
        sums: MouthSums | None,
        options: StorageOptions,
    ) -> None:
        """Write a run of warped pairs by label and the sums over its mouths, then mark it done."""
        for label, pixels in pairs.items():
            write_images(self.warped_url, label, start, pixels, options)
        with store_errors(self._url):
            room = self.progress.room(_SUMS)
            if sums is not None:
                for each in fields(MouthSums):
                    _writable(room, each.name)[index] = getattr(sums, each.name)
            _writable(room, "done")[index] = True

    def finish_warping(self, region: MouthRegion | None, options: StorageOptions) -> None:
        """Complete the images store of warped pairs and write what opened lips show; it may be repeated."""
        training = self.training
        with store_errors(self._url):
            complete = check_format(self.progress.room(_WARPED), self.warped_url)["complete"]
        if not complete:
            finish_images(
                self.warped_url,
                checksum=np.zeros((training.n_images, 2), dtype=np.uint32),  # nobody asks for them
                storage_options=options,
            )
        if region is None:
            return
        with store_errors(self._url):
            room = self.progress.room(_SUMS)
            total = MouthSums.zeros(region, training.n_channels)
            for index in range(array_of(room, "done").shape[0]):
                parts = (np.asarray(array_of(room, each.name)[index]) for each in fields(MouthSums))
                total = total.merge(MouthSums(*parts))
            dtype = array_of(self.progress.room(_WARPED), training.target).dtype
            mouth = Mouth.fit(total, region, unit_of(dtype))
            assert mouth is not None
            group = self._group.create_group(MOUTH, overwrite=True)
            picture = ArraySpec.holding("picture", mouth.picture, "mouth_y", "mouth_x", "channel")
            create_arrays(group, [picture])
            group.update_attributes({"tone": mouth.tone, "tint": mouth.tint})


def warped_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what warped pixels are stored as: bytes as bytes, all else in 16 bits."""
    return np.dtype(np.uint8 if dtype == np.uint8 else np.uint16)


def read_back_warped(url: str, options: StorageOptions, index: int, block: Block) -> None:  # noqa: ARG001
    """Read a run of warped pairs and the sums over its mouths."""
    with store_errors(url):
        group = open_as_is(url, options)
        progress = Progress.find(group)
        assert progress is not None
        room = progress.room(_SUMS)
        run: Any = room.attrs["run"]
        for _, array in room.arrays():
            array[index]
        for _, array in progress.room(_WARPED).arrays():
            if array.ndim == 4:
                array[index * run : (index + 1) * run]


def read_shapes(group: zarr.Group) -> Shapes | None:
    """Return how faces move, from a weights store; None where it is not there yet."""
    kept = group.get(SHAPE)
    if not isinstance(kept, zarr.Group) or not set(_NUMBERS) <= set(kept.attrs):
        return None
    numbers: dict[str, Any] = {name: kept.attrs[name] for name in _NUMBERS}
    closed, opened = (np.nan if rate is None else rate for rate in numbers["rates"])
    numbers |= {"size": tuple(numbers["size"]), "rates": (closed, opened), "ring": tuple(numbers["ring"])}
    arrays: dict[str, Any] = {
        each.name: np.asarray(array_of(kept, each.name)[...]) for each in fields(Shapes) if each.name not in _NUMBERS
    }
    return Shapes(**arrays, **numbers)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _writable(group: zarr.Group, name: str) -> zarr.Array[Any]:
    return array_of(group, name).with_config({"write_empty_chunks": True})
