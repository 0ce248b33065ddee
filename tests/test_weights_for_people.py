"""Weights as people look at them: coordinates and units in xarray, and one sentence about a bucket."""

from __future__ import annotations

import commands
import numpy as np
import pytest

import mrdist
from mrdist.methods.registry import METHODS
from mrdist.storage import run_state


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("people") / "images.zarr")
    mrdist.generate(url, images=8, size=32, labels=("neutral", "happy"), workers=0)
    return url


def train(images, url, method, **options):
    few = commands.known(method, components=2, nonzeros=2, window=3)
    mrdist.train(images, url, source="neutral", target="happy", method=method, workers=0, **few, **options)
    return mrdist.open_weights(url)


@pytest.mark.parametrize("method", METHODS)
def test_variables_say_what_they_are_and_in_which_unit(images, tmp_path, method):
    dataset = train(images, str(tmp_path / "w"), method).to_xarray()
    for name in {*dataset.variables} - {"indices", "indptr", "data", "offset", "dy", "dx"}:
        assert dataset[name].attrs["units"], name
        assert dataset[name].attrs["long_name"], name
    assert dataset.sel(y=3, x=[4, 5]).sizes["x"] == 2


@pytest.mark.parametrize("color", ["shared", "separate", "joint"])
def test_an_offset_is_selected_by_dy_and_dx(images, tmp_path, color):
    model = train(images, str(tmp_path / "w"), "mr", color=color, dilation=2)
    dataset = model.to_xarray().set_xindex(["dy", "dx"])
    for number, (dy, dx) in enumerate(dataset.offsets.values.tolist()):
        np.testing.assert_array_equal(dataset.coef.sel(dy=dy, dx=dx), model.coef[..., number, :, :])


def test_already_complete_is_said_once(images, tmp_path):
    command = ("train", images, tmp_path / "w", "--source=neutral", "--target=happy", "--workers=0")
    commands.succeed(*command)
    done = commands.succeed(*command)
    assert (done.stdout + done.stderr).count("already complete") == 1


def test_nothing_lies_beside_a_bucket():
    """So that whoever asks for one is told of the bucket, and not of a record beside it that cannot be."""
    assert run_state("s3://bucket") is None
    assert run_state("s3://bucket/") is None
