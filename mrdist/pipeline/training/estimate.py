"""Estimate the cost of a training before its images exist, on other machines."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from mrdist.arguments import plain_arguments, shared_arguments
from mrdist.calibration import Rates, measure_kernels, predict_seconds
from mrdist.errors import ParameterError
from mrdist.methods.arguments import TRAINING, EstimateArguments
from mrdist.pipeline.training._prepare import prepare
from mrdist.pipeline.training.plan import measure_reading, who_works
from mrdist.planning import Plan, Workload, count_requests, parse_bytes, predict_start
from mrdist.storage import Images, chunk_shape, create_images, finish_images, write_images
from mrdist.storage.images.supposed import suppose_images

_LABELS = ("source", "target")
_TOLD = ("pairs", "size", "channels", "workers", "bytes_stored", "requests", "worker_hours")
_SECONDS_PER_HOUR = 3600
_TB = 10**12
_MOST_PAIRS = 10**7


@dataclass(frozen=True)
class Estimate:
    """What a training would take.

    Attributes
    ----------
    pairs, size, channels
        Of the images.
    plan
        Blocks, bytes, memory and seconds.
    workers
        Processes, each with a processor of its own.
    bytes_stored
        Of the images before compression, which saves little on photographs.
    requests
        Chunks that are read.
    worker_hours
        Of all workers together; None where the plan has no seconds.
    prices
        In the currency of the given prices: ``workers`` and ``requests`` of the training, ``storage_per_month`` of
        the images. None where the hours are not known.
    """

    pairs: int
    size: int
    channels: int
    plan: Plan
    workers: int
    bytes_stored: int
    requests: int
    worker_hours: float | None
    prices: Mapping[str, float | None]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist plan --json`` prints."""
        rest = {name: getattr(self, name) for name in _TOLD}
        return {**self.plan.to_dict(), **rest, "prices": dict(self.prices)}


@plain_arguments
@shared_arguments(TRAINING)
def estimate(
    *,
    pairs: int,
    size: int,
    channels: int = 3,
    chunks: tuple[int, int, int] | None = None,
    method: str = "mr",
    bandwidth: int | str | None = None,
    price_per_hour: float | None = None,
    price_per_tb: float | None = None,
    price_per_million_requests: float | None = None,
    **how: Unpack[EstimateArguments],
) -> Estimate:
    """Return what a training would read, write, hold in memory and cost, before its images exist.

    The seconds are based on about 0.4 s of reading a small store of noise, which compresses as little as photographs
    do, accumulating and solving, all on this machine; workers are assumed to be as fast, each with its own processor.

    Parameters
    ----------
    pairs, size, channels
        Of the uint8 images to train on: number of pairs, side in pixels, and 1 or 3 channels.
    chunks
        Images, rows and columns of a chunk, by default those that `mrdist.ingest` would choose.
    method, receptive_field, dilation, pool, prior, alpha, alphas, folds, rule, seed, color, penalize_intercept, gamma,
    components, window, max_iterations, nonzeros, tolerance, dtype, block
        As in `mrdist.plan`.
    workers, max_memory
        As in `mrdist.plan`.
    bandwidth
        Bytes per second that a worker reads from the storage of the images; by default as from this machine's disk.
    price_per_hour, price_per_tb, price_per_million_requests
        Of a worker, of 10^12 bytes stored for a month, and of a million chunks read.

    Returns
    -------
    Estimate

    Raises
    ------
    ParameterError
        If an option is invalid.
    MemoryLimitError
        If no block fits into ``max_memory``.

    Examples
    --------
    >>> cost = estimate(pairs=1000, size=512, channels=1, workers=8, price_per_tb=20)
    >>> cost.bytes_stored, cost.plan.n_blocks, cost.prices
    (524288000, 8, {'storage_per_month': 0.01048576})
    """
    prices = {"hour": price_per_hour, "tb": price_per_tb, "million_requests": price_per_million_requests}
    _check(pairs, size, channels, prices)
    speed = None if bandwidth is None else parse_bytes(bandwidth)
    given: dict[str, Any] = {**dict(zip(("source", "target"), _LABELS, strict=True)), "method": method}
    stored = chunk_shape(pairs, (size, size), channels, 1, chunks)
    images = suppose_images(_LABELS, pairs, (size, size), channels, stored)
    prepared = prepare(images, None, {**how, "split": "all"}, **given)
    plan, n_slots = prepared.plan, prepared.work.run.n_slots
    choice = who_works(prepared, how["workers"])
    if choice.workers == 0:
        n_slots = 1
    start_seconds = predict_start(choice.workers, plan.n_blocks, n_processors=n_slots)
    if prepared.workload is None:
        requests, seconds, hours = -(-plan.bytes_read // prod(stored)), None, None
    else:
        sample = (
            min(pairs, max(stored[0], 16, how["folds"] or 0)),
            max(2 * stored[1], 2 * stored[2], _span(prepared.workload)),
        )
        decode, decode_cpu = _measure_reading(sample[0], min(size, sample[1]), stored, how, given)
        kernels = measure_kernels(prepared.workload, images.dtype)
        rates = Rates(decode if speed is None else max(decode, 1 / speed), decode_cpu, *kernels)
        seconds = predict_seconds(prepared.workload, plan, rates, n_slots=n_slots, n_processors=n_slots)
        requests, hours = count_requests(prepared.workload, plan), seconds * n_slots / _SECONDS_PER_HOUR
    bytes_stored = len(_LABELS) * pairs * size**2 * channels
    costs = {
        "workers": (hours, price_per_hour),
        "storage_per_month": (bytes_stored / _TB, price_per_tb),
        "requests": (requests / 1e6, price_per_million_requests),
    }
    return Estimate(
        pairs=pairs,
        size=size,
        channels=channels,
        plan=replace(plan, seconds=seconds, start_seconds=start_seconds, workers=choice.workers, where=choice.where),
        workers=n_slots,
        bytes_stored=bytes_stored,
        requests=requests,
        worker_hours=hours,
        prices={
            name: None if amount is None else amount * price
            for name, (amount, price) in costs.items()
            if price is not None
        },
    )


def _check(pairs: int, size: int, channels: int, prices: Mapping[str, float | None]) -> None:
    if pairs < 1:
        raise ParameterError(f"pairs must be at least 1, got {pairs}.")
    if pairs > _MOST_PAIRS:
        raise ParameterError(f"pairs must be at most {_MOST_PAIRS}, whose people can be counted here, got {pairs}.")
    if size < 1:
        raise ParameterError(f"size must be at least 1 pixel, got {size}.")
    if channels not in (1, 3):
        raise ParameterError(f"channels must be 1 (gray) or 3 (colour), got {channels}.")
    for name, price in prices.items():
        if price is not None and not 0 <= price < math.inf:
            raise ParameterError(f"price_per_{name} must be 0 or more, got {price}.")


def _span(workload: Workload) -> int:
    """Pixels that the field spans."""
    return workload.field.reach + 1


def _measure_reading(
    n_images: int, side: int, chunks: tuple[int, int, int, int], how: EstimateArguments, given: Mapping[str, Any]
) -> tuple[float, float]:
    """Return what `measure_reading` does of a small store of noise, for a training with the same arguments."""
    with tempfile.TemporaryDirectory() as folder:
        images = _sample(str(Path(folder) / "sample"), n_images, side, chunks)
        sample = prepare(images, None, {**how, "split": "all", "block": None, "workers": 1}, **given)
        assert sample.workload is not None
        return measure_reading(sample.work.lesson, sample.workload, sample.plan)


def _sample(url: str, n_images: int, side: int, chunks: tuple[int, int, int, int]) -> Images:
    """Write a store of noise with chunks as large as those of the images of the estimate."""
    noise = np.random.default_rng(0).normal(128, 40, (n_images, side, side, chunks[3]))
    pixels = noise.clip(0, 255).astype(np.uint8)
    names = [str(number) for number in range(n_images)]
    create_images(
        url,
        labels=_LABELS,
        image=names,
        subject=names,
        dataset=["noise"] * n_images,
        split=["train"] * n_images,
        shape=(side, side),
        n_channels=chunks[3],
        chunks=chunks[:3],
    )
    checksum = np.stack([write_images(url, label, 0, pixels) for label in _LABELS], axis=1)
    finish_images(
        url,
        present=np.ones(checksum.shape, dtype=bool),
        checksum=checksum,
        face_mask=np.ones((side, side), dtype=bool),
        provenance={},
    )
    return Images.open(url)
