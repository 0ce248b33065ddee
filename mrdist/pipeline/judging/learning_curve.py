"""How few pairs suffice: the error on people not trained on against the number of training pairs."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from os import fspath
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import ParameterError
from mrdist.execution import Scheduler, open_executor, progress_bar
from mrdist.geometry import Block, ReceptiveField, block_grid, pool_radius
from mrdist.methods.lesson import check_two
from mrdist.methods.masked.sums import sum_images
from mrdist.methods.option_table import OPTIONS
from mrdist.moments import padded_window
from mrdist.planning import DEFAULT_MEMORY
from mrdist.pooling import Pool
from mrdist.running.workers import check_workers
from mrdist.solvers import check_alpha, solve
from mrdist.storage import Images, StorageOptions, redact
from mrdist.synthesis import MaskedWeights, to_floats

_BLOCK = (64, 64)


@dataclass(frozen=True)
class _Task:
    images_url: str
    images_options: StorageOptions = dataclasses.field(repr=False)
    labels: tuple[str, str]
    portions: tuple[tuple[int, ...], ...]
    tested: tuple[int, ...]
    fields: tuple[ReceptiveField, ...]
    alpha: float
    pool: int
    block: Block


@plain_arguments
def learning_curve(
    images_url: Address,
    *,
    source: str,
    target: str,
    pairs: Sequence[int] = (),
    receptive_fields: Sequence[int] = (3,),
    alpha: float = 0.4,
    pool: int = 0,
    split: str = "test",
    seed: int = 0,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
) -> dict[str, Any]:
    """Train masked regression on more and more pairs, and score each on people outside the training.

    Sums over images add up, so every pair is summed once, and all receptive fields come from the largest one's sums.

    Parameters
    ----------
    images_url
        An images store.
    source, target
        Labels.
    pairs
        Numbers of training pairs, each containing those before; by default 5 and its doublings up to all.
    receptive_fields, alpha, pool
        As in `mrdist.train`; the fields without dilation, with shared weights of the channels.
    split
        Whose images are scored.
    seed
        Decides the order in which pairs are added.
    workers, scheduler, progress, storage_options
        As in `mrdist.train`; in this process by default.

    Returns
    -------
    dict
        ``pairs``; ``curves``: for each field, the MSE at each number of pairs; and the MSE of the ``identity``. Of a
        linked target also ``scale``: what 0 and 1 mean.

    Raises
    ------
    ParameterError
        If a number of pairs is not positive or more than there are.
    DataError, LabelError
        If there are no pairs to train on or to score, or no such label.
    """
    check_two(source, target)
    images_url = fspath(images_url)
    if workers is None and scheduler is None:
        workers = 0
    check_workers(workers, scheduler, images_url)
    images = Images.open(images_url, storage_options)
    images.check_whole((source, target), "a learning curve")
    rows, tested = (images.rows((source, target), each) for each in ("train", split))
    fields = [ReceptiveField(size) for size in receptive_fields]
    if not fields:
        raise ParameterError("give at least one receptive field.")
    for field in fields:
        field.check_fits(images.shape)
    counts = sorted(set(pairs)) or _doublings(len(rows))
    for count in counts:
        if not 1 <= count <= len(rows):
            raise ParameterError(
                f"pairs must be from 1 to {len(rows)}, the training pairs of {redact(images.url)}, got {count}."
            )
    order = sorted(rows.tolist(), key=lambda row: hashlib.sha256(f"{seed} {images.image[row]}".encode()).digest())
    portions = tuple(tuple(sorted(order[start:stop])) for start, stop in zip([0, *counts[:-1]], counts, strict=True))
    check_alpha(alpha)
    pool = OPTIONS["pool"].domain.check("pool", pool)
    labels, test_rows = (source, target), tuple(tested.tolist())
    tasks = [
        _Task(images.url, storage_options, labels, portions, test_rows, tuple(fields), alpha, pool, block)
        for block in block_grid(images.shape, _BLOCK)
    ]
    errors_of_block: dict[Block, npt.NDArray[np.float64]] = {}
    with (
        open_executor(
            workers=workers, scheduler=scheduler, n_tasks=len(tasks), max_memory=DEFAULT_MEMORY, module=__name__
        ) as executor,
        progress_bar(len(tasks), 0, "block", show=progress) as advance,
    ):
        for task, errors in executor.run(_block_errors, tasks, name="curve", describe=lambda t: f"block {t.block}"):
            errors_of_block[task.block] = errors
            advance(1, "")
    link = images.link_of(target)
    n_values = len(tested) * images.shape[0] * images.shape[1] * images.n_channels
    mse = np.sum([errors_of_block[task.block] for task in tasks], axis=0) / n_values
    return {
        "source": source,
        "target": target,
        "split": split,
        "alpha": alpha,
        "pool": pool,
        "pairs": counts,
        "curves": {
            f"mr {field.size}x{field.size}": mse[1 + k :: len(fields)].tolist() for k, field in enumerate(fields)
        },
        "identity": float(mse[0]),
        **({} if link is None else {"scale": link.meaning.scale}),
    }


def _doublings(n: int) -> list[int]:
    """Return 5 and its doublings below ``n``, and ``n``.

    Examples
    --------
    >>> _doublings(64), _doublings(3)
    ([5, 10, 20, 40, 64], [3])
    """
    counts = [5]
    while counts[-1] * 2 < n:
        counts.append(counts[-1] * 2)
    return [count for count in counts if count < n] + [n]


def _block_errors(task: _Task) -> npt.NDArray[np.float64]:
    """Return the sums of squared errors: the identity's, then for every number of pairs that of each field."""
    images = Images.open(task.images_url, task.images_options)
    largest = max(task.fields, key=lambda field: field.size)
    summed = task.block.grown(pool_radius(task.pool)).clipped(images.shape)
    pool = Pool.of(task.block, task.pool, images.shape, summed) if task.pool else None
    models: list[MaskedWeights] = []
    total = None
    for portion in task.portions:
        sums = sum_images(images, task.labels, np.array(portion), largest, summed, n_groups=1, slab=images.chunks[0])
        total = sums if total is None else total.merge(sums)
        for field in task.fields:
            solution = solve(total.restrict(field), task.alpha, pool=pool)
            models.append(MaskedWeights(field, "shared", images.n_channels, solution.coef[0], solution.intercept[0]))
    errors = np.zeros(1 + len(models))
    reader = images.reader()
    window = task.block.grown(largest.halo)
    inside = window.clipped(images.shape)
    for start, stop, chosen in images.slabs(np.array(task.tested), images.chunks[0]):
        pixels = reader.read(task.labels[0], start, stop, inside)[chosen]
        x = padded_window(pixels, window, (inside.y0, inside.x0))
        wanted = to_floats(reader.read(task.labels[1], start, stop, task.block)[chosen])
        errors[0] += np.square(to_floats(x[:, *task.block.within(window)]) - wanted).sum()
        for k, model in enumerate(models, start=1):
            own = task.block.grown(model.field.halo).within(window)
            errors[k] += np.square(model.predict_window(x[:, *own]) - wanted).sum()
    return errors
