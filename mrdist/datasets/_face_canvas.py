"""A band of rows to paint on, in unit coordinates: x to the right and y down, 1 = the picture's side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.floating[Any]]
Color: TypeAlias = tuple[float, float, float]


def smoothstep(t: Floats) -> Floats:
    """Rise smoothly from 0 at ``t <= 0`` to 1 at ``t >= 1``."""
    t = np.minimum(np.maximum(t, 0), 1)
    return t * t * (3 - 2 * t)


def mix(a: Color, b: Color, share: float) -> Color:
    """Colour between `a` (share 0) and `b` (share 1)."""
    red, green, blue = (p + share * (q - p) for p, q in zip(a, b, strict=True))
    return red, green, blue


@dataclass(frozen=True)
class Canvas:
    """Some rows and columns of a picture.

    Attributes
    ----------
    planes : float32 array of shape (3, h, w)
        Red, green and blue, 0 to 255; painting changes it in place.
    x, y : float32 arrays of shape (1, w) and (h, 1)
        Centres of the pixels in unit coordinates.
    pixel : float
        Side of a pixel in unit coordinates: the least width of an edge.
    """

    planes: Floats
    x: Floats
    y: Floats
    pixel: float

    @classmethod
    def blank(cls, size: int, first_row: int, last_row: int) -> Canvas:
        """Rows ``first_row:last_row`` of a picture of `size` x `size` pixels."""
        centres = (np.arange(size, dtype=np.float32) + np.float32(0.5)) / np.float32(size)
        rows = centres[first_row:last_row, None]
        return cls(np.zeros((3, len(rows), size), np.float32), centres[None], rows, 1 / size)

    def window(self, left: float, top: float, right: float, bottom: float) -> Canvas:
        """View of the pixels that touch a box."""
        x0, x1 = np.searchsorted(self.x[0], (left - self.pixel, right + self.pixel))
        y0, y1 = np.searchsorted(self.y[:, 0], (top - self.pixel, bottom + self.pixel))
        return Canvas(self.planes[:, y0:y1, x0:x1], self.x[:, x0:x1], self.y[y0:y1], self.pixel)

    def inside(self, distance: Floats, blur: float = 0.0) -> Floats:
        """Coverage of a shape from the signed distance to its edge, negative inside."""
        return smoothstep(0.5 - distance / (1.5 * self.pixel + blur))

    def below(self, curve: Floats, blur: float = 0.0) -> Floats:
        """Coverage of the pixels below a curve y(x), array of shape (1, w)."""
        # Only the vertical distance is known, so a steep curve needs a wider ramp for the same edge.
        slope = np.minimum(np.abs(np.diff(curve, axis=1, append=curve[:, -1:])) / self.pixel, 3)
        width = (1.5 * self.pixel + blur) * np.sqrt(1 + slope * slope)
        return smoothstep(0.5 + (self.y - curve) / width)

    def between(self, top: Floats, bottom: Floats, blur: float = 0.0) -> Floats:
        """Coverage between two curves; right for bands thinner than a pixel, too."""
        return np.maximum(self.below(top, blur) - self.below(bottom, blur), 0)

    def ellipse(self, cx: float, cy: float, rx: float, ry: float, blur: float = 0.0) -> Floats:
        """Coverage of an ellipse."""
        u, v = (self.x - cx) / rx, (self.y - cy) / ry
        radius = np.sqrt(u * u + v * v)
        return self.inside((radius - 1) * min(rx, ry), blur)

    def spot(self, cx: float, cy: float, sx: float, sy: float) -> Floats:
        """Soft Gaussian spot, 1 at its centre."""
        bump: Floats = np.exp(-0.5 * ((self.x - cx) / sx) ** 2) * np.exp(-0.5 * ((self.y - cy) / sy) ** 2)
        return bump

    def waves(self, phase: Floats, frequencies: tuple[float, ...], slope: Floats | float = 1.0) -> Floats:
        """Mean of sines of ``frequency * phase``, each fading out where a pixel would blur it.

        `slope` is the gradient of `phase` in unit coordinates.
        """
        total = np.zeros_like(phase)
        for index, frequency in enumerate(frequencies):
            turn = np.float32(frequency * self.pixel / (2 * np.pi)) * slope  # of the sine within a pixel
            weight = np.maximum(1 - turn * turn, 0) / np.float32(len(frequencies))
            total += weight * np.sin(np.float32(frequency) * phase + np.float32(2.4 * index))
        return total

    def paint(self, color: Color | Floats, cover: Floats) -> None:
        """Lay a colour over the canvas, opaque where `cover` is 1."""
        if isinstance(color, tuple):
            color = np.array(color, np.float32)[:, None, None]
        self.planes[...] += cover * (color - self.planes)

    def shade(self, factor: Color, cover: Floats) -> None:
        """Multiply the canvas by a colour of factors, in full where `cover` is 1."""
        for plane, value in zip(self.planes, factor, strict=True):
            plane *= 1 + cover * np.float32(value - 1)
