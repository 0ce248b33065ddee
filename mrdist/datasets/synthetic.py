"""Synthetic faces: people who keep their identity over seven expressions, drawn from random numbers alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.spatial import ConvexHull

from mrdist.datasets import _face_hair as hair
from mrdist.datasets import _face_parts as parts
from mrdist.datasets._face_canvas import Canvas
from mrdist.datasets._face_traits import EXPRESSIONS, HEAD_Y, draw_person
from mrdist.errors import ParameterError

LABELS: tuple[str, ...] = tuple(EXPRESSIONS)
"""The expressions that :func:`render_face` knows; ``neutral`` is the first."""

SMALLEST, LARGEST = 16, 4096
NOISE = 1.0  # standard deviation of the sensor's noise in grey levels
BAND_PIXELS = 1 << 17  # painted at a time: bounds the memory, and the planes stay in the cache
LUMINANCE = np.array((299, 587, 114))  # Rec. 601, in thousandths

# Along the average jaw, and above the brows.
_DOWN = np.sin(np.linspace(0, np.pi / 2, 9))
_ACROSS = 0.371 * np.sqrt((1 - _DOWN**2) / (1 - 0.32 * _DOWN**2)) / (1 + 0.26 * _DOWN**2)
_HALF = np.concatenate([np.stack([_ACROSS, HEAD_Y + 0.482 * _DOWN], axis=1), [(0.29, 0.31), (0.22, 0.285)]])
LANDMARKS = np.concatenate([(0.5, 0) + _HALF * (side, 1) for side in (-1, 1)])
#: The pupils, (x, y) in sides.
REFERENCE = np.array([(0.32, 0.40), (0.68, 0.40)])


def render_face(person: int, label: str, size: int, *, seed: int = 0, color: str = "rgb") -> npt.NDArray[np.uint8]:
    """Draw a person with an expression, pupils at (0.32, 0.40) and (0.68, 0.40) of the side.

    The picture depends on the arguments alone. A person keeps shape, skin, light, hair, clothes and
    background over all labels and sizes; only the sensor's noise differs between photographs.

    Parameters
    ----------
    person : int
        Number of the person in the population of `seed`, from 0.
    label : str
        One of :data:`LABELS`.
    size : int
        Side of the picture in pixels, 16 to 4096.
    seed : int, default 0
        Number of the population, from 0.
    color : {"rgb", "gray"}, default "rgb"
        Three channels, or one with the Rec. 601 luminance of the three.

    Returns
    -------
    uint8 array of shape (size, size, channel)
        The photograph, 255 = white.

    Raises
    ------
    ParameterError
        If an argument lies outside its domain.

    Examples
    --------
    >>> render_face(0, "happy", 64).shape
    (64, 64, 3)
    >>> render_face(0, "happy", 64, color="gray").shape
    (64, 64, 1)
    """
    if label not in LABELS:
        raise ParameterError(f"label {label!r} is unknown; choose one of {', '.join(LABELS)}.")
    if color not in ("rgb", "gray"):
        raise ParameterError(f"color {color!r} is unknown; choose 'rgb' or 'gray'.")
    if person < 0 or seed < 0:
        raise ParameterError(f"person {person} and seed {seed} must not be negative; count from 0.")
    _check_size(size)
    traits = draw_person(seed, person)
    expression = traits.expression(label)
    # One stream per photograph, read in raster order: the bands do not show in the noise.
    noise = np.random.default_rng([seed, person, 1 + LABELS.index(label)])
    photograph = np.empty((size, size, 3 if color == "rgb" else 1), np.uint8)
    step = max(BAND_PIXELS // size, 1)
    for first in range(0, size, step):
        last = min(first + step, size)
        canvas = Canvas.blank(size, first, last)
        parts.paint_background(canvas, traits)
        hair.paint_back_hair(canvas, traits)
        parts.paint_body(canvas, traits)
        parts.paint_head(canvas, traits, expression)
        parts.paint_mouth(canvas, traits, expression)
        parts.paint_eyes(canvas, traits, expression)
        parts.paint_brows(canvas, traits, expression)
        hair.paint_front_hair(canvas, traits)
        rgb = noise.standard_normal((last - first, size, 3), np.float32) * np.float32(NOISE)
        rgb += np.moveaxis(canvas.planes, 0, -1)
        np.clip(np.rint(rgb, out=rgb), 0, 255, out=rgb)
        if color == "gray":
            rgb = (rgb.astype(np.int64) @ LUMINANCE + 500)[..., None] // 1000
        photograph[first:last] = rgb
    return photograph


def face_mask(size: int) -> npt.NDArray[np.bool_]:
    """Hull of the average face's landmarks: its jaw line and its brows.

    Parameters
    ----------
    size : int
        Side of the mask in pixels, 16 to 4096.

    Returns
    -------
    bool array of shape (size, size)
        True inside the hull.

    Raises
    ------
    ParameterError
        If `size` lies outside its domain.

    Examples
    --------
    >>> mask = face_mask(64)
    >>> bool(mask[32, 32]), bool(mask[0, 0])
    (True, False)
    """
    _check_size(size)
    centres = (np.arange(size) + 0.5) / size
    mask = np.ones((size, size), np.bool_)
    for nx, ny, offset in ConvexHull(LANDMARKS).equations:
        mask &= nx * centres + ny * centres[:, None] + offset <= 0
    return mask


def _check_size(size: int) -> None:
    if not SMALLEST <= size <= LARGEST:
        raise ParameterError(f"size {size} is outside {SMALLEST} to {LARGEST} pixels; choose one inside.")
