"""Ridge regression on whole images, as an estimator and from a store: time and memory beside scikit-learn's Ridge."""

import json
import subprocess
import sys

import numpy as np
import pytest
from sklearn.linear_model import Ridge

from benchmarks.stores import full, synthetic, train, write_store
from mrdist.baselines.global_estimators import GlobalRidge
from mrdist.execution import n_processors

pytestmark = pytest.mark.filterwarnings("ignore")

ALPHA, N_PAIRS = 10.0, 200

# Each in a process of its own: what the fit adds to the resident bytes of the libraries and the images.
_PEAK = """
import json, sys
import numpy as np
from threadpoolctl import threadpool_limits
from sklearn.linear_model import Ridge
from mrdist.baselines.global_estimators import GlobalRidge
from mrdist.execution import peak_memory

pairs = np.load(sys.argv[2])
threadpool_limits(1)
if sys.argv[1] == "ours":
    fit = lambda: GlobalRidge(alpha=10.0, penalize_intercept=False).fit(*pairs)
else:
    x, t = (images.reshape(len(images), -1) / 255 for images in pairs)
    fit = lambda: Ridge(alpha=10.0).fit(x, t)
before = peak_memory()
fit()
print(json.dumps(peak_memory() - before))
"""


@pytest.mark.usefixtures("one_core")
def test_ridge_against_scikit_learn(meter, faces, tmp_path):
    source, target = faces(N_PAIRS)
    x, t = (images.reshape(N_PAIRS, -1) / 255 for images in (source, target))
    theirs = Ridge(alpha=ALPHA).fit(x, t)
    ours = GlobalRidge(alpha=ALPHA, penalize_intercept=False).fit(source, target)
    np.testing.assert_allclose(ours.predict(source[:3]).reshape(3, -1), theirs.predict(x[:3]), atol=1e-8)
    del theirs

    seconds = meter.time(
        lambda: GlobalRidge(alpha=ALPHA, penalize_intercept=False).fit(source, target),
        {"ridge": lambda: Ridge(alpha=ALPHA).fit(x, t)},
        rounds=3,
    )
    what = f"l2, {N_PAIRS} pairs 128 x 128 gray"
    meter.tell(what, seconds["ours"], seconds["ridge"], "scikit-learn's Ridge", speedup=True, target=">= 20 x")

    np.save(tmp_path / "pairs.npy", np.stack([source, target]))
    peaks = {
        who: float(json.loads(subprocess.check_output([sys.executable, "-c", _PEAK, who, tmp_path / "pairs.npy"])))
        for who in ("ours", "theirs")
    }
    meter.tell(f"{what}, memory", [peaks["ours"]], peaks["theirs"], "Ridge", unit="B", target="<= 0.10")


@pytest.mark.parametrize("method", ["l2", "kernel", "pca", "mean", "mr"])
def test_methods(meter, tmp_path, method):
    url, reports = write_store(str(tmp_path / "i.zarr"), N_PAIRS, synthetic(128, "gray", n_people=N_PAIRS)), []
    options = ["--method", method, "--workers", str(n_processors())]
    meter.time(lambda: reports.append(train(url, tmp_path / "w.zarr", *options)), rounds=3)
    meter.tell(f"train {method}, {N_PAIRS} x 128 x 128 gray", np.array([r["seconds"]["run"] for r in reports]))


@pytest.mark.parametrize("color", ["gray", pytest.param("rgb", marks=full)])
def test_large_images(meter, tmp_path, color):
    picture, reports = synthetic(1024, color), []
    url = write_store(str(tmp_path / "i.zarr"), N_PAIRS, picture)
    options = ["--method", "l2", "--workers", "2", "--max-memory", "2GB"]
    meter.time(lambda: reports.append(train(url, tmp_path / "w.zarr", *options)), rounds=1)
    what = f"train l2, {N_PAIRS} x 1024 x 1024 {color}"
    meter.tell(what, np.array([reports[0]["seconds"]["run"]]))
    meter.tell(f"{what}, peak of a worker", [reports[0]["peak_memory_bytes"]], 2e9, "2 GB", unit="B", target="<= 1.00")
