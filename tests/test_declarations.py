"""What a method declares of itself is what it does: comparisons, saving and trainings of many mappings rely on it."""

from __future__ import annotations

import inspect
from importlib import import_module
from itertools import chain
from pkgutil import iter_modules

import commands
import numpy as np
import pytest

import mrdist
from mrdist import baselines
from mrdist.baselines.image_regressor import ImageRegressor
from mrdist.methods.registry import METHODS
from mrdist.pipeline.judging._verdicts import name_of
from mrdist.pipeline.judging.compare import looks
from mrdist.pipeline.training._mappings_together import MappingsWork
from mrdist.pipeline.training._prepare import prepare_mappings
from mrdist.storage import WeightsReader

SHAPE = (8, 8)
N_IMAGES = 34  # more than the estimators' default number of components
ESTIMATORS = {name: method.estimator for name, method in METHODS.items() if method.estimator is not None}
every_method = pytest.mark.parametrize("method", METHODS)
every_estimator = pytest.mark.parametrize("method", ESTIMATORS)


@pytest.fixture(scope="module")
def pixels(draw_images):
    return {label: draw_images((N_IMAGES, *SHAPE, 1), seed=seed) for seed, label in enumerate("abc")}


@pytest.fixture(scope="module")
def images(pixels, tmp_path_factory):
    return commands.write_store(tmp_path_factory.mktemp("declarations") / "images.zarr", pixels)


def estimator_of(method):
    module, name = ESTIMATORS[method]
    return getattr(import_module(module), name)


def concrete(base):
    """Return a class and what is derived from it in mrdist, without those that only others derive from."""
    below = chain.from_iterable(concrete(each) for each in base.__subclasses__())
    own = not inspect.isabstract(base) and base.__module__.startswith("mrdist")
    return {*below, *([base] if own else [])}


def test_every_estimator_is_that_of_one_method():
    for module in iter_modules(baselines.__path__, "mrdist.baselines."):
        if module.name != "mrdist.baselines.gan":  # which needs PyTorch and has none
            import_module(module.name)
    declared = [estimator_of(method) for method in ESTIMATORS]
    assert len(declared) == len(set(declared))
    assert concrete(ImageRegressor) == set(declared)


@every_estimator
def test_what_an_estimator_has_fitted_is_saved_as_its_method(method, pixels, tmp_path):
    derived = type("Derived", (estimator_of(method),), {})
    for number, kind in enumerate((estimator_of(method), derived)):
        fitted = kind().fit(pixels["a"], pixels["b"])
        mrdist.save(fitted, tmp_path / f"{number}.zarr")
        opened = mrdist.open_weights(tmp_path / f"{number}.zarr")
        assert opened.method == method
        np.testing.assert_allclose(opened.predict(pixels["c"]), fitted.predict(pixels["c"]), rtol=0, atol=1e-12)
        options, search = METHODS[method].options | opened.attributes["training"], {"alphas", "folds", "rule", "seed"}
        own = fitted.get_params().keys() & METHODS[method].options.keys() - search
        assert {name: options[name] for name in own} == {name: fitted.get_params()[name] for name in own}


@every_method
def test_the_output_depends_on_the_input_as_declared(method, images, pixels, tmp_path):
    mrdist.train(images, tmp_path / "w.zarr", source="a", target="b", method=method, workers=0)
    made = commands.applied(tmp_path / "w.zarr", images, "a")
    assert (np.ptp(made, axis=0).max() > 0) == METHODS[method].uses_input == looks({"method": method})
    assert (WeightsReader.open(tmp_path / "w.zarr").dials is not None) == METHODS[method].has_dials


@every_method
def test_a_row_is_named_by_its_field_where_the_method_has_one(method):
    has_field = "receptive_field" in METHODS[method].options
    row = {"method": method, "receptive_field": 5, "dilation": 2}
    assert name_of(row) == (f"{method} 5x5 d2" if has_field else method)
    assert name_of({**row, "receptive_field": None}) == method


@pytest.mark.parametrize("method", ["identity", "of a later mrdist"])
def test_a_row_of_what_is_not_in_the_registry(method):
    assert name_of({"method": method, "receptive_field": 3}) == method
    assert looks({"method": method}) == (method != "identity")


@every_method
def test_mappings_share_sums_as_declared_and_are_those_of_train(method, images, tmp_path):
    prepared = prepare_mappings(images, None, {"workers": 0}, source="a", method=method)
    assert isinstance(prepared.work, MappingsWork) == METHODS[method].shares_sums
    mrdist.train_mappings(images, tmp_path / "m.zarr", source="a", method=method, workers=0)
    mrdist.train(images, tmp_path / "w.zarr", source="a", target="c", method=method, workers=0)
    commands.assert_equal_bytes(tmp_path / "m.zarr" / "a-c", tmp_path / "w.zarr")
