"""Ways to cut an image into blocks, and the choice between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any, TypeVar

import numpy as np

from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.geometry import Block, Shape
from mrdist.planning.units import BASE_MEMORY, KERNEL_MEMORY, MIB

AnyCut = TypeVar("AnyCut", bound="Cut")
_HARDLY = 1.05


@dataclass(frozen=True)
class Cut:
    """A cut of the work on an image into blocks, and its cost.

    Attributes
    ----------
    block
        Height and width of a block of output pixels.
    n_blocks
        Number of tasks.
    peak_memory
        Expected peak of resident bytes of one worker process.
    bytes_read
        Decoded bytes of all chunks that are read, with the halo's amplification.
    bytes_written
        Bytes of the output before compression.
    seconds_alone
        What one process takes at cautious rates, which decides whether workers are worth their start; None where
        nobody knows (`mrdist.planning.effort`).
    """

    block: Shape
    n_blocks: int
    peak_memory: int
    bytes_read: int
    bytes_written: int
    seconds_alone: float | None = field(default=None, kw_only=True)


def find_blocks(shape: Shape, unit: int, block: Shape | None) -> list[Shape]:
    """Return blocks to choose from, largest first: whole chunks of the output."""
    if block is None:
        return _halvings((round_up(shape[0], unit), round_up(shape[1], unit)), unit)
    return [whole_block(shape, unit, block)]


def whole_block(shape: Shape, unit: int, block: Shape) -> Shape:
    """Return a requested block rounded up to whole chunks of the output, at most the whole image.

    Raises
    ------
    ParameterError
        If it is not a height and a width in pixels.

    Examples
    --------
    >>> whole_block((128, 200), 16, (20, 1000))
    (32, 208)
    """
    height, width = check_block(block)
    return min(round_up(height, unit), round_up(shape[0], unit)), min(round_up(width, unit), round_up(shape[1], unit))


def check_block(block: Any) -> Shape:
    """Return a requested block as height and width.

    Raises
    ------
    ParameterError
        If it is not two whole numbers of at least 1.
    """
    sides = block.tolist() if isinstance(block, np.ndarray) else block
    are_two = isinstance(sides, list | tuple) and len(sides) == 2
    if not are_two or any(isinstance(side, bool) or not isinstance(side, Integral) for side in sides):
        text = repr(sides)
        raise ParameterError(
            "block must be height and width in pixels, two whole numbers of at least 1, got "
            f"{text if len(text) <= 80 else f'{text[:80]}...'}."
        )
    height, width = map(int, sides)
    if min(height, width) < 1:
        raise ParameterError(f"block must be at least 1 x 1 pixels, got {height} x {width}.")
    return height, width


def _halvings(whole: Shape, unit: int) -> list[Shape]:
    """Blocks from the whole image down to one chunk, the longer side halved each time."""
    height, width = whole
    blocks = [(height, width)]
    while height > unit or width > unit:
        if height >= width:
            height = round_up(-(-height // 2), unit)
        else:
            width = round_up(-(-width // 2), unit)
        blocks.append((height, width))
    return blocks


def round_up(value: int, unit: int) -> int:
    """Return the next multiple of ``unit``."""
    return -(-value // unit) * unit


def fastest(cuts: Sequence[AnyCut], n_slots: int) -> AnyCut:
    """Choose the cut that is read fastest; among cuts that hardly differ, the one that reads least."""
    soonest = min(_read_by_one_slot(cut, n_slots) for cut in cuts)
    soon = [cut for cut in cuts if _read_by_one_slot(cut, n_slots) <= _HARDLY * soonest]
    return min(soon, key=lambda cut: cut.bytes_read)


def _read_by_one_slot(cut: Cut, n_slots: int) -> float:
    """Bytes that one slot reads, which grow with the blocks' halos and shrink with the number of slots at work."""
    return cut.bytes_read / cut.n_blocks * -(-cut.n_blocks // n_slots)


def count_blocks(shape: Shape, block: Shape) -> int:
    """Return how many blocks an image has."""
    return -(-shape[0] // block[0]) * -(-shape[1] // block[1])


def touched(part: Block, chunks: Shape, shape: Shape) -> int:
    """Pixels of all chunks that a rectangle touches."""
    height, width = chunks
    y0, y1 = part.y0 // height * height, min(round_up(part.y1, height), shape[0])
    x0, x1 = part.x0 // width * width, min(round_up(part.x1, width), shape[1])
    return (y1 - y0) * (x1 - x0)


def too_large(block: Shape, needed: int, max_memory: int, instead: str) -> MemoryLimitError:
    """Return the error for a smallest block that needs too much memory."""
    return MemoryLimitError(
        f"a block of {block[0]} x {block[1]} pixels needs {-(-needed // MIB)} MiB in a worker "
        f"({(BASE_MEMORY + KERNEL_MEMORY) // MIB} MiB of it before any work), but max_memory is {max_memory // MIB} "
        f"MiB; raise --max-memory, or {instead}."
    )
