"""Points that somebody gives: the pupils, and perhaps the corners of the mouth."""

import numpy as np
import pytest
from commands import warm
from numpy.testing import assert_allclose
from scipy.interpolate import RectBivariateSpline

import mrdist
from mrdist.datasets._warping import GRID_SIDE
from mrdist.datasets.landmarks import FRAME_CORNERS, FRAME_PUPILS
from mrdist.errors import LandmarkError, ParameterError
from mrdist.pipeline.applying._locating import Locator
from mrdist.storage import FaceFrame

PHOTOGRAPH = np.zeros((300, 450, 3), dtype=np.uint8)
LOCATOR = Locator((64, 64), FaceFrame(np.ones((64, 64), dtype=bool), None, None))


def seen_at(given: tuple[float, ...], places: np.ndarray) -> np.ndarray:
    """Return where places of the frame lie in the photograph."""
    (place,) = LOCATOR.places("face.png", PHOTOGRAPH, given, None, "largest")
    nodes = np.linspace(0, 1, GRID_SIDE)
    grid = place.positions.reshape(GRID_SIDE, GRID_SIDE, 2)
    return np.stack(
        [RectBivariateSpline(nodes, nodes, grid[..., axis]).ev(places[:, 1], places[:, 0]) for axis in (0, 1)], axis=-1
    )


@pytest.mark.parametrize("mouth", [(170.0, 250.0, 250.0, 250.0), (200.0, 180.0, 280.0, 205.0)])
def test_the_frame_is_laid_on_pupils_and_corners_of_the_mouth(mouth):
    given = (150.0, 100.0, 270.0, 110.0, *mouth)
    assert_allclose(seen_at(given, FRAME_CORNERS), np.reshape(given, (4, 2)), atol=1)


def test_pupils_alone_turn_and_scale_the_frame():
    given = (150.0, 100.0, 270.0, 110.0)
    assert_allclose(seen_at(given, FRAME_PUPILS), np.reshape(given, (2, 2)), atol=1e-6)
    turn = np.subtract(given[2:], given[:2])
    below = np.array([[0.32, 0.76]])  # as far below the left pupil as the right one is beside it
    assert_allclose(seen_at(given, below)[0] - given[:2], [-turn[1], turn[0]], atol=1e-6)


@pytest.mark.parametrize(
    "given",
    [
        (150.0, 100.0, 570.0, 110.0, 170.0, 250.0, 250.0, 250.0),
        (150.0, 100.0, 270.0, 110.0, 170.0, 320.0, 250.0, 320.0),
    ],
)
def test_points_outside_of_the_photograph_are_refused(given):
    with pytest.raises(LandmarkError, match="cannot be two pupils above a mouth"):
        seen_at(given, FRAME_CORNERS)


@pytest.mark.parametrize("count", [0, 2, 6, 10])
def test_other_numbers_of_points_are_refused(count):
    with pytest.raises(ParameterError, match=f"points must be 4 numbers, .* or 8, .* got {count}"):
        mrdist.synthesize("none.zarr", "face.png", "made", points=(1.0,) * count)


def test_the_shell_says_which_numbers_it_wants():
    run = warm("synthesize", "none.zarr", "face.png", "--points", "1,2,3,4,5,6", "--out", "made")
    assert run.returncode == 2
    assert "'1,2,3,4,5,6' is not 4 or 8 numbers separated by commas." in " ".join(run.stderr.split())
