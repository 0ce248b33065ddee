"""Weights and predictions are the same to the last bit whatever processor the kernels are compiled for."""

import os
import subprocess
import sys

import pytest

FIT = """
import hashlib
import numpy as np
import mrdist
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import SufficientStatistics, padded_window, to_integers, unit_of
from mrdist.paths import solve_path, validation_errors

rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype, size in (("uint8", 5), ("float32", 3)):
    X, Y = rng.integers(200, 256, (2, 40, 19, 13, 3)).astype(dtype)
    if dtype == "float32":
        X, Y = X / 255, Y / 255
    for penalize in (True, False):
        model = mrdist.MaskedRegression(size, alpha=0.4, penalize_intercept=penalize, color="separate").fit(X, Y)
        digest.update(model.coef_.tobytes() + model.intercept_.tobytes() + model.predict(X).tobytes())
    field, block = ReceptiveField(size), Block(0, 0, 19, 13)
    X, Y = to_integers(X), to_integers(Y)
    statistics = SufficientStatistics.zeros(field, block.shape, n_groups=1, unit=unit_of(dtype))
    statistics = statistics.update(padded_window(X, block.grown(field.halo)), Y)
    for penalize in (True, False):
        path = solve_path(statistics, [0.01, 0.4, 7], penalize_intercept=penalize)
        errors = validation_errors(statistics, statistics, [0.01, 0.4, 7], penalize_intercept=penalize)
        digest.update(path.coef.tobytes() + path.intercept.tobytes() + path.sse.tobytes() + errors.sse.tobytes())
print(digest.hexdigest())
"""


def results(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FIT], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def results_here():
    return results()


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="compiles for x86-64 targets")
@pytest.mark.parametrize("processor", ["nehalem", "haswell"])
def test_results_equal_those_compiled_for_an_older_processor(processor, results_here, tmp_path):
    compiled_for = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": "", "NUMBA_CACHE_DIR": str(tmp_path)}

    assert results(**compiled_for) == results_here
