"""Scores do not depend on how an evaluation is cut, and it stays within its memory."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2lab
from skimage.metrics import structural_similarity

import mrdist
from mrdist.errors import MemoryLimitError
from mrdist.pipeline.judging import _scores
from mrdist.planning import ScoringSizes, plan_scoring
from mrdist.scoring import lab_chroma

SHAPE = (150, 270)  # 2 x 3 cells, ragged
MIB = 1 << 20


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    url = str(folder / "faces.zarr")
    rng = np.random.default_rng(0)
    smooth = np.linspace(60, 190, SHAPE[1])[:, None]
    pixels = {label: rng.normal(smooth, 30, (10, *SHAPE, 3)).clip(0, 255).astype(np.uint8) for label in ("a", "b")}
    _write(url, pixels, (4, 64, 32))
    other = str(folder / "other.zarr")
    _write(other, pixels, (10, 150, 270))
    weights = {}
    for method, options in {"mr": {"alpha": 0.5}, "mean": {}}.items():
        weights[method] = str(folder / f"{method}.zarr")
        mrdist.train(url, weights[method], source="a", target="b", method=method, workers=0, progress=False, **options)
    return url, other, weights, pixels


def _write(url, pixels, chunks):
    from mrdist.storage import create_images, finish_images, write_images

    n = len(pixels["a"])
    names = [str(number) for number in range(n)]
    run, *_ = create_images(
        url, labels=["a", "b"], image=names, subject=[f"person {number // 2}" for number in range(n)],
        dataset=[""] * n, split=[("train", "val", "test")[number // 2 % 3] for number in range(n)],
        shape=SHAPE, n_channels=3, chunks=chunks,
    )  # fmt: skip
    checksum = np.stack(
        [np.concatenate([write_images(url, label, k, images[k : k + run]) for k in range(0, n, run)])
         for label, images in pixels.items()], axis=1,
    )  # fmt: skip
    mask = np.zeros(SHAPE, dtype=bool)
    mask[20:140, 30:200] = True
    finish_images(url, present=np.ones((n, 2), dtype=bool), checksum=checksum, face_mask=mask, provenance={})


@pytest.mark.parametrize("method", ["mr", "mean"])
def test_scores_are_the_same_bits_for_any_blocks_and_chunks(stores, monkeypatch, method):
    url, other, weights, _ = stores
    whole = mrdist.evaluate(weights[method], url, refine=method == "mr", workers=0)["splits"]
    plans = []

    def cut(sizes, **options):
        plans.append(plan_scoring(sizes, **{**options, "n_slots": 6}))
        return plans[-1]

    monkeypatch.setattr(_scores, "plan_scoring", cut)
    assert mrdist.evaluate(weights[method], url, refine=method == "mr", workers=0)["splits"] == whole
    assert mrdist.evaluate(weights[method], other, refine=method == "mr", workers=0)["splits"] == whole
    assert plans[0].n_blocks > 1  # not of the second store, whose chunks are whole images
    one = mrdist.evaluate(weights[method], url, splits=["test"], refine=method == "mr", workers=0)["splits"]
    assert one["test"] == whole["test"]


@pytest.mark.slow
def test_scores_are_the_same_bits_on_workers(stores):
    url, _, weights, _ = stores
    two, none = (mrdist.evaluate(weights["mr"], url, workers=n) for n in (2, 0))
    assert (two.pop("workers"), none.pop("workers")) == (2, 0)
    assert two.pop("where") != none.pop("where")
    assert two == none


def test_scores_are_those_of_scikit_image(stores):
    url, _, weights, pixels = stores
    found = mrdist.evaluate(weights["mr"], url, splits=["test"])["splits"]["test"]
    rows = [4, 5]
    predictions = mrdist.open_weights(weights["mr"]).predict(pixels["a"][rows]).astype(np.float64)
    targets = pixels["b"][rows] / 255
    options = {"data_range": 1, "channel_axis": -1, "gaussian_weights": True, "use_sample_covariance": False}
    maps = [
        structural_similarity(t, p, full=True, **options)[1].mean(axis=-1)
        for p, t in zip(predictions, targets, strict=True)
    ]
    inside = np.zeros(SHAPE, dtype=bool)
    inside[5:-5, 5:-5] = True
    face = np.zeros(SHAPE, dtype=bool)
    face[20:140, 30:200] = True
    for region, mask in (("frame", inside), ("face", face)):
        assert found[region]["model"]["ssim"] == pytest.approx(np.mean([one[mask].mean() for one in maps]), rel=1e-12)
    wanted = np.square(predictions - targets)[:, face].mean()
    assert found["face"]["model"]["mse"] == pytest.approx(wanted, rel=1e-12)


def test_every_split_counts_its_people(stores):
    url, _, weights, _ = stores
    found = mrdist.evaluate(weights["mr"], url)["splits"]
    assert {split: (r["frame"]["n_images"], r["frame"]["n_people"]) for split, r in found.items()} == {
        "train": (4, 2), "val": (4, 2), "test": (2, 1),
    }  # fmt: skip
    apart = found["train"]["face"]["difference"]["mse"]
    scores = found["train"]["face"]
    assert apart["mean"] == pytest.approx(scores["model"]["mse"] - scores["identity"]["mse"])
    assert apart["low"] < apart["mean"] < apart["high"]
    assert found["test"]["face"]["difference"]["mse"]["low"] is None


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
def test_chroma_is_that_of_scikit_image(dtype):
    rng = np.random.default_rng(0)
    levels = rng.uniform(-0.1, 1.1, (40, 41, 3)) * rng.integers(0, 2, (40, 41, 1)) ** 3
    unit = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1
    images = (levels.clip(0, 1) * unit).astype(dtype) if unit > 1 else levels.astype(dtype)
    wanted = rgb2lab((images / unit).clip(0, 1).astype(np.float64))[..., 1:].reshape(-1, 2).T
    np.testing.assert_allclose(lab_chroma(images), wanted, rtol=0, atol=1e-6 if dtype == np.float32 else 1e-7)


def sizes(**changes):
    values = {
        "shape": (512, 512), "n_channels": 3, "itemsize": 1, "chunks": (80, 64, 64, 3), "n_stored": 80, "n_images": 80,
        "n_splits": 3, "n_mappings": 2, "margin": 5, "reach": 2, "numbers_per_pixel": 10,
    }  # fmt: skip
    return ScoringSizes(**{**values, **changes})


def test_less_memory_makes_smaller_blocks_until_none_fits():
    plans = [plan_scoring(sizes(), max_memory=limit * MIB, n_slots=1) for limit in (2048, 700, 520, 370)]
    areas = [plan.block[0] * plan.block[1] for plan in plans]
    assert areas == sorted(areas, reverse=True)
    assert len(set(areas)) > 2
    assert all(plan.peak_memory <= limit * MIB for plan, limit in zip(plans, (2048, 700, 520, 370), strict=True))
    with pytest.raises(MemoryLimitError, match="max_memory is 200 MiB"):
        plan_scoring(sizes(), max_memory=200 * MIB, n_slots=1)


def test_workers_are_kept_busy():
    assert plan_scoring(sizes(), max_memory=2048 * MIB, n_slots=4).n_blocks >= 4


def test_too_little_memory_is_told(stores):
    url, _, weights, _ = stores
    with pytest.raises(MemoryLimitError, match="--max-memory"):
        mrdist.evaluate(weights["mr"], url, workers=0, max_memory="200MiB")
