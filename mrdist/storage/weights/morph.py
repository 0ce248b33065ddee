"""Weights stores of shape and appearance: how faces move, a masked regression, and the picture of opened lips.

The arrays of the regression are those of any masked regression. The group ``shape`` holds how landmarks move, and the
group ``mouth`` what opened lips show. While the store is made, the group ``warping`` holds both, and ``images``: an
images store with the pairs of photographs, warped to one shape.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Block
from mrdist.morphing.mouths import Mouth, MouthRegion, MouthSums
from mrdist.morphing.shapes import Shapes
from mrdist.storage.access.arrays import ArraySpec, create_arrays, lay_out
from mrdist.storage.access.chunks import UNCOMPRESSED
from mrdist.storage.access.fresh import held, settle
from mrdist.storage.access.tables import table_values
from mrdist.storage.access.urls import StorageOptions, array_of, check_format, open_as_is, open_group, store_errors
from mrdist.storage.images.layout import DIMENSIONS
from mrdist.storage.images.reader import Images
from mrdist.storage.images.writer import create_images, finish_images, write_images
from mrdist.storage.making.progress import TEMPORARY, WARPING
from mrdist.storage.weights.masked import MorphTraining, training_of
from mrdist.values import unit_of

SHAPE, MOUTH = "shape", "mouth"
_IMAGES = "images"
_NUMBERS = ("size", "rates", "share_open", "mean_strength", "ring")


@dataclass(frozen=True)
class Warping:
    """What a training of shape and appearance keeps besides its weights.

    Attributes
    ----------
    url, options
        The weights store in the making.
    training
        What is trained.
    """

    url: str
    options: StorageOptions
    training: MorphTraining
    _group: zarr.Group

    @classmethod
    def open(cls, url: str, options: StorageOptions) -> Warping:
        """Open what has been kept, perhaps nothing yet."""
        with store_errors(url):
            group = open_group(url, options, write=True)
            training = training_of(check_format(group, url))
            assert isinstance(training, MorphTraining)
            return cls(url, options, training, group)

    @property
    def _room(self) -> zarr.Group:
        return self._group.require_group(WARPING)

    @property
    def images_url(self) -> str:
        """Where the warped pairs lie."""
        return f"{self.url.rstrip('/')}/{WARPING}/{_IMAGES}"

    @property
    def shapes(self) -> Shapes | None:
        """How faces move; None before `write_shapes`."""
        with store_errors(self.url):
            return read_shapes(self._room)

    def write_shapes(self, shapes: Shapes) -> None:
        """Keep how faces move; it may be repeated."""
        with store_errors(self.url):
            _write_shapes(self._room, shapes, self._group)

    def begin(self, images: Images, rows: npt.NDArray[np.int64], region: MouthRegion | None) -> int:
        """Begin the images store of warped pairs and the sums of mouths, unless they are there.

        Returns
        -------
        int
            Number of images that a task warps: all sources of a run of pairs, or all targets.
        """
        training = self.training
        with store_errors(self.url):
            room = self._room
            if "images_of_task" in room.attrs:
                return int(room.attrs["images_of_task"])  # type: ignore[arg-type]
        dtype = warped_dtype(images.dtype)
        chunks = create_images(
            self.images_url,
            labels=[training.source, training.target],
            image=images.image[rows].tolist(),
            subject=images.subject[rows].tolist(),
            split=images.split[rows].tolist(),
            shape=images.shape,
            n_channels=images.n_channels,
            dtype=dtype,
            overwrite=True,
            storage_options=self.options,
        )
        run = chunks[0]
        pixels = dict(zip(DIMENSIONS, (len(rows), *images.shape, images.n_channels), strict=True))
        n_tasks = 2 * -(-len(rows) // run)
        arrays = [ArraySpec("done", {"task": n_tasks}, np.bool_, (1,), compressors=UNCOMPRESSED)]
        if region is not None:
            for name, zeros in vars(MouthSums.zeros(region, images.n_channels)).items():
                axes = {"task": n_tasks, **{f"axis_{k}": side for k, side in enumerate(zeros.shape)}}
                arrays.append(ArraySpec(name, axes, np.int64, (1, *zeros.shape)))
        with store_errors(self.url):
            pairs = open_group(self.images_url, self.options, write=True)
            for label in (training.source, training.target):
                ArraySpec(label, pixels, dtype, chunks, compressors=UNCOMPRESSED).create(pairs, overwrite=True)
            for array in arrays:
                array.create(room, overwrite=True)
            room.update_attributes({"images_of_task": run})
        return run

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Which runs of sources and of targets are warped."""
        with store_errors(self.url):
            return np.asarray(array_of(self._room, "done")[...])

    def label(self, index: int) -> str:
        """Return what a task warps."""
        return (self.training.source, self.training.target)[index % 2]

    def start(self, index: int) -> int:
        """Return the first pair of a task."""
        return index // 2 * int(self._room.attrs["images_of_task"])  # type: ignore[arg-type]

    def write(self, index: int, pixels: npt.NDArray[np.unsignedinteger[Any]], sums: MouthSums | None) -> None:
        """Write the images that a task has warped and the sums over them, then mark it done."""
        write_images(self.images_url, self.label(index), self.start(index), pixels, self.options)
        with store_errors(self.url):
            room = self._room
            for name, values in {} if sums is None else vars(sums).items():
                _writable(room, name)[index] = values
            _writable(room, "done")[index] = True

    def finish(self) -> None:
        """Complete the images store of warped pairs; it may be repeated."""
        with store_errors(self.url):
            room = self._room
            complete = check_format(room[_IMAGES], self.images_url)["complete"]  # type: ignore[arg-type]
        if not complete:
            checksum = np.zeros((self.training.n_images, 2), dtype=np.uint32)  # nobody asks for them
            finish_images(self.images_url, checksum=checksum, storage_options=self.options)

    def settle(self, region: MouthRegion | None) -> None:
        """Write how faces move and what opened lips show to where the complete store has it; it may be repeated."""
        shapes = self.shapes
        assert shapes is not None
        with store_errors(self.url):
            root = held(self._group, without=TEMPORARY)
            _write_shapes(root, shapes, root)
            if region is not None:
                _write_mouth(root, self._mouth(region))
            settle(root, root_first=False)

    def _mouth(self, region: MouthRegion) -> Mouth:
        room, total = self._room, MouthSums.zeros(region, self.training.n_channels)
        for index in range(array_of(room, "done").shape[0]):
            parts = (np.asarray(array_of(room, each.name)[index]) for each in fields(MouthSums))
            total = total.merge(MouthSums(*parts))
        dtype = array_of(self._group, f"{WARPING}/{_IMAGES}/{self.training.target}").dtype
        mouth = Mouth.fit(total, region, unit_of(dtype))
        assert mouth is not None
        return mouth


def _write_shapes(group: zarr.Group, shapes: Shapes, root: zarr.Group) -> None:
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
    kept = group.create_group(SHAPE, overwrite=True)
    lay_out(kept, arrays, root=root)
    # last, in one write: without them the shapes are not there
    kept.update_attributes({name: _plain(value) for name, value in numbers.items()})


def _write_mouth(group: zarr.Group, mouth: Mouth) -> None:
    kept = group.create_group(MOUTH, overwrite=True)
    axes = dict(zip(("mouth_y", "mouth_x", "channel"), mouth.picture.shape, strict=True))
    create_arrays(kept, [ArraySpec("picture", axes, mouth.picture.dtype, values=mouth.picture)], group)
    kept.update_attributes({"tone": mouth.tone, "tint": mouth.tint, "dim": mouth.dim.tolist()})


def warped_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return what warped pixels are stored as: bytes as bytes, all else in 16 bits."""
    return np.dtype(np.uint8 if dtype == np.uint8 else np.uint16)


def read_back_warped(url: str, options: StorageOptions, index: int, block: Block) -> None:
    """Read the images that a task has warped and the sums over them."""
    warping = Warping.open(url, options)
    with store_errors(url):
        room = open_as_is(url, options)[WARPING]
        assert isinstance(room, zarr.Group)
        for _, array in room.arrays():
            array[index]
        start = warping.start(index)
        stop = start + int(room.attrs["images_of_task"])  # type: ignore[arg-type]
        array_of(room, f"{_IMAGES}/{warping.label(index)}")[start:stop, *block.slices]


def read_shapes(group: zarr.Group) -> Shapes | None:
    """Return how faces move, from a weights store; None where it is not there yet."""
    kept = group.get(SHAPE)
    if not isinstance(kept, zarr.Group) or not set(_NUMBERS) <= set(kept.attrs):
        return None
    numbers: dict[str, Any] = {name: kept.attrs[name] for name in _NUMBERS}
    closed, opened = (np.nan if rate is None else rate for rate in numbers["rates"])
    numbers |= {"size": tuple(numbers["size"]), "rates": (closed, opened), "ring": tuple(numbers["ring"])}
    arrays: dict[str, Any] = {
        each.name: table_values(kept, each.name) for each in fields(Shapes) if each.name not in _NUMBERS
    }
    return Shapes(**arrays, **numbers)


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _writable(group: zarr.Group, name: str) -> zarr.Array[Any]:
    return array_of(group, name).with_config({"write_empty_chunks": True})
