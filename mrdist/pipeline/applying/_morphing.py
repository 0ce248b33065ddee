"""A face of a photograph that is moved by its landmarks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mrdist.datasets._warping import GRID_SIDE
from mrdist.datasets.detection import N_POINTS, REMEDY, find_faces, is_installed
from mrdist.pipeline.applying._locating import Place, Positions
from mrdist.storage.weights.reader import Moving
from mrdist.synthesis import to_pixels


def is_detected(moving: Moving, landmark_model: str | None) -> bool:
    """Whether the landmarks that a mapping moves can be detected in photographs."""
    return moving.n_points == N_POINTS and is_installed(landmark_model)


def points_of(
    moving: Moving, photograph: npt.NDArray[np.uint8], place: Place, landmark_model: str | None
) -> Positions | None:
    """Return the points of a face that a mapping moves, (x, y) in pixels of its photograph, shape (n, 2).

    They are among the landmarks that have placed the face, perhaps with the pupils first, or those of the face that is
    detected there. None if neither knows them.

    Parameters
    ----------
    moving
        How the mapping moves faces.
    photograph
        The photograph.
    place
        Where the face lies.
    landmark_model
        As for `mrdist.synthesize`.
    """
    given, n_points = place.landmarks, moving.n_points
    if given is not None and len(given) in (n_points, n_points + 2):
        return np.asarray(given[len(given) - n_points :][moving.control])
    if is_detected(moving, landmark_model):
        for face in find_faces(photograph, model=landmark_model, thorough=True):
            if np.abs(face.landmarks[:2].ravel() - place.pupils).max() <= 0.5 * face.pupil_distance:
                return np.asarray(face.points[moving.control])
    return None


def mean_points(moving: Moving, place: Place) -> Positions:
    """Return where the mean face has the points of `points_of`, in the photograph."""
    from scipy.interpolate import RectBivariateSpline  # slow to import, and points that are known need none

    nodes, sides = np.linspace(0, 1, GRID_SIDE), moving.mean_points
    positions = place.positions.reshape(GRID_SIDE, GRID_SIDE, 2)
    return np.stack(
        [RectBivariateSpline(nodes, nodes, positions[..., axis]).ev(*sides.T[::-1]) for axis in (0, 1)], axis=-1
    )


def moved_as_the_mean(moving: Moving, landmark_model: str | None) -> str:
    """Return what people are told of a face whose landmarks are not known."""
    remedy = f"put a landmark file of its {moving.n_points} points beside it"
    if moving.n_points == N_POINTS and not is_installed(landmark_model):
        remedy = f"{REMEDY} to find them, or {remedy}"
    return f"its landmarks are not known, so it moves as the mean face does; {remedy}"


def moved(moving: Moving, pixels: npt.NDArray[np.generic], n_colors: int, points: Positions) -> npt.NDArray[np.generic]:
    """Return the pixels of a photograph, shape (y, x, channel), with its face moved in the first channels, colours."""
    changed = pixels.copy()
    made = moving.move(np.ascontiguousarray(pixels[..., :n_colors]), points)
    changed[..., :n_colors] = to_pixels(np.ascontiguousarray(made), pixels.dtype)
    return changed
