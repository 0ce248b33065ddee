"""Pooled sums: the weights of a pixel are those of the weighed regression over its neighbours, from their equations."""

from __future__ import annotations

from math import comb, sqrt

import commands
import numpy as np
import oracle
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

import mrdist
from mrdist.errors import ParameterError, StoreExistsError
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import COLORS
from mrdist.paths import validation_errors
from mrdist.pooling import Pool
from mrdist.solvers import solve

BETWEEN = ("--source", "neutral", "--target", "happy")
HERE = ("--workers", 0)
SHAPE = (7, 11)


def neighbours(y, x, shape, pool):
    """Return the pixels of an image that lend to one, with their weights, which add up to 1."""
    near = [
        (row, column, comb(2 * pool, pool + row - y) * comb(2 * pool, pool + column - x))
        for row in range(max(0, y - pool), min(shape[0], y + pool + 1))
        for column in range(max(0, x - pool), min(shape[1], x + pool + 1))
    ]
    mass = sum(weight for *_, weight in near)
    return [(row, column, weight / mass) for row, column, weight in near]


def pooled_ridge(source_rows, target_rows, plane, y, x, *, size, dilation, color, alpha, free, pool, prior):
    """Return weights, intercept and squared training error: least squares of rows that are written down one by one."""
    shape, n_rows = source_rows.shape[2:], source_rows.shape[1]

    def seen(row, column):
        return oracle.seen_by(plane, source_rows, row, column, size, dilation, color)

    offsets = oracle.offsets(size, dilation) * (len(source_rows) if color == "joint" else 1)
    inside = [0 <= y + dy < shape[0] and 0 <= x + dx < shape[1] for dy, dx in offsets]
    w0 = np.zeros(len(offsets))
    w0[plane * size**2 * (color == "joint") + size**2 // 2] = prior == "identity"
    equations, values = [], []
    for row, column, weight in neighbours(y, x, shape, pool):
        inputs, target = seen(row, column), target_rows[plane, :, row, column]
        equations.append(sqrt(weight) * np.column_stack([inputs - inputs.mean(axis=0), np.zeros(n_rows)]))
        values.append(sqrt(weight) * (target - target.mean()))
    inputs, target = seen(y, x), target_rows[plane, :, y, x]
    equations.append(sqrt(n_rows) * np.append(inputs.mean(axis=0), 1.0)[np.newaxis])
    values.append([sqrt(n_rows) * target.mean()])
    penalties = np.append(np.full(len(offsets), sqrt(alpha)), 0.0 if free else sqrt(alpha))
    equations.append(np.diag(penalties))
    values.append(penalties * np.append(w0, 0.0))
    columns = np.append(inside, True)
    found = np.linalg.lstsq(np.vstack(equations)[:, columns], np.concatenate(values), rcond=None)[0]
    solution = np.zeros(len(columns))
    solution[columns] = found
    residuals = target - inputs @ solution[:-1] - solution[-1]
    return solution[:-1], solution[-1], residuals @ residuals


CASES = st.fixed_dictionaries(
    {
        "size": st.sampled_from([1, 3, 5]),
        "dilation": st.integers(1, 2),
        "color": st.sampled_from(COLORS),
        "pool": st.sampled_from([0, 1, 2, 5, 16]),
        "free": st.booleans(),
        "prior": st.sampled_from(["zero", "identity"]),
        "dark": st.booleans(),
    }
)


def pool_of(block, radius, summed=None):
    return Pool.of(block, radius, SHAPE, summed or block.lenders(radius, SHAPE))


@pytest.fixture(scope="module")
def pairs(draw_images):
    return draw_images((6, *SHAPE, 2), seed=1), draw_images((6, *SHAPE, 2), seed=2)


@given(case=CASES)
def test_weights_are_those_of_the_equations(case, pairs, statistics_of):
    source, target = (images.copy() for images in pairs)
    if case["dark"]:
        source[:, 2:5, 3:8] = 0  # pixels that see nothing but have neighbours that do
    size = case["size"] if case["dilation"] == 1 else min(case["size"], 3)
    field, how = (
        ReceptiveField(size, case["dilation"]),
        {"penalize_intercept": not case["free"], "prior": case["prior"]},
    )
    frame = Block(0, 0, *SHAPE)
    statistics = statistics_of(source, target, field, case["color"])
    solution = solve(statistics, 0.3, pool=pool_of(frame, case["pool"]), **how)
    source_rows, target_rows = (oracle.rows(images / 255, case["color"]) for images in (source, target))
    for plane, y, x in [(len(target_rows) - 1, y, x) for y in (0, 1, 3, 6) for x in (0, 2, 5, 10)]:
        coef, intercept, sse = pooled_ridge(
            source_rows, target_rows, plane, y, x, size=size, alpha=0.3,
            **{name: value for name, value in case.items() if name not in ("size", "dark")},
        )  # fmt: skip
        np.testing.assert_allclose(solution.coef[plane, :, y, x], coef, atol=1e-11)
        np.testing.assert_allclose(solution.intercept[plane, y, x], intercept, atol=1e-11)
        np.testing.assert_allclose(solution.sse[plane, y, x], sse, rtol=1e-9, atol=1e-12)


@given(case=CASES, corner=st.tuples(st.integers(0, 6), st.integers(0, 10)), extent=st.tuples(*[st.integers(1, 8)] * 2))
def test_blocks_have_the_bits_of_the_whole(case, corner, extent, pairs, statistics_of):
    field = ReceptiveField(min(case["size"], 3), case["dilation"])
    frame, radius = Block(0, 0, *SHAPE), case["pool"]
    block = Block(*corner, corner[0] + extent[0], corner[1] + extent[1]).clipped(SHAPE)
    how = {"penalize_intercept": not case["free"], "prior": case["prior"]}
    summed = block.lenders(radius, SHAPE)
    whole, part = (statistics_of(*pairs, field, case["color"], rectangle) for rectangle in (frame, summed))
    held_out = statistics_of(*pairs, field, case["color"], block)
    expected = solve(whole, 0.3, pool=pool_of(frame, radius), **how)
    found = solve(part, 0.3, pool=pool_of(block, radius), **how)
    for ours, theirs in zip(vars(found).values(), vars(expected).values(), strict=True):
        np.testing.assert_array_equal(ours, theirs[..., *block.slices])
    errors = validation_errors(whole, whole, [0.1, 1], pool=pool_of(frame, radius), **how)
    errors_of_part = validation_errors(part, held_out, [0.1, 1], pool=pool_of(block, radius), **how)
    np.testing.assert_array_equal(errors_of_part.sse, errors.sse[..., *block.slices])


@given(case=CASES)
def test_errors_on_held_out_images_are_those_of_the_weights(case, pairs, statistics_of):
    field = ReceptiveField(3)
    how = {"penalize_intercept": not case["free"], "prior": case["prior"]}
    pool = pool_of(Block(0, 0, *SHAPE), case["pool"])
    source, target = (images.copy() for images in pairs)
    if case["dark"]:
        source[:, 2:5, 3:8] = 0
    training = statistics_of(source[:4], target[:4], field, case["color"])
    held_out = statistics_of(source[4:], target[4:], field, case["color"])
    errors = validation_errors(training, held_out, [0.05, 0.5], pool=pool, **how)
    for alpha, sse in zip((0.05, 0.5), errors.sse, strict=True):
        coef, intercept = solve(training, alpha, pool=pool, **how).as_stored(case["color"])
        model = mrdist.synthesis.MaskedWeights(field, case["color"], 2, coef, intercept)
        residuals = np.square(model.predict(source[4:]) - target[4:] / 255).sum(axis=0)
        planes = residuals.sum(axis=-1)[np.newaxis] if case["color"] == "shared" else np.moveaxis(residuals, -1, 0)
        np.testing.assert_allclose(sse, planes, rtol=1e-9)


def test_depths_and_many_images_stay_exact(draw_images, statistics_of):
    """Floats need 128 bits where bytes do not: both give the weights of the same values."""
    source, target = (draw_images((9, *SHAPE, 1), seed=seed) for seed in (3, 4))
    field, pool = ReceptiveField(3), pool_of(Block(0, 0, *SHAPE), 4)
    expected = solve(statistics_of(source, target, field), 0.1, pool=pool)
    for dtype, factor in ((np.uint16, 257.0), (np.float64, 1 / 255)):
        wide = statistics_of((source * factor).astype(dtype), (target * factor).astype(dtype), field)
        np.testing.assert_allclose(solve(wide, 0.1, pool=pool).coef, expected.coef, atol=1e-5)


@pytest.mark.parametrize("color", COLORS)
def test_the_estimator_and_the_store_have_the_same_bits(color, small_images_store, tmp_path):
    store = small_images_store(n_images=10, shape=(20, 36))
    rows = store.open().rows(("neutral", "happy"), "train")
    options = {"receptive_field": 3, "dilation": 2, "alpha": 0.05, "pool": 4, "prior": "identity", "color": color}
    report = mrdist.train(
        store.url, tmp_path / "w.zarr", source="neutral", target="happy", workers=0, block=(16, 16), dtype="float64",
        **options,
    )  # fmt: skip
    assert report.blocks == 6
    model = mrdist.MaskedRegression(**options).fit(*(store.pixels[label][rows] for label in ("neutral", "happy")))
    weights = mrdist.open_weights(tmp_path / "w.zarr")
    np.testing.assert_array_equal(weights.coef, model.coef_)
    np.testing.assert_array_equal(weights.intercept, model.intercept_)
    assert clone(model).get_params() == model.get_params()
    mrdist.save(model, tmp_path / "saved.zarr")
    saved = mrdist.info(tmp_path / "saved.zarr")["training"]
    assert (saved["pool"], saved["prior"]) == (4, "identity")


def test_cross_validation_chooses_the_pool(small_images_store, tmp_path):
    """The table is that of trainings one by one, and so are the weights of the choice."""
    store = small_images_store(n_images=20, n_channels=1)
    grid = {"receptive_field": [1, 3], "pool": [0, 3], "alphas": [0.1, 1.0], "folds": 3}
    how = {"source": "neutral", "target": "happy", "workers": 0, "block": (16, 16)}
    mrdist.train(store.url, tmp_path / "cv.zarr", alpha="cv", **grid, **how)
    found = mrdist.info(tmp_path / "cv.zarr")
    chosen, table = found["cross_validation"]["chosen"], found["cross_validation"]["table"]
    assert [(row["receptive_field"], row["pool"]) for row in table[::2]] == [(1, 0), (1, 3), (3, 0), (3, 3)]
    best = min(table, key=lambda row: row["mse"])
    assert {name: best[name] for name in ("receptive_field", "pool", "alpha")}.items() <= chosen.items()
    options = {name: chosen[name] for name in ("receptive_field", "pool", "alpha")}
    mrdist.train(store.url, tmp_path / "w.zarr", **options, **how)
    np.testing.assert_array_equal(
        mrdist.open_weights(tmp_path / "cv.zarr").coef, mrdist.open_weights(tmp_path / "w.zarr").coef
    )

    images = store.open()
    rows = images.rows(("neutral", "happy"), "train")
    pixels, people = [store.pixels[label][rows] for label in ("neutral", "happy")], images.subject[rows]
    for row in table:
        model = mrdist.MaskedRegression(
            row["receptive_field"], alpha="cv", alphas=[row["alpha"]], folds=3, pool=row["pool"]
        ).fit(*pixels, groups=people)
        np.testing.assert_allclose(model.mse_path_[0], row["folds"], rtol=1e-12)


@pytest.mark.parametrize("rule", ["1se", "pixel"])
def test_rules_of_the_choice(rule, small_images_store, tmp_path):
    """On noise, the simplest is the widest pool with the largest penalty; a pixel's own penalty is one of the grid."""
    store = small_images_store(n_images=20, n_channels=1)
    mrdist.train(
        store.url, tmp_path / "w.zarr", source="neutral", target="happy", alpha="cv", alphas=[10, 1000], pool=[0, 1, 4],
        rule=rule, folds=3, penalize_intercept=False, workers=0,
    )  # fmt: skip
    chosen = mrdist.info(tmp_path / "w.zarr")["cross_validation"]["chosen"]
    if rule == "1se":
        assert (chosen["pool"], chosen["alpha"]) == (4, 1000)
    else:
        alphas = zarr.open_group(tmp_path / "w.zarr", mode="r")["alpha"][:]
        assert set(np.unique(alphas)) <= {10, 1000}


@pytest.mark.parametrize("color", COLORS)
def test_sums_that_are_stored_serve_any_pool(color, small_images_store, tmp_path):
    images = small_images_store().url
    sums, options = tmp_path / "sums.zarr", ("--receptive-field", 3, "--alpha", 0.2, "--pool", 5, "--prior", "identity")
    field = ("--receptive-field", 5, "--color", color)
    commands.succeed("accumulate", images, sums, *BETWEEN, *field, *HERE)
    commands.succeed("solve", sums, tmp_path / "solved.zarr", *options, "--block", "16,16", *HERE)
    commands.succeed("train", images, tmp_path / "trained.zarr", *BETWEEN, *options, "--color", color, *HERE)
    solved, trained = (
        {name: content for name, content in commands.files(tmp_path / each).items() if "/c/" in name}
        for each in ("solved.zarr", "trained.zarr")
    )
    assert solved == trained


def test_mappings_are_those_trained_alone(small_images_store, tmp_path):
    images = small_images_store(labels=("neutral", "happy", "sad")).url
    options = ("--source", "neutral", "--pool", 3, "--block", "16,16", *HERE)
    commands.succeed("train", images, tmp_path / "all.zarr", "--target", "all", *options)
    commands.succeed("train", images, tmp_path / "sad.zarr", "--target", "sad", *options)
    commands.assert_equal_bytes(tmp_path / "all.zarr" / "neutral-sad", tmp_path / "sad.zarr")


def test_without_a_pool_stores_say_what_they_said(small_images_store, tmp_path):
    """So those of before are resumed, and an earlier mrdist opens those of today; others are told apart."""
    images = small_images_store().url
    search = ("--alpha", "cv", "--alphas", "0.1,1")
    for name, options in (("plain", ()), ("cv", search)):
        train = ("train", images, tmp_path / f"{name}.zarr", *BETWEEN, *options, *HERE)
        commands.succeed(*train)
        found = commands.attributes(tmp_path / f"{name}.zarr")
        assert not {"pool", "prior"} & {*found["training"], *found.get("cross_validation", ())}
        assert "already complete" in commands.succeed(*train, "--pool", 0, "--prior", "zero").stdout
        for other, there in ((("--pool", 2), "pool is 0 there and"), (("--prior", "identity"), "prior is zero")):
            assert there in commands.failure(*train, *other)
    assert "pool is 0 there and [0, 2] here" in commands.failure(*train, "--pool", "0,2")


def test_a_plan_has_the_halo_and_the_memory(small_images_store):
    store = small_images_store(shape=(64, 64), n_channels=1, chunks=(4, 8, 8))
    how = {"source": "neutral", "target": "happy", "workers": 0, "block": (16, 16)}
    plain, pooled = (mrdist.plan(store.url, pool=pool, **how) for pool in (0, 8))
    assert pooled.peak_memory > plain.peak_memory
    grown = [(max(0, at - 8), min(64, at + 24)) for at in range(0, 64, 16)]
    targets = sum(stop - start for start, stop in grown) ** 2
    halos = [(max(0, start - 8), min(64, stop + 8)) for start, stop in grown]  # a halo of 1 reads a chunk more
    sources = sum(stop - start for start, stop in halos) ** 2
    assert pooled.bytes_read == 8 * (targets + sources)  # images, up to the last that is trained on
    report = mrdist.train(store.url, "memory://pooled", pool=8, **how)
    assert report.bytes_read == pooled.bytes_read


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--pool", -1), "pool must be from 0"),
        (("--pool", 129), "to 128 pixels on every side, got 129"),
        (("--pool", "0,2"), "pool must be one number, got 0, 2; add --alpha cv"),
        (("--prior", "me"), "prior must be one of zero, identity, got 'me'"),
        (("--method", "l2", "--pool", 2), "method l2 has no option pool"),
    ],
)
def test_what_is_refused(options, words, small_images_store, tmp_path):
    train = ("train", small_images_store().url, tmp_path / "w.zarr", *BETWEEN, *options, *HERE)
    assert words in commands.failure(*train)
    assert not (tmp_path / "w.zarr").exists()


@pytest.mark.parametrize("bad", [{"pool": -1}, {"pool": 2.0}, {"pool": True}, {"pool": 129}, {"prior": "one"}])
def test_what_the_estimator_refuses(bad, pairs):
    with pytest.raises(ParameterError, match=next(iter(bad))):
        mrdist.MaskedRegression(**bad).fit(*pairs)


def test_a_pool_of_a_store_is_not_mixed_with_another(small_images_store, tmp_path):
    url, how = small_images_store().url, {"source": "neutral", "target": "happy", "workers": 0}
    mrdist.train(url, tmp_path / "w.zarr", pool=2, **how)
    with pytest.raises(StoreExistsError, match="pool is 2 there and 0 here"):
        mrdist.train(url, tmp_path / "w.zarr", **how)
