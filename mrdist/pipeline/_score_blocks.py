"""The scores of a block of pixels: one pass over its images, whatever splits and regions are asked for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Block, Shape, block_grid
from mrdist.moments import padded_window
from mrdist.planning import SCORED_BATCH, SCORED_CELL
from mrdist.refinement import blend
from mrdist.scoring import SSIM_HALO, BlockScorer, PixelScores, ScoreSums, lab_chroma
from mrdist.storage import Images, StorageOptions, WeightsReader
from mrdist.storage.methods import BlockWeights, Codes
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
    model = WeightsReader.open(task.weights_url, task.weights_options)
    rows, splits = rows_to_score(images, (task.source, task.target), task.splits)
    cells = [_Cell(task, cell, model, images) for cell in cells_of(task.block)]
    inside, around = _hull([cell.inside for cell in cells]), _hull([cell.wide for cell in cells])
    reader = images.reader()
    done = 0
    for start, stop, chosen in images.slabs(rows, task.slab):
        x = reader.read(task.source, start, stop, inside)[chosen]
        target = reader.read(task.target, start, stop, around)[chosen]
        part = slice(done, done + len(x))
        for cell in cells:
            cell.add(
                padded_window(x, cell.weights.window, (inside.y0, inside.x0)),
                padded_window(target, cell.wide, (around.y0, around.x0)),
                None if codes is None else codes[part],
                splits[part],
            )
        done += len(x)
    return {(split, cell.block): scores for cell in cells for split, scores in cell.scores()}


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
        self._intercept = np.abs(self.weights.intercept)[*self._inner]
        fits = np.zeros(shape, dtype=bool)
        fits[SSIM_HALO : shape[0] - SSIM_HALO, SSIM_HALO : shape[1] - SSIM_HALO] = True
        self._fits = fits[block.slices]
        face = images.face_mask[block.slices]
        self._masks = dict(zip(PARTS, (face, ~face), strict=True))
        mappings = ("model", "identity") if task.importance is None else ("model", "identity", "refined")
        self._scorers = {
            split: {
                (part, mapping): BlockScorer(self._inner, mask, mask & self._fits)
                for part, mask in self._masks.items()
                for mapping in mappings
            }
            for split in task.splits
        }
        self._n_channels = images.n_channels
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
    ) -> None:
        """Add images: the mapping's windows of the sources, and the targets of the cell and what is around it."""
        for first in range(0, len(x), SCORED_BATCH):
            part = slice(first, first + SCORED_BATCH)
            made = self.weights.predict(np.ascontiguousarray(x[part]), None if codes is None else codes[part])
            for one, prediction, truth, split in zip(x[part], made, target[part], splits[part], strict=True):
                self._add_image(one[self._source], prediction, truth, str(split))

    def _add_image(
        self,
        source: npt.NDArray[np.generic],
        prediction: npt.NDArray[np.floating],
        target: npt.NDArray[np.generic],
        split: str,
    ) -> None:
        identity, truth, inner = to_floats(source), to_floats(target), self._inner
        mappings = {"model": prediction, "identity": identity}
        if self._importance is not None:
            mappings["refined"] = blend(identity[None], prediction[None], self._importance)[0]
        scorers, others = self._scorers[split], self._others[split]
        for mapping, made in mappings.items():
            pixels = PixelScores.of(made, truth, inner)
            for part in PARTS:
                scorers[part, mapping].add_image(pixels)
        changes = {"weights": np.abs(prediction - self.weights.intercept)[inner]}
        if self._importance is not None:
            changes |= {f"change {name}": np.abs(mappings[name] - identity)[inner] for name in ("model", "refined")}
        changes |= _chroma(prediction, source, target, inner)
        for name, values in changes.items():
            for part, mask in self._masks.items():
                others[part, name] += float(values[mask].sum(dtype=np.float64))
        self._n_images[split] += 1

    def scores(self) -> Iterator[tuple[str, CellScores]]:
        """Yield the scores of every split."""
        for split, scorers in self._scorers.items():
            others = dict(self._others[split])
            for part, mask in self._masks.items():
                n = self._n_images[split] * self._n_channels
                others[part, "values"] = float(n * mask.sum())
                intercept = self._intercept[mask].sum(dtype=np.float64) / self._intercept.shape[2]
                others[part, "intercept"] = float(n * intercept)
            yield split, CellScores({key: scorer.sums() for key, scorer in scorers.items()}, others)


def _chroma(
    prediction: npt.NDArray[np.floating],
    source: npt.NDArray[np.generic],
    target: npt.NDArray[np.generic],
    inner: tuple[slice, slice],
) -> dict[str, npt.NDArray[np.float64]]:
    """Return the mean absolute differences of CIELAB's a and b, by what is compared, for every channel; none of gray.

    Shape (y, x, channel).
    """
    if target.shape[2] != 3:
        return {}
    model, identity, truth = (lab_chroma(image[inner]) for image in (prediction, source, target))
    shape = target[inner].shape
    return {
        f"chroma {name}": np.broadcast_to(np.abs(one - other).mean(axis=0).reshape(*shape[:2], 1), shape)
        for name, one, other in (("model", model, truth), ("identity", identity, truth), ("change", model, identity))
    }
