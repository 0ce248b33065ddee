"""Plots that can be read: labels that do not collide, scales with units, axes that the worst method does not decide."""

from __future__ import annotations

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.text import Text

import mrdist.plotting
from mrdist import MaskedRegression, ReceptiveField
from mrdist.analysis import WeightSurvey
from mrdist.methods import registry
from mrdist.plotting import (
    plot_cv,
    plot_errors,
    plot_faces,
    plot_field_sizes,
    plot_fields_beside,
    plot_importance,
    plot_intercept,
    plot_learning_curve,
    plot_maps,
    plot_mask,
    plot_reach,
    plot_receptive_fields,
    plot_sizes,
)
from mrdist.plotting.style import color_of

METHODS = ("mr 3x3", "mr 5x5", "mr 7x7", "l2", "kernel", "pca", "l1", "l0", "pixel")
NEAR = {name: (40_000 + 900 * k, 0.70 + 0.004 * k) for k, name in enumerate(METHODS)}  # nine points in one place
WORST = {"mean": (2304, 41.0), "l0 wild": (50_000, 12.5)}
GRID = (0.001, 0.01, 0.1, 1.0, 10.0)


def cv_rows(best):
    """Rows of three fields, of which the first at penalty number ``best`` is the least wrong, and is row ``best``."""
    return [
        {"receptive_field": size, "dilation": dilation, "alpha": alpha, "mse": 0.02 + abs(a - best) / 999, "se": 1e-4}
        for size, dilation in [(3, 1), (5, 1), (3, 2)]
        for a, alpha in enumerate(GRID)
    ]


def survey():
    found = WeightSurvey((8, 8))
    found.add(np.random.default_rng(0).random((64, 64)), np.arange(64))
    return found


def weights():
    images = np.random.default_rng(0).integers(0, 256, (20, 12, 14), dtype=np.uint8)
    return MaskedRegression(5).fit(images, 255 - images)._weights


FACES = [np.full((12, 12, 3), 0.1 * k) for k in range(4)]
MAPS = {name: np.random.default_rng(0).random((16, 16)) for name in METHODS[:6]}
DRAWN = {
    "plot_cv": [lambda k=k: plot_cv(cv_rows(k), cv_rows(k)[k]) for k in (0, 2, 4)],
    "plot_errors": [lambda: plot_errors({name: error for name, (_, error) in (NEAR | WORST).items()})],
    "plot_faces": [lambda: plot_faces({"input": FACES, "synthesised": FACES})],
    "plot_field_sizes": [
        lambda: plot_field_sizes(
            {1: {1: 0.9, 3: 0.7, 5: 0.69}, 2: {5: 0.71, 9: 0.7}},
            {name: error for name, (_, error) in (NEAR | WORST).items() if name[:2] != "mr"},
            128,
        )
    ],
    "plot_fields_beside": [
        lambda: plot_fields_beside(
            {name: [np.eye(15) * 10.0**-k] * 5 for k, name in enumerate(METHODS)},
            ["brow", "eye", "cheek", "mouth", "chin"],
        )
    ],
    "plot_importance": [lambda: plot_importance([[np.eye(12)] * 3] * 2, columns=["none", "some", "more"])],
    "plot_intercept": [lambda: plot_intercept(weights())],
    "plot_learning_curve": [
        lambda: plot_learning_curve([5, 10, 20], {"mr 3x3": [0.02, 0.015, 0.01], "l2": [9, 5, 0.02]}, 0.03)
    ],
    "plot_maps": [
        lambda: plot_maps(MAPS, scale="magnitude", label="root mean square error"),
        lambda: plot_maps({"mr 3x3 dilation 2": np.eye(9), **{n: np.eye(9) for n in METHODS[3:]}},
                          scale="around zero", label="intercept (1 = white)"),
        lambda: plot_maps(MAPS, scale="ratio", label="weights / intercept"),
    ],
    "plot_mask": [lambda: plot_mask((5, 5), ReceptiveField(3))],
    "plot_reach": [lambda: plot_reach({name: survey() for name in METHODS})],
    "plot_receptive_fields": [lambda: plot_receptive_fields(weights(), [(1, 1), (6, 7), (11, 13)])],
    "plot_sizes": [lambda: plot_sizes(NEAR), lambda: plot_sizes(NEAR | WORST)],
}  # fmt: skip
CASES = [pytest.param(draw, id=f"{name}-{k}") for name, draws in DRAWN.items() for k, draw in enumerate(draws)]
CHARTS = [case for case in CASES if not case.id.startswith("plot_faces")]  # photographs have no scale


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_every_plot_is_drawn_here():
    assert set(DRAWN) == set(mrdist.plotting.__all__)


def texts(figure):
    """Every text that is seen, and its box; ticks beyond the limits are not."""
    figure.draw_without_rendering()
    hidden = set()
    for axis in (axis for ax in figure.axes for axis in (ax.xaxis, ax.yaxis)):
        low, high = sorted(axis.get_view_interval())
        for tick in axis.get_major_ticks() + axis.get_minor_ticks():
            if not low <= tick.get_loc() <= high:
                hidden |= {tick.label1, tick.label2}
    seen = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text().strip()]
    return {text: text.get_window_extent() for text in seen if text not in hidden}


@pytest.mark.parametrize("draw", CASES)
def test_no_text_lies_on_another_or_outside(draw):
    figure = draw().figure
    boxes = texts(figure)
    assert len(boxes) > 1
    clashes = [
        (one.get_text(), other.get_text())
        for (one, a), (other, b) in combinations(boxes.items(), 2)
        if min(a.x1, b.x1) - max(a.x0, b.x0) > 1 and min(a.y1, b.y1) - max(a.y0, b.y0) > 1
    ]
    assert clashes == []
    frame = figure.bbox.padded(1)
    inside = {text.get_text(): frame.containsx(b.x0) and frame.containsx(b.x1) for text, b in boxes.items()}
    assert all(inside.values()), inside
    assert all(frame.containsy(b.y0) and frame.containsy(b.y1) for b in boxes.values())


@pytest.mark.parametrize("draw", CHARTS)
def test_every_scale_says_what_it_measures(draw):
    ax = draw().axes
    for each in ax.figure.axes:
        for axis in (each.xaxis, each.yaxis):
            labels = [label.get_text() for label in axis.get_ticklabels() if label.get_visible()]
            numbers = [text for text in labels if text.replace("\N{MINUS SIGN}", "").replace(".", "").isdigit()]
            named = ax.name == "rectilinear" and labels and not numbers  # names and pixels speak for themselves
            assert named or not labels or axis.label.get_text(), (each, labels)
    if ax.images:  # weights, errors and importances in colours
        assert len(ax.figure.axes) > 1
        assert all(bar.get_ylabel() or bar.get_xlabel() for bar in ax.figure.axes[1:])


@pytest.mark.parametrize(
    ("ax", "good"),
    [
        (lambda: plot_sizes(NEAR | WORST), [error for _, error in NEAR.values()]),
        (lambda: plot_field_sizes({1: {1: 0.9, 3: 0.7}}, {"l2": 41.0}, 64), [0.9, 0.7]),
        (lambda: plot_learning_curve([5, 10], {"mr": [0.02, 0.01], "l2": [9, 8]}, 0.03), [0.02, 0.01]),
    ],
)
def test_the_worst_method_does_not_flatten_the_others(ax, good):
    low, high = ax().get_ylim()
    assert low < min(good)
    assert high < 2 * max(1.0 if max(good) > 0.5 else 0.03, *good)


def test_what_is_cut_off_says_how_far_it_lies():
    drawn = [text.get_text() for text in plot_sizes(NEAR | WORST).texts]
    assert "mean: 41" in drawn
    assert "l2" in drawn
    bars = plot_errors({"mr": 0.7, "identity": 1.0, "mean": 41.0})
    assert [text.get_text() for text in bars.texts] == ["0.700", "1.000", "\N{BLACK RIGHT-POINTING SMALL TRIANGLE} 41"]
    assert bars.get_xlim()[1] < 2.5


def test_a_map_far_brighter_than_the_others_does_not_darken_them():
    ax = plot_maps({"mr": np.full((4, 4), 0.1), "mean": np.full((4, 4), 5.0)}, scale="magnitude", label="error")
    assert ax.images[0].get_clim() == (0, pytest.approx(0.16))
    assert ax.images[0].colorbar.extend == "max"


def test_every_method_has_a_colour_of_its_own():
    """Also one that no palette knows."""
    colors = {color_of(name) for name in registry.METHODS}
    assert len(colors) == len(registry.METHODS)
    assert color_of("of tomorrow") == color_of("of tomorrow") not in {color_of(name) for name in ("pca", "mr", "l2")}
