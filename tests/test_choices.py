from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Lasso, OrthogonalMatchingPursuit

import mrdist
from mrdist.pipeline._choices import NONZEROS, PENALTIES, choose_sparse, held_out_errors
from mrdist.storage import Images


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (12, 40))
    t = np.clip(0.5 * x[[2, 5]] + 0.3 * x[[7, 1]] + rng.integers(0, 40, (2, 40)), 0, 255).round().astype(np.int64)
    return x[:, :30], t[:, :30], x[:, 30:], t[:, 30:]


@pytest.mark.parametrize("method", ["l1", "l0"])
def test_held_out_errors_are_those_of_scikit_learn(arrays, method):
    x, t, held_out_x, held_out_t = arrays
    found = held_out_errors(*arrays, 255, method)
    if method == "l1":
        models = [Lasso(alpha=alpha, tol=1e-10, max_iter=100_000) for alpha in PENALTIES]
    else:
        models = [OrthogonalMatchingPursuit(n_nonzero_coefs=min(n, 12)) for n in NONZEROS]
    for error, model in zip(found, models, strict=True):
        made = np.stack([model.fit(x.T / 255, row / 255).predict(held_out_x.T / 255) for row in t])
        assert error == pytest.approx(np.square(made - held_out_t / 255).sum(), rel=2e-3)


def test_settings_are_chosen_among_the_training_people(tmp_path):
    url = str(tmp_path / "faces.zarr")
    mrdist.generate(url, images=30, size=16, labels=["neutral", "happy"], color="gray", workers=0, progress=False)
    images = Images.open(url)
    alpha, seconds = choose_sparse(images, ("neutral", "happy"), "l1", 1 << 30)
    assert alpha["alpha"] in PENALTIES
    assert seconds > 0
    nonzeros, _ = choose_sparse(images, ("neutral", "happy"), "l0", 1 << 30)
    assert nonzeros["nonzeros"] in NONZEROS
    assert choose_sparse(images, ("neutral", "happy"), "l1", 1000) == ({}, 0.0)


def test_every_method_can_be_compared_and_reported(tmp_path):
    url, out = str(tmp_path / "faces.zarr"), tmp_path / "out"
    mrdist.generate(url, images=40, size=32, labels=["neutral", "happy"], color="gray", workers=0, progress=False)
    methods = ["mr", "pixel", "l2", "kernel", "pca", "l1", "l0", "mean", "identity"]
    found = mrdist.compare(
        url, source="neutral", target="happy", methods=methods, out=str(out), workers=0, progress=False
    )
    assert [row["method"] for row in found["methods"]] == methods
    ratio = {row["method"]: row["relative_mse"] for row in found["methods"]}
    assert ratio["mr"] < 1 == ratio["identity"] < ratio["mean"]
    alphas = {row["method"]: row["alpha"] for row in found["methods"]}
    assert all(alphas[method] > 0 for method in ("mr", "pixel", "l2", "kernel", "l1"))
    assert mrdist.report(str(out), str(tmp_path / "report.html"), people=1)
    page = (tmp_path / "report.html").read_text()
    assert all(f"<td>{name}</td>" in page for name in ("mr 3x3", *methods[1:]))
