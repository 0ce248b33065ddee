"""A face of a photograph that is moved by its landmarks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.interpolate import RectBivariateSpline

from mrdist.datasets._warping import GRID_SIDE
from mrdist.datasets.detection import N_POINTS, find_faces, is_installed
from mrdist.storage.weights.morph_reader import MorphModel
from mrdist.synthesis import to_pixels

Positions = npt.NDArray[np.float64]


def is_detected(model: MorphModel, landmark_model: str | None) -> bool:
    """Whether the landmarks that a mapping moves can be detected in photographs."""
    return model.training.n_points == N_POINTS and is_installed(landmark_model)


def points_of(
    model: MorphModel,
    photograph: npt.NDArray[np.uint8],
    given: Positions | None,
    positions: Positions,
    pupils: tuple[float, float, float, float],
    landmark_model: str | None,
) -> Positions:
    """Return the points of control of a face in its photograph, shape (n, 2).

    They are among the landmarks that have placed the face, or those of the face that is detected there, or else lie
    where the mean face has them.

    Parameters
    ----------
    model
        The mapping.
    photograph
        The photograph.
    given
        What has placed the face, shape (point, 2), perhaps with the pupils first.
    positions
        Where the nodes of the frame lie.
    pupils
        Where its pupils lie, x and y of the left one and of the right one.
    landmark_model
        As for `mrdist.synthesize`.
    """
    shapes, n_points = model.morph.shapes, model.training.n_points
    if given is not None and len(given) in (n_points, n_points + 2):
        return given[len(given) - n_points :][shapes.control]
    if is_detected(model, landmark_model):
        for face in find_faces(photograph, model=landmark_model, thorough=True):
            if np.abs(face.landmarks[:2].ravel() - pupils).max() <= 0.5 * face.pupil_distance:
                return face.points[shapes.control]
    sides = (shapes.reference + 0.5) / model.shape[::-1]
    nodes = np.linspace(0, 1, GRID_SIDE)
    return np.stack(
        [
            RectBivariateSpline(nodes, nodes, positions[:, axis].reshape(GRID_SIDE, GRID_SIDE)).ev(*sides.T[::-1])
            for axis in (0, 1)
        ],
        axis=-1,
    )


def moved(
    model: MorphModel, pixels: npt.NDArray[np.generic], n_colors: int, points: Positions
) -> npt.NDArray[np.generic]:
    """Return the pixels of a photograph, shape (y, x, channel), with a morph of its first channels, its colours."""
    changed = pixels.copy()
    made = model.move(np.ascontiguousarray(pixels[..., :n_colors]), points)
    changed[..., :n_colors] = to_pixels(np.ascontiguousarray(made), pixels.dtype)
    return changed
