"""Faces seen aslant: foreshortened as their surroundings are, and nothing is painted where they are turned away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from test_morphing import SIDE, bumps, control, face, shapes_of, weights_of

from mrdist.morphing.landmark_sums import ShapeSums
from mrdist.morphing.morph import Morph
from mrdist.morphing.shapes import Expression, Shapes
from mrdist.morphing.views import View

_MIDDLE = 31.5


def turned(points: np.ndarray, degrees: float) -> np.ndarray:
    """Return where points of a ball of radius 28 are seen when it is turned about the vertical axis."""
    x, y = (points - _MIDDLE).T
    depth, angle = np.sqrt(np.maximum(28**2 - x * x - y * y, 0)), np.radians(degrees)
    return np.stack([_MIDDLE + x * np.cos(angle) + depth * np.sin(angle), points[:, 1]], axis=-1)


def ball() -> np.ndarray:
    """Return points that cover what is seen of the ball."""
    points = np.stack(np.meshgrid(np.arange(6.0, 60, 3), np.arange(6.0, 60, 3)), axis=-1).reshape(-1, 2)
    return points[np.linalg.norm(points - _MIDDLE, axis=1) < 26]


@settings(max_examples=20, deadline=None)
@given(st.integers(3, 20), st.integers(0, 99))
def test_a_local_map_is_the_least_squares_of_the_surroundings(n: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    reference, points, radius = random.uniform(0, 20, (n, 2)), random.uniform(0, 20, (n, 2)), 12.0
    maps = View.of(points, reference, radius).maps
    weights = bumps(reference, reference, radius)
    for p, own in enumerate(weights):
        own = own / own.sum()
        before, after = (each - own @ each for each in (reference, points))
        rows = np.sqrt(own)[:, None]
        penalty = np.sqrt(0.002) * radius * np.eye(2)
        solution = np.linalg.lstsq(np.vstack([rows * before, penalty]), np.vstack([rows * after, penalty]))[0]
        assert_allclose(maps[p], solution.T, atol=1e-8)


def test_movements_are_foreshortened_as_the_skin_around_them() -> None:
    reference = ball()
    view = View.of(_MIDDLE + (reference - _MIDDLE) * (0.5, 1), reference, radius=20)
    assert view.seen.all()
    assert_allclose(view.foreshortened(np.full((len(reference), 2), 4.0)), [[2.0, 4.0]] * len(reference), rtol=0.1)


@pytest.mark.parametrize("degrees", [-50, 50])
def test_skin_that_is_turned_away_is_not_seen(degrees: float) -> None:
    reference = ball()
    view = View.of(turned(reference, degrees), reference, radius=8)
    x, y = (reference - _MIDDLE).T
    depth, angle = np.sqrt(28**2 - x * x - y * y), np.radians(degrees)
    size = np.cos(angle) - x / depth * np.sin(angle)  # of a piece of skin, as a share of that seen from before
    assert view.seen[size > 0.6].all()
    assert not view.seen[size < 0].any()
    assert min((size > 0.6).sum(), (size < 0).sum()) > 20


def test_a_face_from_before_is_seen_whole() -> None:
    shapes = shapes_of()
    assert View.of(control(shapes, face()), shapes.reference, shapes.radius).seen.all()


def test_a_turned_face_changes_and_what_lies_behind_it_does_not() -> None:
    before = ball()
    after = before + np.where(before[:, 1:] > _MIDDLE, 3.0, 0.0)
    sums = ShapeSums.zeros(len(before)).update(np.repeat(before[None], 3, axis=0), np.repeat(after[None], 3, axis=0))
    shapes = Shapes.fit(sums, (SIDE, SIDE))
    points = turned(before[shapes.control], 50)
    seen = View.of(points, shapes.reference, shapes.radius).seen
    assert 0.5 < seen.mean() < 0.9
    photograph = np.full((SIDE, SIDE, 3), 0.5)
    frame = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    change = np.abs(Morph(shapes, weights_of()).apply(photograph, points, Expression(1.0, 0.0), frame) - 0.5)[..., 0]
    x, y = points[seen].mean(axis=0).astype(int)
    assert change[y, x] > 0.05
    hidden = points[~seen].mean(axis=0).astype(int)
    assert change[hidden[1], hidden[0] + 6 :].max() < 0.005


def test_every_pixel_knows_what_is_seen_around_it() -> None:
    points = np.array([[4.0, 4.0], [12.0, 4.0]])
    view = View(np.empty((2, 2, 2)), np.array([True, False]))
    around = view.seen_around(points, (9, 30), 6)
    assert_array_equal(around[4, [4, 8, 12, 29]], [1, 0.5, 0, 0])
