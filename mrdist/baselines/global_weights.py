"""Weights of methods that see the whole image: its codes weigh maps of the size of an image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Shape
from mrdist.moments import Color

Floats = npt.NDArray[np.floating]

_TOGETHER = 8  # images


@dataclass(frozen=True)
class GlobalWeights:
    """Weights and intercepts of a block of output pixels, or of all.

    Attributes
    ----------
    color
        Whether the channels share their weights.
    n_channels
        Channels of the images that the weights were trained on.
    coef
        float32 or float64, shape (component, y, x) for shared and (channel, component, y, x) for separate colour;
        None if there is only the intercept.
    intercept
        Same dtype, shape (y, x) or (channel, y, x); 1 = white.
    """

    color: Color
    n_channels: int
    coef: Floats | None
    intercept: Floats

    @property
    def shape(self) -> Shape:
        """Height and width in pixels."""
        height, width = self.intercept.shape[-2:]
        return height, width

    def combine(self, codes: npt.NDArray[np.float64] | None, n_images: int) -> Floats:
        """Return images from their codes.

        Parameters
        ----------
        codes
            Shape (image, channel, component); None if there is only the intercept.
        n_images
            Number of images.

        Returns
        -------
        ndarray
            Shape (image, y, x, channel), dtype of the weights; 1 = white, not clipped.
        """
        groups = self.intercept.reshape(-1, *self.shape)
        out = np.empty((n_images, *self.shape, self.n_channels), dtype=self.intercept.dtype)
        for channel in range(self.n_channels):
            group = channel if len(groups) > 1 else 0
            out[..., channel] = groups[group]
            if self.coef is not None:
                assert codes is not None
                coef = self.coef.reshape(len(groups), -1, *self.shape)[group]
                _add_products(out[..., channel], codes[:, channel].astype(out.dtype), coef)
        return out


def _add_products(out: Floats, codes: Floats, coef: Floats) -> None:
    """Add products of codes, a row an image, always as many rows at once: how they round depends on that number."""
    for first in range(0, len(codes), _TOGETHER):
        rows = codes[first : first + _TOGETHER]
        padded = np.zeros((_TOGETHER, codes.shape[1]), dtype=codes.dtype)
        padded[: len(rows)] = rows
        out[first : first + len(rows)] += np.tensordot(padded, coef, axes=1)[: len(rows)]
