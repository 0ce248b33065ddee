"""Images around a block, read slab by slab, band by band, and part by part of a band."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.execution import has_spare_processor
from mrdist.geometry import Block, ReceptiveField
from mrdist.methods.masked.band_chunks import BandChunks
from mrdist.moments import SufficientStatistics, to_integers
from mrdist.parts import parts
from mrdist.planning import band_cuts, band_height, part_width, whole_chunks
from mrdist.storage import Images, redact
from mrdist.windows import ChunkedWindow

Array = npt.NDArray[np.generic]
_Windows = dict[str, ChunkedWindow]


@dataclass(frozen=True)
class Band:
    """Some rows, or a part of them, of the pixels of some images.

    Attributes
    ----------
    sources, targets
        Pixels by label, as integers: bytes as their chunks lie, others in arrays of shape (image, y, x, channel).
    chosen
        Which of these images are asked for.
    numbers
        Positions of those among the rows that were asked for.
    part
        Pixels of the block that the band adds to.
    lost_sources, lost_targets
        Where values of labels that may miss some are missing, in any channel, shape (image, y, x).
    """

    sources: Mapping[str, Array | ChunkedWindow]
    targets: Mapping[str, Array | ChunkedWindow]
    chosen: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    part: Block
    lost_sources: Mapping[str, npt.NDArray[np.bool_]]
    lost_targets: Mapping[str, npt.NDArray[np.bool_]]

    def added_to(
        self,
        statistics: SufficientStatistics,
        labels: tuple[str, str],
        chosen: npt.NDArray[np.int64] | None = None,
        like: SufficientStatistics | None = None,
    ) -> SufficientStatistics:
        """Return statistics with the images ``chosen`` of a mapping, by default all that are asked for.

        ``like`` is that of `mrdist.SufficientStatistics.update`.
        """
        source, target = labels
        x, t = self.sources[source], self.targets[target]
        chosen = self.chosen if chosen is None else chosen
        if statistics.left_out is not None:
            assert isinstance(x, np.ndarray)
            assert isinstance(t, np.ndarray)
            lost = self.lost_sources[source], self.lost_targets[target]
            statistics.left_out.add((x, t), lost, chosen, self.part, statistics.shape)
        return statistics.update(x, t, chosen, self.part, like=like)


def read_bands(
    images: Images,
    mappings: Sequence[tuple[str, str]],
    rows: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    slab: int,
    margin: int = 0,
) -> Iterator[Band]:
    """Read images slab by slab and band by band; the next band is fetched while this one is worked on.

    Where a processor is to spare, another thread decodes it meanwhile as well. Parameters are those of `sum_mappings`.
    """
    slabs = list(images.slabs(rows, slab))
    longest = max(stop - start for start, stop, _ in slabs)
    reader = BandReader(images, mappings, field, block, longest, margin, ahead=has_spare_processor())
    work = [(start, stop, part, chosen) for start, stop, chosen in slabs for part in range(reader.n_parts)]

    def read(number: int) -> tuple[_Windows, _Windows, Block]:
        if number % reader.parts_of_a_band == 0:
            for start, stop, part, _ in work[number + reader.parts_of_a_band :][: reader.parts_of_a_band]:
                reader.expect(start, stop, part)
        return reader.read(*work[number][:3])

    with ThreadPoolExecutor(1) as thread:

        def begin(number: int) -> Callable[[], tuple[_Windows, _Windows, Block]]:
            return thread.submit(read, number).result if reader.ahead else partial(read, number)

        for start, stop, part, _ in work[: reader.parts_of_a_band]:
            reader.expect(start, stop, part)
        coming = begin(0)
        for following, (start, _, _, chosen) in enumerate(parts(work), start=1):
            sources, targets, added = coming()
            if following < len(work):
                coming = begin(following)
            numbers = np.searchsorted(rows, start + chosen)
            if images.dtype == np.uint8:
                yield Band(sources, targets, chosen, numbers, added, {}, {})
                continue
            height, width = added.shape
            shapes = (height + field.reach, width + field.reach), added.shape
            here, there = (
                {label: x.dense(chosen, shape) for label, x in pixels.items()}
                for pixels, shape in zip((sources, targets), shapes, strict=True)
            )
            lost = [_take_lost(images, pixels) for pixels in (here, there)]
            here, there = (
                {label: _as_integers(images, label, block, x) for label, x in pixels.items()}
                for pixels in (here, there)
            )
            yield Band(here, there, np.arange(len(chosen)), numbers, added, *lost)


def _take_lost(images: Images, pixels: Mapping[str, Array]) -> dict[str, npt.NDArray[np.bool_]]:
    """Put zeros where values are missing, and return where they are, of the labels that may miss some."""
    lost: dict[str, npt.NDArray[np.bool_]] = {}
    for label, x in pixels.items():
        if images.incomplete(label) is not None:
            lost[label] = np.asarray(np.isnan(x).any(axis=-1))
            x[lost[label]] = 0
    return lost


def _as_integers(images: Images, label: str, block: Block, pixels: Array) -> Array:
    try:
        return to_integers(pixels, label)
    except DataError as error:
        raise DataError(f"in {redact(images.url)}, {block}: {error}") from error


class BandReader:
    """Reads images around a block in bands of rows, into chunks that are kept while bands need them.

    A band ends between two rows of chunks, so that none is decoded twice, and needs the rows within reach of the band
    before it. Where chunks are summed as they lie, a band comes in parts of its columns, which end between two chunks,
    too: the processor's cache still holds what is summed. With ``ahead``, there is room for another part, which may be
    read while one is summed. Without, there is none, unless pixels cannot be fetched without decoding them. Other
    parameters are those of `sum_mappings`. A label that is a source of one mapping and a target of another is read
    once.

    Attributes
    ----------
    n_parts, parts_of_a_band
        Parts of the block, and how many of them have the same rows.
    ahead
        Whether a part may be read while the one before is worked on.
    """

    def __init__(
        self,
        images: Images,
        mappings: Sequence[tuple[str, str]],
        field: ReceptiveField,
        block: Block,
        slab: int,
        margin: int = 0,
        *,
        ahead: bool = True,
    ) -> None:
        reader, self._field, self._block = images.reader(nan=True), field, block
        self._summed = block.grown(margin)
        self._window = window = self._summed.grown(field.halo)
        self._sources = list(dict.fromkeys(source for source, _ in mappings))
        self._targets = list(dict.fromkeys(target for _, target in mappings))
        labels = list(dict.fromkeys([*self._sources, *self._targets]))
        straight = all(map(reader.fetches, labels))
        self.ahead = ahead or not straight
        _, height, width, _ = images.chunks
        image = images.n_channels * images.dtype.itemsize
        of_band = band_height(height, slab * window.shape[1] * image, field.reach)
        self._y_cuts, self._x_cuts = band_cuts(window.y0, window.y1, height, of_band), [window.x0, window.x1]
        large_enough = whole_chunks(images.chunks, images.n_images, images.n_channels, slab)
        as_stored = images.dtype == np.uint8 and straight and large_enough
        if as_stored:
            of_part = part_width(width, slab * of_band * image, field.reach)
            self._x_cuts = band_cuts(window.x0, window.x1, width, of_part)
        self.parts_of_a_band = len(self._x_cuts) - 1
        self.n_parts = (len(self._y_cuts) - 1) * self.parts_of_a_band
        places = {label: window.clipped(images.shape) if label in self._sources else block for label in labels}
        how: dict[str, Any] = {"cuts": (self._y_cuts, self._x_cuts), "as_stored": as_stored, "ahead": self.ahead}
        self._chunks = {
            label: BandChunks(reader, images, label, field, place, slab, **how) for label, place in places.items()
        }
        self._turn = -1

    def expect(self, start: int, stop: int, part: int) -> None:
        """Have the chunks of a part fetched that will be read after those expected before."""
        for chunks in self._chunks.values():
            chunks.expect(start, stop, self._cut(part))

    def _cut(self, part: int) -> Block:
        """Return the pixels that a part reads, beyond the image where the window is."""
        band, column = divmod(part, self.parts_of_a_band)
        return Block(self._y_cuts[band], self._x_cuts[column], self._y_cuts[band + 1], self._x_cuts[column + 1])

    def read(self, start: int, stop: int, part: int) -> tuple[_Windows, _Windows, Block]:
        """Return sources and targets of a part of images ``start..stop-1``, and the pixels of the block it adds to.

        They last until the next read, ``ahead`` until the next but one. The parts of a slab are read in order.
        """
        self._turn += part % self.parts_of_a_band == 0
        cut, turn = self._cut(part), self._turn
        for chunks in self._chunks.values():
            chunks.read(start, stop, cut, turn)
        window, halo, reach = self._window, self._field.halo, self._field.reach
        added = Block(
            cut.y0 + (halo if cut.y0 == window.y0 else -halo),
            cut.x0 + (halo if cut.x0 == window.x0 else -halo),
            cut.y1 - halo,
            cut.x1 - halo,
        )
        seen = added.grown(halo)
        read = Block(seen.y0, max(window.x0, seen.x0 - reach), cut.y1, cut.x1)
        return (
            {label: self._chunks[label].window(seen, read, cut, turn) for label in self._sources},
            {label: self._chunks[label].window(added, added.common(self._block), cut, turn) for label in self._targets},
            added.seen_from(self._summed),
        )
