"""Predictions to the last bit: intercept, then the taps in order, each product rounded and then added."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist.geometry import Block, ReceptiveField, block_grid
from mrdist.moments import padded_window, unit_of
from mrdist.synthesis import MaskedWeights, to_pixels

FIELDS = [ReceptiveField(1), ReceptiveField(3), ReceptiveField(3, 4), ReceptiveField(5, 2), ReceptiveField(7)]
COLORS = [(1, "shared"), (2, "shared"), (3, "shared"), (3, "separate"), (5, "shared"), (2, "joint"), (3, "joint")]


def draw_weights(field, color, n_channels, shape, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    groups = () if color == "shared" else (n_channels,)
    inputs = (n_channels,) if color == "joint" else ()
    coef = rng.normal(size=(*groups, *inputs, field.n_offsets, *shape)).astype(dtype)
    return MaskedWeights(field, color, n_channels, coef, rng.normal(size=(*groups, *shape)).astype(dtype))


def in_order(weights, images):
    """Every operation by itself, in the dtype of the weights.

    An output of joint colour sees its own channel first, and then those after it, each summed for itself.
    """
    if weights.color == "joint":
        outputs = np.arange(weights.n_channels)
        total = 0
        for turn in outputs:
            inputs = (outputs + turn) % weights.n_channels
            intercept = weights.intercept * (turn == 0)
            apart = MaskedWeights(weights.field, "separate", len(outputs), weights.coef[outputs, inputs], intercept)
            total = total + in_order(apart, images[..., inputs])
        return total
    dtype, halo, (height, width) = weights.coef.dtype, weights.field.halo, weights.shape
    unit = dtype.type(1 if images.dtype.kind == "f" else unit_of(images.dtype))
    shares = np.pad(images.astype(dtype) / unit, ((0, 0), (halo, halo), (halo, halo), (0, 0)))
    coef = np.moveaxis(weights.coef.reshape(-1, weights.field.n_offsets, height, width), 0, -1)
    total = np.moveaxis(weights.intercept.reshape(-1, height, width), 0, -1)
    for tap, (dy, dx) in enumerate(weights.field.offsets + halo):
        total = total + coef[tap] * shares[:, dy : dy + height, dx : dx + width]
    assert total.dtype == dtype
    return total


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n_channels", "color"), COLORS)
@pytest.mark.parametrize("field", FIELDS, ids=str)
def test_the_order_of_operations_is_fixed(field, n_channels, color, dtype, draw_images):
    for shape in ((17, 17), (19, 40), (18, 300)):
        weights = draw_weights(field, color, n_channels, shape, dtype)
        images = draw_images((7, *shape, n_channels))
        np.testing.assert_array_equal(weights.predict(images), in_order(weights, images))


@pytest.mark.parametrize("width", [*range(1, 20), 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 513])
def test_any_width(width, draw_images):
    for dtype in (np.float64, np.float32):
        weights = draw_weights(ReceptiveField(1), "separate", 2, (2, width), dtype)
        images = draw_images((2, 2, width, 2))
        np.testing.assert_array_equal(weights.predict(images), in_order(weights, images))


def test_many_tiles(draw_images):
    weights = draw_weights(ReceptiveField(7, 3), "shared", 1, (90, 530))
    images = draw_images((6, 90, 530, 1))
    np.testing.assert_array_equal(weights.predict(images), in_order(weights, images))


@pytest.mark.parametrize("images_dtype", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_any_dtype(dtype, images_dtype, draw_images):
    weights = draw_weights(ReceptiveField(3), "shared", 3, (9, 20), dtype)
    images = draw_images((3, 9, 20, 3), dtype=images_dtype)
    found = weights.predict(images)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, in_order(weights, images))


@pytest.mark.parametrize("images_dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_every_integer_is_divided_by_white_and_rounded_once(dtype, images_dtype):
    white = np.iinfo(images_dtype).max
    values = np.arange(white + 1, dtype=images_dtype).reshape(1, 256, -1)
    ones = np.ones(values.shape, dtype=dtype)
    weights = MaskedWeights(ReceptiveField(1), "shared", 1, ones, np.zeros_like(ones[0]))
    np.testing.assert_array_equal(weights.predict(values), values.astype(dtype) / dtype(white))


@given(cuts=st.sets(st.integers(1, 12), max_size=5))
def test_company_does_not_matter(cuts, draw_images):
    images = draw_images((13, 9, 21, 3))
    for color in ("shared", "separate", "joint"):
        weights = draw_weights(ReceptiveField(3), color, 3, (9, 21))
        parts = [weights.predict(part) for part in np.split(images, sorted(cuts))]
        np.testing.assert_array_equal(np.concatenate(parts), weights.predict(images))


@given(block=st.tuples(st.integers(1, 30), st.integers(1, 45)), field=st.sampled_from(FIELDS), float32=st.booleans())
def test_a_window_gives_the_pixels_of_the_whole(block, field, float32, draw_images):
    shape = (30, 45)
    images = draw_images((5, *shape, 3))
    for color in ("shared", "separate", "joint"):
        weights = draw_weights(field, color, 3, shape, np.float32 if float32 else np.float64)
        whole = weights.predict(images)
        for part in block_grid(shape, block)[:: max(1, len(block_grid(shape, block)) // 9)]:
            here = MaskedWeights(
                field, weights.color, 3, weights.coef[..., *part.slices], weights.intercept[..., *part.slices]
            )
            found = here.predict_window(padded_window(images, part.grown(field.halo)))
            np.testing.assert_array_equal(found, whole[:, *part.slices])


def test_neighbours_beyond_the_field_leave_no_trace(draw_images):
    weights = draw_weights(ReceptiveField(3), "shared", 1, (20, 40))
    images = draw_images((4, 20, 40, 1), dtype=np.float64)
    spoiled = images.copy()
    spoiled[1, 11, 30] = np.nan
    window = Block(-1, -1, 21, 41)
    found, clean = (weights.predict_window(padded_window(each, window)) for each in (spoiled, images))
    touched = np.zeros(found.shape, dtype=bool)
    touched[1, 10:13, 29:32] = True
    np.testing.assert_array_equal(np.isnan(found), touched)
    np.testing.assert_array_equal(found[~touched], clean[~touched])


def test_views_are_read_as_what_they_show(draw_images):
    images = draw_images((6, 24, 50, 1))
    weights = draw_weights(ReceptiveField(3), "shared", 1, (12, 25))
    view = images[::-1, ::2, 1::2]
    np.testing.assert_array_equal(weights.predict(view), weights.predict(view.copy()))
    turned = MaskedWeights(
        weights.field,
        "shared",
        1,
        np.asfortranarray(weights.coef),
        np.asfortranarray(weights.intercept),
    )
    np.testing.assert_array_equal(turned.predict(view), weights.predict(view))
    frozen = view.copy()
    frozen.flags.writeable = False
    np.testing.assert_array_equal(weights.predict(frozen), weights.predict(view))


@pytest.mark.parametrize("images_dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_pixels_are_clipped_and_rounded_half_to_even(dtype, images_dtype):
    halves = np.arange(-9, 131079) / 131070
    values = np.concatenate([halves, np.arange(-9, 519) / 510, [-0.0, 1e30, -1e30]]).astype(dtype).reshape(-1, 1)
    wanted = np.clip(values, 0, 1)
    if images_dtype != np.float32:
        wanted = np.rint(wanted * np.iinfo(images_dtype).max)
    found = to_pixels(values, images_dtype)
    assert found.dtype == images_dtype
    np.testing.assert_array_equal(found, wanted.astype(images_dtype))
