"""What a cross-validation tries, and the arrays in which its first phase keeps what it has found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.geometry import ReceptiveField, Shape, common_field, pool_radius
from mrdist.storage.access.arrays import ArraySpec
from mrdist.storage.access.chunks import UNCOMPRESSED
from mrdist.storage.weights.masked import MaskedTraining
from mrdist.storage.weights.output import chunk_side
from mrdist.values import dtype_of_sums

_CHUNK_BYTES = 32 << 20


@dataclass(frozen=True)
class Search:
    """What a cross-validation tries, and everything else that decides its outcome.

    Attributes
    ----------
    receptive_field, dilation, pool
        Of every model to try: a field, and over how many pixels its sums are pooled; no pool stands for 0 of all.
    alphas
        Penalties to try with each, ascending.
    folds, seed
        As for `mrdist.selection.assign_folds`.
    rule
        ``min``, ``1se`` or ``pixel``.
    subjects
        Hash of the person of every image, in order.
    """

    receptive_field: tuple[int, ...]
    dilation: tuple[int, ...]
    alphas: tuple[float, ...]
    folds: int
    seed: int
    rule: str
    subjects: str
    pool: tuple[int, ...] = ()

    @classmethod
    def of(cls, attribute: Mapping[str, Any]) -> Search:
        """Return what an attribute ``cross_validation`` says."""
        values: dict[str, Any] = {name: attribute[name] for name in cls.__dataclass_fields__ if name in attribute}
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return what goes into the attribute ``cross_validation``."""
        said = {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}
        if not self.pool:
            del said["pool"]  # as it was before there were pools
        return said

    @property
    def models(self) -> list[tuple[ReceptiveField, int]]:
        """The fields to try, each with a pool."""
        pools = self.pool or (0,) * len(self.receptive_field)
        return [
            (ReceptiveField(size, dilation), pool)
            for size, dilation, pool in zip(self.receptive_field, self.dilation, pools, strict=True)
        ]

    @property
    def field(self) -> ReceptiveField:
        """The field that serves all of them."""
        return common_field([field for field, _ in self.models])

    @property
    def fields(self) -> list[ReceptiveField]:
        """That, and the fields to try, each once."""
        return list(dict.fromkeys([self.field, *(field for field, _ in self.models)]))

    @property
    def n_columns(self) -> int:
        """Errors kept of every model and fold: of each penalty, and of the pixels' own choices where they have one."""
        return len(self.alphas) + (self.rule == "pixel")


def table_name(index: int, number: int) -> str:
    """Return the name of the sums over the rows that pixels of a block leave out, of one of the fields."""
    return f"left_out_{index}_{number}"


def table_of(index: int, number: int, values: npt.NDArray[np.int64]) -> ArraySpec:
    """Return the array that keeps them, a row for every pixel."""
    n_pixels, n_columns = values.shape
    chunks = min(n_pixels, max(1, _CHUNK_BYTES // (8 * n_columns))), n_columns
    axes, name = {"pixel": n_pixels, "column": n_columns}, table_name(index, number)
    return ArraySpec(name, axes, np.int64, chunks, values, compressors=UNCOMPRESSED)


def scratch_arrays(training: MaskedTraining, search: Search, unit: int, block: Shape) -> Iterator[ArraySpec]:
    """Yield what the first phase keeps: errors of tiles, what every pixel chooses, and sums of blocks."""
    sums = dtype_of_sums(training.n_images * training.rows_per_image, unit)
    (height, width), n_groups = training.shape, training.n_groups
    field, side = search.field, chunk_side(training.shape)
    inside = min(block[0], height), min(block[1], width)
    lent = 2 * pool_radius(training.pool)
    summed = min(inside[0] + lent, height), min(inside[1] + lent, width)
    window = summed[0] + field.reach, summed[1] + field.reach
    table = {"model": len(search.models), "column": search.n_columns, "fold": search.folds}
    yield ArraySpec(
        "errors",
        {"tile_y": -(-height // side), "tile_x": -(-width // side), **table},
        np.float64,
        (-(-inside[0] // side), -(-inside[1] // side), *table.values()),
        compressors=UNCOMPRESSED,
    )
    if training.drops_rows:
        counted = {"model": len(search.models), "fold": search.folds}
        yield ArraySpec(
            "counts",
            {"tile_y": -(-height // side), "tile_x": -(-width // side), **counted},
            np.int64,
            (-(-inside[0] // side), -(-inside[1] // side), *counted.values()),
            compressors=UNCOMPRESSED,
        )
    if search.rule == "pixel":
        kept = {"model": len(search.models), "group": n_groups}
        axes, chunks = {**kept, "y": height, "x": width}, (*kept.values(), *inside)
        yield ArraySpec("best", axes, np.uint16, chunks, compressors=UNCOMPRESSED)
    n_blocks = -(-height // block[0]) * -(-width // block[1])
    planes = {"plane": n_groups * training.n_inputs}
    pairs = {"pair": n_groups * training.n_inputs**2}
    shapes: tuple[tuple[str, dict[str, int], Shape], ...] = (
        ("lag", {**pairs, "shift": field.n_lags}, window),
        ("cross", {**pairs, "offset": field.n_offsets}, summed),
        ("source_sum", planes, window),
        ("target_sum", planes, summed),
        ("target_square", planes, summed),
    )
    for name, maps, rectangle in shapes:
        lengths = tuple(maps.values())
        fitting = max(1, _CHUNK_BYTES // (prod(rectangle) * sums.itemsize))
        axes = {"block": n_blocks, **maps, "y": rectangle[0], "x": rectangle[1]}
        chunks = (1, *(1 for _ in lengths[1:]), min(lengths[-1], fitting), *rectangle)
        yield ArraySpec(name, axes, sums, chunks, compressors=UNCOMPRESSED)
