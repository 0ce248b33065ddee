from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given
from hypothesis import strategies as st
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from mrdist.geometry import Block, block_grid
from mrdist.scoring import SSIM_HALO, BlockScorer, r2

SHAPE = (24, 29)
N_IMAGES = 4
MASK = np.hypot(*np.mgrid[-12:12, -14:15]) < 10


def pairs(n_channels=3):
    rng = np.random.default_rng(0)
    target = rng.uniform(0, 1, (N_IMAGES, *SHAPE, n_channels))
    return np.clip(target + rng.normal(0, 0.1, target.shape), 0, 1), target


def score(prediction, target, block, scored=None, slabs=(slice(None),)):
    """Score a block from what is around it, as an evaluation does."""
    shape = target.shape[1:3]
    scored = np.ones(shape, dtype=bool) if scored is None else scored
    inside = np.zeros(shape, dtype=bool)
    inside[SSIM_HALO:-SSIM_HALO, SSIM_HALO:-SSIM_HALO] = True
    window = block.grown(SSIM_HALO).clipped(shape)
    inner = Block(block.y0 - window.y0, block.x0 - window.x0, block.y1 - window.y0, block.x1 - window.x0)
    scorer = BlockScorer(inner.slices, scored[block.slices], (scored & inside)[block.slices])
    for slab in slabs:
        scorer.add(prediction[slab][:, *window.slices], target[slab][:, *window.slices])
    return scorer.sums()


def score_whole(prediction, target, **options):
    return score(prediction, target, Block(0, 0, *target.shape[1:3]), **options)


def assert_equal_sums(found, wanted):
    assert np.allclose(found.squared_error, wanted.squared_error, rtol=1e-12, atol=0)
    assert np.allclose(found.ssim, wanted.ssim, rtol=1e-12, atol=0)
    assert found.r2 == pytest.approx(wanted.r2, rel=1e-12)
    assert (found.n_values, found.n_ssim, found.n_r2) == (wanted.n_values, wanted.n_ssim, wanted.n_r2)


@given(block=st.tuples(st.integers(3, 24), st.integers(3, 29)), scored=st.sampled_from([None, MASK]))
def test_sums_of_blocks_add_up_to_those_of_the_whole(block, scored):
    prediction, target = pairs()
    first, *others = [score(prediction, target, part, scored) for part in block_grid(SHAPE, block)]
    total = first
    for part in others:
        total = total + part
    assert_equal_sums(total, score_whole(prediction, target, scored=scored))


def test_slabs_do_not_change_the_sums():
    prediction, target = pairs()
    slabs = (slice(0, 1), slice(1, 3), slice(3, 4))
    assert_equal_sums(score_whole(prediction, target, slabs=slabs), score_whole(prediction, target))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_channels", [1, 3])
def test_scores_of_whole_images_are_scikit_images(n_channels, dtype):
    prediction, target = (images.astype(dtype).astype(np.float64) for images in pairs(n_channels))
    found = score_whole(prediction.astype(dtype), target.astype(dtype)).scores()
    images = list(zip(target, prediction, strict=True))
    ssim = [
        structural_similarity(
            t, p, data_range=1, channel_axis=-1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
        )
        for t, p in images
    ]
    assert found["mse"] == pytest.approx(np.mean([mean_squared_error(t, p) for t, p in images]), rel=1e-12)
    psnr = np.mean([peak_signal_noise_ratio(t, p, data_range=1) for t, p in images])
    assert found["psnr"] == pytest.approx(psnr, rel=1e-12)
    assert found["ssim"] == pytest.approx(np.mean(ssim), rel=1e-12)
    flat = (images.reshape(N_IMAGES, -1) for images in (target, prediction))
    assert found["r2"] == pytest.approx(sklearn.metrics.r2_score(*flat), rel=1e-10)


def test_only_the_scored_pixels_count():
    prediction, target = pairs()
    found = score_whole(prediction, target, scored=MASK).scores()
    error = np.square(prediction - target)[:, MASK]
    assert found["mse"] == pytest.approx(error.mean(), rel=1e-12)
    assert found["psnr"] == pytest.approx(np.mean(-10 * np.log10(error.mean(axis=(1, 2)))), rel=1e-12)
    wanted = sklearn.metrics.r2_score(target[:, MASK].reshape(N_IMAGES, -1), prediction[:, MASK].reshape(N_IMAGES, -1))
    assert found["r2"] == pytest.approx(wanted, rel=1e-10)


def test_a_perfect_prediction():
    _, target = pairs()
    assert score_whole(target, target).scores() == {"mse": 0, "psnr": None, "ssim": pytest.approx(1), "r2": 1}


def test_one_perfect_image_leaves_psnr_undefined():
    prediction, target = pairs()
    prediction[2] = target[2]
    assert score_whole(prediction, target).scores()["psnr"] is None


@pytest.mark.parametrize("level", [0.1, 1 / 3, 0.99])
def test_constant_targets_have_no_r2(level):
    prediction, target = pairs()
    target[:, 3:] = level
    varying = sklearn.metrics.r2_score(target[:, :3].reshape(N_IMAGES, -1), prediction[:, :3].reshape(N_IMAGES, -1))
    sums = score_whole(prediction, target)
    assert sums.n_r2 == 3 * SHAPE[1] * 3
    assert sums.scores()["r2"] == pytest.approx(varying, rel=1e-10)
    assert r2(prediction, target) == pytest.approx(varying, rel=1e-10)
    assert score_whole(prediction, np.full_like(target, level)).scores()["r2"] is None
    assert np.isnan(r2(prediction, np.full_like(target, level)))


def test_images_too_small_for_ssims_window_have_none():
    prediction, target = (images[:, :9] for images in pairs())
    found = score_whole(prediction, target).scores()
    assert found["ssim"] is None
    assert found["mse"] == pytest.approx(np.square(prediction - target).mean(), rel=1e-12)


UNDEFINED = {"mse": None, "psnr": None, "ssim": None, "r2": None}


def test_no_pixels_have_no_scores():
    assert score_whole(*pairs(), scored=np.zeros(SHAPE, dtype=bool)).scores() == UNDEFINED


@pytest.mark.parametrize("slabs", [(), (slice(0, 0),)], ids=["no slab", "an empty slab"])
def test_no_images_have_no_scores(slabs):
    assert score_whole(*pairs(), slabs=slabs).scores() == UNDEFINED


def test_r2_is_the_average_over_outputs():
    prediction, target = (images.reshape(N_IMAGES, -1) for images in pairs())
    assert r2(prediction, target) == pytest.approx(sklearn.metrics.r2_score(target, prediction), rel=1e-12)
