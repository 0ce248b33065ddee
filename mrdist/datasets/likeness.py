"""How like a mean face the image of a frame is, and how like its own mirror image, from the brows to the chin."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.transform import resize

from mrdist.datasets._warping import Floats

#: Side in pixels of the frame at which likeness is measured.
FINE = 96
#: The part of the frame that is matched, from the brows to the chin: hair and clothes differ between people.
TOP, BOTTOM, LEFT, RIGHT = 0.20, 0.98, 0.14, 0.86
CENTRES = np.meshgrid(*[(np.arange(FINE) + 0.5) / FINE] * 2)
PART = (CENTRES[1] > TOP) & (CENTRES[1] < BOTTOM) & (CENTRES[0] > LEFT) & (CENTRES[0] < RIGHT)


def likeness_of(image: Floats, face: Floats) -> float:
    """Return the likeness of an image of the frame to a mean face; both in gray and square.

    See `mrdist.datasets.locating.Location`.
    """
    without_light = correlation(even(image)[PART], even(face)[PART])
    return (2 * without_light + correlation(_to_fine(image)[PART], _to_fine(face)[PART])) / 3


def symmetry_of(image: Floats) -> float:
    """Return the correlation of a gray image of the frame with its mirror image, light evened out, brows to chin."""
    without_light = ndimage.gaussian_filter(even(image), 1)
    return correlation(without_light[PART], without_light[:, ::-1][PART])


def even(image: Floats) -> Floats:
    """Return a square image with its light evened out, at the size at which places are refined."""
    return evened(_to_fine(image), FINE)


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation; 0 where one of them is constant."""
    first, second = first - first.mean(), second - second.mean()
    return float(first @ second / (np.linalg.norm(first) * np.linalg.norm(second) or 1.0))


def _to_fine(image: Floats) -> Floats:
    if image.shape == (FINE, FINE):
        return image
    resized: Floats = resize(image, (FINE, FINE), anti_aliasing=True)
    return resized


def evened(image: Floats, side: int) -> Floats:
    """Subtract the local mean and divide by the local contrast, so that the light plays no part."""
    width = side / 8
    image = image - ndimage.gaussian_filter(image, width)
    return image / np.sqrt(ndimage.gaussian_filter(image**2, width) + 1e-3)
