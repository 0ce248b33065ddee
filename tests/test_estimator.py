from __future__ import annotations

import numpy as np
import oracle
import pytest
import scipy.sparse
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mrdist import MaskedRegression
from mrdist.errors import DataError, ParameterError

SHAPE = (25, 6, 7, 3)


def pairs(draw_images, shape=SHAPE, dtype=np.uint8):
    return draw_images(shape, dtype=dtype), draw_images(shape, dtype=dtype, seed=1)


@pytest.fixture
def images(draw_images):
    return pairs(draw_images)


def grouped(model):
    """Weights by plane and tap: with the axis that shared colour leaves out, without the inputs' of joint colour."""
    coef, intercept = model.coef_, model.intercept_
    if model.color == "joint":
        coef = coef.reshape(len(coef), -1, *coef.shape[-2:])
    return (coef[None], intercept[None]) if model.color == "shared" else (coef, intercept)


@pytest.mark.parametrize("penalize_intercept", [True, False])
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("dilation", [1, 2])
def test_the_fit_and_its_predictions_are_those_of_the_equations(color, dilation, penalize_intercept, images):
    X, Y = images
    model = MaskedRegression(3, dilation, alpha=0.7, penalize_intercept=penalize_intercept, color=color).fit(X, Y)
    options = {"dilation": dilation, "color": color, "penalize_intercept": penalize_intercept}
    wanted = oracle.masked_regression(X / 255, Y / 255, 3, 0.7, **options)
    coef, intercept = grouped(model)
    assert np.allclose(coef, wanted.coef, rtol=0, atol=1e-10)
    assert np.allclose(intercept, wanted.intercept, rtol=0, atol=1e-10)
    predicted = oracle.predict(X / 255, wanted.coef, wanted.intercept, 3, dilation=dilation)
    assert np.allclose(model.predict(X), predicted, rtol=0, atol=1e-10)


def test_floats_are_fitted_at_22_bits(draw_images):
    X, Y = pairs(draw_images, dtype=np.float64)
    model = MaskedRegression(alpha=0.1).fit(X, Y)
    wanted = oracle.masked_regression(oracle.fixed_point(X), oracle.fixed_point(Y), 3, 0.1)
    assert np.allclose(model.coef_, wanted.coef[0], rtol=0, atol=1e-12)
    assert np.allclose(model.intercept_, wanted.intercept[0], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("color", "leading"), [("shared", ()), ("separate", (3,)), ("joint", (3, 3))])
def test_shapes_and_dtypes(color, leading, images):
    model = MaskedRegression(5, color=color).fit(*images)
    assert model.coef_.shape == (*leading, 25, 6, 7)
    assert model.intercept_.shape == (*leading[:1], 6, 7)
    assert model.coef_.dtype == model.intercept_.dtype == np.float64
    assert model.n_images_ == 25


def test_the_defaults_are_the_papers():
    assert MaskedRegression().get_params() == {
        "receptive_field": 3,
        "dilation": 1,
        "alpha": 0.4,
        "penalize_intercept": True,
        "color": "shared",
        "alphas": None,
        "folds": 5,
        "rule": "min",
        "seed": 0,
        "pool": 0,
        "prior": "zero",
    }


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_predictions_have_the_shape_of_the_images(color, images):
    X, Y = images
    model = MaskedRegression(color=color).fit(X, Y)
    assert model.predict(X[:4]).shape == (4, 6, 7, 3)
    assert model.predict(X[:0]).shape == (0, 6, 7, 3)
    gray = MaskedRegression(color=color).fit(X[..., 0], Y[..., 0])
    assert gray.predict(X[:4, ..., 0]).shape == (4, 6, 7)
    assert gray.predict(X[:4, ..., :1]).shape == (4, 6, 7, 1)
    assert np.array_equal(gray.predict(X[..., 0]), gray.predict(X[..., :1])[..., 0])


def test_an_image_is_predicted_alike_in_any_company(images):
    X, Y = images
    model = MaskedRegression().fit(X, Y)
    assert np.array_equal(model.predict(X)[3:5], model.predict(X[3:5]))


def test_predictions_are_not_clipped(images):
    X, _ = images
    model = MaskedRegression(1, alpha=1e-6).fit(X // 2, 2 * (X // 2))
    assert model.predict(np.full_like(X, 255)).min() > 1.9


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_integers_mean_a_share_of_white(dtype, draw_images):
    X, Y = pairs(draw_images, dtype=dtype)
    model = MaskedRegression().fit(X, Y)
    white = np.iinfo(dtype).max
    assert np.array_equal(model.predict(X), model.predict(X / white))
    of_floats = MaskedRegression().fit(X / white, Y / white)
    assert np.allclose(model.coef_, of_floats.coef_, rtol=0, atol=1e-5)


@given(cuts=st.sets(st.integers(1, 24), max_size=4), color=st.sampled_from(["shared", "separate", "joint"]))
def test_a_fit_in_pieces_has_the_bits_of_one_fit(cuts, color, draw_images):
    X, Y = pairs(draw_images)
    whole, pieces = MaskedRegression(color=color).fit(X, Y), MaskedRegression(color=color)
    for x, y in zip(np.split(X, sorted(cuts)), np.split(Y, sorted(cuts)), strict=True):
        assert pieces.partial_fit(x, y) is pieces
    assert np.array_equal(pieces.coef_, whole.coef_)
    assert np.array_equal(pieces.intercept_, whole.intercept_)
    assert pieces.n_images_ == 25


def test_a_second_fit_forgets_the_first(images):
    X, Y = images
    model = MaskedRegression().fit(X, Y).fit(X[:9], Y[:9])
    assert np.array_equal(model.coef_, MaskedRegression().fit(X[:9], Y[:9]).coef_)
    assert model.n_images_ == 9


def test_a_failed_partial_fit_changes_nothing(images):
    X, Y = images
    model = MaskedRegression().fit(X, Y)
    before = model.coef_.copy()
    for x, y in [(X[..., :1], Y[..., :1]), (X[:, 1:], Y[:, 1:]), (X / 255, Y / 255)]:
        with pytest.raises(ValueError, match=r"channel|cannot be combined"):
            model.partial_fit(x, y)
    assert np.array_equal(model.coef_, before)
    assert np.array_equal(
        model.partial_fit(X, Y).coef_, MaskedRegression().fit(*np.tile([X, Y], (1, 2, 1, 1, 1))).coef_
    )


def flat(images):
    return images.reshape(len(images), -1)


def test_score_is_r2_over_the_outputs(images):
    X, Y = images
    model = MaskedRegression().fit(X[:15], Y[:15])
    for rows in (slice(0, 15), slice(15, 25)):
        wanted = sklearn.metrics.r2_score(flat(Y[rows] / 255), flat(model.predict(X[rows])))
        assert model.score(X[rows], Y[rows]) == pytest.approx(wanted, rel=1e-12)
        assert model.score(X[rows], Y[rows] / 255) == pytest.approx(wanted, rel=1e-12)


def test_score_leaves_constant_targets_out(images):
    X, Y = images
    Y = Y.copy()
    Y[:, 2] = 99
    Y[:, 5, 6, 1] = 0
    model = MaskedRegression().fit(X, Y)
    varies = (flat(Y) != flat(Y)[0]).any(axis=0)
    assert 0 < varies.sum() < varies.size
    wanted = sklearn.metrics.r2_score(flat(Y / 255)[:, varies], flat(model.predict(X))[:, varies])
    assert model.score(X, Y) == pytest.approx(wanted, rel=1e-12)


def test_the_score_of_constant_targets_is_undefined(images):
    X, _ = images
    flat_gray = np.full_like(X, 7)
    assert np.isnan(MaskedRegression().fit(X, flat_gray).score(X, flat_gray))


@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_the_sparse_matrix_predicts_alike(color, dilation, images):
    X, Y = images
    model = MaskedRegression(3, dilation, color=color).fit(X, Y)
    matrices = model.to_scipy()
    assert isinstance(matrices, list) == (color != "shared")
    matrices = matrices if isinstance(matrices, list) else [matrices] * 3
    predicted = model.predict(X)
    n_stored = sum(
        0 <= y + dy < 6 and 0 <= x + dx < 7
        for y in range(6)
        for x in range(7)
        for dy, dx in oracle.offsets(3, dilation)
    )
    for channel, matrix in enumerate(matrices):
        seen = range(3) if color == "joint" else [channel]
        assert scipy.sparse.issparse(matrix)
        assert matrix.format == "csr"
        assert matrix.shape == (42, 42 * len(seen) + 1)
        assert matrix.nnz == n_stored * len(seen) + 42
        assert matrix.has_canonical_format
        inputs = np.column_stack([*(flat(X[..., c]) / 255 for c in seen), np.ones(25)])
        assert np.allclose((matrix @ inputs.T).T, flat(predicted[..., channel]), rtol=0, atol=1e-13)


def test_the_sparse_matrix_reaches_only_the_receptive_field(images):
    matrix = MaskedRegression(3, 2).fit(*images).to_scipy().tocoo()
    taps = set(oracle.offsets(3, 2))
    for pixel, column in zip(*matrix.coords, strict=True):
        if column < 42:
            (y, x), (yy, xx) = divmod(int(pixel), 7), divmod(int(column), 7)
            assert (yy - y, xx - x) in taps


def test_scikit_learn_can_clone_and_set_it(images):
    model = MaskedRegression(5, dilation=2, alpha=3.0, penalize_intercept=False, color="separate")
    copy = clone(model)
    assert copy is not model
    assert copy.get_params() == model.get_params()
    fitted = clone(MaskedRegression().fit(*images))
    assert not hasattr(fitted, "coef_")
    assert model.set_params(alpha=1.0, receptive_field=3).get_params()["alpha"] == 1.0
    assert clone(model).set_params(dilation=1).fit(*images).coef_.shape == (3, 9, 6, 7)
    with pytest.raises(ValueError, match="radius"):
        model.set_params(radius=3)


@pytest.mark.parametrize(
    "use",
    ["predict", "score", "to_scipy"],
)
def test_use_before_fit_is_refused(use, images):
    arguments = {"predict": images[:1], "score": images, "to_scipy": ()}[use]
    with pytest.raises(NotFittedError):
        getattr(MaskedRegression(), use)(*arguments)


def with_nan(images):
    floats = images / 255
    floats[3, 2, 1, 0] = np.nan
    return floats


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, Y: (X[:-1], Y), r"got \(24, 6, 7, 3\) and \(25, 6, 7, 3\)"),
        (lambda X, Y: (X[:, :-1], Y), r"got \(25, 5, 7, 3\)"),
        (lambda X, Y: (X[..., 0], Y), r"got \(25, 6, 7\)"),
        (lambda X, Y: (X[:0], Y[:0]), r"got \(0, 6, 7, 3\)"),
        (lambda X, Y: (X[0, 0], Y[0, 0]), r"got \(7, 3\)"),
        (lambda X, Y: (X.astype(int), Y.astype(int)), "got int64"),
        (lambda X, Y: (with_nan(X), Y / 255), "X hold NaN"),
        (lambda X, Y: (X / 255, with_nan(Y)), "Y hold NaN"),
        (lambda X, Y: (X / 1.0, Y / 255), r"X hold values from 0 to 255"),
    ],
)
def test_images_that_cannot_be_fitted_are_refused(change, message, images):
    model = MaskedRegression()
    with pytest.raises(DataError, match=message):
        model.fit(*change(*images))
    assert not hasattr(model, "coef_")


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"receptive_field": 4}, "odd.* got 4"),
        ({"receptive_field": 0}, "odd.* got 0"),
        ({"receptive_field": 7}, "spans 7 pixels.* shorter side of 6"),
        ({"receptive_field": 3, "dilation": 3}, "spans 7 pixels.* shorter side of 6"),
        ({"dilation": 0}, "dilation .* got 0"),
        ({"alpha": 0}, "alpha .* got 0"),
        ({"alpha": float("nan")}, "alpha .* got nan"),
        ({"color": "rgb"}, "shared, separate, joint, got 'rgb'"),
    ],
)
def test_parameters_outside_their_domain_are_refused(parameters, message, images):
    with pytest.raises(ParameterError, match=message):
        MaskedRegression(**parameters).fit(*images)


def test_images_of_another_size_are_not_predicted(images):
    X, Y = images
    model = MaskedRegression().fit(X, Y)
    for other in (X[:, :-1], X[:, :, :-1], X[..., :1], X[..., 0]):
        with pytest.raises(DataError, match=r"6 x 7 pixels and 3 channel"):
            model.predict(other)
    with pytest.raises(DataError, match="got int64"):
        model.predict(X.astype(int))
    with pytest.raises(DataError, match="got"):
        model.predict(X[0, 0])


@pytest.mark.parametrize("crop", [np.s_[:, 2:-1, 3:-2], np.s_[::2, ::-1], np.s_[:, 1:, ::2]])
def test_views_of_larger_arrays_give_the_weights_of_their_copies(crop):
    X, Y = np.random.default_rng(0).integers(0, 256, (2, 20, 12, 16), dtype=np.uint8)

    view = MaskedRegression().fit(X[crop], Y[crop])
    copy = MaskedRegression().fit(X[crop].copy(), Y[crop].copy())

    np.testing.assert_array_equal(view.coef_, copy.coef_)
    np.testing.assert_array_equal(view.predict(X[crop]), copy.predict(X[crop].copy()))


@pytest.mark.parametrize("value", ["no", None, 1.0, [True]])
def test_whether_the_intercept_is_penalised_is_true_or_false(value, images):
    X, Y = images[0], images[1]
    with pytest.raises(ParameterError, match="penalize_intercept must be True or False"):
        MaskedRegression(penalize_intercept=value).fit(X, Y)
