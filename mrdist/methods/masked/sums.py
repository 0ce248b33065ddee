"""Sums over the images of a block: read in bands of rows, each while the one before is summed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Block, ReceptiveField
from mrdist.left_out import LeftOut
from mrdist.methods.masked.bands import read_bands
from mrdist.moments import SufficientStatistics, unit_of
from mrdist.storage import Images

Array = npt.NDArray[np.generic]


def sum_images(
    images: Images,
    labels: tuple[str, str],
    rows: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    n_groups: int,
    n_inputs: int = 1,
    slab: int,
    margin: int = 0,
) -> SufficientStatistics:
    """Sum over images slab by slab; the next slab is read while this one is summed.

    Parameters
    ----------
    images
        An images store.
    labels
        Source and target.
    rows
        The images.
    field
        The receptive field.
    block
        Output pixels.
    n_groups, n_inputs
        Independent systems a pixel, and channels that each of them sees and predicts.
    slab
        Images read at a time.
    margin
        Pixels by which the sums reach beyond the block on every side; targets count as zeros there.

    Returns
    -------
    SufficientStatistics
        Of the block with its margin.
    """
    (statistics,) = sum_mappings(
        images, [labels], rows, field, block, n_groups=n_groups, n_inputs=n_inputs, slab=slab, margin=margin
    )
    return statistics


def sum_mappings(
    images: Images,
    mappings: Sequence[tuple[str, str]],
    rows: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    n_groups: int,
    n_inputs: int = 1,
    slab: int,
    margin: int = 0,
) -> list[SufficientStatistics]:
    """Sum over images that serve several mappings: every label is read once, and the sums of a source are taken once.

    Parameters
    ----------
    images, rows, field, block, n_groups, n_inputs, slab, margin
        As in `sum_images`.
    mappings
        Source and target of each.

    Returns
    -------
    list of SufficientStatistics
        One for each mapping; those of one source share its lag maps and sums.
    """
    how: dict[str, Any] = {"n_groups": n_groups, "n_inputs": n_inputs}
    shape, unit = block.grown(margin).shape, unit_of(images.dtype)
    statistics = [
        SufficientStatistics.zeros(
            field, shape, unit=unit, left_out=_nothing_left_out(images, labels, [field], block, margin, **how), **how
        )
        for labels in mappings
    ]
    for band in read_bands(images, mappings, rows, field, block, slab=slab, margin=margin):
        added: dict[str, SufficientStatistics] = {}
        for number, (source, target) in enumerate(mappings):
            like = added.get(source)
            statistics[number] = band.added_to(statistics[number], (source, target), like=like)
            added[source] = statistics[number]
    return statistics


def sum_folds(
    images: Images,
    labels: tuple[str, str],
    rows: npt.NDArray[np.int64],
    fold: npt.NDArray[np.int64],
    field: ReceptiveField,
    block: Block,
    *,
    n_groups: int,
    slab: int,
    n_inputs: int = 1,
    smaller: Sequence[ReceptiveField] = (),
) -> list[SufficientStatistics]:
    """Sum over images fold by fold while reading them once.

    Parameters
    ----------
    images, labels, rows, field, block, n_groups, slab, n_inputs
        As in `sum_images`.
    fold
        Of each of ``rows``; none is empty.
    smaller
        Fields to which the sums will be restricted.

    Returns
    -------
    list of SufficientStatistics
        One a fold.
    """
    how: dict[str, Any] = {"n_groups": n_groups, "n_inputs": n_inputs}
    fields = list(dict.fromkeys([field, *smaller]))
    unit = unit_of(images.dtype)
    statistics = [
        SufficientStatistics.zeros(
            field, block.shape, unit=unit, left_out=_nothing_left_out(images, labels, fields, block, **how), **how
        )
        for _ in range(fold.max() + 1)
    ]
    for band in read_bands(images, [labels], rows, field, block, slab=slab):
        for number in range(len(statistics)):
            chosen = band.chosen[fold[band.numbers] == number]
            statistics[number] = band.added_to(statistics[number], labels, chosen)
    return statistics


def incomplete_pixels(images: Images, labels: tuple[str, str], field: ReceptiveField) -> npt.NDArray[np.bool_] | None:
    """Return the pixels whose regressions may leave rows out, shape (y, x); None where there are none.

    They have no target in some images, or their field reads a value that some images miss.
    """
    source, target = map(images.incomplete, labels)
    if source is None or target is None:
        return None
    there = images.there(labels[1])
    pixels = target | field.readers_of(np.pad(source, field.halo)) & (True if there is None else there)
    return pixels if pixels.any() else None


def _nothing_left_out(
    images: Images,
    labels: tuple[str, str],
    fields: Sequence[ReceptiveField],
    block: Block,
    margin: int = 0,
    **how: int,
) -> LeftOut | None:
    """Return the sums of no rows, for the pixels of a block that may leave some out, of fields with the largest first.

    The margin around the block leaves none out.
    """
    if incomplete_pixels(images, labels, fields[0]) is None:
        return None
    where = {}
    for field in fields:
        incomplete = incomplete_pixels(images, labels, field)
        inside = np.zeros(block.shape, dtype=bool) if incomplete is None else incomplete[block.slices]
        where[field] = np.pad(inside, margin)
    return LeftOut.zeros(where, **how)
