#!/usr/bin/env bash
# scikit-downscale 0.1.5, its newest, takes any NumPy (its metadata name none) and fits nothing with 1.24 or newer.
#
# Guessed: PointWiseDownscaler(estimator).fit(X, y) fits one scikit-learn estimator a point, with what pip puts beside it.
# Happens: AttributeError at the first fit: it asks NumPy for `object`, an alias that NumPy 1.24 took away. With NumPy
#          1.23.5 the same lines fit and predict.
# With: Python 3.11, xarray 2023.12.0, scikit-learn 1.3.2, pandas 2.0.3.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
# scikit-downscale asks for setuptools only by using it
"$folder/venv/bin/pip" install --quiet scikit-downscale==0.1.5 numpy==1.26.4 xarray==2023.12.0 scikit-learn==1.3.2 \
    pandas==2.0.3 scipy==1.11.4 dask==2023.12.1 setuptools==69.5.1
cd "$folder"
"$folder/venv/bin/python" - <<'PY'
import subprocess
import sys
from pathlib import Path

Path("points.py").write_text("""
import numpy as np
import pandas as pd
import xarray as xr
from skdownscale.pointwise_models import PointWiseDownscaler
from sklearn.linear_model import LinearRegression

days = pd.date_range("2001-01-01", periods=30)
values = np.random.default_rng(0).normal(size=(30, 2, 3))
coarse = xr.DataArray(values, dims=("time", "y", "x"), coords={"time": days, "y": [0, 1], "x": [0, 1, 2]}, name="t")
fine = 2 * coarse + 1
try:
    model = PointWiseDownscaler(LinearRegression())
    model.fit(coarse.to_dataset(), fine)
    error = float(abs(model.predict(coarse.to_dataset()) - fine).max())
    print("NumPy", np.__version__, "fits:", error < 1e-9)
except AttributeError as error:
    print("NumPy", np.__version__, "raises:", str(error).split(chr(10))[0])
""")


def said():
    done = subprocess.run([sys.executable, "-W", "ignore", "points.py"], check=True, capture_output=True, text=True)
    print(done.stdout, end="")
    return done.stdout


assert "has no attribute 'object'" in said()
subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "numpy==1.23.5"], check=True)
assert "NumPy 1.23.5 fits: True" in said()
PY
