"""Where a face lies in a photograph without landmarks: registration to a mean face.

A mean face is looked for over scales and turns by normalised correlation (Lewis 1995, "Fast normalized
cross-correlation"), and the best places are refined by Gauss-Newton steps of a similarity on the same criterion
(enhanced correlation: Evangelidis and Psarakis 2008). Light and contrast are evened out locally first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import ndimage
from skimage.feature import match_template
from skimage.transform import SimilarityTransform, resize

from mrdist.datasets._warping import GRID, Floats, Mapping, resample
from mrdist.errors import AlignmentError

#: Sides in pixels of the frame where the face is looked for, and where its place is refined.
_COARSE, _FINE = 28, 96
#: The part of the frame that is matched, from the brows to the chin: hair and clothes differ between people.
_TOP, _BOTTOM, _LEFT, _RIGHT = 0.20, 0.98, 0.14, 0.86
#: Shares of the photograph's shorter side that a frame may have, and turns in degrees.
_SMALLEST, _LARGEST, _STEP = 0.2, 1.25, 1.12
_TURNS = (-24.0, -12.0, 0.0, 12.0, 24.0)
#: So many of the best places are refined.
_CANDIDATES = 3
#: Below this correlation there is no face, or none that stands upright.
_LEAST = 0.45


@dataclass(frozen=True)
class Location:
    """Where the frame lies in a photograph.

    Attributes
    ----------
    mapping : Mapping
        (x, y) in sides of the frame -> (x, y) in pixels of the photograph.
    likeness : float
        Correlation of the evened photograph with the evened mean face, from the brows to the chin.
    """

    mapping: Mapping
    likeness: float


def locate(photograph: npt.NDArray[np.uint8], face: Floats) -> Location:
    """Find the face of a photograph by its likeness to a mean face.

    Found are upright faces, turned by up to some 30 degrees, whose frame has at least a fifth of the photograph's
    shorter side.

    Parameters
    ----------
    photograph : uint8 array of shape (y, x, 1)
        In gray.
    face : array of shape (size, size)
        The mean face in the frame, gray, 1 = white.

    Returns
    -------
    Location

    Raises
    ------
    AlignmentError
        Nothing in the photograph is like the mean face.
    """
    pixels = photograph[..., 0]
    # Of a huge photograph a smaller copy is enough: the least frame that is looked for has twice the pixels of `_FINE`.
    shrink = max(1, int(min(pixels.shape) * _SMALLEST / (2 * _FINE)))
    if shrink > 1:
        pixels = np.asarray(Image.fromarray(pixels).reduce(shrink))
    shorter = min(pixels.shape)
    found = [
        _refine(pixels, face, start) for start in _distinct(sorted(_places(pixels, face), key=lambda place: -place[0]))
    ]
    likeness, best = max(found, key=lambda place: place[0], default=(0.0, None))
    if best is None or likeness < _LEAST or not _SMALLEST / 2 <= best.scale / shorter <= 2 * _LARGEST:
        raise AlignmentError(f"its likeness to the mean face is {likeness:.2f} at best, {_LEAST} is needed for a face")
    return Location(best + SimilarityTransform(scale=shrink, translation=(shrink - 1) / 2), likeness)


def _places(pixels: npt.NDArray[np.uint8], face: Floats) -> Iterator[tuple[float, SimilarityTransform]]:
    """Yield likely places with their correlation, two for every scale and turn."""
    shorter = min(pixels.shape)
    small = _shrunk(pixels, _COARSE / (_SMALLEST * shorter))
    part = (
        slice(round(_TOP * _COARSE), round(_BOTTOM * _COARSE)),
        slice(round(_LEFT * _COARSE), round(_RIGHT * _COARSE)),
    )
    large = resize(face, (4 * _COARSE, 4 * _COARSE), anti_aliasing=True)
    templates = {
        turn: _even(_shrunk(ndimage.rotate(large, -turn, reshape=False, order=1, mode="nearest"), 0.25), _COARSE)[part]
        for turn in _TURNS
    }
    margin = _COARSE // 4
    side = _SMALLEST * shorter
    while side <= _LARGEST * shorter:
        scale = _COARSE / side
        shape = [max(round(scale * length), 1) for length in pixels.shape]
        image = _even(np.pad(resize(small, shape, anti_aliasing=True), margin, mode="edge"), _COARSE)
        for turn, template in templates.items():
            if any(have < need for have, need in zip(image.shape, template.shape, strict=True)):
                continue
            likeness = match_template(image, template)
            for _ in range(2):
                y, x = np.unravel_index(likeness.argmax(), likeness.shape)
                corner = np.array([x - part[1].start - margin, y - part[0].start - margin])
                middle = (corner + _COARSE / 2) / scale - 0.5
                yield float(likeness[y, x]), _frame_at(middle, side, np.deg2rad(turn))
                likeness[max(0, y - 4) : y + 5, max(0, x - 4) : x + 5] = -1
        side *= _STEP


def _frame_at(middle: Floats, side: float, turn: float) -> SimilarityTransform:
    """Return the similarity that lays the frame around a point of the photograph."""
    turned = SimilarityTransform(scale=side, rotation=turn)
    return SimilarityTransform(scale=side, rotation=turn, translation=middle - turned([0.5, 0.5])[0])


def _distinct(places: list[tuple[float, SimilarityTransform]]) -> list[SimilarityTransform]:
    """Return the first of the places, without those that are nearly the same."""
    chosen: list[SimilarityTransform] = []
    for _, place in places:
        middle = place([0.5, 0.5])[0]
        if all(
            np.linalg.norm(middle - other([0.5, 0.5])[0]) > 0.1 * place.scale
            or abs(np.log(place.scale / other.scale)) > 0.15
            for other in chosen
        ):
            chosen.append(place)
        if len(chosen) == _CANDIDATES:
            break
    return chosen


def _refine(
    pixels: npt.NDArray[np.uint8], face: Floats, start: SimilarityTransform
) -> tuple[float, SimilarityTransform]:
    """Move a place uphill, and return the highest correlation on the way with its place."""
    scale = min(1.0, 2 * _FINE / start.scale)
    small = np.rint(255 * _shrunk(pixels, scale)).astype(np.uint8)[..., np.newaxis]
    smaller = SimilarityTransform(scale=scale, translation=(scale - 1) / 2)
    goal = _even(resize(face, (_FINE, _FINE), anti_aliasing=True), _FINE)
    centres = (np.arange(_FINE) + 0.5) / _FINE
    x, y = np.meshgrid(centres, centres)
    part = (y > _TOP) & (y < _BOTTOM) & (x > _LEFT) & (x < _RIGHT)
    wanted = goal[part] - goal[part].mean()
    wanted /= np.linalg.norm(wanted)
    x, y = x[part] - 0.5, y[part] - 0.5
    best, place = (-1.0, start), start
    for _ in range(25):
        image = _even(resample(small, smaller(place(GRID)), _FINE)[..., 0] / 255, _FINE)
        seen = image[part] - image[part].mean()
        length = np.linalg.norm(seen) or 1.0
        likeness = float(wanted @ seen / length)
        if likeness > best[0]:
            best = (likeness, place)
        smooth = ndimage.gaussian_filter(image, 1)
        down, right = (np.gradient(smooth, axis=axis)[part] * _FINE / length for axis in (0, 1))
        slopes = np.stack([right, down, right * x + down * y, down * x - right * y], axis=-1)
        step = np.linalg.lstsq(slopes - slopes.mean(axis=0), wanted - seen / length, rcond=None)[0]
        step = np.clip(step, -0.05, 0.05)
        middle = place([0.5 + step[0], 0.5 + step[1]])[0]
        grown = np.hypot(1 + step[2], step[3])
        place = _frame_at(middle, place.scale * grown, place.rotation + np.arctan2(step[3], 1 + step[2]))
        if np.abs(step).max() < 5e-4:
            break
    return best


def _shrunk(image: npt.NDArray[np.generic], scale: float) -> Floats:
    """Return an image at a smaller scale, in 0..1."""
    shape = [max(round(min(scale, 1) * length), 1) for length in image.shape]
    shrunk: Floats = resize(image, shape, anti_aliasing=True)
    return shrunk


def _even(image: Floats, side: int) -> Floats:
    """Subtract the local mean and divide by the local contrast, so that the light plays no part."""
    width = side / 8
    image = image - ndimage.gaussian_filter(image, width)
    return image / np.sqrt(ndimage.gaussian_filter(image**2, width) + 1e-3)
