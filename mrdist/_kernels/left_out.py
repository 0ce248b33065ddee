"""Sums over the rows that pixels leave out, pixel by pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit

Array = npt.NDArray[Any]


@jit
def add_left_out(
    source: Array,  # (image, window row, window column, channel), integers, zero where a value is missing
    target: Array,  # (image, row, column, channel)
    lost_source: Array,  # (image, window row, window column)
    lost_target: Array,  # (image, row, column)
    chosen: Array,
    taps: Array,  # (tap, 2): row and column in the window of the first pixel
    n_inputs: int,
    index: Array,  # (row, column): which pixel it is among those that may leave rows out, -1 for others
    n_rows: Array,
    gram: Array,
    cross: Array,
    source_sum: Array,
    target_sum: Array,
    target_square: Array,
) -> None:
    """Add the rows that pixels leave out of the images ``chosen``; sums are those of `mrdist.left_out.LeftOut`."""
    n_channels = source.shape[3]
    n_groups, n_taps = source_sum.shape[1], source_sum.shape[2]
    n_offsets = len(taps)
    values = np.empty(n_taps, dtype=np.int64)
    for number in range(len(chosen)):
        image = chosen[number]
        for y in range(index.shape[0]):
            for x in range(index.shape[1]):
                pixel = index[y, x]
                if pixel < 0:
                    continue
                lost = lost_target[image, y, x]
                for tap in range(n_offsets):
                    lost |= lost_source[image, y + taps[tap, 0], x + taps[tap, 1]]
                if not lost:
                    continue
                for first in range(0, n_channels, n_inputs):
                    group = first // n_inputs % n_groups
                    for tap in range(n_taps):
                        at = tap % n_offsets
                        values[tap] = source[image, y + taps[at, 0], x + taps[at, 1], first + tap // n_offsets]
                    entry = 0
                    for a in range(n_taps):
                        source_sum[pixel, group, a] += values[a]
                        for b in range(a + 1):
                            gram[pixel, group, entry] += values[a] * values[b]
                            entry += 1
                    for k in range(n_inputs):
                        wanted = np.int64(target[image, y, x, first + k])
                        plane = group * n_inputs + k
                        target_sum[pixel, plane] += wanted
                        target_square[pixel, plane] += wanted * wanted
                        for a in range(n_taps):
                            cross[pixel, plane, a] += wanted * values[a]
                    if group == 0:
                        n_rows[pixel] += 1
