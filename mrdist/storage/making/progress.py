"""Progress of a store in the making: the grid of its blocks, and which of them are done.

While blocks are written, the group ``progress`` inside the store holds one done marker per block, each a chunk of its
own, written after the block. It is removed when the store is complete, so that the bytes of a finished store do not
depend on how the work was cut.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.errors import DamagedChunkError, StoreFormatError
from mrdist.geometry import Shape
from mrdist.storage.access.chunks import COMPRESSORS, UNCOMPRESSED
from mrdist.storage.access.foreseen import DESCRIPTION
from mrdist.storage.access.fresh import names_in
from mrdist.storage.access.urls import array_of, as_whole
from mrdist.storage.making.parts import cut_by, keep_apart, put_together

SEARCH = "search"
"""Group of what a cross-validation keeps until the weights are solved (`mrdist.storage.weights.cross_validation`)."""
WARPING = "warping"
"""Group of what a morph keeps until then (`mrdist.storage.weights.morph`)."""
_NAME = "progress"
_PARTS = "parts"
IN_THE_MAKING = (*DESCRIPTION, *(f"{_NAME}/{path}" for path in (*DESCRIPTION, "done/zarr.json")))
"""Keys of what a task asks of the store that it writes to, before it works and before it marks its block."""
TEMPORARY = (SEARCH, WARPING, _NAME)
"""Groups that a store has only while it is made, in the order in which they are removed."""


@dataclass(frozen=True)
class Progress:
    """The blocks of a store in the making.

    Attributes
    ----------
    block
        Height and width of a block in pixels.
    task
        What else the tasks share, as given to `begin`.
    apart
        Names of the arrays whose parts are kept here until all blocks are done, see `mrdist.storage.making.parts`.
    """

    block: Shape
    task: Mapping[str, Any]
    apart: tuple[str, ...]
    _group: zarr.Group
    _begun: Shape | None = None  # its grid, if none of its blocks can be done yet

    @classmethod
    def begin(
        cls,
        store: zarr.Group,
        shape: Shape,
        block: Shape,
        rows: npt.NDArray[np.int64] | None = None,
        *,
        arrays: Iterable[zarr.Array[Any]] = (),
        **task: Any,
    ) -> Progress:
        """Start a grid of ``block`` over an image of ``shape``; an earlier one is dropped.

        Parameters
        ----------
        store
            Group of the store in the making.
        shape, block
            Height and width of the image and of a block.
        rows
            Images that the tasks share, if they do.
        arrays
            What blocks are written to, over the pixels.
        task
            What else they share; must fit into JSON.
        """
        group = store.create_group(_NAME, overwrite=True)
        grid = -(-shape[0] // block[0]), -(-shape[1] // block[1])
        group.create_array("done", shape=grid, chunks=(1, 1), dtype="bool", fill_value=False, compressors=UNCOMPRESSED)
        if rows is not None:
            group.create_array("rows", data=rows, compressors=COMPRESSORS)
        cut = cut_by(block, arrays)
        if cut:
            keep_apart(group.create_group(_PARTS), cut, block)
        apart = [array.basename for array in cut]
        # The attributes come last, in one write: without them the store was never ready for its first block.
        group = group.update_attributes({"block": list(block), "task": task, "apart": apart})
        return cls(block, task, tuple(apart), group, grid)

    @classmethod
    def find(cls, store: zarr.Group) -> Progress | None:
        """Return the progress that `begin` has left, or None."""
        group = store.get(_NAME)
        if not isinstance(group, zarr.Group) or "block" not in group.attrs:
            return None
        attributes: dict[str, Any] = group.attrs.asdict()
        height, width = attributes["block"]
        return cls((height, width), attributes["task"], tuple(attributes.get("apart", ())), group)

    @property
    def done(self) -> npt.NDArray[np.bool_]:
        """Which blocks are finished, in raster order; a marker that cannot be read does not count.

        Whoever has begun the grid is told what was so then, none: nobody has to be asked for it.
        """
        if self._begun is not None:
            return np.zeros(self._begun, bool).ravel()
        marks = array_of(self._group, "done")
        try:
            return np.asarray(marks[...]).ravel()
        except DamagedChunkError:
            return np.array([_is_marked(marks, place) for place in np.ndindex(marks.shape)])

    @property
    def rows(self) -> npt.NDArray[np.int64]:
        """Images that the tasks share."""
        return np.asarray(array_of(self._group, "rows")[...])

    def room(self, name: str, root: zarr.Group | None = None) -> zarr.Group:
        """Return a group for temporary data, which is removed when the store is complete.

        Parameters
        ----------
        name
            Of the group.
        root
            The store, if its metadata are in memory (`mrdist.storage.access.fresh.held`).
        """
        group = self._group if root is None else root[_NAME]
        assert isinstance(group, zarr.Group)
        return group.require_group(name)

    def array(self, store: zarr.Group, name: str) -> zarr.Array[Any]:
        """Return what a block of an array of the store is written to and read back from: the array, or its parts."""
        place = (self._group, f"{_PARTS}/{name}") if name in self.apart else (store, name)
        return writable(*place)

    def put_together(self, store: zarr.Group) -> None:
        """Write the arrays whose parts are kept here; all blocks must be done. It may be repeated."""
        if self.apart:
            parts = as_whole(self._group)
            for name in self.apart:
                of_array = array_of(parts, f"{_PARTS}/{name}")
                put_together(of_array, writable(store, name), self.task.get("first_fold", 0))

    def mark(self, index: int) -> None:
        """Note that a block is finished."""
        done = writable(self._group, "done")
        done[divmod(index, done.shape[1])] = True


def find_search(group: zarr.Group) -> Progress | None:
    """Return how far the first phase is, or None where there is none."""
    scratch = group.get(SEARCH)
    return Progress.find(scratch) if isinstance(scratch, zarr.Group) else None


def writable(group: zarr.Group, name: str) -> zarr.Array[Any]:
    """Return an array to write blocks into: every chunk that is written is stored, since a missing one is an error."""
    return array_of(group, name).with_config({"write_empty_chunks": True})


def marks_seen(find: Callable[[], Progress | None]) -> tuple[Shape, npt.NDArray[np.bool_]] | None:
    """Return the shape of a block and which blocks are done, for an observer; None if that is not known.

    The writer does not wait for observers: what ``find`` returns may be removed before it is read.
    """
    try:
        progress = find()
        marks = None if progress is None else (progress.block, progress.done)
    except (KeyError, StoreFormatError):
        marks = None
    return marks


def _is_marked(marks: zarr.Array[Any], place: tuple[int, ...]) -> bool:
    try:
        return bool(marks[place])
    except DamagedChunkError:
        return False


def remove_progress(store: zarr.Group, names: Container[str] | None = None) -> None:
    """Remove temporary data of a store in the making; harmless to repeat.

    The done markers go last: what is left of them says that this has to be repeated.

    Parameters
    ----------
    store
        The store.
    names
        Of all that lies in it, if that is known.
    """
    names = names_in(store) if names is None else names
    for name in TEMPORARY:
        if name in names:
            del store[name]
