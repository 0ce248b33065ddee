"""Windows of pixels that lie chunk by chunk hold the pixels of the whole, and give the sums of the whole."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import SufficientStatistics, padded_window
from mrdist.windows import ChunkedWindow

MAPS = ("lag", "cross", "source_sum", "target_sum", "target_square")


@st.composite
def chunked(draw, *, n_images=5, n_channels=None):
    """Draw images, where a window of them begins, and the window in chunks; what is not the window's is noise."""
    n_channels = n_channels or draw(st.sampled_from([1, 2, 3]))
    height, width, n_rows = draw(st.integers(1, 20)), draw(st.integers(1, 40)), draw(st.integers(1, 3))
    n_columns, n_above = draw(st.integers(1, 4)), draw(st.integers(0, 6))
    spare, first_slot = draw(st.integers(0, 2)), draw(st.integers(0, 9))
    noise = np.random.default_rng(draw(st.integers(0, 99)))
    slots = n_columns + spare
    chunks = noise.integers(0, 256, (slots, n_rows, n_images, height, width, n_channels), dtype=np.uint8)
    above = noise.integers(0, 256, (n_columns, n_images, n_above, width, n_channels), dtype=np.uint8)
    columns = [chunks[(first_slot + k) % slots] for k in range(n_columns)]
    below = np.concatenate([np.concatenate(list(rows), axis=1) for rows in columns], axis=2)
    pixels = np.concatenate([np.concatenate(list(above), axis=2), below], axis=1)
    y0, x0 = draw(st.integers(0, pixels.shape[1] - 1)), draw(st.integers(0, pixels.shape[2] - 1))
    y1, x1 = draw(st.integers(y0 + 1, pixels.shape[1])), draw(st.integers(x0 + 1, pixels.shape[2]))
    seen = Block(y0 - draw(st.integers(0, 3)), x0 - draw(st.integers(0, 3)), y1 + draw(st.integers(0, 3)), x1 + 2)
    inside = Block(y0, x0, y1, x1)
    window = ChunkedWindow(chunks, above, first_slot, (seen.y0 - n_above, seen.x0), inside.seen_from(seen))
    return padded_window(pixels[:, y0:y1, x0:x1], seen, (y0, x0)), window


@given(chunked(), st.data())
def test_a_window_holds_the_pixels_of_the_whole(drawn, data):
    wanted, window = drawn
    chosen = np.array(data.draw(st.lists(st.integers(0, 4), max_size=5)), dtype=np.int64)
    np.testing.assert_array_equal(window.dense(chosen, wanted.shape[1:3]), wanted[chosen])


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("n_groups", ["shared", "separate"])
@given(data=st.data())
def test_the_sums_of_a_window_are_those_of_the_whole(n_groups, n_channels, data):
    wanted, window = data.draw(chunked(n_channels=n_channels))
    field = ReceptiveField(data.draw(st.sampled_from([1, 3, 5])))
    height, width = (n - field.reach for n in wanted.shape[1:3])
    if min(height, width) < 1:
        return
    chosen = np.array(data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5, unique=True)), dtype=np.int64)
    target = wanted[:, field.halo : field.halo + height, field.halo : field.halo + width]
    empty = SufficientStatistics.zeros(
        field, (height, width), n_groups=1 if n_groups == "shared" else n_channels, unit=255
    )
    whole, found = empty.update(wanted, target, chosen), None
    empty = SufficientStatistics.zeros(field, (height, width), n_groups=len(whole.source_sum), unit=255)
    found = empty.update(window, target, chosen)
    assert found.n_rows == whole.n_rows
    for name in MAPS:
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name), err_msg=name)
