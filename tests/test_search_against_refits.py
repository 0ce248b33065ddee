"""The errors of a search, from one pass over the images, are those of training again without each fold."""

from __future__ import annotations

import itertools
from types import SimpleNamespace

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, PredefinedSplit

import mrdist
from mrdist.selection import assign_folds
from mrdist.storage import Images


@pytest.fixture
def small(small_images_store):
    """Return a search on a small store of random pixels, and what it ran on."""
    numbers = itertools.count()

    def run(
        alphas, field=3, dilation=1, *, n_channels=1, dtype=np.uint8, n_images=12, shape=(9, 18), seed=0, **options
    ):
        rng = np.random.default_rng(seed)
        source = rng.random((n_images, *shape, n_channels))
        target = 0.7 * source + 0.3 * np.roll(source, 1, axis=2) * rng.random((n_images, *shape, n_channels))
        level = 1 if dtype == "float32" else np.iinfo(dtype).max
        pixels = {label: (x * level).astype(dtype) for label, x in (("neutral", source), ("happy", target))}
        store = small_images_store(
            f"{next(numbers)}.zarr",
            pixels=pixels,
            n_images=n_images,
            shape=shape,
            n_channels=n_channels,
            dtype=dtype,
            chunks=(5, 8, 8),
        )
        weights = f"{store.url}.weights"
        mrdist.train(
            store.url, weights, source="neutral", target="happy", alpha="cv", alphas=alphas, split="all",
            receptive_field=field, dilation=dilation, workers=0, overwrite=True, **options,
        )  # fmt: skip
        images = Images.open(store.url)
        rows = images.rows(("neutral", "happy"), "all")
        fold = assign_folds(images.subject[rows], options.get("folds", 5), options.get("seed", 0))
        exact = oracle.fixed_point if dtype == "float32" else lambda x: x / level
        return SimpleNamespace(
            model=mrdist.open_weights(weights), fold=fold, source=exact(pixels["neutral"][rows]),
            target=exact(pixels["happy"][rows]), url=store.url,
        )  # fmt: skip

    return run


def sums_of_errors(found):
    """Sums of squared errors from the table of a store, shape (field, alpha, fold)."""
    return found.model.cv["mse"].values * np.bincount(found.fold) * found.source[0].size


def deviations(target):
    return np.square(target - target.mean(axis=0)).sum()


@pytest.mark.parametrize(
    ("dtype", "color", "n_channels", "penalize_intercept"),
    [
        ("uint8", "shared", 1, True),
        ("uint8", "shared", 3, False),
        ("uint8", "separate", 3, True),
        ("float32", "shared", 3, True),
        ("uint16", "separate", 2, False),
        ("uint8", "joint", 2, True),
    ],
)
def test_every_candidate_against_refits_from_the_equations(small, color, n_channels, dtype, penalize_intercept):
    found = small(
        [0.1, 10], field=[1, 3], dilation=[1, 2], folds=3, n_channels=n_channels, color=color, dtype=dtype,
        shape=(6, 17), n_images=8, penalize_intercept=penalize_intercept,
    )  # fmt: skip
    errors, fields = sums_of_errors(found), found.model.cv
    assert list(zip(fields.receptive_field.values, fields.dilation.values, strict=True)) == [(1, 1), (3, 1), (3, 2)]
    for number, (size, dilation) in enumerate([(1, 1), (3, 1), (3, 2)]):
        for column, alpha in enumerate([0.1, 10]):
            expected = oracle.errors_held_out(
                found.source, found.target, found.fold, size, alpha, dilation=dilation, color=color,
                penalize_intercept=penalize_intercept,
            )  # fmt: skip
            tolerance = 1e-8 * deviations(found.target)
            np.testing.assert_allclose(errors[number, column], expected, rtol=0, atol=tolerance)
    chosen = {name: found.model.attributes["training"][name] for name in ("receptive_field", "dilation", "alpha")}
    mrdist.train(
        found.url, f"{found.url}.alone", source="neutral", target="happy", split="all", color=color,
        penalize_intercept=penalize_intercept, workers=0, **chosen,
    )  # fmt: skip
    alone = mrdist.open_weights(f"{found.url}.alone")
    np.testing.assert_array_equal(found.model.coef, alone.coef)
    np.testing.assert_array_equal(found.model.intercept, alone.intercept)
    assert found.model.attributes["scores"] == alone.attributes["scores"]


@pytest.mark.parametrize("penalize_intercept", [True, False])
def test_every_candidate_against_grid_search(small, penalize_intercept):
    """A search of scikit-learn for every output pixel; their scores add up to ours."""
    alphas = [0.03, 0.3, 3, 30]
    found = small(alphas, field=[3], folds=4, seed=3, shape=(5, 16), penalize_intercept=penalize_intercept)
    errors = np.zeros((len(alphas), 4))
    for y in range(5):
        for x in range(16):
            inputs = oracle.field_values(found.source[..., 0], y, x, 3)
            if penalize_intercept:
                inputs = np.column_stack([inputs, np.ones(len(inputs))])
            refits = GridSearchCV(
                Ridge(fit_intercept=not penalize_intercept, solver="svd"), {"alpha": alphas},
                cv=PredefinedSplit(found.fold), scoring="neg_mean_squared_error",
            ).fit(inputs, found.target[:, y, x, 0])  # fmt: skip
            for fold in range(4):
                errors[:, fold] -= refits.cv_results_[f"split{fold}_test_score"]
    counts = np.bincount(found.fold)
    np.testing.assert_allclose(sums_of_errors(found)[0], errors * counts, rtol=0, atol=1e-8 * deviations(found.target))
    best = alphas[int(errors.mean(axis=1).argmin())]
    assert found.model.attributes["training"]["alpha"] == best


@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 99), folds=st.integers(2, 5), size=st.sampled_from([1, 3]), alpha=st.floats(1e-3, 1e3),
    penalize_intercept=st.booleans(), n_images=st.integers(10, 14),
)  # fmt: skip
def test_any_search_against_refits(small, seed, folds, size, alpha, penalize_intercept, n_images):
    found = small(
        [alpha], field=size, folds=folds, seed=seed, n_images=n_images, shape=(4, 16),
        penalize_intercept=penalize_intercept,
    )  # fmt: skip
    expected = oracle.errors_held_out(
        found.source, found.target, found.fold, size, alpha, penalize_intercept=penalize_intercept
    )
    tolerance = 1e-8 * deviations(found.target)
    np.testing.assert_allclose(sums_of_errors(found)[0, 0], expected, rtol=0, atol=tolerance)
    se = expected / np.bincount(found.fold) / found.source[0].size
    np.testing.assert_allclose(found.model.cv["se"][0, 0], se.std(ddof=1) / np.sqrt(folds), rtol=1e-6)


def test_pixels_choose_what_held_out_images_say(small):
    found = small([0.1, 10], folds=3, rule="pixel", shape=(4, 16))
    own = found.model.to_xarray()["alpha"].values
    total = np.zeros((2, 4, 16))
    for column, alpha in enumerate([0.1, 10]):
        for number in range(3):
            out = found.fold == number
            fitted = oracle.masked_regression(found.source[~out], found.target[~out], 3, alpha)
            predicted = oracle.predict(found.source[out], fitted.coef, fitted.intercept, 3)
            total[column] += np.square(found.target[out] - predicted).mean(axis=(0, 3))
    clear = np.abs(total[0] - total[1]) > 1e-6 * total[0]
    assert clear.mean() > 0.9
    np.testing.assert_array_equal(own[clear], np.array([0.1, 10])[total.argmin(axis=0)][clear])
    assert found.model.attributes["cross_validation"]["chosen"]["mse"] == pytest.approx(
        total.min(axis=0).mean() / 3, rel=1e-6
    )
