from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist.errors import DataError, ParameterError
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import SufficientStatistics, groups_of, padded_window, to_integers, unit_of

MAPS = ("lag", "cross", "source_sum", "target_sum", "target_square")


def rows(integers, color):
    """Int64 rows of shape (group, row, y, x)."""
    integers = integers.astype(np.int64)
    if color == "shared":
        return np.moveaxis(integers, 3, 1).reshape(1, -1, *integers.shape[1:3])
    return np.moveaxis(integers, 3, 0)


def paired(a, b, color):
    """Sums over the rows of products of planes, shape (pair, y, x): each with itself, or for joint colour with all."""
    pairs = np.einsum("mnyx,knyx->mkyx", a, b) if color == "joint" else (a * b).sum(axis=1)
    return pairs.reshape(-1, *pairs.shape[-2:])


def assert_exact(statistics, source, target, field, color):
    """Compare with int64 sums over the images' integers, with zeros around them."""
    halo = field.halo
    padded = np.pad(source, ((0, 0), (halo, halo), (halo, halo), (0, 0)))
    x, t = rows(padded, color), rows(target, color)
    height, width = x.shape[2:]
    assert statistics.n_rows == x.shape[1]
    assert np.array_equal(statistics.source_sum, x.sum(axis=1))
    assert np.array_equal(statistics.target_sum, t.sum(axis=1))
    assert np.array_equal(statistics.target_square, (t * t).sum(axis=1))
    for k, (dy, dx) in enumerate(field.lags):
        left, right = max(0, -dx), min(width, width - dx)
        here = x[:, :, : height - dy, left:right]
        there = x[:, :, dy:, left + dx : right + dx]
        assert np.array_equal(statistics.lag[:, k, : height - dy, left:right], paired(here, there, color))
    for k, (dy, dx) in enumerate(field.offsets + halo):
        seen = x[:, :, dy : dy + t.shape[2], dx : dx + t.shape[3]]
        assert np.array_equal(statistics.cross[:, k], paired(t, seen, color))


def same(one, other):
    assert one.n_rows == other.n_rows
    for name in MAPS:
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("n_images", [86, 300, 600])
def test_bright_bytes_of_several_tiles(n_images, n_channels, color, draw_images, statistics_of):
    shape = (n_images, 6, 9, n_channels)
    source, target = draw_images(shape, "bright"), draw_images(shape, "bright", seed=1)
    field = ReceptiveField(3)
    assert_exact(statistics_of(source, target, field, color), source, target, field, color)


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("n_channels", [1, 2, 3, 5])
@pytest.mark.parametrize("n_images", [1, 2, 3, 4, 5, 258, 259])
def test_white_bytes_with_a_rest_of_less_than_four(n_images, n_channels, color, statistics_of):
    images = np.full((n_images, 3, 20, n_channels), 255, dtype=np.uint8)
    field = ReceptiveField(3)
    assert_exact(statistics_of(images, images, field, color), images, images, field, color)


@pytest.mark.slow
def test_white_bytes_beyond_32_bits(statistics_of):
    images = np.full((70_000, 1, 2, 1), 255, dtype=np.uint8)
    field = ReceptiveField(1)
    statistics = statistics_of(images, images, field)
    assert statistics.lag.dtype == np.int64
    assert_exact(statistics, images, images, field, "shared")


def test_black_and_white_bytes(statistics_of):
    """What the bytes are stored less, 128, cancels where it matters most."""
    source, target = np.random.default_rng(0).choice(np.array([0, 1, 127, 128, 255], np.uint8), (2, 131, 9, 21, 1))
    field = ReceptiveField(5)
    assert_exact(statistics_of(source, target, field), source, target, field, "shared")


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_bright_images_of_more_bits(n_channels, dtype, draw_images, statistics_of):
    shape = (600, 4, 5, n_channels)
    source, target = draw_images(shape, "bright", dtype), draw_images(shape, "bright", dtype, seed=1)
    field = ReceptiveField(3)
    statistics = statistics_of(source, target, field)
    assert_exact(statistics, to_integers(source), to_integers(target), field, "shared")


def test_white_floats(statistics_of):
    images = np.ones((600, 2, 3, 1), dtype=np.float32)
    field = ReceptiveField(1)
    assert_exact(statistics_of(images, images, field), to_integers(images), to_integers(images), field, "shared")


@pytest.mark.parametrize("field", [ReceptiveField(1), ReceptiveField(3), ReceptiveField(5), ReceptiveField(3, 2)])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize(
    "shape",
    [(1, 1), (1, 50), (50, 1), (7, 161), (17, 160), (33, 330)],
    ids=lambda shape: f"{shape[0]}x{shape[1]}",
)
def test_odd_shapes(shape, n_channels, field, draw_images, statistics_of):
    source, target = (draw_images((5, *shape, n_channels), seed=seed) for seed in (0, 1))
    assert_exact(statistics_of(source, target, field, "separate"), source, target, field, "separate")


@pytest.mark.parametrize(
    "field",
    [ReceptiveField(3, 3), ReceptiveField(5, 3), *(ReceptiveField(size) for size in (7, 9, 11, 13, 15, 17))],
)
def test_wide_fields(field, draw_images, statistics_of):
    source, target = (draw_images((5, 23, 40, 2), seed=seed) for seed in (0, 1))
    assert_exact(statistics_of(source, target, field), source, target, field, "shared")


def test_a_block_knows_its_neighbourhood(draw_images, statistics_of):
    source, target = (draw_images((9, 12, 14, 1), seed=seed) for seed in (0, 1))
    field, block = ReceptiveField(3, 2), Block(1, 4, 7, 12)
    whole, part = statistics_of(source, target, field), statistics_of(source, target, field, block=block)
    window = (slice(1, 1 + 6 + 4), slice(4, 4 + 8 + 4))
    assert np.array_equal(part.source_sum, whole.source_sum[:, *window])
    assert np.array_equal(part.cross, whole.cross[:, :, *block.slices])
    assert np.array_equal(part.target_square, whole.target_square[:, *block.slices])
    for k, (dy, dx) in enumerate(field.lags):  # entries whose partner lies in the window
        inside = (slice(0, 10 - dy), slice(max(0, -dx), 12 - max(0, dx)))
        assert np.array_equal(part.lag[:, k, *inside], whole.lag[:, k, *window][:, *inside])


N_IMAGES = 24
SPLIT = st.lists(st.integers(0, 3), min_size=N_IMAGES, max_size=N_IMAGES)


@given(part_of=SPLIT, color=st.sampled_from(["shared", "separate", "joint"]))
def test_any_split_of_the_images_merges_to_the_whole(part_of, color, draw_images, statistics_of):
    source, target = (draw_images((N_IMAGES, 4, 9, 2), "bright", seed=seed) for seed in (0, 1))
    field = ReceptiveField(3)
    whole = statistics_of(source, target, field, color)
    chosen = [np.array(part_of) == part for part in sorted(set(part_of))]
    first, *others = [statistics_of(source[rows], target[rows], field, color) for rows in chosen]
    rest = SufficientStatistics.zeros(field, (4, 9), n_groups=first.n_groups, n_inputs=first.n_inputs, unit=255)
    for part in others:
        rest = part.merge(rest)
    same(first.merge(rest), whole)
    same(whole.subtract(first), rest)


@given(order=st.permutations(range(N_IMAGES)), cuts=st.sets(st.integers(1, N_IMAGES - 1), max_size=4))
def test_order_and_slabs_of_updates_do_not_matter(order, cuts, draw_images, statistics_of):
    source, target = (draw_images((N_IMAGES, 4, 9, 1), "bright", seed=seed) for seed in (0, 1))
    field = ReceptiveField(3)
    statistics = SufficientStatistics.zeros(field, (4, 9), n_groups=1, unit=255)
    window = padded_window(source, Block(-1, -1, 5, 10))
    for rows in np.split(np.array(order), sorted(cuts)):
        statistics = statistics.update(window[rows], target[rows])
    same(statistics, statistics_of(source, target, field))


@pytest.mark.parametrize("n_channels", [1, 2, 3])
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_chosen_images_are_the_only_ones_added(n_channels, color, draw_images, statistics_of):
    field, block = ReceptiveField(3), Block(0, 0, 20, 37)
    source, target = (draw_images((11, 20, 37, n_channels), seed=seed) for seed in (0, 1))
    chosen = np.array([9, 0, 4, 5, 10, 2])
    n_groups, n_inputs = groups_of(color, n_channels)
    nothing = SufficientStatistics.zeros(field, block.shape, n_groups=n_groups, n_inputs=n_inputs, unit=255)
    found = nothing.update(padded_window(source, block.grown(1)), target, chosen)
    same(found, statistics_of(source[chosen], target[chosen], field, color))


def test_no_images_change_nothing(draw_images, statistics_of):
    images = draw_images((3, 4, 5, 1))
    field = ReceptiveField(3)
    whole, none = statistics_of(images, images, field), statistics_of(images[:0], images[:0], field)
    assert none.n_rows == 0
    same(whole.merge(none), whole)


@pytest.mark.parametrize(
    ("dtype", "limit"),
    [(np.uint8, (2**63 - 1) // 255**2), (np.uint16, (2**63 - 1) // 65535**2), (np.float32, 2**19 - 1)],
)
def test_rows_beyond_int64_are_refused(dtype, limit, draw_images, statistics_of):
    images = draw_images((2, 3, 3, 1), dtype=dtype)
    integers = to_integers(images)
    statistics = statistics_of(images, images, ReceptiveField(1))
    assert replace(statistics, n_rows=limit - 2).update(integers, integers).n_rows == limit
    with pytest.raises(DataError, match=f"{limit + 1} rows exceed the {limit}"):
        replace(statistics, n_rows=limit - 1).update(integers, integers)


def test_merged_rows_beyond_int64_are_refused(draw_images, statistics_of):
    images = draw_images((2, 3, 3, 1), dtype=np.float32)
    statistics = statistics_of(images, images, ReceptiveField(1))
    with pytest.raises(DataError, match="rows exceed"):
        replace(statistics, n_rows=2**19 - 2).merge(statistics)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -1e-6, 1.0001, 255.0])
def test_floats_outside_their_range_are_refused(value):
    images = np.full((2, 3, 3, 1), 0.5)
    images[1, 2, 0, 0] = value
    with pytest.raises(DataError, match=r"the photographs hold .* must lie in 0\.\.1"):
        to_integers(images, "the photographs")


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint32, bool, complex])
def test_dtypes_without_a_white_are_refused(dtype):
    with pytest.raises(DataError, match=f"got {np.dtype(dtype)}"):
        unit_of(dtype)
    with pytest.raises(DataError, match=f"got {np.dtype(dtype)}"):
        to_integers(np.zeros((1, 2, 2, 1), dtype=dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_are_rounded_once(dtype):
    floats = np.random.default_rng(0).uniform(0, 1, 1000).astype(dtype)
    wanted = [round(float(value) * 2**22) for value in floats]
    assert to_integers(floats).tolist() == wanted


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_stay_as_they_are(dtype, draw_images):
    images = draw_images((3, 4), dtype=dtype)
    assert to_integers(images) is images


def test_statistics_that_do_not_match_cannot_be_combined(draw_images, statistics_of):
    images = draw_images((3, 8, 9, 2))
    field = ReceptiveField(3)
    statistics = statistics_of(images, images, field)
    others = [
        statistics_of(images, images, ReceptiveField(5)),
        statistics_of(images, images, ReceptiveField(3, 2)),
        statistics_of(images, images, field, "separate"),
        statistics_of(images[:, 1:], images[:, 1:], field),
        statistics_of(images.astype(np.uint16), images.astype(np.uint16), field),
    ]
    for other in others:
        for combine in (statistics.merge, statistics.subtract):
            with pytest.raises(ParameterError, match="cannot be combined"):
                combine(other)


def test_combining_leaves_its_parts_alone(draw_images, statistics_of):
    images = draw_images((3, 4, 5, 1))
    one, other = (statistics_of(images, images, ReceptiveField(3)) for _ in range(2))
    one.merge(other)
    one.subtract(other)
    same(one, other)
    assert {field.name for field in fields(one)} == {"field", "unit", "target_unit", "n_rows", "left_out", *MAPS}


@given(
    y=st.tuples(st.integers(-4, 4), st.integers(5, 9)),
    x=st.tuples(st.integers(-4, 5), st.integers(6, 9)),
    origin=st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_a_window_holds_zeros_beyond_the_images(y, x, origin, draw_images):
    images = draw_images((2, 5, 6, 1), "bright")
    around = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    block = Block(y[0] + origin[0], x[0] + origin[1], y[1] + origin[0], x[1] + origin[1])
    window = padded_window(images, block, origin)
    assert np.array_equal(window, around[:, 4 + y[0] : 4 + y[1], 4 + x[0] : 4 + x[1]])
    assert window.flags.c_contiguous
