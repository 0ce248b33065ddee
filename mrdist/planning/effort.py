"""How long work takes in one process, by cautious rates: whether worker processes are worth their start.

The rates were measured on one core of 2024 that other processes kept busy too. They need not be exact: work that takes
about as long as the start of workers is as well done with them as without.
"""

from __future__ import annotations

from math import prod

from mrdist.geometry import Shape
from mrdist.planning.workloads import StoredSums, Workload, count_maps

START_SECONDS = 1.0
"""What a local cluster takes to start, in seconds: mostly the import of its libraries."""
WORKER_SECONDS = 0.5
"""What a processor takes besides for every worker process that starts on it."""
DECODE_SECONDS = 7e-9
"""Reading and decoding a byte from a disk."""
_ENCODE_SECONDS = 2e-8  # and writing
NETWORK_SECONDS = 5e-8
"""Moving a byte from or to an object store, before compression."""
PRODUCT_SECONDS = 1.5e-10
"""A multiplication and an addition of two matrices of floats."""
APPLIED = 20
"""Products of weights that are applied image by image take so much longer than those of matrices."""
_VALUE_SECONDS = 1e-7  # a value that is read, predicted, encoded and written
_SUM_SECONDS = 6e-11  # an integer product of two bytes; other numbers take four times as long
_WIDE = 4
_SQUARE_SECONDS, _CUBE_SECONDS = 5e-9, 1e-10  # of solving a system, by its unknowns squared and cubed
_POOLED = 5  # times as long as a pixel's own
_ALPHAS = 10  # penalties that cost as much as the factorisation that serves them all


def predict_start(workers: int | None, n_tasks: int, *, n_processors: int) -> float:
    """Return the time until the processes of a local cluster are there, by `START_SECONDS` and `WORKER_SECONDS`.

    Parameters
    ----------
    workers
        Worker processes that are asked for: 0 for none, None for one a processor.
    n_tasks
        Of the work: no more workers than that are started.
    n_processors
        Of the machine on which they start.

    Examples
    --------
    >>> [predict_start(workers, 100, n_processors=2) for workers in (0, 2, 8)]
    [0.0, 1.5, 3.0]
    """
    if workers == 0:
        return 0.0
    n_workers = min(n_processors if workers is None else workers, n_tasks)
    return START_SECONDS + WORKER_SECONDS * -(-n_workers // n_processors)


def seconds_to_train(workload: Workload, bytes_read: int) -> float:
    """Return the seconds that one process takes to read images, sum them and solve for weights.

    Parameters
    ----------
    workload
        Sizes of images and field.
    bytes_read
        Decoded bytes of all blocks.

    Examples
    --------
    >>> from mrdist.geometry import ReceptiveField
    >>> small = Workload((128, 128), 1, 1, (80, 32, 32, 1), 80, 80, ReceptiveField(3), 1, 4, 16)
    >>> large = Workload((512, 512), 3, 1, (64, 64, 64, 3), 1000, 1000, ReceptiveField(3), 1, 4, 32)
    >>> round(seconds_to_train(small, 3 << 20), 2), round(seconds_to_train(large, 1600 << 20), 1)
    (0.03, 13.0)
    """
    pixels = prod(workload.shape)
    products = workload.n_mappings * pixels * workload.n_rows * sum(count_maps(workload))
    summing = products * _SUM_SECONDS * (1 if workload.itemsize == 1 else _WIDE)
    seconds = DECODE_SECONDS * bytes_read + summing
    if workload.keeps_sums or not workload.n_sources:
        return seconds
    seconds += workload.n_mappings * pixels * workload.n_groups * _solve(workload.n_inputs * workload.n_offsets)
    search = workload.search
    if search is not None:
        tried = sum(_solve(workload.n_inputs * field.n_offsets) for field in search.fields) * len(search.pools)
        seconds += pixels * workload.n_groups * search.n_folds * tried * (1 + search.n_alphas / _ALPHAS)
    return seconds * (_POOLED if workload.pool else 1)


def seconds_to_solve(sums: StoredSums, bytes_read: int) -> float:
    """Return the seconds that one process takes to solve from stored sums, of which it decodes so many bytes."""
    solving = prod(sums.shape) * sums.n_groups * _solve(sums.n_inputs * sums.n_offsets)
    return DECODE_SECONDS * bytes_read + solving * (_POOLED if sums.pool else 1)


def seconds_to_apply(shape: Shape, n_images: int, n_channels: int, numbers_per_pixel: int) -> float:
    """Return the seconds that one process takes to read images, apply weights and write the results.

    Examples
    --------
    >>> round(seconds_to_apply((128, 128), 80, 1, 10), 2)
    0.17
    """
    per_pixel = _VALUE_SECONDS * n_channels + APPLIED * PRODUCT_SECONDS * numbers_per_pixel
    return prod(shape) * n_images * per_pixel


def seconds_to_copy(n_read: int, n_written: int) -> float:
    """Return the seconds that one process takes to decode and encode so many bytes."""
    return DECODE_SECONDS * n_read + _ENCODE_SECONDS * n_written


def _solve(n_unknowns: int) -> float:
    return _SQUARE_SECONDS * n_unknowns**2 + _CUBE_SECONDS * n_unknowns**3
