"""Weights and predictions are the same to the last bit whatever processor the kernels are compiled for."""

import os
import subprocess
import sys

import pytest

FIT = """
import hashlib
import numpy as np
import mrdist

rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype, size in (("uint8", 5), ("float32", 3)):
    X, Y = rng.integers(200, 256, (2, 40, 19, 13, 3)).astype(dtype)
    if dtype == "float32":
        X, Y = X / 255, Y / 255
    for penalize in (True, False):
        model = mrdist.MaskedRegression(size, alpha=0.4, penalize_intercept=penalize, color="separate").fit(X, Y)
        digest.update(model.coef_.tobytes() + model.intercept_.tobytes() + model.predict(X).tobytes())
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
