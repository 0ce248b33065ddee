"""What the photographs of an ingest look like before any is decoded, and what size and depth their store gets."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

import numpy as np
import numpy.typing as npt

from mrdist.datasets.depth import DEPTHS
from mrdist.datasets.photographs import Head, Take, read_head
from mrdist.errors import DataError, ParameterError, PhotographError
from mrdist.execution import Executor
from mrdist.geometry import Shape
from mrdist.running.driving import run_tasks, tracked

Size = int | tuple[int, int]
LARGEST, SMALLEST = 4096, 8
_PHOTOGRAPH_SECONDS = (5e-3, 0.3)  # to open one and write its images; and to find and align its face
_PIXEL_SECONDS = 4e-7


@dataclass(frozen=True)
class Looks:
    """The heads of the photographs of one take, or of many.

    Attributes
    ----------
    heads
        Photograph -> its head.
    reasons
        Why the others cannot be read.
    """

    heads: Mapping[str, Head] = field(default_factory=dict)
    reasons: Sequence[str] = ()


def look(take: Take) -> Looks:
    """Read the heads of a take's photographs; those that cannot be read are reported when they are aligned."""
    heads, reasons = {}, []
    for path in take.photographs.values():
        try:
            heads[os.fspath(path)] = read_head(path)
        except PhotographError as error:
            reasons.append(str(error))
    return Looks(heads, reasons)


def seconds_to_ingest(takes: Sequence[Take], align: str) -> float:
    """Return what one process takes to read and align all photographs, if they are as large as the first person's."""
    n_photographs = sum(len(take.photographs) for take in takes)
    heads = look(takes[0]).heads.values()
    pixels = max((head.height * head.width for head in heads), default=0)
    return n_photographs * (_PHOTOGRAPH_SECONDS[align != "none"] + _PIXEL_SECONDS * pixels)


def look_at_all(executor: Executor, takes: Sequence[Take], *, show: bool | None) -> Looks:
    """Read the heads of all photographs.

    Raises
    ------
    DataError
        If none can be read.
    """
    rows = dict(enumerate(takes))
    looks: dict[int, Looks] = {}
    with tracked(len(takes), 0, "person", show=show, phase="looking") as advance:
        for (row, _), seen in run_tasks(
            executor, _look, list(rows.items()), name="look", describe=lambda item: f"person {item[1].name}"
        ):
            looks[row] = seen
            advance(1, "")
    heads = {path: head for row in rows for path, head in looks[row].heads.items()}
    reasons = [reason for row in rows for reason in looks[row].reasons]
    if not heads:
        raise DataError(f"None of the photographs can be read; the first reason: {reasons[0]}")
    return Looks(heads, reasons)


def _look(item: tuple[int, Take]) -> Looks:
    return look(item[1])


def check_size(size: npt.ArrayLike) -> Size:
    """Return a side, or height and width.

    Raises
    ------
    ParameterError
        If images cannot have it.
    """
    given = np.atleast_1d(size)
    sides = given.tolist() if given.dtype.kind in "iu" and given.ndim == 1 else []
    if len(sides) not in (1, 2) or not all(SMALLEST <= side <= LARGEST for side in sides):
        raise ParameterError(
            f"size must be {SMALLEST} to {LARGEST} pixels, given as one side or as height and width, got {size!r}."
        )
    return sides[0] if len(sides) == 1 else (sides[0], sides[1])


def told(size: Size) -> str:
    """Return a size as ``--size`` takes it.

    Examples
    --------
    >>> told(128), told((128, 128)), told((144, 90))
    ('128', '128', '144,90')
    """
    sides = (size,) if isinstance(size, int) else size
    return str(sides[0]) if len(set(sides)) == 1 else ",".join(map(str, sides))


def square_side(looks: Looks) -> int:
    """Return the side that all photographs share, for the square frame of aligned faces.

    Raises
    ------
    DataError
        If they differ in size or are not square.
    """
    height, width = _common_shape(looks, "the size of the images in the store with --size")
    if height != width:
        name = _name(next(iter(looks.heads)))
        raise DataError(
            f"{name} has {width} x {height} pixels, but aligned images are square; give their side with --size, or "
            "leave the photographs unaligned with --align none."
        )
    return height


def shape_of(looks: Looks, size: Size | None, there: Shape | None) -> Shape:
    """Return height and width of the images of unaligned photographs.

    Parameters
    ----------
    looks
        Of the photographs.
    size
        What was asked for: one side for square photographs, or height and width for any.
    there
        Of the store that is added to.

    Raises
    ------
    DataError
        If the photographs differ in size, or would be stretched without being asked to.
    """
    if size is None and there is None:
        return _common_shape(looks, "the height and width of the images in the store with --size H,W")
    if isinstance(size, tuple):
        return size
    if size is None:
        assert there is not None
        for path, head in looks.heads.items():
            if (head.height, head.width) != there:
                raise DataError(
                    f"{_name(path)} has {head.width} x {head.height} pixels, but the images of the store have "
                    f"{there[1]} x {there[0]}; resize it with --size {there[0]},{there[1]}."
                )
        return there
    for path, head in looks.heads.items():
        if head.height != head.width:
            longer = max(head.height, head.width)
            height, width = (max(round(side * size / longer), 1) for side in (head.height, head.width))
            raise DataError(
                f"{_name(path)} has {head.width} x {head.height} pixels and would be stretched "
                f"{longer / min(head.height, head.width):.2g} times to {size} x {size}; keep its shape with --size "
                f"{height},{width}, or stretch it with --size {size},{size}."
            )
    return size, size


def stretched(looks: Looks, shape: Shape) -> list[str]:
    """Return the photographs whose shape differs from the images' by more than rounding."""
    height, width = shape
    return [
        path
        for path, head in looks.heads.items()
        if abs(head.width * height - head.height * width) > max(head.height, head.width)
    ]


def depth_of(looks: Looks, depth: str | None, there: str | None) -> str:
    """Return the dtype of the images of unaligned photographs.

    Parameters
    ----------
    looks
        Of the photographs.
    depth
        What was asked for.
    there
        Of the store that is added to.

    Raises
    ------
    DataError
        If the photographs differ, or are deeper than the store, and no depth is given.
    """
    if depth is not None:
        return depth
    deepest = max(looks.heads.items(), key=lambda item: DEPTHS.index(item[1].depth))
    if there is not None:
        if DEPTHS.index(deepest[1].depth) > DEPTHS.index(there):
            raise DataError(
                f"{_name(deepest[0])} has {_bits(deepest[1].depth)} per channel, but the images of the store have "
                f"{_bits(there)}; round it with --dtype {there}."
            )
        return there
    least = min(looks.heads.items(), key=lambda item: DEPTHS.index(item[1].depth))
    if least[1].depth != deepest[1].depth:
        low, high = least[1].depth, deepest[1].depth
        raise DataError(
            f"{_name(least[0])} has {_bits(low)} per channel, but {_name(deepest[0])} has {_bits(high)}; keep all "
            f"bits with --dtype {high}, or round with --dtype {low}."
        )
    return deepest[1].depth


def _bits(depth: str) -> str:
    return {"uint8": "8 bits", "uint16": "16 bits", "float32": "floats"}[depth]


def _common_shape(looks: Looks, remedy: str) -> Shape:
    (first, head), *others = looks.heads.items()
    for path, other in others:
        if (other.height, other.width) != (head.height, head.width):
            raise DataError(
                f"{_name(first)} has {head.width} x {head.height} pixels, but {_name(path)} has {other.width} x "
                f"{other.height}; give {remedy}."
            )
    return head.height, head.width


def _name(path: str) -> str:
    return PurePosixPath(path).name
