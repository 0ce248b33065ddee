"""Kernels that are not on the disk: other processes compile them, so that those that work hold what is planned."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

CODE = """
import json, sys
import numpy as np
from mrdist._kernels import apart, likeness
from mrdist.execution import peak_memory
if {broken}:
    sys.executable = "/none/python"
with apart.compiled_apart():
    inside = apart.is_apart()
    likeness.linear_light(np.linspace(0, 1, 8), found := np.empty(8))
stats = likeness.linear_light.stats
counts = [inside, apart.is_apart(), sum(stats.cache_hits.values()), sum(stats.cache_misses.values())]
print(json.dumps([counts, peak_memory(), np.asarray(found).tolist()]))
"""


def run(folder, *, broken=False):
    environment = {"NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": ":".join(sys.path)}
    code = CODE.format(broken=broken)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_another_process_compiles_and_this_one_loads(tmp_path):
    counts, peak, found = run(tmp_path / "apart")
    assert counts == [True, False, 1, 0]
    here, own_peak, expected = run(tmp_path / "here", broken=True)  # none can be started: it compiles itself
    assert here == [True, False, 0, 1]
    assert found == expected
    assert peak < own_peak - 25_000_000  # of a small kernel
    assert run(tmp_path / "here") == [[True, False, 1, 0], pytest.approx(peak, rel=0.1), expected]
