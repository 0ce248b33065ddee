"""A face of a photograph that is moved by its landmarks."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mrdist.datasets.detection import N_POINTS, REMEDY, find_faces, is_installed
from mrdist.errors import LandmarkError
from mrdist.storage.access.files import File
from mrdist.storage.weights.masked import MorphTraining
from mrdist.storage.weights.morph_reader import MorphModel
from mrdist.synthesis import to_pixels

Positions = npt.NDArray[np.float64]


def landmarks_of(
    training: MorphTraining,
    file: File,
    photograph: npt.NDArray[np.uint8],
    given: Positions | None,
    pupils: tuple[float, float, float, float],
    landmark_model: str | None,
) -> Positions:
    """Return the landmarks that a morph needs: those that have placed the face, or those of the face found there.

    Parameters
    ----------
    training
        Which they are.
    file, photograph
        The photograph.
    given
        What has placed the face, shape (point, 2), perhaps with the pupils first.
    pupils
        Where its pupils lie, x and y of the left one and of the right one.
    landmark_model
        As for `mrdist.synthesize`.

    Raises
    ------
    LandmarkError
        If there are none.
    """
    n_points = training.n_points
    if given is not None and len(given) in (n_points, n_points + 2):
        return given[len(given) - n_points :]
    if n_points == N_POINTS and is_installed(landmark_model):
        for face in find_faces(photograph, model=landmark_model, thorough=True):
            if np.abs(face.landmarks[:2].ravel() - pupils).max() <= 0.5 * face.pupil_distance:
                return face.points
    remedy = f", or {REMEDY}" if n_points == N_POINTS else ""
    raise LandmarkError(
        f"{file} has no {n_points} landmarks of {training.scheme}, by which the mapping moves a face; put a landmark "
        f"file with these beside it{remedy}."
    )


def morphed(
    model: MorphModel, pixels: npt.NDArray[np.generic], n_colors: int, landmarks: Positions
) -> npt.NDArray[np.generic]:
    """Return the pixels of a photograph, shape (y, x, channel), with a morph of its first channels, its colours."""
    changed = pixels.copy()
    made = model.apply(np.ascontiguousarray(pixels[..., :n_colors]), landmarks)
    changed[..., :n_colors] = to_pixels(np.ascontiguousarray(made), pixels.dtype)
    return changed
