"""Images around a block, read slab by slab and band by band."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from math import prod

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.execution import has_spare_processor
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import SufficientStatistics, to_integers
from mrdist.parts import parts
from mrdist.planning import band_cuts, band_height
from mrdist.storage import Images, redact

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class Band:
    """Some rows of the pixels of some images.

    Attributes
    ----------
    sources, targets
        Pixels by label, as integers.
    chosen
        Which of these images are asked for.
    numbers
        Positions of those among the rows that were asked for.
    part
        Rows of the block that the band adds to.
    lost_sources, lost_targets
        Where values of labels that may miss some are missing, in any channel, shape (image, y, x).
    """

    sources: Mapping[str, Array]
    targets: Mapping[str, Array]
    chosen: npt.NDArray[np.int64]
    numbers: npt.NDArray[np.int64]
    part: tuple[int, int]
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
        pair = self.sources[source], self.targets[target]
        chosen = self.chosen if chosen is None else chosen
        if statistics.left_out is not None:
            lost = self.lost_sources[source], self.lost_targets[target]
            statistics.left_out.add(pair, lost, chosen, self.part, statistics.shape)
        return statistics.update(*pair, chosen, self.part, like=like)


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
    work = [(start, stop, band, chosen) for start, stop, chosen in slabs for band in range(reader.n_bands)]

    def read(number: int) -> tuple[dict[str, Array], dict[str, Array], tuple[int, int]]:
        for start, stop, band, _ in work[number + 1 : number + 2]:
            reader.expect(start, stop, band)
        return reader.read(*work[number][:3])

    with ThreadPoolExecutor(1) as thread:

        def begin(number: int) -> Callable[[], tuple[dict[str, Array], dict[str, Array], tuple[int, int]]]:
            return thread.submit(read, number).result if reader.ahead else partial(read, number)

        reader.expect(*work[0][:3])
        coming = begin(0)
        for following, (start, _, _, chosen) in enumerate(parts(work), start=1):
            sources, targets, part = coming()
            if following < len(work):
                coming = begin(following)
            numbers = np.searchsorted(rows, start + chosen)
            lost: list[dict[str, npt.NDArray[np.bool_]]] = [{}, {}]
            if images.dtype.kind == "f":
                sources, targets = ({label: x[chosen] for label, x in pixels.items()} for pixels in (sources, targets))
                chosen = np.arange(len(chosen))
                lost = [_take_lost(images, pixels) for pixels in (sources, targets)]
                sources, targets = (
                    {label: _as_integers(images, label, block, x) for label, x in pixels.items()}
                    for pixels in (sources, targets)
                )
            yield Band(sources, targets, chosen, numbers, part, *lost)


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
    """Reads images around a block in bands of rows.

    With ``ahead``, there are two buffers in turn: one is filled while the other is summed. Without, one is enough,
    unless pixels cannot be fetched without decoding them. A band ends between two rows of chunks, so that none is
    decoded twice, and takes over from the band before it the rows that lie within reach. Other parameters are those of
    `sum_mappings`. A label that is a source of one mapping and a target of another is read once, as a source.

    Attributes
    ----------
    n_bands
        Bands of the block.
    ahead
        Whether a band may be read while the one before is worked on.
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
        self._reader = images.reader(nan=True)
        self._field = field
        self._block = block
        self._summed = block.grown(margin)
        window = self._summed.grown(field.halo)
        self._sources = list(dict.fromkeys(source for source, _ in mappings))
        self._targets = list(dict.fromkeys(target for _, target in mappings))
        self._labels = list(dict.fromkeys([*self._sources, *self._targets]))
        # what the band is cut from, the part of it that is read, and the rows that are kept from the band before
        of_source = window, window.clipped(images.shape), field.reach
        of_target = self._summed, block, field.halo
        self._places = {label: of_source if label in self._sources else of_target for label in self._labels}
        self._row = window.shape[1] * images.n_channels
        height = band_height(images.chunks[1], slab * self._row * images.dtype.itemsize, field.reach)
        self._cuts = band_cuts(window.y0, window.y1, images.chunks[1], height)
        self.n_bands = len(self._cuts) - 1
        rows = max(end - start for start, end in pairwise(self._cuts)) + field.reach
        self._n_channels = images.n_channels
        self.ahead = ahead or not all(map(self._reader.fetches, self._labels))
        self._buffers = {
            label: np.empty((1 + self.ahead, slab * rows * self._row), dtype=images.dtype) for label in self._labels
        }
        self._last: dict[str, Array] = {}
        self._turn = 0

    def expect(self, start: int, stop: int, band: int) -> None:
        """Have the chunks of a band fetched that will be read after those expected before."""
        for label in self._labels:
            part = self._part(label, band)
            if part.y0 < part.y1:
                self._reader.expect(label, start, stop, part)

    def _part(self, label: str, band: int) -> Block:
        """Return the pixels of a label that a band reads; it may have no rows."""
        place, inside, _ = self._places[label]
        y0, y1 = max(self._cuts[band], place.y0), min(self._cuts[band + 1], place.y1)
        return Block(max(y0, inside.y0), inside.x0, min(y1, inside.y1), inside.x1)

    def read(self, start: int, stop: int, band: int) -> tuple[dict[str, Array], dict[str, Array], tuple[int, int]]:
        """Return sources and targets of a band of images ``start..stop-1``, and the rows of the block that it adds to.

        They last until the next read, ``ahead`` until the next but one. The bands of a slab are read in order.
        """
        self._turn = (self._turn + 1) % (1 + self.ahead)
        first, end = self._cuts[band], self._cuts[band + 1]
        pixels = {}
        for label, (place, inside, reach) in self._places.items():
            y0, y1 = max(first, place.y0), min(end, place.y1)
            keep, width = reach if band else 0, place.shape[1]
            shape = (stop - start, keep + y1 - y0, width, self._n_channels)
            window = self._buffers[label][self._turn, : prod(shape)].reshape(shape)
            if keep:
                window[:, :keep] = self._last[label][:, -keep:]
            part = self._part(label, band)
            top, bottom = part.y0 - y0 + keep, max(part.y1, part.y0) - y0 + keep
            left, right = inside.x0 - place.x0, inside.x1 - place.x0
            window[:, keep:top] = 0
            window[:, bottom:] = 0
            window[:, top:bottom, :left] = 0
            window[:, top:bottom, right:] = 0
            if top < bottom:
                self._reader.read_into(window[:, top:bottom, left:right], label, start, part)
            pixels[label] = window
        self._last = pixels
        origin, halo = self._summed.y0, self._field.halo
        rows = (
            first - halo - origin if band else 0,
            self._summed.y1 - origin if band == self.n_bands - 1 else end - halo - origin,
        )
        return (
            {label: pixels[label] for label in self._sources},
            {
                label: self._cut_target(pixels[label], rows) if label in self._sources else pixels[label]
                for label in self._targets
            },
            rows,
        )

    def _cut_target(self, source: Array, rows: tuple[int, int]) -> Array:
        """Cut the target's part out of a band of a source, with zeros in the margin."""
        halo, (height, width) = self._field.halo, (rows[1] - rows[0], self._summed.shape[1])
        target = source[:, halo : halo + height, halo : halo + width].copy()
        margin = self._block.y0 - self._summed.y0
        if margin:
            target[:, : max(0, margin - rows[0])] = 0
            target[:, max(0, margin + self._block.shape[0] - rows[0]) :] = 0
            target[:, :, :margin] = 0
            target[:, :, -margin:] = 0
        return target
