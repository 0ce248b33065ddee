"""Figures and variables of what linked data taught say what 0 and 1 mean, and no word of white or people."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from matplotlib.figure import Figure

import mrdist
from mrdist.pipeline.showing import plot
from mrdist.pipeline.showing.report import report

PAIR = {"source": "low", "target": "high"}


@pytest.fixture(scope="module")
def learnt(tmp_path_factory):
    """A linked store, and a cross-validated mapping from it."""
    folder = tmp_path_factory.mktemp("figures")
    group, rng = zarr.create_group(f"{folder}/data.zarr"), np.random.default_rng(0)
    for label in PAIR.values():
        values = rng.uniform(250, 320, (24, 16, 16)).astype("f4")
        names = {"dimension_names": ("time", "lat", "lon"), "attributes": {"units": "K"}}
        group.create_array(label, data=values, chunks=(24, 16, 16), **names)
    addresses = {label: f"{folder}/data.zarr/{label}" for label in PAIR.values()}
    ranges = {"low": (200, 400), "high": (250, 320)}
    mrdist.link(f"{folder}/linked.zarr", addresses, ranges=ranges, split=["train"] * 20 + ["test"] * 4)
    mrdist.train(f"{folder}/linked.zarr", f"{folder}/w.zarr", **PAIR, alpha="cv", workers=0, progress=False)
    return folder


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures, savefig = [], Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (figures.append(self), savefig(self, *a, **k)))
    return figures


def words(figure):
    """All labels of a figure's axes."""
    return " ".join(text for ax in figure.axes for text in (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()))


@pytest.mark.parametrize(
    "draw",
    [
        lambda folder, out: plot.plot_cv(f"{folder}/w.zarr", out),
        lambda folder, out: plot.plot_intercept(f"{folder}/w.zarr", out),
        lambda folder, out: plot.plot_learning_curve(f"{folder}/linked.zarr", out, **PAIR, pairs=[10, 20], workers=0),
    ],
)
def test_axes_say_what_0_and_1_mean(draw, learnt, drawn, tmp_path):
    draw(learnt, f"{tmp_path}/out.svg")
    said = words(drawn[0])
    assert "(0 = 250 K, 1 = 320 K)" in said
    assert "white" not in said
    assert "people" not in said


def test_variables_of_weights_say_so_too(learnt):
    dataset = mrdist.open_weights(f"{learnt}/w.zarr").to_xarray()
    assert dataset["intercept"].units == "0 = 250 K, 1 = 320 K"
    assert dataset["train_sse"].units == "(0 = 250 K, 1 = 320 K) squared"
    assert not [name for name in dataset.variables if "white" in dataset[name].attrs.get("units", "")]


def test_the_report_draws_intercepts_in_them(learnt, drawn, tmp_path):
    report(f"{learnt}/w.zarr", out=f"{tmp_path}/r.html")
    assert any("(0 = 250 K, 1 = 320 K)" in words(figure) for figure in drawn)
    assert not any("white" in words(figure) for figure in drawn)
