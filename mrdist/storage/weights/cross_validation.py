"""Cross-validation in a weights store: its data while it runs, and the table of errors that remains.

There are two phases with a barrier between them. In the first, the group ``search`` of the store in the making
collects, block by block, sums of squared errors over tiles of pixels and the sums over all images. Then one process
adds up the tiles, chooses, and creates the arrays of the weights; the second phase solves them from the sums that
were kept, and the group is removed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.geometry import Block, Shape
from mrdist.left_out import LeftOut
from mrdist.moments import SufficientStatistics
from mrdist.storage.access.arrays import create_arrays, lay_out
from mrdist.storage.access.at_once import at_once
from mrdist.storage.access.fresh import held, settle
from mrdist.storage.access.urls import (
    StorageOptions,
    beginning,
    check_format,
    check_same,
    clear_output,
    find_store,
    is_free,
    normalize_url,
    open_group,
    remove_partial_files,
    store_errors,
)
from mrdist.storage.making.progress import SEARCH, WARPING, Progress, find_search, writable
from mrdist.storage.weights.cv_table import write_table
from mrdist.storage.weights.masked import MaskedTraining, TrainOutput, training_of
from mrdist.storage.weights.output import as_asked, chunk_side, resume_output
from mrdist.storage.weights.search import Search, scratch_arrays, table_name, table_of

_MAPS = ("lag", "cross", "source_sum", "target_sum", "target_square")


class SearchOutput:
    """A weights store in the making whose hyperparameters are not chosen yet."""

    def __init__(self, url: str, group: zarr.Group, progress: Progress) -> None:
        self._url = url
        self._group = group
        self.progress = progress
        attributes = check_format(group, url)
        self.search = Search.of(attributes["cross_validation"])
        field = self.search.field
        self.training = training_of(
            attributes,
            alpha=None,
            receptive_field=field.size,
            dilation=field.dilation,
            pool=max(self.search.pool, default=0),
        )
        """The training to come, with the field and the pool whose sums serve all that are tried."""

    @classmethod
    def open(cls, url: str, storage_options: StorageOptions) -> SearchOutput:
        """Open a store that `search_output` has started."""
        group = open_group(url, storage_options, write=True)
        progress = find_search(group)
        assert progress is not None
        return cls(url, group, progress)

    def write_block(
        self,
        index: int,
        block: Block,
        total: SufficientStatistics,
        errors: npt.NDArray[np.float64],
        best: npt.NDArray[np.uint16] | None,
        counts: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Write the sums and errors of a block, then its done marker.

        Parameters
        ----------
        index, block
            The block.
        total
            Sums over all images.
        errors
            Sums of squared errors over tiles of `chunk_side` pixels, shape (tile y, tile x, model, column, fold).
        best
            Which penalty every pixel chooses, shape (model, group, y, x), for the rule ``pixel``.
        counts
            Of values that the errors are summed over, where pixels leave rows out, shape (tile y, tile x, model, fold).
        """
        side = chunk_side(self.training.shape)
        with store_errors(self._url):
            tiles = (slice(block.y0 // side, -(-block.y1 // side)), slice(block.x0 // side, -(-block.x1 // side)))
            arrays = self._arrays("errors", *_MAPS)
            arrays["errors"][tiles] = errors
            if best is not None:
                self._array("best")[..., *block.slices] = best
            if counts is not None:
                self._array("counts")[tiles] = counts
            if total.left_out is not None:
                for number, part in enumerate((total.left_out, *total.left_out.others)):
                    table_of(index, number, np.hstack([part.pixels, part.table])).create(self._scratch, overwrite=True)
            for name in _MAPS:
                values = getattr(total, name)
                height, width = values.shape[-2:]
                arrays[name][index, ..., :height, :width] = values
            self.progress.mark(index)

    def read_back(self, index: int, block: Block) -> None:
        """Read all that `write_block` has written of a block."""
        side = chunk_side(self.training.shape)
        self.read_total(index, block)
        with store_errors(self._url):
            tiles = (slice(block.y0 // side, -(-block.y1 // side)), slice(block.x0 // side, -(-block.x1 // side)))
            self._array("errors")[tiles]
            if self.search.rule == "pixel":
                self._array("best")[..., *block.slices]

    def read_total(self, index: int, block: Block) -> SufficientStatistics:
        """Return the sums over all images that a block has kept, of all pixels that lend to it."""
        field = self.training.field
        summed = self.training.lenders(block)
        window, inside = summed.grown(field.halo).shape, summed.shape
        with store_errors(self._url):
            arrays = self._arrays(*_MAPS)
            sums: dict[str, Any] = {
                name: np.asarray(arrays[name][index, ..., : shape[0], : shape[1]])
                for name, shape in zip(_MAPS, (window, inside, window, inside, inside), strict=True)
            }
            left_out = self._read_left_out(index)
        n_rows = self.training.n_images * self.training.rows_per_image
        unit: Any = self._scratch.attrs["unit"]
        return SufficientStatistics(field=field, unit=unit, n_rows=n_rows, left_out=left_out, **sums)

    def _read_left_out(self, index: int) -> LeftOut | None:
        """Return the sums over the rows that pixels of a block have left out, of all fields."""
        if not self.training.drops_rows:
            return None
        how = {"n_groups": self.training.n_groups, "n_inputs": self.training.n_inputs}
        parts = []
        for number, field in enumerate(self.search.fields):
            table: npt.NDArray[np.int64] = np.asarray(self._array(table_name(index, number))[...])
            parts.append(LeftOut.of_table(field, table[:, :2], table[:, 2:], **how))
        return replace(parts[0], others=tuple(parts[1:]))

    def counts(self) -> npt.NDArray[np.int64] | None:
        """Return how many values each error is summed over, shape (model, 1, fold); None if as many as there are."""
        if not self.training.drops_rows:
            return None
        with store_errors(self._url):
            counts: npt.NDArray[np.int64] = np.asarray(self._array("counts")[...]).sum(axis=(0, 1))
        return counts[:, np.newaxis]

    def errors(self) -> npt.NDArray[np.float64]:
        """Return the sums of squared errors over all pixels, tile by tile in raster order, as (model, column, fold)."""
        with store_errors(self._url):
            tiles = self._array("errors")
            total = np.zeros(tiles.shape[2:])
            for row in range(0, tiles.shape[0], tiles.chunks[0]):
                for tile in np.asarray(tiles[row : row + tiles.chunks[0]]).reshape(-1, *total.shape):
                    total += tile
        return total

    def conclude(
        self, mse: npt.NDArray[np.float64], se: npt.NDArray[np.float64], n_images: npt.NDArray[np.int64],
        chosen: Mapping[str, Any],
    ) -> TrainOutput:  # fmt: skip
        """Note the table of errors and what was chosen, and make room for the weights.

        Parameters
        ----------
        mse
            Mean squared error, shape (model, alpha, fold).
        se
            Standard error of its mean over the folds, shape (model, alpha).
        n_images
            Of every fold.
        chosen
            ``receptive_field``, ``dilation``, ``pool`` where there are several, ``alpha`` (None where every pixel has
            its own), and how good it is.

        Returns
        -------
        TrainOutput
            What the weights go into.
        """
        with store_errors(self._url):
            root = held(self._group, without=(SEARCH, WARPING))
            for name in list(root):  # left by a run that was stopped here
                del root[name]
            attributes = check_format(root, self._url)
            picked = {name: chosen[name] for name in ("receptive_field", "dilation", "pool", "alpha") if name in chosen}
            training = training_of(attributes, **picked)
            write_table(root, self.search.alphas, mse, se, n_images, self.search.models)
            created = lay_out(root, training.arrays)
            root.attrs["mrdist"] = {
                **attributes,
                "training": training.to_dict(),
                "cross_validation": {**self.search.to_dict(), "chosen": dict(chosen)},
            }
            progress = Progress.begin(root, training.shape, self.progress.block, arrays=created)
            settle(root)
            return TrainOutput(self._url, root, progress, training)

    def read_alpha(self, training: MaskedTraining, block: Block) -> npt.NDArray[np.float64]:
        """Return the penalties that the pixels of a block have chosen, shape (group, y, x)."""
        number = self.search.models.index((training.field, training.pool))
        with store_errors(self._url):
            best = np.asarray(self._array("best")[number, ..., *block.slices])
        return np.asarray(np.array(self.search.alphas)[best])

    @cached_property
    def _scratch(self) -> zarr.Group:
        group = self._group[SEARCH]
        assert isinstance(group, zarr.Group)
        return group

    def _array(self, name: str) -> zarr.Array[Any]:
        return writable(self._scratch, name)

    def _arrays(self, *names: str) -> dict[str, zarr.Array[Any]]:
        """Return arrays by name, which are opened in one turn of an object store."""
        scratch = self._scratch
        return dict(zip(names, at_once(partial(writable, scratch, name) for name in names), strict=True))


def search_output(
    url: str,
    training: MaskedTraining,
    search: Search,
    *,
    unit: int,
    block: Shape,
    overwrite: bool,
    codec: str | None = None,
    storage_options: StorageOptions = None,
) -> SearchOutput | TrainOutput | None:
    """Start a weights store whose hyperparameters are to be chosen, or resume that of the same search.

    Parameters
    ----------
    url, training, block, overwrite, codec, storage_options
        As in `mrdist.storage.weights.output.WeightsOutput.begin`; alpha, receptive field and dilation of the training
        are those of the search.
    search
        What is tried.
    unit
        Integer that stands for 1.0.

    Returns
    -------
    SearchOutput, TrainOutput or None
        The output of the first phase or of the second, whichever comes next; None if the store is complete.

    Raises
    ------
    StoreExistsError
        If another training's output, or something else, is there.
    """
    url = normalize_url(url)
    asked = as_asked(asdict(training), search.to_dict())
    free = is_free(url, storage_options)
    existing = None if free or overwrite else find_store(url, storage_options)
    if existing is not None and existing["kind"] == "weights":
        check_same(url, "training", as_asked(existing["training"], existing.get("cross_validation")), asked)
        resumed = resume_output(url, storage_options)
        if resumed is not None:
            return TrainOutput(url, *resumed, training_of(existing))
        if existing.get("complete"):
            return None
        group = open_group(url, storage_options, write=True)
        progress = find_search(group)
        if progress is not None:
            remove_partial_files(url)
            return SearchOutput(url, group, progress)
    if not free:
        clear_output(url, storage_options, kind="weights", overwrite=overwrite)
    told = {"training": {**training.to_dict(), "alpha": None}, "cross_validation": search.to_dict()}
    with beginning(url, storage_options, "weights", codec=codec, layout=training.layout, **told) as group:
        scratch = group.create_group(SEARCH, attributes={"unit": unit})
        create_arrays(scratch, scratch_arrays(training, search, unit, block))
        progress = Progress.begin(scratch, training.shape, block)
    return SearchOutput(url, group, progress)
