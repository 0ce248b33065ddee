"""Many penalties from one tridiagonalisation, errors on held-out images, smaller fields from larger ones."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist.errors import ParameterError, SolveError
from mrdist.geometry import Block, ReceptiveField, block_grid
from mrdist.moments import SufficientStatistics, to_integers, unit_of
from mrdist.paths import solve_path, validation_errors
from mrdist.solvers import solve

ALPHAS = [1e-4, 0.03, 0.4, 7.0, 1e5]
FIELDS = [ReceptiveField(1), ReceptiveField(3), ReceptiveField(5), ReceptiveField(3, 2)]
SOLUTION = ("coef", "intercept", "sse", "sst")


def smooth_images(n, shape, n_channels=1, seed=0):
    """Bright images whose neighbouring pixels are nearly equal: a few smooth modes and one level of noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    modes = [np.cos(np.pi * a * y / shape[0]) * np.cos(np.pi * b * x / shape[1]) for a in range(4) for b in range(4)]
    drawn = 235 + 5 * np.einsum("nmc,myx->nyxc", rng.standard_normal((n, len(modes), n_channels)), modes)
    return np.clip(np.rint(drawn + rng.standard_normal(drawn.shape)), 0, 255).astype(np.uint8)


def in_unit_range(images):
    return to_integers(images).astype(np.float64) / unit_of(images.dtype)


def errors_of(images, targets, coef, intercept, field, color):
    """Sums of squared errors and deviations, written from their definitions."""
    source_rows, target_rows = (oracle.rows(in_unit_range(a), color) for a in (images, targets))
    sse, sst = np.zeros(intercept.shape), np.zeros(intercept.shape)
    for group, y, x in np.ndindex(intercept.shape):
        inputs = oracle.seen_by(group, source_rows, y, x, field.size, field.dilation, color)
        target = target_rows[group, :, y, x]
        sse[group, y, x] = np.square(target - inputs @ coef[group, :, y, x] - intercept[group, y, x]).sum()
        sst[group, y, x] = np.square(target - target.mean()).sum()
    return sse, sst


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"r{field.size}d{field.dilation}")
def test_weights_are_those_of_the_equations_at_every_penalty(
    field, color, penalize_intercept, draw_images, statistics_of
):
    source, target = (draw_images((30, 6, 7, 2), seed=seed) for seed in (0, 1))
    path = solve_path(statistics_of(source, target, field, color), ALPHAS, penalize_intercept=penalize_intercept)
    for q, alpha in enumerate(ALPHAS):
        wanted = oracle.masked_regression(
            in_unit_range(source), in_unit_range(target), field.size, alpha, dilation=field.dilation, color=color,
            penalize_intercept=penalize_intercept,
        )  # fmt: skip
        largest = np.maximum(np.abs(wanted.coef).max(axis=1), np.abs(wanted.intercept))
        assert (np.abs(path.coef[q] - wanted.coef) <= 1e-9 * largest[:, None]).all()
        assert (np.abs(path.intercept[q] - wanted.intercept) <= 1e-9 * largest).all()
        assert np.allclose(path.sse[q], wanted.sse, rtol=1e-9, atol=1e-11)
        assert np.allclose(path.sst, wanted.sst, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("kind", ["random", "dark", "bright", "constant"])
def test_a_path_is_the_solves_of_its_penalties(kind, dtype, penalize_intercept, draw_images, statistics_of):
    source, target = (draw_images((40, 5, 9, 1), kind, dtype, seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(3))
    path = solve_path(statistics, ALPHAS[1:], penalize_intercept=penalize_intercept)
    for q, alpha in enumerate(ALPHAS[1:]):
        one = solve(statistics, alpha, penalize_intercept=penalize_intercept)
        largest = np.maximum(np.abs(one.coef).max(axis=1), np.abs(one.intercept))
        assert (np.abs(path.coef[q] - one.coef) <= 1e-9 * largest[:, None]).all()
        assert (np.abs(path.intercept[q] - one.intercept) <= 1e-9 * largest).all()
        assert np.allclose(path.sse[q], one.sse, rtol=1e-9, atol=4e-12)
        assert np.array_equal(path.sst, one.sst)


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("size", [3, 7])
def test_nearly_collinear_bright_images_at_tiny_penalties(size, penalize_intercept, statistics_of):
    source, target = smooth_images(120, (8, 18)), smooth_images(120, (8, 18), seed=1)
    target = target // 2 + source // 2
    statistics = statistics_of(source, target, ReceptiveField(size))
    alphas = [1e-4, 1e-2, 1.0]
    path = solve_path(statistics, alphas, penalize_intercept=penalize_intercept)
    for q, alpha in enumerate(alphas):
        wanted = oracle.masked_regression(
            in_unit_range(source), in_unit_range(target), size, alpha, penalize_intercept=penalize_intercept
        )
        assert (np.abs(path.sse[q] - wanted.sse) <= 1e-8 * wanted.sst).all()
        assert np.allclose(path.coef[q], wanted.coef, rtol=0, atol=1e-8)


@pytest.mark.parametrize("penalize_intercept", [True, False])
def test_fewer_images_than_weights(penalize_intercept, draw_images, statistics_of):
    source, target = (draw_images((4, 5, 6, 1), seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(5))
    path = solve_path(statistics, [0.4], penalize_intercept=penalize_intercept)
    one = solve(statistics, 0.4, penalize_intercept=penalize_intercept)
    for name in ("coef", "intercept", "sse"):
        assert np.allclose(getattr(path, name)[0], getattr(one, name), rtol=0, atol=1e-12)


def test_taps_outside_the_image_weigh_exactly_nothing(draw_images, statistics_of):
    source, target = (draw_images((30, 6, 18, 1), seed=seed) for seed in (0, 1))
    source[:, 3, 4] = 0  # neither does a pixel that is always black
    for field in (ReceptiveField(5), ReceptiveField(3, 2)):
        coef = solve_path(statistics_of(source, target, field), ALPHAS).coef
        outside = np.broadcast_to(~field.in_bounds((6, 18)), coef.shape)
        assert outside.any()
        assert (coef[outside] == 0).all()
        for a, (dy, dx) in enumerate(field.offsets):
            if 0 <= 3 - dy < 6:
                assert (coef[:, 0, a, 3 - dy, 4 - dx] == 0).all()


@pytest.mark.parametrize("kind", ["dark", "bright", "constant"])
def test_a_constant_target_deviates_by_exactly_nothing(kind, draw_images, statistics_of):
    source, target = draw_images((50, 4, 5, 1), kind), draw_images((1, 4, 5, 1))
    statistics = statistics_of(source, np.repeat(target, 50, axis=0), ReceptiveField(3))
    path = solve_path(statistics, ALPHAS, penalize_intercept=False)
    assert (path.coef == 0).all()
    assert np.allclose(path.intercept, in_unit_range(target)[0, ..., 0], rtol=1e-15, atol=0)
    assert (validation_errors(statistics, statistics, ALPHAS).sst == 0).all()


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("color", ["shared", "joint"])
@pytest.mark.parametrize("kind", ["random", "bright", "smooth"])
@pytest.mark.parametrize("field", FIELDS, ids=lambda field: f"r{field.size}d{field.dilation}")
def test_validation_errors_are_those_of_a_refit(field, kind, color, penalize_intercept, draw_images, statistics_of):
    if kind == "smooth":
        source, target = (smooth_images(60, (6, 7), 2, seed) for seed in (0, 1))
    else:
        source, target = (draw_images((60, 6, 7, 2), kind, seed=seed) for seed in (0, 1))
    target = target // 3 + source // 2
    held_out = slice(11, 30)
    total = statistics_of(source, target, field, color)
    validation = statistics_of(source[held_out], target[held_out], field, color)
    found = validation_errors(total.subtract(validation), validation, ALPHAS, penalize_intercept=penalize_intercept)
    kept = np.delete(np.arange(60), held_out)
    for q, alpha in enumerate(ALPHAS):
        fit = oracle.masked_regression(
            in_unit_range(source[kept]), in_unit_range(target[kept]), field.size, alpha, dilation=field.dilation,
            color=color, penalize_intercept=penalize_intercept,
        )  # fmt: skip
        sse, sst = errors_of(source[held_out], target[held_out], fit.coef, fit.intercept, field, color)
        assert (np.abs(found.sse[q] - sse) <= 1e-8 * sst).all()
        assert np.allclose(found.sst, sst, rtol=1e-9, atol=0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_errors_on_the_training_images_are_the_training_errors(dtype, draw_images, statistics_of):
    source, target = (draw_images((40, 5, 18, 2), dtype=dtype, seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(3), "separate")
    path, errors = solve_path(statistics, ALPHAS), validation_errors(statistics, statistics, ALPHAS)
    assert np.allclose(errors.sse, path.sse, rtol=1e-9, atol=1e-11)
    assert np.array_equal(errors.sst, path.sst)


def test_an_exact_mapping_has_almost_no_error(draw_images, statistics_of):
    source = draw_images((60, 5, 6, 1))
    statistics = statistics_of(source, 255 - source, ReceptiveField(3))
    errors = validation_errors(statistics, statistics, [1e-7], penalize_intercept=False)
    assert (errors.sse >= 0).all()
    assert (errors.sse[0] < 1e-12 * errors.sst).all()


SHAPES = st.tuples(st.integers(3, 7), st.integers(3, 35))
BLOCKS = st.tuples(st.integers(1, 8), st.integers(1, 36))


@given(
    shape=SHAPES, block=BLOCKS, field=st.sampled_from(FIELDS), dtype=st.sampled_from([np.uint8, np.float32]),
    color=st.sampled_from(["shared", "separate", "joint"]), penalize_intercept=st.booleans(),
)  # fmt: skip
def test_bits_do_not_depend_on_the_blocks(
    shape, block, field, dtype, color, penalize_intercept, draw_images, statistics_of
):
    source, target = (draw_images((12, *shape, 2), dtype=dtype, seed=seed) for seed in (0, 1))

    def results(part):
        training = statistics_of(source, target, field, color, part)
        validation = statistics_of(source[:5], target[:5], field, color, part)
        path = solve_path(training, ALPHAS, penalize_intercept=penalize_intercept)
        errors = validation_errors(training, validation, ALPHAS, penalize_intercept=penalize_intercept)
        return [*(getattr(path, name) for name in SOLUTION), errors.sse, errors.sst]

    whole = results(Block(0, 0, *shape))
    for part in block_grid(shape, block):
        for found, wanted in zip(results(part), whole, strict=True):
            assert np.array_equal(found, wanted[..., *part.slices]), part


@pytest.mark.parametrize("width", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33])
def test_bits_do_not_depend_on_the_lane(width, statistics_of):
    source, target = smooth_images(40, (3, 40)), smooth_images(40, (3, 40), seed=1)
    field = ReceptiveField(5)
    whole = solve_path(statistics_of(source, target, field), ALPHAS)
    for x in range(0, 40 - width + 1, 3):
        part = Block(1, x, 3, x + width)
        path = solve_path(statistics_of(source, target, field, block=part), ALPHAS)
        for name in SOLUTION:
            assert np.array_equal(getattr(path, name), getattr(whole, name)[..., *part.slices]), (part, name)


@given(alphas=st.lists(st.sampled_from([*np.geomspace(1e-3, 1e3, 9)]), min_size=1, max_size=12))
def test_bits_do_not_depend_on_the_other_penalties(alphas, draw_images, statistics_of):
    source, target = (draw_images((20, 3, 5, 1), seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(3))
    path, errors = solve_path(statistics, alphas), validation_errors(statistics, statistics, alphas)
    for q, alpha in enumerate(alphas):
        alone = solve_path(statistics, [alpha])
        for name in ("coef", "intercept", "sse"):
            assert np.array_equal(getattr(path, name)[q], getattr(alone, name)[0]), name
        assert np.array_equal(errors.sse[q], validation_errors(statistics, statistics, [alpha]).sse[0])


LARGER = [ReceptiveField(3), ReceptiveField(5), ReceptiveField(7), ReceptiveField(5, 2)]
SMALLER = [ReceptiveField(r, d) for r, d in ((1, 1), (1, 4), (3, 1), (3, 2), (3, 3), (3, 4), (5, 1), (5, 2), (7, 1))]


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("smaller", SMALLER, ids=lambda field: f"r{field.size}d{field.dilation}")
@pytest.mark.parametrize("larger", LARGER, ids=lambda field: f"in-r{field.size}d{field.dilation}")
def test_the_statistics_of_a_field_hold_those_of_its_subsets(larger, smaller, color, draw_images, statistics_of):
    source, target = (draw_images((12, 14, 13, 2), "bright", seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, larger, color, Block(2, 1, 13, 13))
    taps = {tuple(tap) for tap in larger.offsets}
    if not all(tuple(tap) in taps for tap in smaller.offsets):
        assert not larger.contains(smaller)
        with pytest.raises(ParameterError, match=f"field {smaller.size} with dilation {smaller.dilation} has taps"):
            statistics.restrict(smaller)
        return
    assert larger.contains(smaller)
    own = statistics_of(source, target, smaller, color, Block(2, 1, 13, 13))
    restricted = statistics.restrict(smaller)
    for penalize_intercept in (True, False):
        found, wanted = (solve(s, 0.4, penalize_intercept=penalize_intercept) for s in (restricted, own))
        for name in SOLUTION:
            assert getattr(found, name).tobytes() == getattr(wanted, name).tobytes()


def test_restricted_statistics_share_nothing_with_the_larger_ones(draw_images, statistics_of):
    images = draw_images((5, 8, 8, 1))
    statistics = statistics_of(images, images, ReceptiveField(5))
    restricted = statistics.restrict(ReceptiveField(3))
    for name in ("lag", "cross", "source_sum", "target_sum", "target_square"):
        assert not np.shares_memory(getattr(statistics, name), getattr(restricted, name))
        assert getattr(restricted, name).flags.c_contiguous


def test_statistics_in_any_memory_order_are_solved(draw_images, statistics_of):
    source, target = (draw_images((12, 6, 20, 1), seed=seed) for seed in (0, 1))
    statistics = statistics_of(source, target, ReceptiveField(3))
    turned = SufficientStatistics(
        statistics.field, statistics.unit, statistics.n_rows,
        *(np.asfortranarray(getattr(statistics, name)) for name in ("lag", "cross")),
        *(np.asfortranarray(getattr(statistics, name)) for name in ("source_sum", "target_sum", "target_square")),
    )  # fmt: skip
    assert np.array_equal(solve(turned, 0.4).coef, solve(statistics, 0.4).coef)
    assert np.array_equal(solve_path(turned, [0.4]).coef, solve_path(statistics, [0.4]).coef)


@pytest.mark.parametrize("alpha", [0, -0.4, np.nan, np.inf])
def test_penalties_outside_their_domain_are_refused(alpha, draw_images, statistics_of):
    images = draw_images((3, 4, 4, 1))
    statistics = statistics_of(images, images, ReceptiveField(1))
    with pytest.raises(ParameterError, match=f"positive, finite number, got {alpha};"):
        solve_path(statistics, [0.4, alpha])
    with pytest.raises(ParameterError, match=f"positive, finite number, got {alpha};"):
        validation_errors(statistics, statistics, [alpha])


def test_no_penalties_and_no_images_are_refused(draw_images, statistics_of):
    images = draw_images((3, 4, 4, 1))
    statistics = statistics_of(images, images, ReceptiveField(1))
    empty = SufficientStatistics.zeros(ReceptiveField(1), (4, 4), n_groups=1, unit=255)
    with pytest.raises(ParameterError, match="alphas is empty"):
        solve_path(statistics, [])
    with pytest.raises(ParameterError, match="no images"):
        solve_path(empty, [0.4])
    with pytest.raises(ParameterError, match="no images"):
        validation_errors(statistics, empty, [0.4])


def test_statistics_of_another_field_are_refused(draw_images, statistics_of):
    images = draw_images((3, 4, 4, 1))
    with pytest.raises(ParameterError, match="cannot be combined"):
        validation_errors(
            statistics_of(images, images, ReceptiveField(3)), statistics_of(images, images, ReceptiveField(1)), [0.4]
        )


@pytest.mark.parametrize("width", [11, 40])
@pytest.mark.parametrize("n_images", [2, 5, 30])
@pytest.mark.parametrize(("y", "x"), [(0, 1), (2, 9), (3, 5)])
def test_a_singular_system_is_refused_by_the_name_of_its_pixel_and_penalty(
    y, x, n_images, width, draw_images, statistics_of
):
    images = draw_images((n_images, 4, width, 1), "constant")
    images[:, y, x - 1 : x + 2] = draw_images((n_images, 1, 1, 1))[:, 0]  # three equal columns
    statistics = statistics_of(images, images, ReceptiveField(3))
    first = f"row {max(y - 1, 0)}, column {max(x - 2, 0)} of the block .* alpha 1e-300"
    with pytest.raises(SolveError, match=first):
        solve_path(statistics, [1.0, 1e-300])
    with pytest.raises(SolveError, match=first):
        validation_errors(statistics, statistics, [1e-300, 1.0])


def test_a_tiny_penalty_is_enough_where_the_images_vary(draw_images, statistics_of):
    images = draw_images((30, 4, 11, 1))
    path = solve_path(statistics_of(images, images, ReceptiveField(1)), [1e-300])
    assert np.allclose(path.coef, 1, rtol=1e-12, atol=0)
    assert np.allclose(path.intercept, 0, rtol=0, atol=1e-12)
