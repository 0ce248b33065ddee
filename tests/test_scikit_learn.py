"""Every estimator is a regressor of scikit-learn, as far as that lets images through."""

from __future__ import annotations

import pickle
import warnings

import joblib
import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.exceptions import SkipTestWarning
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, learning_curve
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import mrdist
from mrdist import MaskedRegression, scoring
from mrdist.baselines.estimators import LassoRegression, PursuitRegression
from mrdist.baselines.global_estimators import GaussianRidge, GlobalRidge, MeanTarget, PrincipalComponentRegression
from mrdist.errors import DataError, ParameterError

REGISTRY = (
    MaskedRegression(alpha=0.1),
    MaskedRegression(alpha="cv", folds=2),
    LassoRegression(),
    PursuitRegression(nonzeros=3),
    GlobalRidge(alpha=0.1),
    GaussianRidge(),
    PrincipalComponentRegression(components=5),
    MeanTarget(),
)
every_estimator = pytest.mark.parametrize("model", REGISTRY, ids=repr)

TABLES = "gives tables (image, feature); images have three or four axes"
CANNOT = (
    "check_complex_data",
    "check_dict_unchanged",
    "check_dont_overwrite_attributes",
    "check_dont_overwrite_parameters",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimator_sparse_matrix",
    "check_estimator_sparse_tag",
    "check_estimators_dtypes",
    "check_estimators_empty_data_messages",
    "check_estimators_fit_returns_self",
    "check_estimators_nan_inf",
    "check_estimators_overwrite_params",
    "check_estimators_pickle",
    "check_f_contiguous_array_estimator",
    "check_fit2d_1feature",
    "check_fit2d_1sample",
    "check_fit2d_predict1d",
    "check_fit_check_is_fitted",
    "check_fit_idempotent",
    "check_fit_score_takes_y",
    "check_methods_sample_order_invariance",
    "check_methods_subset_invariance",
    "check_n_features_in",
    "check_n_features_in_after_fitting",
    "check_pipeline_consistency",
    "check_positive_only_tag_during_fit",
    "check_readonly_memmap_input",
    "check_regressor_data_not_an_array",
    "check_regressor_multioutput",
    "check_regressors_int",
    "check_regressors_no_decision_function",
    "check_regressors_train",
    "check_requires_y_none",
    "check_supervised_y_2d",
)


def cannot(model):
    """The checks that an estimator of images must fail, each with its reason."""
    partial = ("check_estimators_partial_fit_n_features",) if hasattr(model, "partial_fit") else ()
    return dict.fromkeys(CANNOT + partial, TABLES)


def of_tables(model):
    """The same estimator, as if it took tables: of those that do not, scikit-learn checks nothing at all."""

    def tags(self):
        claimed = super(kind, self).__sklearn_tags__()
        claimed.input_tags.two_d_array = True
        return claimed

    kind = type(type(model).__name__, (type(model),), {"__sklearn_tags__": tags, "__init__": type(model).__init__})
    return kind(**model.get_params())


@pytest.fixture(scope="module")
def pairs():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 256, (18, 6, 7, 3), dtype=np.uint8)
    return X, (X // 2 + rng.integers(0, 128, X.shape)).astype(np.uint8)


@parametrize_with_checks([of_tables(REGISTRY[0])], expected_failed_checks=cannot)
def test_what_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([of_tables(model) for model in REGISTRY[1:]], expected_failed_checks=cannot)
def test_what_scikit_learn_checks_of_the_others(estimator, check):
    check(estimator)


@every_estimator
def test_it_is_a_regressor_of_images(model):
    tags = get_tags(model)
    assert is_regressor(model)
    assert tags.target_tags.required
    assert tags.target_tags.multi_output
    assert not tags.input_tags.two_d_array
    assert not tags.input_tags.allow_nan


@every_estimator
def test_its_score_serves_searches_and_curves(model, pairs):
    X, Y = pairs
    by_hand = []
    for test in np.split(np.arange(18), 3):
        train = np.setdiff1d(np.arange(18), test)
        by_hand.append(clone(model).fit(X[train], Y[train]).score(X[test], Y[test]))
    with warnings.catch_warnings(action="error"):
        assert cross_val_score(model, X, Y, cv=3, error_score="raise").tolist() == by_hand
        search = GridSearchCV(model, {"color": ["shared", "separate"]}, cv=3, error_score="raise").fit(X, Y)
        _, _, test_scores = learning_curve(model, X, Y, cv=3, train_sizes=[0.9, 1.0], error_score="raise")
    assert search.cv_results_["mean_test_score"][0] == pytest.approx(np.mean(by_hand), rel=1e-12)
    assert search.predict(X).shape == X.shape
    assert test_scores[1].tolist() == by_hand


@every_estimator
def test_scorers_take_the_place_of_those_with_a_name(model, pairs):
    X, Y = pairs
    fitted = clone(model).fit(X, Y)
    mse = np.square(fitted.predict(X) - Y / 255).mean(axis=(1, 2, 3))
    assert scoring.neg_mean_squared_error(fitted, X, Y) == pytest.approx(-mse.mean(), rel=1e-12)
    assert scoring.peak_signal_noise_ratio(fitted, X, Y / 255) == pytest.approx(np.mean(-10 * np.log10(mse)), rel=1e-9)
    scorers = {"mse": scoring.neg_mean_squared_error, "psnr": scoring.peak_signal_noise_ratio}
    search = GridSearchCV(model, {"color": ["shared"]}, cv=2, scoring=scorers, refit="mse", error_score="raise")
    assert np.isfinite(search.fit(X, Y).cv_results_["mean_test_psnr"]).all()


def test_ssim_as_a_scorer(draw_images):
    X = draw_images((6, 16, 17, 3))
    model = MaskedRegression(1, alpha=1e-6).fit(X, X)
    assert scoring.structural_similarity(model, X, X) == pytest.approx(1, abs=1e-4)
    assert scoring.structural_similarity(model, X, 255 - X) < 0
    small = MaskedRegression().fit(X[:, :6, :6], X[:, :6, :6])
    assert np.isnan(scoring.structural_similarity(small, X[:, :6, :6], X[:, :6, :6]))


@every_estimator
@pytest.mark.parametrize("source", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("target", ["uint8", "uint16", "float64"])
def test_sources_and_targets_have_their_own_units(model, source, target, pairs):
    X, Y = pairs
    one = clone(model).fit(X, Y)
    other = clone(model).fit(as_type(X, source), as_type(Y, target))
    # 1/255 is no multiple of the 2^-20 that floats are rounded to
    tolerance = 0 if source == target == "uint8" else 1e-12 if "float" not in source + target else 2e-4
    np.testing.assert_allclose(other.predict(as_type(X, source)), one.predict(X), rtol=0, atol=tolerance)
    assert other.score(as_type(X, source), as_type(Y, target)) == pytest.approx(one.score(X, Y), abs=1e-4)


def as_type(images, dtype):
    """The same images in another dtype."""
    if dtype == "uint8":
        return images
    return images.astype(np.uint16) * 257 if dtype == "uint16" else (images / 255).astype(dtype)


@every_estimator
def test_a_pipeline_hands_it_floats(model, pairs):
    X, Y = pairs
    pipeline = make_pipeline(FunctionTransformer(np.sqrt), FunctionTransformer(lambda x: x / x.max()), clone(model))
    scores = cross_val_score(pipeline, X, Y, cv=3, error_score="raise")
    assert np.isfinite(scores).all()
    assert is_regressor(pipeline)


@every_estimator
@pytest.mark.parametrize("copy", [lambda m: pickle.loads(pickle.dumps(m)), "joblib"], ids=["pickle", "joblib"])
def test_copies_predict_alike(model, copy, pairs, tmp_path):
    X, Y = pairs
    fitted = clone(model).fit(X, Y)
    if copy == "joblib":
        joblib.dump(fitted, tmp_path / "model.joblib")
        again = joblib.load(tmp_path / "model.joblib")
    else:
        again = copy(fitted)
    assert np.array_equal(again.predict(X), fitted.predict(X))
    assert again.get_params() == fitted.get_params()


@every_estimator
def test_one_image_is_predicted_as_in_a_stack(model, pairs):
    X, Y = pairs
    color = clone(model).fit(X, Y)
    np.testing.assert_allclose(color.predict(X[3]), color.predict(X)[3], rtol=0, atol=1e-12)
    gray = clone(model).fit(X[..., 0], Y[..., 0])
    for image in (X[3, ..., 0], X[3, ..., :1]):
        made = gray.predict(image)
        assert made.shape == image.shape
        np.testing.assert_allclose(made.reshape(6, 7), gray.predict(X[..., 0])[3], rtol=0, atol=1e-12)


@every_estimator
@pytest.mark.parametrize(
    ("value", "message"), [(np.nan, "NaN"), (7.0, "from 0 to 7"), (-0.5, r"from -0\.5"), (np.inf, "to inf")]
)
@pytest.mark.parametrize("where", ["X", "Y", "predict", "score", "store"])
def test_values_without_a_meaning_are_refused(model, value, message, where, pairs, stores):
    X, Y = (images / 255 for images in pairs)
    X.flat[0], Y.flat[0] = 0, 0
    bad = (Y if where in ("Y", "score") else X).copy()
    bad.flat[99] = value
    fitted, store = stores[repr(model)]
    use = {
        "X": lambda: clone(model).fit(bad, Y),
        "Y": lambda: clone(model).fit(X, bad),
        "predict": lambda: fitted.predict(bad),
        "score": lambda: fitted.score(X, bad),
        "store": lambda: store.predict(bad),
    }[where]
    if where == "X" and isinstance(model, MeanTarget):
        use()  # it does not look at them
        return
    with pytest.raises(DataError, match=message):
        use()


@every_estimator
def test_pairs_of_unequal_shape_are_not_scored(model, pairs, stores):
    X, Y = pairs
    fitted, _ = stores[repr(model)]
    for other in (Y[:-1], Y[..., :1], Y[:, :, 1:]):
        with pytest.raises(DataError, match="pairs of equal shape"):
            fitted.score(X, other)


@pytest.fixture(scope="module")
def stores(pairs, tmp_path_factory):
    """Every estimator, fitted, and the opened store that it has written."""
    made = {}
    folder = tmp_path_factory.mktemp("stores")
    for number, model in enumerate(REGISTRY):
        fitted = clone(model).fit(*pairs)
        fitted.to_store(str(folder / f"{number}.zarr"), source="neutral", target="happy")
        made[repr(model)] = fitted, mrdist.open_weights(str(folder / f"{number}.zarr"))
    return made


@every_estimator
def test_a_store_predicts_what_the_estimator_does(model, pairs, stores):
    X, Y = pairs
    fitted, store = stores[repr(model)]
    np.testing.assert_allclose(store.predict(X), fitted.predict(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(store.predict(X[0]), fitted.predict(X[0]), rtol=0, atol=1e-12)
    scores = store.attributes["scores"]["train"]
    assert scores["mse"] == pytest.approx(-scoring.neg_mean_squared_error(fitted, X, Y), rel=1e-9)
    assert store.attributes["training"]["target"] == "happy"
    assert store.attributes["provenance"]["images"] == "in memory"
    assert type(model).__name__ in store.attributes["provenance"]["estimator"]


@pytest.mark.slow
@every_estimator
@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_stores_of_every_colour_and_dtype(model, color, dtype, pairs, tmp_path):
    if color == "joint" and not isinstance(model, MaskedRegression):
        pytest.skip("knows no joint colour")
    X, Y = as_type(pairs[0], dtype), pairs[1]
    fitted = clone(model).set_params(color=color).fit(X, Y)
    fitted.to_store(str(tmp_path / "w.zarr"))
    # a store of pca weighs floats as they are, the estimator at 20 bits
    rounded = dtype == "float64" and isinstance(model, PrincipalComponentRegression)
    made = mrdist.open_weights(str(tmp_path / "w.zarr")).predict(X)
    np.testing.assert_allclose(made, fitted.predict(X), rtol=0, atol=1e-6 if rounded else 1e-12)


@pytest.mark.parametrize("alpha", [0.4, "cv"])
def test_it_fits_and_saves_what_train_does(alpha, tmp_path):
    mrdist.generate(str(tmp_path / "i.zarr"), images=14, size=24, labels=["neutral", "happy"], workers=0)
    mrdist.train(
        str(tmp_path / "i.zarr"), str(tmp_path / "w.zarr"), source="neutral", target="happy", alpha=alpha,
        split="all", seed=3 if alpha == "cv" else None, workers=0, dtype="float64",
    )  # fmt: skip
    data, trained = mrdist.open_images(str(tmp_path / "i.zarr")), mrdist.open_weights(str(tmp_path / "w.zarr"))
    model = MaskedRegression(alpha=alpha, seed=3)
    model.fit(data.neutral.values, data.happy.values, groups=[str(name) for name in data.subject.values])
    assert np.array_equal(model.coef_, trained.coef)
    assert np.array_equal(model.intercept_, trained.intercept)
    assert model.alpha_ == trained.attributes["training"]["alpha"]
    if alpha == "cv":
        assert model.alphas_ == tuple(trained.cv.alpha.values)
        np.testing.assert_allclose(model.mse_path_, trained.cv.mse.values[0], rtol=1e-12)
    model.to_store(str(tmp_path / "s.zarr"))
    saved = mrdist.open_weights(str(tmp_path / "s.zarr"))
    assert np.array_equal(saved.coef, trained.coef)
    assert saved.attributes["scores"] == trained.attributes["scores"]


def test_groups_stay_together(pairs):
    X, Y = pairs
    groups = np.repeat(np.arange(6), 3)
    model = MaskedRegression(alpha="cv", folds=6, alphas=[0.1, 1.0]).fit(X, Y, groups=groups)
    by_hand = [
        [
            -scoring.neg_mean_squared_error(MaskedRegression(alpha=alpha).fit(X[train], Y[train]), X[test], Y[test])
            for train, test in GroupKFold(6).split(X, Y, groups)
        ]
        for alpha in (0.1, 1.0)
    ]
    np.testing.assert_allclose(np.sort(model.mse_path_), np.sort(by_hand), rtol=1e-9)
    assert model.alpha_ == (0.1, 1.0)[np.mean(by_hand, axis=1).argmin()]


@pytest.mark.parametrize(
    ("parameters", "arguments", "message"),
    [
        ({"alpha": "best"}, {}, "alpha .* got best"),
        ({"alpha": "cv", "rule": "pixel"}, {}, "rule .* got 'pixel'"),
        ({"alpha": "cv", "folds": 99}, {}, "folds is 99"),
        ({"alpha": "cv", "alphas": [1, -1]}, {}, "alpha .* got -1"),
        ({"alpha": "cv"}, {"groups": [1, 2]}, "18 pairs, got 2"),
    ],
)
def test_a_cross_validation_that_makes_no_sense_is_refused(parameters, arguments, message, pairs):
    with pytest.raises((ParameterError, DataError), match=message):
        MaskedRegression(**parameters).fit(*pairs, **arguments)


def test_a_cross_validation_needs_all_pairs_at_once(pairs):
    with pytest.raises(ParameterError, match="call fit"):
        MaskedRegression(alpha="cv").partial_fit(*pairs)


@every_estimator
@pytest.mark.parametrize("bad", [{"color": "rgb"}, {"alpha": "auto"}, {"alpha": None}, {"alpha": [1.0]}])
def test_a_failed_fit_leaves_what_was_fitted(model, bad, pairs):
    if not bad.keys() <= model.get_params().keys():
        pytest.skip("has no such parameter")
    X, Y = pairs
    fitted = clone(model).fit(X, Y)
    before = pickle.dumps(fitted.predict(X))
    with pytest.raises(ParameterError):
        fitted.set_params(**bad).fit(X[:9], Y[:9])
    assert pickle.dumps(fitted.predict(X)) == before


def test_scikit_learn_itself_checks_no_estimator_of_images():
    from sklearn.utils.estimator_checks import check_estimator

    with pytest.warns(SkipTestWarning):
        check_estimator(MaskedRegression(), on_skip="warn")


@every_estimator
def test_pickles_from_before_a_parameter(model, pairs, tmp_path):
    """What an earlier version has fitted lacks newer parameters, and what `save` needs."""
    X, Y = pairs
    fitted = clone(model).fit(X, Y)
    expected = fitted.predict(X)
    for name in (*fitted.get_params(), "image_shape_", "fitted_params_"):
        delattr(fitted, name)
    old = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(old.predict(X), expected)
    assert clone(old).get_params() == type(model)().get_params()
    with pytest.raises(DataError, match="earlier mrdist"):
        mrdist.save(old, tmp_path / "old.zarr")
