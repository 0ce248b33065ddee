from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist._kernels.systems import centred
from mrdist.errors import ParameterError, SolveError
from mrdist.geometry import Block, ReceptiveField, block_grid
from mrdist.moments import to_integers, unit_of
from mrdist.solvers import check_alpha, solve

RELATIVE = 1e-9
PARTS = ("coef", "intercept", "sse", "sst")
FIELDS = [
    ReceptiveField(1),
    ReceptiveField(3),
    ReceptiveField(5),
    ReceptiveField(3, 2),
    ReceptiveField(3, 3),
    ReceptiveField(5, 2),
]


def in_unit_range(images):
    """The values that mrdist sees: floats are rounded to multiples of 2^-22."""
    return to_integers(images).astype(np.float64) / unit_of(images.dtype)


def assert_solves(statistics, source, target, alpha, **options):
    field = statistics.field
    found = solve(statistics, alpha, penalize_intercept=options.get("penalize_intercept", True))
    source, target = in_unit_range(source), in_unit_range(target)
    wanted = oracle.masked_regression(source, target, field.size, alpha, dilation=field.dilation, **options)
    largest = np.maximum(np.abs(wanted.coef).max(axis=1), np.abs(wanted.intercept))
    assert (np.abs(found.coef - wanted.coef) <= RELATIVE * largest[:, None]).all()
    assert (np.abs(found.intercept - wanted.intercept) <= RELATIVE * largest).all()
    # a deviation is resolved relative to the squares it comes from: 1e-9 of itself, 1e-13 of the brightness
    brightness = 1e-13 * statistics.n_rows
    assert np.allclose(found.sse, wanted.sse, rtol=RELATIVE, atol=brightness)
    assert np.allclose(found.sst, wanted.sst, rtol=RELATIVE, atol=brightness)
    n_inputs = statistics.n_inputs
    outside = np.broadcast_to(np.tile(~field.in_bounds(statistics.shape), (n_inputs, 1, 1)), found.coef.shape)
    assert outside.any() == (field.size > 1)
    assert (found.coef[outside] == 0).all()


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("n_channels", [1, 3])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"r{field.size}d{field.dilation}")
def test_weights_are_those_of_the_equations(field, n_channels, color, penalize_intercept, draw_images, statistics_of):
    source, target = (draw_images((30, 9, 11, n_channels), seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, field, color)
    assert_solves(statistics, source, target, 0.4, color=color, penalize_intercept=penalize_intercept)


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("kind", ["random", "dark", "bright", "constant"])
@pytest.mark.parametrize("size", [1, 3])
def test_weights_of_all_kinds_of_images(size, kind, dtype, penalize_intercept, draw_images, statistics_of):
    source, target = (draw_images((12, 5, 7, 1), kind, dtype, seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(size))
    assert_solves(statistics, source, target, 0.4, penalize_intercept=penalize_intercept)


@pytest.mark.parametrize("alpha", [1e-3, 1, 1e6])
@pytest.mark.parametrize("penalize_intercept", [True, False])
def test_weights_for_weak_and_strong_penalties(alpha, penalize_intercept, draw_images, statistics_of):
    source, target = (draw_images((40, 6, 5, 1), seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(3))
    assert_solves(statistics, source, target, alpha, penalize_intercept=penalize_intercept)


@pytest.mark.parametrize("penalize_intercept", [True, False])
def test_fewer_images_than_weights(penalize_intercept, draw_images, statistics_of):
    source, target = (draw_images((4, 6, 7, 1), seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(5))
    assert_solves(statistics, source, target, 0.4, penalize_intercept=penalize_intercept)


@pytest.mark.parametrize("kind", ["dark", "bright", "constant"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_a_constant_target_deviates_by_exactly_nothing(kind, dtype, draw_images, statistics_of):
    source, target = draw_images((50, 4, 5, 1), kind, dtype), draw_images((1, 4, 5, 1), "random", dtype)
    statistics = statistics_of(source, np.repeat(target, 50, axis=0), ReceptiveField(3))
    assert (solve(statistics, 0.4).sst == 0).all()
    unpenalised = solve(statistics, 0.4, penalize_intercept=False)
    assert (unpenalised.sst == 0).all()
    assert (unpenalised.coef == 0).all()
    assert np.allclose(unpenalised.intercept[0], in_unit_range(target)[0, ..., 0], rtol=1e-15, atol=0)


def test_an_exact_mapping_has_almost_no_error(draw_images, statistics_of):
    source = draw_images((60, 5, 6, 1))
    solution = solve(statistics_of(source, 255 - source, ReceptiveField(3)), 1e-9, penalize_intercept=False)
    assert (solution.sse >= 0).all()
    assert (solution.sse < 1e-9 * solution.sst).all()
    assert np.allclose(solution.coef[0, 4], -1, rtol=1e-8, atol=0)


SHAPES = st.tuples(st.integers(3, 9), st.integers(3, 19))
BLOCKS = st.tuples(st.integers(1, 10), st.integers(1, 20))


@given(
    shape=SHAPES, block=BLOCKS, field=st.sampled_from(FIELDS[:4]),
    color=st.sampled_from(["shared", "separate", "joint"]),
    dtype=st.sampled_from([np.uint8, np.float32]), penalize_intercept=st.booleans(),
)  # fmt: skip
def test_bits_do_not_depend_on_the_blocks(
    shape, block, field, color, dtype, penalize_intercept, draw_images, statistics_of
):
    source, target = (draw_images((12, *shape, 2), dtype=dtype, seed=seed) for seed in (0, 1))
    whole = solve(statistics_of(source, target, field, color), 0.4, penalize_intercept=penalize_intercept)
    for part in block_grid(shape, block):
        statistics = statistics_of(source, target, field, color, part)
        solution = solve(statistics, 0.4, penalize_intercept=penalize_intercept)
        for name in PARTS:
            assert np.array_equal(getattr(solution, name), getattr(whole, name)[..., *part.slices]), (part, name)


@pytest.mark.parametrize("width", [1, 2, 3, 5, 7, 8, 9, 15, 16, 17])
def test_bits_do_not_depend_on_the_lane(width, draw_images, statistics_of):
    source, target = (draw_images((40, 5, 24, 1), "bright", seed=seed) for seed in (0, 1))
    field = ReceptiveField(5)
    whole = solve(statistics_of(source, target, field), 0.1)
    for x in range(24 - width + 1):
        part = Block(1, x, 4, x + width)
        solution = solve(statistics_of(source, target, field, block=part), 0.1)
        for name in PARTS:
            assert np.array_equal(getattr(solution, name), getattr(whole, name)[..., *part.slices]), (part, name)


@pytest.mark.parametrize("alpha", [0, 0.0, -0.4, np.nan, np.inf, -np.inf])
def test_penalties_outside_their_domain_are_refused(alpha, draw_images, statistics_of):
    images = draw_images((3, 4, 4, 1))
    with pytest.raises(ParameterError, match=f"positive, finite number, got {alpha};"):
        check_alpha(alpha)
    with pytest.raises(ParameterError, match=f"positive, finite number, got {alpha};"):
        solve(statistics_of(images, images, ReceptiveField(1)), alpha)


@pytest.mark.parametrize("value", [7, 255])
@pytest.mark.parametrize("n_images", [2, 3, 5, 8, 20, 30])
@pytest.mark.parametrize(("y", "x"), [(0, 0), (2, 9), (3, 10)])
def test_a_singular_system_is_refused_by_the_name_of_its_pixel(y, x, n_images, value, draw_images, statistics_of):
    images = draw_images((n_images, 4, 11, 1))
    images[:, y, x] = value  # a multiple of the column of ones
    statistics = statistics_of(images, images, ReceptiveField(1))
    with pytest.raises(SolveError, match=f"row {y}, column {x} of the block .* alpha 1e-300"):
        solve(statistics, 1e-300)


def test_a_tiny_penalty_is_enough_where_the_images_vary(draw_images, statistics_of):
    images = draw_images((30, 4, 11, 1))
    solution = solve(statistics_of(images, images, ReceptiveField(1)), 1e-300)
    assert np.allclose(solution.coef, 1, rtol=1e-12, atol=0)
    assert np.allclose(solution.intercept, 0, rtol=0, atol=1e-12)


@given(
    n=st.integers(1, 2**20), product=st.integers(0, 2**32), sum_a=st.integers(0, 2**26), sum_b=st.integers(0, 2**26)
)  # fmt: skip
def test_centred_products_of_small_numbers_are_exact(n, product, sum_a, sum_b):
    assert centred(n, product, sum_a, sum_b) == n * product - sum_a * sum_b


@given(
    n=st.integers(1, 2**32), product=st.integers(0, 2**62), sum_a=st.integers(0, 2**62), sum_b=st.integers(0, 2**62)
)  # fmt: skip
def test_centred_products_beyond_64_bits(n, product, sum_a, sum_b):
    exact = n * product - sum_a * sum_b
    assert abs(int(centred(n, product, sum_a, sum_b)) - exact) <= abs(exact) * 2**-52


@given(
    data=st.data(), n=st.integers(2, 2**32), sum_a=st.integers(2**50, 2**62), difference=st.integers(-(2**40), 2**40)
)
def test_centred_products_that_nearly_cancel_are_exact(data, n, sum_a, difference):
    sum_b = data.draw(st.integers(1, n))
    product = max(0, sum_a * sum_b + difference) // n
    exact = n * product - sum_a * sum_b
    assert abs(exact) < 2**41
    assert centred(n, product, sum_a, sum_b) == exact


@pytest.mark.parametrize(
    "value",
    [
        2**64 - 1,
        2**64,
        2**64 + 2**63 + 2**11,  # a tie: rounds to even
        2**64 + 2**63 + 2**11 + 1,  # just above it
        2**64 + 2**63 + 3 * 2**11 - 1,  # just below the next
        2**90 + 2**37 + 1,
        2**90 + 2**38 - 1,
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_centred_products_are_rounded_once(value, sign):
    # n product and sum_a sum_b that differ by the value, both sides in int64
    n = 2**40
    product = -(-value // n)
    rest = n * product - value
    high, low = (n, product), (1, rest)
    (n, product), (sum_a, sum_b) = (high, low) if sign > 0 else (low, high)
    assert n * product - sum_a * sum_b == sign * value
    assert centred(n, product, sum_a, sum_b) == float(sign * value)
