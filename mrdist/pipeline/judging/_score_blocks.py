"""The scores of a block of pixels: one pass over its images for all splits and regions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.scores import sum_distances
from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import check_values, padded_window
from mrdist.morphing.dials import Dials
from mrdist.planning import SCORED_BATCH, SCORED_CELL
from mrdist.refinement import blend
from mrdist.scoring import SSIM_HALO, BlockScorer, ScoreSums, lab_chroma
from mrdist.storage import Images, StorageOptions, WeightsReader, redact
from mrdist.storage.weights.reader import BlockWeights, Codes
from mrdist.synthesis import to_floats

PARTS = ("face", "background")
"""Disjoint parts of the frame, which add up to it."""


@dataclass(frozen=True)
class ScoringTask:
    """A block of pixels to score.

    Attributes
    ----------
    splits
        Whose images.
    slab
        Images read at a time.
    importance
        Of the block and the pixels around it that SSIM sees, where results are refined.
    dials
        How strongly the expression is applied.
    """

    weights_url: str
    weights_options: StorageOptions = field(repr=False)
    images_url: str
    images_options: StorageOptions = field(repr=False)
    source: str
    target: str
    splits: tuple[str, ...]
    block: Block
    slab: int
    importance: npt.NDArray[np.float32] | None = field(repr=False)
    dials: Dials | None


@dataclass(frozen=True)
class CellScores:
    """Of a cell of pixels and a split: score sums by part and mapping, other sums by part and what is measured."""

    sums: dict[tuple[str, str], ScoreSums]
    others: dict[tuple[str, str], float]


def rows_to_score(
    images: Images, labels: Sequence[str], splits: Sequence[str]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.str_]]:
    """Return the rows of some splits that are present in all labels, in order, and the split of each."""
    rows = np.sort(np.concatenate([images.rows(labels, split) for split in splits]))
    return rows, images.split[rows]


def cells_of(block: Block) -> list[Block]:
    """Cut a block, which begins at a cell, into the cells whose sums are kept apart."""
    return [
        Block(cell.y0 + block.y0, cell.x0 + block.x0, cell.y1 + block.y0, cell.x1 + block.x0)
        for cell in block_grid(block.shape, (SCORED_CELL, SCORED_CELL))
    ]


def score_block(task: ScoringTask, codes: Codes | None) -> dict[tuple[str, Block], CellScores]:
    """Return the scores of a block's cells, by split and cell.

    Parameters
    ----------
    task
        What to score.
    codes
        Of the task's rows, as `WeightsReader.codes` makes them.
    """
    images = Images.open(task.images_url, task.images_options)
    model = WeightsReader.open(task.weights_url, task.weights_options).turned(task.dials)
    rows, splits = rows_to_score(images, (task.source, task.target), task.splits)
    cells = [_Cell(task, cell, model, images) for cell in cells_of(task.block)]
    inside, around = _hull([cell.inside for cell in cells]), _hull([cell.wide for cell in cells])
    whole = model.block(around) if model.makes_whole_images else None  # an image is made once for all cells
    reader = images.reader(nan=True)
    done = 0
    for start, stop, chosen in images.slabs(rows, task.slab):
        which = slice(None) if len(chosen) == stop - start else chosen  # no copy where all are asked for
        x = reader.read(task.source, start, stop, inside)[which]
        target = reader.read(task.target, start, stop, around)[which]
        missing = [_take_missing(images, label, each) for label, each in ((task.source, x), (task.target, target))]
        for label, pixels in ((task.source, x), (task.target, target)):
            check_values(pixels, f"images {label} of {redact(task.images_url)}")
        at_once = len(x) if whole is None else SCORED_BATCH
        for first in range(0, len(x), at_once):
            part = slice(first, min(first + at_once, len(x)))
            batch, truth, who = x[part], target[part], splits[done:][part]
            code = None if codes is None else codes[done:][part]
            made = None if whole is None else whole.predict(batch, code)
            for cell in cells:
                wide, window = cell.wide.within(around), cell.weights.window
                cell.add(
                    padded_window(batch, window, (inside.y0, inside.x0)),
                    truth[:, *wide],
                    code,
                    who,
                    None if made is None else made[:, *wide],
                    _lost(model, [None if each is None else each[part] for each in missing], window, inside, wide),
                )
        done += len(x)
    return {(split, cell.block): scores for cell in cells for split, scores in cell.scores()}


def _take_missing(images: Images, label: str, pixels: npt.NDArray[Any]) -> npt.NDArray[np.bool_] | None:
    """Put zeros where values are missing, and return where they are, shape (image, y, x); None if none may be."""
    if images.incomplete(label) is None:
        return None
    missing: npt.NDArray[np.bool_] = np.isnan(pixels).any(axis=-1)
    pixels[missing] = 0
    return missing


def _lost(
    model: WeightsReader,
    missing: Sequence[npt.NDArray[np.bool_] | None],
    window: Block,
    inside: Block,
    wide: tuple[slice, slice],
) -> npt.NDArray[np.bool_] | None:
    """Return which pixels of a cell and what is around it have no target or no prediction, shape (image, y, x)."""
    of_source, of_target = missing
    if of_source is None or of_target is None:
        return None
    lost = of_target[:, *wide]
    if model.field is None:
        return lost
    unread = padded_window(of_source[..., np.newaxis], window, (inside.y0, inside.x0))[..., 0]
    return np.asarray(lost | model.field.readers_of(unread.astype(bool)))


def _hull(blocks: Sequence[Block]) -> Block:
    return Block(
        min(block.y0 for block in blocks),
        min(block.x0 for block in blocks),
        max(block.y1 for block in blocks),
        max(block.x1 for block in blocks),
    )


class _Cell:
    """A cell with its weights and the sums of its scores, image after image."""

    def __init__(self, task: ScoringTask, block: Block, model: WeightsReader, images: Images) -> None:
        shape: Shape = images.shape
        self.block = block
        self.wide = block.grown(SSIM_HALO).clipped(shape)
        self.weights: BlockWeights = model.block(self.wide)
        self.inside = self.weights.window.clipped(shape)
        self._inner = block.within(self.wide)
        self._source = self.wide.within(self.weights.window)
        around = task.block.grown(SSIM_HALO).clipped(shape)
        self._importance = None if task.importance is None else task.importance[self.wide.within(around)]
        self._n_channels = images.n_channels
        there, unlearnt = images.there(task.target), model.unlearnt
        if unlearnt is not None:
            there = ~unlearnt if there is None else there & ~unlearnt
        intercept = self.weights.intercept[*self._inner]
        if unlearnt is not None:
            intercept = np.where(unlearnt[block.slices][..., np.newaxis], 0, intercept)
        self._intercept = _rows_of(intercept, images.n_channels)
        fits = np.zeros(shape, dtype=bool)
        fits[SSIM_HALO : shape[0] - SSIM_HALO, SSIM_HALO : shape[1] - SSIM_HALO] = True
        face = images.face_mask[block.slices]
        self._masks = dict(zip(PARTS, (face, ~face), strict=True))
        self._face = _rows_of(face[..., None], images.n_channels)
        self._lost = None if there is None else ~there[self.wide.slices]
        self._counted = True if there is None else _rows_of(there[block.slices][..., None], images.n_channels)
        self._regions = self._face & self._counted, ~self._face & self._counted
        counted = np.ones(block.shape, dtype=bool) if there is None else there[block.slices]
        mappings = ("model", "identity") if task.importance is None else ("model", "identity", "refined")
        self._scorers = {
            split: {mapping: BlockScorer(self._inner, face, fits[block.slices], counted) for mapping in mappings}
            for split in task.splits
        }
        self._n_images = dict.fromkeys(task.splits, 0)
        self._others: dict[str, defaultdict[tuple[str, str], float]] = {
            split: defaultdict(float) for split in task.splits
        }

    def add(
        self,
        x: npt.NDArray[np.generic],
        target: npt.NDArray[np.generic],
        codes: Codes | None,
        splits: npt.NDArray[np.str_],
        made: npt.NDArray[np.floating] | None,
        lost: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        """Add images: the mapping's windows of the sources, and the targets of the cell and what is around it.

        What the mapping makes of the cell and what is around it is predicted here, unless it is given. ``lost`` are
        pixels of these that miss a value in an image.
        """
        for first in range(0, len(x), SCORED_BATCH):
            part = slice(first, first + SCORED_BATCH)
            predictions = made
            if predictions is None:
                code = None if codes is None else codes[part]
                predictions = self.weights.predict(np.ascontiguousarray(x[part]), code)
            without = [None] * len(predictions) if lost is None else lost[part]
            for one, prediction, truth, split, missed in zip(
                x[part], predictions, target[part], splits[part], without, strict=True
            ):
                self._add_image(one[self._source], prediction, truth, str(split), missed)

    def _add_image(
        self,
        source: npt.NDArray[np.generic],
        prediction: npt.NDArray[np.floating],
        target: npt.NDArray[np.generic],
        split: str,
        missed: npt.NDArray[np.bool_] | None,
    ) -> None:
        lost = self._lost if missed is None or self._lost is None else self._lost | missed
        lost = missed if lost is None else lost
        if lost is not None:  # what no image has, or this one has not, counts for nothing
            prediction = np.where(lost[..., None], 0, prediction)
            source, target = (np.where(lost[..., None], image.dtype.type(0), image) for image in (source, target))
        identity = to_floats(source)
        mappings = {"model": prediction.astype(np.float64, copy=False), "identity": identity}
        if self._importance is not None:
            mappings["refined"] = blend(identity[None], prediction[None], self._importance)[0].astype(np.float64)
        truth = to_floats(target)
        for mapping, made in mappings.items():
            self._scorers[split][mapping].add_image(made, truth, None if missed is None else missed[self._inner])
        intercept, others = self._intercept, self._others[split]
        if missed is not None:
            rows = _rows_of(missed[self._inner][..., None], self._n_channels)
            intercept = np.where(rows, 0, intercept)
            for part, mask in zip(PARTS, self._regions, strict=True):
                others[part, "values"] -= float((mask & rows).sum())
                others[part, "intercept"] -= float(np.abs(self._intercept)[mask & rows].sum())
        distances = {"weights": self._distances(mappings["model"], intercept)}
        if self._importance is not None:
            for mapping in ("model", "refined"):
                distances[f"change {mapping}"] = self._distances(mappings[mapping], identity)
        if self._n_channels == 3:
            distances |= self._chroma(prediction, source, target)
        for name, sums in distances.items():
            for part, value in zip(PARTS, sums, strict=True):
                others[part, name] += value
        self._n_images[split] += 1

    def _distances(self, one: npt.NDArray[np.floating], other: npt.NDArray[np.floating]) -> tuple[float, float]:
        """Return the sums of absolute differences in the face and in the background."""
        y0, x0 = (axis.start for axis in self._inner)
        if other.ndim == 3:
            other = _rows_of(other[self._inner], self._n_channels)
        rows = np.ascontiguousarray(one).reshape(len(one), -1)
        face, background = sum_distances(rows, other, (y0, x0 * self._n_channels), self._face)
        return face, background

    def _chroma(
        self,
        prediction: npt.NDArray[np.floating],
        source: npt.NDArray[np.generic],
        target: npt.NDArray[np.generic],
    ) -> dict[str, tuple[float, float]]:
        """Return sums, over values, of the mean absolute difference of CIELAB's a and b, by what is compared."""
        model, identity, truth = (lab_chroma(image[self._inner]) for image in (prediction, source, target))
        face = np.tile(self._masks["face"].reshape(1, -1), (2, 1))
        chroma = {}
        for name, one, other in (("model", model, truth), ("identity", identity, truth), ("change", model, identity)):
            sums = sum_distances(one, other, (0, 0), face)
            chroma[f"chroma {name}"] = (sums[0] / 2 * self._n_channels, sums[1] / 2 * self._n_channels)
        return chroma

    def scores(self) -> Iterator[tuple[str, CellScores]]:
        """Yield the scores of every split."""
        intercept = np.abs(self._intercept)
        for split, scorers in self._scorers.items():
            n, others = self._n_images[split], dict(self._others[split])
            for part, mask in zip(PARTS, self._regions, strict=True):
                others[part, "values"] = float(n * mask.sum()) + others.get((part, "values"), 0.0)
                others[part, "intercept"] = float(n * intercept[mask].sum()) + others.get((part, "intercept"), 0.0)
            sums = {
                (part, mapping): scorer.sums(scored=part == "face")
                for part in PARTS
                for mapping, scorer in scorers.items()
            }
            yield split, CellScores(sums, others)


def _rows_of(values: npt.NDArray[Any], n_channels: int) -> npt.NDArray[Any]:
    """Return values of shape (y, x, channel or 1) as rows of shape (y, x * channel); floats as float64."""
    wide = np.broadcast_to(values, (*values.shape[:2], n_channels)).reshape(len(values), -1)
    return wide if values.dtype == bool else wide.astype(np.float64, copy=False)
