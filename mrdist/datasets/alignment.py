"""Alignment of people's photographs to one reference frame.

The frame is a square whose side is 1, x to the right and y downwards; the reference's pupils lie at
`FRAME_PUPILS`. A person's first photograph with landmarks, the anchor, is warped so that its landmarks come
to lie on the reference's. Without landmarks, the anchor is found by its likeness to a mean face. Every other
photograph of the person is registered to the anchor and moves along with it: the change of expression between
the two stays. Each image is resampled once, from the pixels of its photograph.
"""

from __future__ import annotations

import os
from collections.abc import Mapping as Labelled
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets._warping import GRID, Floats, Mapping, frame_side, hull, resample
from mrdist.datasets.detection import REMEDY
from mrdist.datasets.landmarks import FRAME_PUPILS, PUPILS, lies_in, middle_of_mouth, outline_of
from mrdist.datasets.marks import Marks, anchor_of, landmarks_of, still_pairs, with_pupils
from mrdist.datasets.photographs import Color, Take, read_photograph
from mrdist.errors import AlignmentError, DataError, LandmarkError

Method = Literal["tps", "piecewise", "affine", "three", "similarity", "pupils", "features", "landmarks"]
ALIGNERS: tuple[Method, ...] = get_args(Method)

#: With 0 the spline folds between landmarks that nearly coincide (closed lips). At this value it does not fold for
#: anybody in the London Set; landmarks miss the reference's by 0.005 sides on average, pupils by 0.002.
_TPS_SMOOTHING = 0.01
#: Corners of a square far around the frame, where a piecewise map ends.
_FAR = np.array([[-2.0, -2.0], [3.0, -2.0], [-2.0, 3.0], [3.0, 3.0]])


@dataclass(frozen=True)
class AlignedTake:
    """One person's photographs in the reference frame.

    Attributes
    ----------
    subject : str
        The person's id.
    images : dict of str to uint8 array of shape (size, size, channel)
        Label -> image.
    quality : dict of str to dict of str to float
        Label -> quality of the alignment; `MEANINGS` has unit and usual values of each measure. The anchor has one of

        ``landmarks``
            Mean distance of its warped landmarks from the reference's, in sides of the frame; less is better.
        ``likeness``
            Correlation with the mean face, of an anchor that was located without landmarks; see
            `mrdist.datasets.locating.Location`; more is better.

        and the others have

        ``inliers``
            Number of matched features that agree on the movement of the head; more is better.
        ``residual``
            Their mean distance in pupil distances; less is better.
        ``correlation``
            With the anchor, inside the face and outside the mouth; more is better.
        ``exposure``, ``offset``
            Factor of the gray levels and, of 255, the offset added afterwards, to match the anchor's; 1 and 0 if the
            light was the same.

        and where points were found on the photographs

        ``still``
            Instead of the first two, the mean distance of points that no expression moves, after the movement of the
            head, in pupil distances; less is better.
        ``confidence``
            How sure these are, see `mrdist.datasets.detection.Face`; more is better.
    positions : dict of str to float64 array of shape (4225, 2)
        Label -> where the nodes of `mrdist.datasets._warping.GRID` lie in the photograph, (x, y) in pixels.
    sizes : dict of str to (int, int)
        Label -> height and width of the photograph in pixels.
    """

    subject: str
    images: dict[str, npt.NDArray[np.uint8]]
    quality: dict[str, dict[str, float]]
    positions: dict[str, Floats]
    sizes: dict[str, tuple[int, int]]


def reference_shape(landmarks: Sequence[Floats]) -> Floats:
    """Compute the mean shape of some people, in the frame.

    Every shape is moved onto the mean by a similarity; then the mean is computed again and moved with its pupils
    onto `FRAME_PUPILS`. This repeats until nothing moves. The result depends on these people alone.

    Parameters
    ----------
    landmarks : sequence of arrays of shape (n, 2)
        (x, y) in pixels; points 0 and 1 are the pupils.

    Returns
    -------
    float64 array of shape (n, 2)
        (x, y) in sides of the frame.

    Raises
    ------
    DataError
        There are no landmarks.
    LandmarkError
        The shapes have different numbers of points.

    Examples
    --------
    >>> square = np.array([[32.0, 40.0], [68.0, 40.0], [32.0, 76.0], [68.0, 76.0]])
    >>> reference_shape([square, 3 * square + 7]).round(6).tolist()
    [[0.32, 0.4], [0.68, 0.4], [0.32, 0.76], [0.68, 0.76]]
    """
    if not landmarks:
        raise DataError(
            "The reference shape is a mean of landmarks, but no person has landmarks: give a landmark file or an "
            f"images store with --reference, or find them with --align landmarks ({REMEDY})."
        )
    counts = sorted({len(shape) for shape in landmarks})
    if len(counts) > 1:
        raise LandmarkError(f"The reference shape needs one template, got templates of {counts} points.")
    mean = _onto(landmarks[0], FRAME_PUPILS, PUPILS)
    for _ in range(100):
        previous = mean
        mean = np.mean([_onto(shape, mean, slice(None)) for shape in landmarks], axis=0)
        mean = _onto(mean, FRAME_PUPILS, PUPILS)
        if np.abs(mean - previous).max() < 1e-9:
            break
    return mean


def _onto(shape: Floats, target: Floats, points: list[int] | slice) -> Floats:
    """Move a shape by the similarity that brings some of its points nearest to the target's."""
    from skimage.transform import estimate_transform  # slow to import, and not every alignment needs it

    moved: Floats = estimate_transform("similarity", shape[points], target)(shape)
    return moved


def hull_mask(reference: Floats, size: int) -> npt.NDArray[np.bool_]:
    """Return the face of a reference: the convex hull of hairline, jaw and chin, without ears, hair and neck.

    Parameters
    ----------
    reference : array of shape (n, 2)
        As `reference_shape` returns it.
    size : int
        Side of the frame in pixels.

    Returns
    -------
    bool array of shape (size, size)
    """
    return hull(outline_of(reference), size)


def align_take(
    take: Take,
    reference: Floats,
    *,
    size: int,
    color: Color = "gray",
    method: Method = "tps",
    faces: Labelled[str, Floats] | None = None,
    marks: Labelled[str, Marks] | None = None,
    mean_marks: Floats | None = None,
) -> AlignedTake:
    """Align one person's photographs to the reference frame.

    The result depends on these photographs, their landmarks and the reference, and on nothing else.

    Parameters
    ----------
    take : Take
        The person's photographs. The first one with landmarks is the anchor.
    reference : array of shape (n, 2)
        As `reference_shape` returns it.
    size : int
        Side of the frame in pixels.
    color : {"gray", "rgb"}
        One channel or three.
    method : {"tps", "piecewise", "affine", "three", "similarity", "pupils", "features", "landmarks"}
        How the anchor's landmarks are moved to the reference's: a thin-plate spline through (nearly) all
        of them, affine maps of the triangles between them, the nearest affine map, the affine map that fits the
        pupils and the middle of the mouth, the similarity nearest in these three, or the one that fits the pupils
        alone. Landmarks of another template than the reference's are used for these three only. ``"features"`` uses no
        landmarks: the anchor is located by its likeness to the mean face. ``"landmarks"`` is ``"tps"`` with the points
        that were found on every photograph, ``marks``, where there is no landmark file, and moves the others to the
        anchor by those, too.
    faces : dict of str to array of shape (side, side), optional
        Label -> mean face in the frame, gray, 1 = white: they also locate a person without landmarks. The anchor
        is the first photograph whose label has a mean face, or else the first one, with the first mean face.
    marks : dict of str to Marks, optional
        Label -> points that were found on the photograph. The anchor is the first photograph with a landmark file, or
        else the neutral one or the first.
    mean_marks : array of shape (478, 2), optional
        Mean of such points of other anchors in the frame, for anchors whose template is not the reference's.

    Returns
    -------
    AlignedTake

    Raises
    ------
    PhotographError, LandmarkError
        A file cannot be read.
    LandmarkError
        The pupils lie outside the photograph.
    AlignmentError
        No photograph has landmarks and there are no mean faces, the anchor has no likeness to one, or a photograph
        cannot be registered to the anchor.
    """
    photographs = {label: read_photograph(path, color) for label, path in take.photographs.items()}
    gray = {label: _luminance(photograph) for label, photograph in photographs.items()}
    by_marks, marks = method == "landmarks", marks or {}
    anchor = anchor_of(take, marks)
    if anchor is None or method == "features":
        anchor, to_anchor, quality = _locate_anchor(take, gray, faces or {})
        landmarks = to_anchor(reference)
    else:
        landmarks = landmarks_of(take, anchor, marks)
        if anchor in take.landmarks:
            _check(landmarks, take.landmarks[anchor], photographs[anchor])
        if by_marks:
            method = "tps"
            if mean_marks is not None and len(landmarks) != len(reference) and anchor not in take.landmarks:
                reference, landmarks = with_pupils(mean_marks), with_pupils(marks[anchor].points)
        method, theirs, own = _common(method, reference, landmarks)
        to_anchor = _frame_mapping(method, theirs, own)
        misses = np.linalg.norm(to_anchor(theirs) - own, axis=1)
        quality = {"landmarks": float(misses.mean() / frame_side(to_anchor(GRID)))}
    positions = {anchor: to_anchor(GRID)}
    measures = {anchor: quality}
    images = {anchor: _to_uint8(resample(photographs[anchor], positions[anchor], size))}

    from mrdist.datasets.registration import register  # brings scikit-image

    for label in (label for label in photographs if label != anchor):
        pairs = still_pairs(take, marks, anchor, label) if by_marks else None
        try:
            registration = register(gray[anchor], gray[label], landmarks, pairs)
        except AlignmentError as error:
            path, to = take.photographs[label], take.photographs[anchor]
            raise AlignmentError(f"Photograph {path} could not be registered to {to}: {error}.") from error
        positions[label] = registration.mapping(positions[anchor])
        image = resample(photographs[label], positions[label], size)
        images[label] = _to_uint8(image * registration.exposure + registration.offset)
        names = _MEASURES if pairs is None else _MEASURES[2:]
        measures[label] = {name: float(getattr(registration, name)) for name in names}
        if pairs is not None:
            measures[label]["still"] = registration.residual
    for label in set(marks) & set(measures):
        measures[label]["confidence"] = marks[label].confidence
    sizes = {label: photograph.shape[:2] for label, photograph in photographs.items()}
    return AlignedTake(take.subject, images, measures, positions, sizes)


_MEASURES = ("inliers", "residual", "correlation", "exposure", "offset")
#: What `AlignedTake.quality` may hold.
MEASURES = ("landmarks", "likeness", *_MEASURES)
#: And where points were found on the photographs.
MARKED = ("still", "confidence")
#: Measure -> its unit and the usual values, within which 95 of 100 photographs of the London Set lie. Look at others.
MEANINGS: Labelled[str, tuple[str, str]] = {
    "landmarks": ("sides of the frame", "at most 0.007"),
    "likeness": ("correlation", "at least 0.55"),
    "inliers": ("features", "at least 14"),
    "residual": ("pupil distances", "at most 0.013"),
    "correlation": ("correlation", "at least 0.9"),
    "exposure": ("factor", "0.96 to 1.02"),
    "offset": ("gray levels of 255", "-6 to 7"),
    "still": ("pupil distances", "at most 0.028"),
    "confidence": ("0 to 1", "at least 0.95"),
}


def badness(measure: str, value: float) -> float:
    """Return a number that grows with the misalignment of an image, by one of `AlignedTake`'s measures.

    Examples
    --------
    >>> badness("correlation", 0.6) > badness("correlation", 0.9)
    True
    >>> badness("exposure", 0.8) > badness("exposure", 1.1)
    True
    """
    if measure in ("landmarks", "residual", "still"):
        return value
    if measure in ("exposure", "offset"):
        return abs(value - (measure == "exposure"))
    return -value


def _locate_anchor(
    take: Take, gray: Labelled[str, npt.NDArray[np.uint8]], faces: Labelled[str, Floats]
) -> tuple[str, Mapping, dict[str, float]]:
    """Return the anchor of a person without landmarks, the mapping from the frame to its pixels, and its measures."""
    if not faces:
        raise AlignmentError(
            f"Person {take.subject} has no photograph with landmarks, and no mean face to locate it: give "
            "an images store as the reference."
        )
    from mrdist.datasets.locating import locate  # brings scikit-image, which landmarks make superfluous

    anchor = next((label for label in gray if label in faces), next(iter(gray)))
    try:
        location = locate(gray[anchor], faces.get(anchor, next(iter(faces.values()))))
    except AlignmentError as error:
        raise AlignmentError(f"Photograph {take.photographs[anchor]} shows no face: {error}.") from error
    return anchor, location.mapping, {"likeness": location.likeness}


def _check(landmarks: Floats, path: os.PathLike[str], photograph: npt.NDArray[np.uint8]) -> None:
    height, width = photograph.shape[:2]
    if not lies_in(landmarks, (width, height)):
        raise LandmarkError(
            f"Landmark file {path} puts the pupils at {landmarks[PUPILS].tolist()}, which does not fit a photograph of "
            f"{width} x {height} pixels with a mouth below them: check that the file belongs to this photograph."
        )


def _common(method: Method, reference: Floats, landmarks: Floats) -> tuple[Method, Floats, Floats]:
    """Return a method and the points of both templates that it needs."""
    if method in ("tps", "piecewise", "affine") and len(reference) == len(landmarks) > 3:
        return method, reference, landmarks
    if method == "pupils" or middle_of_mouth(reference) is None or middle_of_mouth(landmarks) is None:
        return "pupils", reference[PUPILS], landmarks[PUPILS]
    three = [np.concatenate([points[PUPILS], middle_of_mouth(points)]) for points in (reference, landmarks)]
    return ("three" if method == "three" else "similarity"), three[0], three[1]


def _frame_mapping(method: Method, reference: Floats, landmarks: Floats) -> Mapping:
    """Return the mapping from the frame to the pixels of the photograph with these landmarks."""
    from scipy.interpolate import LinearNDInterpolator, RBFInterpolator  # slow to import
    from skimage.transform import estimate_transform

    if method == "tps":
        return RBFInterpolator(reference, landmarks, kernel="thin_plate_spline", smoothing=_TPS_SMOOTHING)
    kind = "affine" if method in ("affine", "piecewise", "three") else "similarity"
    mapping: Mapping = estimate_transform(kind, reference, landmarks)
    if method == "piecewise":
        return LinearNDInterpolator(np.concatenate([reference, _FAR]), np.concatenate([landmarks, mapping(_FAR)]))
    return mapping


def place_frame(landmarks: Floats, reference: Floats | None) -> Floats:
    """Find where the frame lies in a photograph from its landmarks.

    Parameters
    ----------
    landmarks : array of shape (n, 2)
        (x, y) in pixels, the pupils first.
    reference : array of shape (m, 2) or None
        In sides of the frame. The landmarks are moved to it as in `align_take` by default; without it, the pupils
        alone to `FRAME_PUPILS`.

    Returns
    -------
    float64 array of shape (4225, 2)
        Where the nodes of `mrdist.datasets._warping.GRID` lie: (x, y) in pixels.

    Examples
    --------
    >>> corners = place_frame(np.array([[32.0, 40.0], [68.0, 40.0]]), None)[[0, -1]]
    >>> corners.round(6).tolist()
    [[0.0, 0.0], [100.0, 100.0]]
    """
    mapping = _frame_mapping(*_common("tps", FRAME_PUPILS if reference is None else reference, landmarks))
    return mapping(GRID)


def _luminance(photograph: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return gray with the channel axis kept, as pillow computes it."""
    if photograph.shape[2] == 1:
        return photograph
    return np.asarray(Image.fromarray(photograph).convert("L"))[..., np.newaxis]


def _to_uint8(image: Floats) -> npt.NDArray[np.uint8]:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)
