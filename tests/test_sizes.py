"""Size and speed beside the generators of adversarial networks, whose published sizes are known."""

from __future__ import annotations

import importlib.util

import commands
import numpy as np
import pytest

import mrdist
from mrdist.synthesis import to_pixels

PUBLISHED = {"Pix2Pix": 41_828_995, "CycleGAN": 7_837_699, "StarGAN": 8_436_800, "GANimation": 8_471_296}


def test_masked_regression_is_measured_without_torch(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    (found,) = mrdist.sizes(256, receptive_field=5)
    assert (found.model, found.parameters, found.bytes) == ("masked regression", 26 * 256**2, 4 * 26 * 256**2)
    assert 0 < found.seconds < 1


def test_the_command_prints_what_is_there():
    report = commands.report("sizes")
    assert (report["size"], report["trained"]) == (128, False)
    has_torch = importlib.util.find_spec("torch") is not None
    found = {model.pop("model"): model for model in report["models"]}
    assert list(found) == ["masked regression", *(PUBLISHED if has_torch else ())]
    for name, model in found.items():
        assert model["bytes"] == 4 * model["parameters"]
        assert name not in PUBLISHED or model["parameters"] == PUBLISHED[name]
        assert model["seconds"] > 0


def test_bad_sizes():
    for size in (-128, 0, 64, 200):
        said = commands.failure("sizes", "--size", size)
        assert f"multiple of 128, since Pix2Pix halves an image seven times, got {size}." in said
    assert "odd" in commands.failure("sizes", "--receptive-field", "4")


def test_generators_have_their_published_sizes_and_keep_the_images_shape():
    pytest.importorskip("torch")
    from mrdist.baselines.gan import generators

    images = np.random.default_rng(0).uniform(-1, 1, (2, 3, 128, 128)).astype(np.float32)
    made = generators()
    assert {each.name: each.n_parameters for each in made} == PUBLISHED
    for each in made:
        found = each.predict(images)
        assert (found.shape, found.dtype) == (images.shape, np.float32)
        assert np.abs(found).max() <= 1
        assert np.ptp(found) > 0
        np.testing.assert_allclose(each.predict(images[1:]), found[1:], atol=1e-4)
        assert to_pixels((found + 1) / 2, np.dtype(np.uint8)).dtype == np.uint8
