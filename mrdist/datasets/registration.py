"""How a person moved between two photographs: from one photograph's pixels to the other's.

A similarity from matched features, or from points found on both faces, takes up the movement of the head; a smooth flow
takes up its turning, which shifts nose, ears and outline against each other. Neither looks at the mouth, and inside the
face the flow is so smooth that it can follow a turning head but not a moving cheek: the expression stays. The flow
inside the face is estimated from the face alone, since hair and outline have the most contrast.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from skimage.feature import SIFT, match_descriptors
from skimage.measure import ransac
from skimage.registration import optical_flow_ilk
from skimage.transform import SimilarityTransform, estimate_transform, resize

from mrdist.datasets._warping import GRID, Floats, Mapping, hull, resample
from mrdist.datasets.landmarks import FRAME_PUPILS, PUPILS, mouth_of, outline_of
from mrdist.errors import AlignmentError

Masks = npt.NDArray[np.bool_]
Photograph = npt.NDArray[np.uint8]

#: The flow is computed in the frame and this much around it, in sides of the frame, for a flow is poor at the borders
#: of what it sees; and the sides in pixels of the whole and of the frame.
_AROUND = 0.15
_SIDE, _UNIT = 250, 192
#: What lies this near to the lips, in sides of the frame, moves with the expression.
_MOUTH_MARGIN = 0.08
#: Features are looked for in a square of this side, in pupil distances and in pixels.
_CROP, _CROP_SIDE = 4.2, 256
#: Largest distance of an inlier, in pupil distances.
_TOLERANCE = 0.02
#: Fewer matches than this that agree on one similarity are chance.
_MIN_INLIERS = 8
#: What the face counts for in the flow outside of it.
_FACE_OUTSIDE = 0.02
#: Gaussian widths, in sides of the frame: of the flow outside and inside the face, and of the seam.
_FINE, _COARSE, _SEAM = 0.05, 0.12, 0.05
#: Where evened images still differ by this much, the flow has failed and counts for less.
_FAILURE = 1.0


@dataclass(frozen=True)
class Registration:
    """The way from one photograph of a person, the anchor, to another one.

    Attributes
    ----------
    mapping : Mapping
        Pixels of the anchor -> pixels of the other photograph.
    exposure, offset : float
        The factor, and what is added then, that bring the other photograph's gray levels to the anchor's.
    inliers : int
        Matched features that agree on the similarity.
    residual : float
        Their mean distance in pupil distances.
    correlation : float
        Of the registered images, inside the face and away from the mouth.
    """

    mapping: Mapping
    exposure: float
    offset: float
    inliers: int
    residual: float
    correlation: float


def register(
    anchor: Photograph, moving: Photograph, landmarks: Floats, pairs: tuple[Floats, Floats, Floats] | None = None
) -> Registration:
    """Register a photograph to another one of the same person, and leave the expression alone.

    Parameters
    ----------
    anchor, moving : uint8 arrays of shape (y, x, 1)
        The photographs in gray.
    landmarks : array of shape (n, 2)
        The anchor's, (x, y) in pixels; pupils first.
    pairs : tuple of arrays of shape (n, 2), (n, 2) and (m, 2), optional
        Points of the anchor that an expression does not move, where they are in the other photograph, and points
        around the mouth there. By default points are matched by how the photographs look around them.

    Returns
    -------
    Registration

    Raises
    ------
    AlignmentError
        Too few features agree on a movement of the head.
    """
    wide = 1 + 2 * _AROUND
    frame = estimate_transform("similarity", (FRAME_PUPILS + _AROUND) / wide, landmarks[PUPILS])
    own = frame.inverse(landmarks)
    mouth, face = hull(mouth_of(own), _SIDE, _MOUTH_MARGIN / wide), hull(outline_of(own), _SIDE)

    if pairs is None:
        points, moved = _matches(anchor, moving, landmarks)
        away = ~_look_up(mouth, frame.inverse(points))
        similarity, inliers, residual = _similarity(points[away], moved[away], landmarks)
    else:
        points, moved, other_mouth = pairs
        similarity = estimate_transform("similarity", points, moved)
        inliers, residual = len(points), _residual(similarity, points, moved, landmarks)
        mouth |= hull(frame.inverse(similarity.inverse(other_mouth)), _SIDE, _MOUTH_MARGIN / wide)
    first = resample(anchor, frame(GRID), _SIDE)[..., 0]
    second = resample(moving, similarity(frame(GRID)), _SIDE)[..., 0]
    flow = _smooth_flow(first, second, mouth, face)

    def mapping(points: Floats) -> Floats:
        at = frame.inverse(points)
        y, x = at.T[::-1] * _SIDE - 0.5
        step = [ndimage.map_coordinates(part, [y, x], order=1, mode="nearest") for part in flow]
        mapped: Floats = similarity(frame(at + np.stack(step, axis=-1)))
        return mapped

    registered = resample(moving, mapping(frame(GRID)), _SIDE)[..., 0]
    skin = face & ~mouth
    exposure, offset = _exposure(first[~mouth], registered[~mouth])
    return Registration(
        mapping=mapping,
        exposure=exposure,
        offset=offset,
        inliers=inliers,
        residual=residual,
        correlation=float(np.corrcoef(first[skin], registered[skin])[0, 1]),
    )


def _look_up(mask: Masks, points: Floats) -> Masks:
    """Tell which points of the frame lie in a mask of it."""
    column, row = np.clip((points * len(mask)).astype(int), 0, len(mask) - 1).T
    inside: Masks = mask[row, column]
    return inside


def _matches(anchor: Photograph, moving: Photograph, landmarks: Floats) -> tuple[Floats, Floats]:
    """Match features, looked for in both photographs in the same square around the anchor's face.

    The square leaves the head room to move by about one pupil distance.
    """
    left, right = landmarks[PUPILS]
    across = right - left
    below = np.array([-across[1], across[0]])
    middle, side = (left + right) / 2 + 0.28 * below, _CROP * float(np.linalg.norm(across))
    (keypoints, descriptors), (keypoints_moved, descriptors_moved) = (
        _features(photograph[..., 0], middle, side) for photograph in (anchor, moving)
    )
    pairs = match_descriptors(descriptors, descriptors_moved, max_ratio=0.8, cross_check=True)
    return keypoints[pairs[:, 0]], keypoints_moved[pairs[:, 1]]


def _features(image: Photograph, middle: Floats, side: float) -> tuple[Floats, Photograph]:
    """Return SIFT's keypoints inside a square, (x, y) in pixels of the image, and their descriptors."""
    start = np.maximum(np.rint(middle - side / 2), 0).astype(int)
    stop = np.rint(middle + side / 2).astype(int)
    crop = image[start[1] : stop[1], start[0] : stop[0]]
    scale = _CROP_SIDE / side
    sift = SIFT()
    try:
        sift.detect_and_extract(resize(crop / 255, [round(scale * length) for length in crop.shape]))
    except (RuntimeError, ValueError) as error:  # how SIFT reports an image without features
        raise AlignmentError("one of them shows no features where the face should be") from error
    return (sift.keypoints[:, ::-1] + 0.5) / scale - 0.5 + start, sift.descriptors


def _similarity(points: Floats, moved: Floats, landmarks: Floats) -> tuple[Any, int, float]:
    """Find the similarity on which most matches agree, their number and their mean distance."""
    distance = np.linalg.norm(np.subtract(*landmarks[PUPILS]))
    inliers = np.zeros(len(points), dtype=bool)
    if len(points) >= _MIN_INLIERS:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="No inliers found")  # the error below tells it
            similarity, agreeing = ransac(
                (points, moved),
                SimilarityTransform,
                min_samples=2,
                residual_threshold=_TOLERANCE * distance,
                max_trials=1000,
                rng=0,
            )
        inliers = inliers if agreeing is None else agreeing
    if (count := int(inliers.sum())) < _MIN_INLIERS:
        raise AlignmentError(
            f"{count} of {len(points)} matched features agree on a movement of the head, but {_MIN_INLIERS} are needed"
        )
    return similarity, count, _residual(similarity, points[inliers], moved[inliers], landmarks)


def _residual(similarity: Any, points: Floats, moved: Floats, landmarks: Floats) -> float:
    """Return the mean distance that a similarity leaves, in pupil distances."""
    distances = np.linalg.norm(similarity(points) - moved, axis=1)
    return float(distances.mean() / np.linalg.norm(np.subtract(*landmarks[PUPILS])))


def _smooth_flow(first: Floats, second: Floats, mouth: Masks, face: Masks) -> Floats:
    """Find the flow that is left over between two images of the frame.

    Returns an array of shape (2, side, side), (x, y) in sides: `first` at p looks like `second` at p + flow.
    """
    # A flow means something only where there is contrast; the floor serves where none is near.
    weight = ndimage.gaussian_gradient_magnitude(first, 1.5) ** 2 + 1e-4
    first, second = _even_light(first), _even_light(second)
    flow = optical_flow_ilk(first, second, radius=9, num_warp=8, gaussian=True)
    moved = ndimage.map_coordinates(second, np.indices(first.shape) + flow, order=1, mode="nearest")
    failed = ndimage.gaussian_filter((first - moved) ** 2, 2)
    flow = flow[::-1] / _SIDE
    weight *= np.exp(-failed / _FAILURE)
    weight[mouth] = 0
    within = _weighted_mean(flow, np.where(face, weight, 0), _COARSE)
    around = _weighted_mean(flow, np.where(face, _FACE_OUTSIDE * weight, weight), _FINE)
    inside = ndimage.gaussian_filter(face.astype(np.float64), _SEAM * _UNIT)
    return inside * within + (1 - inside) * around


def _exposure(first: Floats, second: Floats) -> tuple[float, float]:
    """Fit factor and offset from the second's gray levels to the first's, without what differs most."""
    columns = np.stack([second, np.ones_like(second)], axis=-1)
    kept = np.ones(len(second), dtype=bool)
    for _ in range(2):
        fitted = np.linalg.lstsq(columns[kept], first[kept], rcond=None)[0]
        misses = np.abs(columns @ fitted - first)
        kept = misses <= 3 * np.median(misses)
    return float(fitted[0]), float(fitted[1])


def _even_light(image: Floats) -> Floats:
    """Subtract the local mean and divide by the local contrast, so that the light plays no part."""
    width = _UNIT / 24
    image = image - ndimage.gaussian_filter(image, width)
    return image / np.sqrt(ndimage.gaussian_filter(image**2, width) + 25)


def _weighted_mean(flow: Floats, weight: Floats, width: float) -> Floats:
    def blur(image: Floats) -> Floats:
        return ndimage.gaussian_filter(image, width * _UNIT, mode="nearest")

    return np.stack([blur(weight * part) for part in flow]) / (blur(weight) + np.finfo(np.float64).tiny)
