"""Targets four times finer than their sources: error and time of masked regression beside what people use.

Photographs of faces (those of `MRDIST_TEST_DATA`, else drawn ones), and the sea of ``notebooks/own-arrays.ipynb``.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr
from PIL import Image
from scipy.ndimage import distance_transform_edt, zoom
from sklearn.linear_model import LinearRegression

import mrdist
from mrdist.datasets.synthetic import render_face

pytestmark = pytest.mark.filterwarnings("ignore")

FACTOR, SIZE, N_FACES = 4, 128, 80
DIMS = ("image", "y", "x", "channel")
HERE = {"workers": 0, "progress": False}
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "own-arrays.ipynb"


@pytest.fixture
def downscaler(monkeypatch):
    """Return scikit-downscale's PointWiseDownscaler."""
    monkeypatch.setattr(np, "object", object, raising=False)  # release 0.1.5 needs it, and NumPy lost it in 1.24
    return pytest.importorskip("skdownscale.pointwise_models").PointWiseDownscaler


def test_faces(meter, downscaler, tmp_path):
    fine = np.stack(list(photographs()))
    n, small = len(fine), SIZE // FACTOR
    coarse = fine.reshape(n, small, FACTOR, small, FACTOR, 1).mean(axis=(2, 4), dtype=np.float32)
    for name, pixels in (("coarse", coarse), ("fine", fine)):
        zarr.create_group(f"{tmp_path}/{name}").create_array("a", data=pixels, dimension_names=DIMS)
    addresses = {name: f"{tmp_path}/{name}/a" for name in ("coarse", "fine")}
    tested = np.arange(n) >= 3 * n // 4
    contest(meter, downscaler, "faces, of 256", tmp_path, addresses, tested, coarse, fine.astype(np.float64))


def test_a_sea(meter, downscaler, tmp_path):
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    made = {}
    for cell in cells[:3]:
        exec("".join(cell["source"]), made)
    addresses = {name: made["folder"] / f"{name}.zarr" / "sst" for name in ("coarse", "fine")}
    pixels = [made[name].values[..., None] for name in addresses]
    tested = made["days"].year == 2005
    contest(meter, downscaler, "sea, K", tmp_path, addresses, tested, *pixels, split_by="year", folds=4)


def photographs():
    """Yield gray faces: London's neutral ones, whose pupils are brought upon each other, or drawn ones."""
    folder = os.environ.get("MRDIST_TEST_DATA")
    if folder is None:
        yield from (render_face(person, "neutral", SIZE, color="gray") for person in range(N_FACES))
        return
    left, right = SIZE * (0.36 + 0.45j), SIZE * (0.64 + 0.45j)
    for path in sorted(Path(folder).glob("london/neutral_front/*_03.jpg")):
        first, second = (complex(*point) for point in np.loadtxt(path.with_suffix(".tem"), skiprows=1, max_rows=2))
        turn = (second - first) / (right - left)
        shift = first - turn * left
        finer = turn / FACTOR  # reduced by means, as a camera does
        affine = (finer.real, -finer.imag, shift.real, finer.imag, finer.real, shift.imag)
        with Image.open(path) as photograph:
            size = (FACTOR * SIZE, FACTOR * SIZE)
            large = photograph.convert("L").transform(size, Image.Transform.AFFINE, affine, Image.Resampling.BICUBIC)
            yield np.asarray(large.reduce(FACTOR))[..., None]


def contest(meter, downscaler, what, folder, addresses, tested, coarse, fine, *, folds=5, **linking):
    """Tell the root mean square errors of the images that are tested, and the seconds to learn and to predict all."""
    began = time.perf_counter()
    split = np.where(tested, "test", "train")
    mrdist.link(folder / "images.zarr", addresses, split=split, **linking, **HERE)
    between = {"source": "coarse", "target": "fine", **HERE}
    searched = {"receptive_field": [1, 3, 5], "alpha": "cv", "alphas": 10.0 ** np.arange(-5, 2), "folds": folds}
    mrdist.train(folder / "images.zarr", folder / "w.zarr", **searched, **between)
    mrdist.synthesize(folder / "w.zarr", folder / "images.zarr", folder / "made.zarr", **HERE)
    ours = time.perf_counter() - began
    made = np.asarray(mrdist.open_images(folder / "made.zarr").fine)

    began = time.perf_counter()
    interpolated = bicubic(coarse)
    seconds = {"bicubic": time.perf_counter() - began}
    began = time.perf_counter()
    lines = a_line_a_pixel(downscaler, interpolated, fine, tested)
    seconds["a line a pixel"] = seconds["bicubic"] + time.perf_counter() - began

    meter.time(lambda: None, rounds=1)
    error = rmse(made, fine, tested)
    np.testing.assert_array_equal(np.isnan(made), np.isnan(fine))
    for name, pixels in (("bicubic", interpolated), ("a line a pixel", lines)):
        meter.tell(f"{what}: error", error, rmse(pixels, fine, tested), name, unit="")
        meter.tell(f"{what}: time", ours, seconds[name], name)


def rmse(made, fine, tested):
    """Return the root mean square error of the images that are tested, land left out."""
    return float(np.sqrt(np.nanmean((made[tested] - fine[tested]) ** 2)))


def bicubic(coarse):
    """Return cubic splines through the pixels, land filled by the nearest sea."""
    _, nearest = distance_transform_edt(np.isnan(coarse[0, ..., 0]), return_indices=True)
    filled = coarse[:, *nearest] if np.isnan(coarse).any() else coarse
    return zoom(filled.astype(np.float64), (1, FACTOR, FACTOR, 1), order=3, mode="nearest", grid_mode=True)


def a_line_a_pixel(downscaler, interpolated, fine, tested):
    """Return the predictions of linear regressions, one a pixel, from the interpolated images."""
    n, sea = len(fine), ~np.isnan(fine[0]).ravel()
    days = np.datetime64("2000-01-01", "ns") + np.arange(n) * np.timedelta64(1, "D")
    x, y = (
        xr.DataArray(pixels.reshape(n, -1)[:, sea], {"time": days}, ("time", "pixel"))
        for pixels in (interpolated, fine)
    )
    model = downscaler(LinearRegression())
    model.fit(x[~tested], y[~tested])
    lines = np.full((n, sea.size), np.nan)
    lines[:, sea] = model.predict(x).values
    return lines.reshape(fine.shape)
