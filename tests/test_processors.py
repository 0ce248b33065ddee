"""Sums, weights and predictions are the same to the last bit whatever processor the kernels are compiled for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

FIT = """
import hashlib
import numpy as np
import mrdist
from mrdist.geometry import Block, ReceptiveField
from mrdist.moments import SufficientStatistics, padded_window, to_integers, unit_of
from mrdist.paths import solve_path, validation_errors
from mrdist.pooling import Pool
from mrdist.solvers import solve

rng = np.random.default_rng(0)
digest = hashlib.sha256()
for dtype, size in (("uint8", 5), ("uint8", 7), ("float32", 3)):
    X, Y = rng.integers(200, 256, (2, 41, 19, 33, 3)).astype(dtype)
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
        pool = Pool(3, block, block)
        pooled = solve(statistics, 0.4, penalize_intercept=penalize, pool=pool, prior="identity")
        tried = validation_errors(statistics, statistics, [0.01, 7], penalize_intercept=penalize, pool=pool)
        digest.update(pooled.coef.tobytes() + pooled.intercept.tobytes() + pooled.sse.tobytes() + tried.sse.tobytes())
        digest.update(path.coef.tobytes() + path.intercept.tobytes() + path.sse.tobytes() + errors.sse.tobytes())
images = rng.integers(0, 256, (259, 19, 33, 3), dtype=np.uint8)
for size, n_groups in ((3, 1), (7, 3)):
    field = ReceptiveField(size)
    block = Block(0, 0, 19, 33)
    sums = SufficientStatistics.zeros(field, block.shape, n_groups=n_groups, unit=255)
    sums = sums.update(padded_window(images, block.grown(field.halo)), images[::-1])
    for part in (sums.lag, sums.cross, sums.source_sum, sums.target_sum, sums.target_square):
        digest.update(part.tobytes())
print(digest.hexdigest())
"""


# name: features that decide how bytes are multiplied, as /proc/cpuinfo and as LLVM have them
PROCESSORS = {
    "nehalem": ("", ""),
    "haswell": ("avx2 fma", "+avx2,+fma"),
    "alderlake": ("avx2 fma avx_vnni", "+avx2,+fma,+avxvnni"),
    "skylake-avx512": ("avx512bw avx512dq avx512vl", "+avx2,+fma,+avx512bw,+avx512dq,+avx512vl"),
    "cascadelake": ("avx512_vnni avx512bw avx512dq", "+avx2,+fma,+avx512bw,+avx512dq,+avx512vl,+avx512vnni"),
}


def fit(**environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", FIT], env=os.environ | environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def bits_here():
    return fit()


@pytest.mark.skipif(sys.platform != "linux" or os.uname().machine != "x86_64", reason="compiles for x86-64 targets")
@pytest.mark.long
@pytest.mark.parametrize("processor", PROCESSORS)
def test_bits_equal_those_compiled_for_another_processor(processor, bits_here, tmp_path):
    needed, features = PROCESSORS[processor]
    if not set(needed.split()) <= set(Path("/proc/cpuinfo").read_text().split()):
        pytest.skip(f"this processor lacks {needed}")
    compiled_for = {"NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "NUMBA_CACHE_DIR": str(tmp_path)}

    assert fit(**compiled_for) == bits_here
