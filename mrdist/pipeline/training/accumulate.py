"""Store the sums over images, from which weights of any alpha and any smaller field are solved."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Unpack

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments, shared_arguments
from mrdist.errors import ParameterError, StoreExistsError
from mrdist.execution import peak_memory
from mrdist.geometry import ReceptiveField, Shape, block_grid
from mrdist.methods.lesson import check_choices, check_two, meaning_of, versions
from mrdist.methods.masked.solving import warm_up
from mrdist.methods.masked.sums import incomplete_pixels, sum_images
from mrdist.methods.options import choose_field
from mrdist.moments import Color, check_rows
from mrdist.parts import parts
from mrdist.planning import Cut, Plan, Workload, block_bytes, plan_training
from mrdist.running.arguments import RUNNING, Running, run_options
from mrdist.running.driving import driving, hold
from mrdist.running.phases import Phase, Work, drive
from mrdist.running.reports import RunReport
from mrdist.running.tasks import Place, RunOptions, Task
from mrdist.storage import (
    Accumulation,
    FaceFrame,
    Images,
    Part,
    Statistics,
    StorageOptions,
    redact,
    statistics_output,
)
from mrdist.storage.access.urls import check_same
from mrdist.storage.sums.writer import StatisticsOutput
from mrdist.storage.weights.output import chunk_side

logger = logging.getLogger("mrdist")


@dataclass(frozen=True)
class AccumulateReport(RunReport):
    """What an accumulation did.

    Besides what `mrdist.running.reports.RunReport` has:

    Attributes
    ----------
    images, images_added
        Images in the store, and those that this run has added.
    """

    images: int
    images_added: int

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist accumulate --json`` prints."""
        return {**self.figures, "images": self.images, "images_added": self.images_added}


@plain_arguments
@driving("accumulate")
@shared_arguments(RUNNING)
def accumulate(
    images_url: Address,
    statistics_url: Address,
    *,
    source: str | None = None,
    target: str | None = None,
    receptive_field: int | None = None,
    dilation: int | None = None,
    color: Color | None = None,
    split: str = "train",
    append: bool = False,
    statistics_storage_options: StorageOptions = None,
    **how: Unpack[Running],
) -> AccumulateReport:
    """Sum over the pairs of an images store, exactly, into a statistics store.

    Parameters
    ----------
    images_url
        An images store.
    statistics_url
        Where the sums go. An unfinished store of the same images is resumed; a complete one of exactly these images
        is left unchanged.
    source, target
        Labels; by default those of the existing store.
    receptive_field, dilation, color
        As in `mrdist.MaskedRegression`; by default those of the existing store. The store serves every field
        whose taps are among these.
    split
        Rows to sum over: train, val, test or all.
    append
        Add the images that are not in the store yet, without reading the others again. An image is in it if the
        store has one with the same id and the same pixels. Without a store, one is created.
    block, workers, scheduler, max_memory, codec, overwrite, progress, storage_options
        As in `mrdist.train`.
    statistics_storage_options
        Options of the fsspec filesystem of the statistics, by default those of the images.

    Returns
    -------
    AccumulateReport

    Raises
    ------
    ParameterError
        If an option is invalid, or a label is missing.
    DataError
        If there are no pairs, float images hold NaN or lie outside 0..1, or there are more than can be summed exactly.
    StoreExistsError
        If the store holds other images, or sums of another kind.
    StoreError
        If a store is invalid or cannot be read.
    MemoryLimitError
        If no block fits into ``max_memory``.
    ExecutionError
        If the cluster cannot be used.
    """
    if append and how["overwrite"]:
        raise ParameterError("append adds to a store, but overwrite replaces it; give only one of them.")
    run = run_options(
        images_url,
        statistics_url,
        how,
        statistics_storage_options,
    )
    output = run.output
    images = Images.open(images_url, how["storage_options"])
    images.read_at_once()
    hold(output.url, output.options)
    known = None if run.overwrite else Statistics.find(output.url, output.options)
    accumulation = _describe(
        images, source, target, receptive_field, dilation, color, split, known.accumulation if known else None
    )
    labels = accumulation.source, accumulation.target
    rows = images.rows(labels, split)
    if known is not None:
        check_same(output.url, "accumulation", asdict(known.accumulation), asdict(accumulation))
        rows = _missing(images, labels, rows, known, append=append)
        if not len(rows):
            known.tidy()
            return AccumulateReport(output.url, True, 0.0, 0.0, 0, 0, 0, peak_memory(), known.n_images, 0)
    n_before = known.n_images if known is not None else 0
    check_rows((n_before + len(rows)) * accumulation.rows_per_image, accumulation.unit)
    work = _Accumulation(images, accumulation, split, rows, run)
    done = drive(work, run.planned(work.plan))
    assert done is not None
    return AccumulateReport(
        url=output.url,
        **done.figures,
        images=n_before + len(rows),
        images_added=len(rows),
        blocks_run=len(done.phases[work.counted].tasks),
    )


class _Accumulation(Work[StatisticsOutput, None]):
    """Sums over images that a statistics store lacks."""

    counted = "summing"

    def __init__(
        self, images: Images, accumulation: Accumulation, split: str, rows: npt.NDArray[np.int64], run: RunOptions
    ) -> None:
        self.run = run
        self.source = Place(images.url, images.storage_options)
        self.n_images = len(rows)
        self.images = images
        self.accumulation = accumulation
        self.labels = accumulation.source, accumulation.target
        self.rows = rows
        self.workload = _workload(images, accumulation, rows)
        n_new_folds = len(accumulation.folds(len(rows)))
        self.part = Part(redact(images.url), split, images.fingerprint(self.labels, rows), len(rows), n_new_folds)

    def plan(self, block: Shape | None) -> Plan:
        """Cut the work into blocks."""
        return plan_training(self.workload, max_memory=self.run.max_memory, n_slots=self.run.n_slots, block=block)

    def begin(self, cut: Cut) -> StatisticsOutput:
        """Begin the statistics store, or resume it, or add to it."""
        return statistics_output(
            self.run.output.url,
            self.accumulation,
            self.part,
            self.rows,
            cut.block,
            **self.run.opening,
        )

    @property
    def prepare(self) -> Callable[[], None]:
        """What compiles the kernels."""
        return warm_up

    def phases(self, output: StatisticsOutput, cut: Cut) -> Iterator[Phase]:
        """Yield the one phase."""
        assert isinstance(cut, Plan)
        yield Phase(
            "summing",
            _sum_block,
            self.tasks(block_grid(self.images.shape, cut.block), cut.slab),
            output.progress.done,
            bytes_read=lambda task: self.part.n_folds * block_bytes(self.workload, task.block, task.slab),
        )

    def finish(self, output: StatisticsOutput) -> None:
        """Complete the statistics store."""
        checksums = self.images.checksums(self.labels, self.rows)
        face_frame = FaceFrame.of_images(self.images, self.labels[0])
        output.finish(self.images.image[self.rows].tolist(), checksums, versions(), face_frame)


def _describe(
    images: Images,
    source: str | None,
    target: str | None,
    receptive_field: int | None,
    dilation: int | None,
    color: Color | None,
    split: str,
    known: Accumulation | None,
) -> Accumulation:
    """Check the options; what is not given is taken from the existing store."""
    source = known.source if source is None and known else source
    target = known.target if target is None and known else target
    if source is None or target is None:
        raise ParameterError("a new statistics store needs the labels source and target (--source, --target).")
    check_two(source, target)
    color = color or (known.color if known else "shared")
    check_choices(color, split)
    factor = images.pixels_per_value(source)
    if factor > 1 and not (known and dilation is None):
        dilation = (1 if dilation is None else dilation) * factor
    field = choose_field(receptive_field, dilation, known.field if known else ReceptiveField())
    field.check_fits(images.shape)
    return Accumulation(
        source=source,
        target=target,
        receptive_field=field.size,
        dilation=field.dilation,
        color=color,
        dtype=str(images.dtype),
        height=images.shape[0],
        width=images.shape[1],
        n_channels=images.n_channels,
        meaning=meaning_of(images, source, target) or None,
        drops_rows=bool(known and known.drops_rows) or incomplete_pixels(images, (source, target), field) is not None,
    )


def _missing(
    images: Images, labels: tuple[str, str], rows: npt.NDArray[np.int64], known: Statistics, *, append: bool
) -> npt.NDArray[np.int64]:
    """Return the rows whose images a complete store lacks, or refuse to mix them."""
    there = known.holds(images.image[rows], images.checksums(labels, rows))
    missing = rows[~there]
    if not append and (len(missing) or known.n_images != len(rows)):
        raise StoreExistsError(
            f"{redact(known.url)} holds the sums of {known.n_images} images, including {there.sum()} of the "
            f"{len(rows)} in {redact(images.url)}; add the others with --append (append=True), choose another "
            "address, or use --overwrite (overwrite=True)."
        )
    renamed = np.isin(images.image[missing], known.image)
    if renamed.any():
        logger.warning(
            "%d images have the ids of images in %s but other pixels, such as %r; they are added as new images",
            renamed.sum(),
            redact(known.url),
            str(images.image[missing][renamed][0]),
        )
    return missing


def _workload(images: Images, accumulation: Accumulation, rows: npt.NDArray[np.int64]) -> Workload:
    incomplete = incomplete_pixels(images, (accumulation.source, accumulation.target), accumulation.field)
    return Workload(
        shape=images.shape,
        n_channels=images.n_channels,
        itemsize=images.dtype.itemsize,
        value_itemsize=images.value_itemsize,
        straight=images.reads_straight and images.dtype == np.uint8,
        in_flight=images.chunks_in_flight,
        chunks=images.chunks,
        n_stored=images.n_read(rows),
        n_images=len(rows),
        field=accumulation.field,
        n_groups=accumulation.n_groups,
        weight_itemsize=0,
        weight_chunk=chunk_side(images.shape),
        keeps_sums=True,
        n_inputs=accumulation.n_inputs,
        n_incomplete=0 if incomplete is None else int(incomplete.sum()),
    )


def _sum_block(task: Task) -> int:
    """Do one block from reading to writing; return the process's peak of resident bytes."""
    output = StatisticsOutput.open(task.output.url, task.output.options)
    images = Images.open(task.source.url, task.source.options)
    accumulation = output.accumulation
    for fold, rows in parts(list(output.folds())):
        statistics = sum_images(
            images,
            (accumulation.source, accumulation.target),
            rows,
            accumulation.field,
            task.block,
            n_groups=accumulation.n_groups,
            n_inputs=accumulation.n_inputs,
            slab=task.slab,
            margin=accumulation.field.halo,
        )
        output.write(fold, task.block, statistics)
    output.progress.mark(task.index)
    return peak_memory()
