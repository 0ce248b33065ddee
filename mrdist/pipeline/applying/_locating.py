"""Where the faces that change lie in a photograph."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.ndimage import map_coordinates

from mrdist.datasets._warping import GRID, GRID_SIDE
from mrdist.datasets.alignment import place_frame
from mrdist.datasets.depth import to_gray
from mrdist.datasets.detection import N_POINTS, find_faces, is_installed, with_pupils
from mrdist.datasets.landmark_files import read_landmarks
from mrdist.datasets.landmarks import FRAME_CORNERS, FRAME_PUPILS, lies_in
from mrdist.datasets.retouching import to_luminance
from mrdist.errors import AlignmentError, DataError, LandmarkError
from mrdist.geometry import Shape
from mrdist.pipeline.applying._given import Faces, Given
from mrdist.storage import FaceFrame
from mrdist.storage.access.files import File

Points = tuple[float, float, float, float]
Positions = npt.NDArray[np.float64]
How = Literal["points", "landmarks", "detection", "registration"]


@dataclass(frozen=True)
class Place:
    """Where a face lies in a photograph.

    Attributes
    ----------
    positions
        Of the nodes of the frame, see `mrdist.datasets.alignment.place_frame`.
    how
        How it was located: by ``"points"``, by ``"landmarks"`` or, without both, by ``"detection"`` or, where no
        detector is installed, by ``"registration"`` to the training's mean face.
    yaw
        Degrees by which the head is turned to the photograph's right, if it is known.
    landmarks
        (x, y) of the face's landmarks in pixels of the photograph, if they are known.
    """

    positions: Positions
    how: How
    yaw: float | None = None
    landmarks: Positions | None = field(default=None, repr=False, compare=False)

    @property
    def pupils(self) -> Points:
        """Where they lie, as `Points`."""
        nodes = self.positions.reshape(-1, GRID_SIDE, 2)
        x, y = (FRAME_PUPILS * (GRID_SIDE - 1)).T
        left, right = np.stack([map_coordinates(nodes[..., axis], (y, x), order=1) for axis in (0, 1)], axis=-1)
        return float(left[0]), float(left[1]), float(right[0]), float(right[1])


_ADVICE = "give the pupils with --points, or put a landmark file of the same name beside it."


@dataclass(frozen=True)
class Locator:
    """Finds where faces lie in photographs.

    Attributes
    ----------
    shape
        Of the images that a mapping was trained on.
    face_frame
        Where faces lie in these, if the store knows.
    landmark_model
        As for `mrdist.synthesize`.
    """

    shape: Shape
    face_frame: FaceFrame | None
    landmark_model: str | None = None

    def places(
        self,
        file: File,
        photograph: npt.NDArray[np.uint8],
        points: Given | None,
        landmarks: File | None,
        faces: Faces,
    ) -> list[Place]:
        """Return where the faces that change lie in the photograph."""
        size = photograph.shape[1], photograph.shape[0]
        height, width = self.shape
        if self.face_frame is None or height != width:
            why = "only square images can be aligned; train on square ones"
            if height == width:
                why = (
                    "were written by an older mrdist, which did not store where faces lie; run the training command "
                    "once more, which adds this without training again"
                )
            raise DataError(
                f"{file} has {size[0]} x {size[1]} pixels, but the weights were trained on {width} x {height} and "
                f"{why}, or align and resize the photograph first."
            )
        how: How
        if points is not None:
            how, shape = "points", np.array(points, dtype=np.float64).reshape(-1, 2)
            what = f"the points {','.join(f'{value:g}' for value in points)} lie"
        elif landmarks is not None:
            how, shape = "landmarks", read_landmarks(landmarks, lambda: size)
            what = f"Landmark file {landmarks} puts the pupils"
        elif self._has_detector:
            return self._detect(file, photograph, faces)
        else:
            return [Place(self._register(file, photograph), "registration")]
        if len(shape) < 2 or not np.isfinite(shape[:2]).all() or not lies_in(shape, size):
            raise LandmarkError(
                f"{what} at {shape[:2].tolist()}, which cannot be two pupils above a mouth in {file} of "
                f"{size[0]} x {size[1]} pixels; give x and y of the left pupil and of the right pupil."
            )
        corners = points is not None and len(shape) == len(FRAME_CORNERS)
        positions = place_frame(shape, FRAME_CORNERS) if corners else self._placed(shape)
        return [Place(positions, how, landmarks=shape)]

    def _placed(self, shape: Positions) -> Positions:
        """Return where the nodes of the frame lie for landmarks, pupils first, as in the training."""
        assert self.face_frame is not None
        means, reference = self.face_frame.mean_landmarks, self.face_frame.reference_points
        fits = reference is not None and len(reference) == len(shape)
        if means is not None and len(means) == N_POINTS == len(shape) - 2 and not fits:
            reference = with_pupils(means)
        return place_frame(shape, reference)

    def _detect(self, file: File, photograph: npt.NDArray[np.uint8], faces: Faces) -> list[Place]:
        """Find the faces of a photograph that change."""
        found = find_faces(photograph, model=self.landmark_model, thorough=faces == "all")
        if not found:
            raise AlignmentError(
                f"{file} of {photograph.shape[1]} x {photograph.shape[0]} pixels shows no face", _ADVICE
            )
        chosen = found if faces == "all" else found[:1]
        return [Place(self._placed(face.landmarks), "detection", face.yaw, face.points) for face in chosen]

    def _register(self, file: File, photograph: npt.NDArray[np.uint8]) -> Positions:
        """Locate the face by registration to the mean face of the training."""
        assert self.face_frame is not None
        mean = self.face_frame.mean_face
        try:
            if mean is None:
                raise AlignmentError("the weights have no mean face")
            from mrdist.datasets.locating import locate  # brings SciPy's signals, which landmarks make superfluous

            gray = photograph if photograph.shape[2] == 1 else to_gray(photograph)
            location = locate(gray, to_luminance(mean))
        except AlignmentError as error:
            (height, width), own = self.shape, f"{photograph.shape[1]} x {photograph.shape[0]}"
            raise AlignmentError(
                f"{file} has {own} pixels, the weights were trained on {width} x {height}, and {error}", _ADVICE
            ) from error
        return location.mapping(GRID)

    @cached_property
    def _has_detector(self) -> bool:
        return is_installed(self.landmark_model)
