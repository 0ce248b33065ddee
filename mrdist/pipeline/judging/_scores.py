"""The scores of a mapping on an images store, by split and region, with those of every image."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from operator import add
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.execution import Scheduler, open_executor, progress_bar
from mrdist.geometry import Block, block_grid
from mrdist.paired import Difference, means_of_people, paired_difference, paired_ratio
from mrdist.pipeline.judging._score_blocks import PARTS, CellScores, ScoringTask, cells_of, rows_to_score, score_block
from mrdist.planning import DEFAULT_MEMORY, ScoringSizes, plan_scoring
from mrdist.running.workers import check_workers, seconds_between
from mrdist.scoring import SSIM_HALO, BlockScorer, ScoreSums, lab_chroma
from mrdist.storage import Images, WeightsReader

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class SplitScores:
    """Scores of a split.

    Attributes
    ----------
    subjects
        Person of every image.
    cells
        Scores of all cells, in raster order.
    regions
        Names of the regions.
    """

    subjects: npt.NDArray[np.str_]
    cells: Sequence[CellScores]
    regions: tuple[str, ...]

    @property
    def people(self) -> list[str]:
        """Names, in the order of `of_people`."""
        return [str(name) for name in np.unique(self.subjects)]

    @cached_property
    def _sums(self) -> dict[tuple[str, str], ScoreSums]:
        parts = {key: reduce(add, (cell.sums[key] for cell in self.cells)) for key in self.cells[0].sums}
        whole = {
            ("frame", mapping): parts[PARTS[0], mapping] + parts[PARTS[1], mapping]
            for part, mapping in parts
            if part == PARTS[0]
        }
        return whole | parts

    @cached_property
    def _others(self) -> dict[tuple[str, str], float]:
        parts = {key: sum(cell.others[key] for cell in self.cells) for key in self.cells[0].others}
        whole = {
            ("frame", what): parts[PARTS[0], what] + parts[PARTS[1], what] for part, what in parts if part == PARTS[0]
        }
        return whole | parts

    def of_people(self, region: str, mapping: str) -> dict[str, npt.NDArray[np.floating] | None]:
        """Return ``mse`` and ``ssim`` of every person, the mean over their images; None where one is undefined.

        People none of whose pixels count are left out.
        """
        sums = self._sums[region, mapping]
        means: dict[str, npt.NDArray[np.floating] | None] = {}
        for name, values in (("mse", sums.mse), ("ssim", sums.mean_ssim)):
            counted = ~np.isnan(values)
            means[name] = means_of_people(values[counted], self.subjects[counted]) if counted.any() else None
        return means

    def _compared(
        self, region: str, measure: str, compare: Callable[[Floats, Floats], Difference]
    ) -> dict[str, float | None] | None:
        """Compare the model's scores with the identity's, person by person; None where one is undefined."""
        ours, theirs = (self.of_people(region, mapping)[measure] for mapping in ("model", "identity"))
        return None if ours is None or theirs is None else compare(ours, theirs).to_dict()

    def to_dict(self) -> dict[str, Any]:
        """Return what `mrdist.evaluate` returns for a split."""
        return {region: self._summary(region) for region in self.regions}

    def _summary(self, region: str) -> dict[str, Any]:
        summary: dict[str, Any] = {name: sums.scores() for (of, name), sums in self._sums.items() if of == region}
        others = {what: value for (of, what), value in self._others.items() if of == region}
        n, weights, intercept = (others.pop(what) for what in ("values", "weights", "intercept"))
        summary["intercept_share"] = intercept / (weights + intercept) if weights + intercept else None
        for what, value in others.items():
            group, _, name = what.partition(" ")
            summary.setdefault(group, {})[name] = value / n if n else None
        return summary | {
            "n_images": len(self.subjects),
            "n_people": len(self.people),
            "difference": {name: self._compared(region, name, paired_difference) for name in ("mse", "ssim")},
            "ratio": {"mse": self._compared(region, "mse", paired_ratio)},
        }


@dataclass(frozen=True)
class Scored:
    """Scores by split, and who worked, see `mrdist.execution.Executor.told`."""

    splits: Mapping[str, SplitScores]
    told: Mapping[str, Any]


def score_splits(
    model: WeightsReader,
    images: Images,
    splits: Sequence[str],
    *,
    importance: npt.NDArray[np.float32] | None = None,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    progress: bool | None = None,
) -> Scored:
    """Score a mapping on splits of an images store that it fits, in blocks on the workers.

    Parameters
    ----------
    model, images
        What is scored, and on what.
    splits
        Each with pairs.
    importance
        Shape (y, x): refined results are scored too.
    workers, scheduler, max_memory, progress
        As in `mrdist.evaluate`.
    """
    labels = (model.training.source, model.training.target)
    rows, split_of_row = rows_to_score(images, labels, splits)
    if workers is None and scheduler is None and images.url.startswith("memory://"):
        workers = 0
    limit, n_slots = check_workers(workers, scheduler, model.url, images.url, max_memory=max_memory)
    sizes = ScoringSizes(
        shape=images.shape,
        n_channels=images.n_channels,
        itemsize=images.dtype.itemsize,
        value_itemsize=images.value_itemsize,
        chunks=images.chunks,
        n_stored=images.n_images,
        n_images=len(rows),
        n_splits=len(splits),
        n_mappings=2 if importance is None else 3,
        margin=SSIM_HALO,
        reach=model.reach,
        numbers_per_pixel=model.numbers_per_pixel,
        may_miss=images.incomplete(labels[0]) is not None,
    )
    plan = plan_scoring(sizes, max_memory=limit, n_slots=n_slots)
    tasks = [
        ScoringTask(
            model.url,
            model.storage_options,
            images.url,
            images.storage_options,
            *labels,
            tuple(splits),
            block,
            plan.slab,
            None if importance is None else importance[block.grown(SSIM_HALO).clipped(images.shape).slices],
            model.dials,
        )
        for block in block_grid(images.shape, plan.block)
    ]
    scores: dict[tuple[str, Block], CellScores] = {}
    with (
        open_executor(
            workers=workers,
            scheduler=scheduler,
            n_tasks=len(tasks),
            max_memory=limit,
            prepare=warm_up_in_color if images.n_channels == 3 else warm_up,
            seconds=seconds_between(plan.seconds_alone, plan.bytes_read, images.url),
            memory=plan.peak_memory,
            module=__name__,
        ) as executor,
        progress_bar(len(tasks), 0, "block", show=progress) as advance,
    ):
        codes = model.codes(images, labels[0], rows)
        for _, cell_scores in executor.run(
            score_block, tasks, codes, name="evaluate", describe=lambda task: f"block {task.block}"
        ):
            scores |= cell_scores
            advance(1, "")
    regions = ("frame", "face") if importance is None else ("frame", *PARTS)
    cells = [cell for task in tasks for cell in cells_of(task.block)]
    cells.sort()
    of_splits = {
        split: SplitScores(
            images.subject[rows[split_of_row == split]], [scores[split, cell] for cell in cells], regions
        )
        for split in splits
    }
    return Scored(of_splits, executor.told)


def warm_up() -> None:
    """Compile the kernels once and leave them on disk for the workers."""
    image = np.zeros((2 * SSIM_HALO + 1, 2 * SSIM_HALO + 1, 1))
    everywhere = np.ones(image.shape[:2], dtype=bool)
    BlockScorer((slice(None), slice(None)), everywhere, everywhere).add_image(image, image)


def warm_up_in_color() -> None:
    """Likewise for images of three channels, whose colours are compared, too."""
    warm_up()
    lab_chroma(np.zeros((1, 1, 3)))


def without_people(splits: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `SplitScores.to_dict` returns, by split, without what has no mean over mappings."""
    of_people = ("n_images", "n_people", "difference", "ratio")
    return {
        split: {
            region: {name: value for name, value in scores.items() if name not in of_people}
            for region, scores in regions.items()
        }
        for split, regions in splits.items()
    }
