"""Train many mappings at once: labels are read once, and targets of the same people share their source's sums."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from mrdist.arguments import Address, plain_arguments, shared_arguments
from mrdist.execution import peak_memory
from mrdist.methods.arguments import TRAINING, TrainArguments
from mrdist.methods.lesson import versions
from mrdist.pipeline.training._mappings_apart import train_apart
from mrdist.pipeline.training._mappings_together import MappingsWork
from mrdist.pipeline.training._prepare import prepare_mappings
from mrdist.running.driving import driving, hold
from mrdist.running.phases import drive
from mrdist.running.reports import RunReport
from mrdist.scoring import mean_scores
from mrdist.storage import StorageOptions, redact
from mrdist.storage.weights.mappings import finish_mappings, mapping_url

logger = logging.getLogger("mrdist")


@dataclass(frozen=True)
class MappingsReport(RunReport):
    """What the training of many mappings did; a block serves all mappings that share its images.

    Besides what `mrdist.running.reports.RunReport` has:

    Attributes
    ----------
    scores
        Name of a mapping -> MSE and R2 on its training images.
    left_out
        Mappings that have no pairs.
    """

    scores: Mapping[str, Mapping[str, float | None]]
    left_out: Sequence[str]

    @property
    def mean_scores(self) -> dict[str, float | None]:
        """MSE and R2, each the mean of the mappings for which it is defined."""
        return mean_scores(self.scores.values())

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist train --json`` prints."""
        url = redact(self.url)
        return {
            **self.figures,
            "scores": self.mean_scores,
            "mappings": {
                name: {"url": mapping_url(url, name), "scores": dict(scores)} for name, scores in self.scores.items()
            },
            "left_out": list(self.left_out),
        }


@plain_arguments
@driving("train")
@shared_arguments(TRAINING, others="method_options")
def train_mappings(
    images_url: Address,
    group_url: Address,
    *,
    source: str,
    both_ways: bool = False,
    method: str = "mr",
    weights_storage_options: StorageOptions = None,
    **how: Unpack[TrainArguments],
) -> MappingsReport:
    """Train the mappings from one label of an images store to every other.

    Mappings of the same people are trained by the same tasks, which read every label once and sum once what the
    targets of one source share: of the ``((2r - 1)^2 + 1) / 2 + r^2`` maps of products of a field of side r, all but
    ``r^2``. Every weights store has the bytes that `mrdist.train` gives it.

    Parameters
    ----------
    images_url
        An images store.
    group_url
        Where the weights go: a store of kind ``mappings`` that holds the weights store ``source-target`` of each
        mapping. An unfinished group of the same training is resumed; a complete one is left unchanged.
    source
        Label of the inputs.
    both_ways
        Also train from every other label to ``source``: with the talk's seven expressions, its twelve mappings.
    method, block, workers, scheduler, max_memory, codec, overwrite, progress, storage_options, weights_storage_options
        As in `mrdist.train`, and so are the options of methods, the same for every mapping. Mappings that do not fit
        into ``max_memory`` together are trained apart, as are those of a method without sums to share, or whose alpha
        is to be chosen by cross-validation, each its own.

    Returns
    -------
    MappingsReport
        With the mappings left out because no image of the split has both labels.

    Raises
    ------
    MrdistError
        As in `mrdist.train`; a DataError if no mapping has pairs.
    """
    prepared = prepare_mappings(
        images_url,
        group_url,
        how,
        source=source,
        both_ways=both_ways,
        method=method,
        weights_storage_options=weights_storage_options,
    )
    left_out, work = prepared.left_out, prepared.work
    group_url, weights_storage_options = prepared.run.output.url, prepared.run.output.options
    for name in left_out:
        logger.warning("left out %s: no image of split %r has both labels", name, how["split"])
    if not isinstance(work, MappingsWork):
        unfinished, reports = train_apart(prepared, work)
        scores = {name: report.scores for name, report in reports.items()}
        if unfinished:
            provenance = {"images": redact(prepared.images.url), "versions": versions()}
            finish_mappings(group_url, scores, provenance, weights_storage_options)
        worked = max(reports.values(), key=lambda report: report.blocks_run)
        return MappingsReport(
            url=group_url,
            already_complete=not unfinished,
            start_seconds=sum(report.start_seconds for report in reports.values()),
            run_seconds=sum(report.run_seconds for report in reports.values()),
            bytes_read=sum(report.bytes_read for report in reports.values()),
            blocks=sum(report.blocks for report in reports.values()),
            blocks_run=sum(report.blocks_run for report in reports.values()),
            peak_memory_bytes=max(report.peak_memory_bytes for report in reports.values()),
            workers=worked.workers,
            where=worked.where,
            scores=scores,
            left_out=left_out,
        )
    cut = work.combined(prepared.plans)
    hold(group_url, weights_storage_options)
    done = drive(work, cut)
    if done is None:
        return MappingsReport(group_url, True, 0.0, 0.0, 0, cut.n_blocks, 0, peak_memory(), work.scores(), left_out)
    return MappingsReport(
        url=group_url,
        **done.figures,
        blocks_run=len(done.phases[work.counted].tasks),
        scores=done.result,
        left_out=left_out,
    )
