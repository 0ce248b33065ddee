"""What opened lips show: the mean of the mouths that training has seen, as crisp as they were.

A photograph of a closed mouth holds nothing of it. All sums are of integers, over images warped to one shape.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.warping import box_sums
from mrdist.morphing.shapes import Shapes
from mrdist.morphing.warps import Window, soft_polygon
from mrdist.values import unit_of

Integers = npt.NDArray[np.int64]

LIFT = 0.6
"""Share by which the mean mouth's fine detail is lifted to that of real ones: teeth lie not all in one place."""
_SOFT = 3 / 512  # width of the lips' border, in sides of the frame
_DETAIL = 3 / 512  # standard deviation of the blur that leaves what is no detail, in sides of the frame
_NEAR, _FAR = 10 / 512, 40 / 512  # the ring of skin and lips that gives the tone, from the opening on
_BRIGHTEST = 99.5  # percentile of a face's pixels that says how bright its light is
_DIM = 2.0  # standard deviations below the mean light from which on the light is dimmer than any that was seen
_LEVELS = 255  # detail is summed in gray levels, whatever the depth of the images


@dataclass(frozen=True)
class MouthRegion:
    """Where the opening between the lips lies in the canonical frame.

    Attributes
    ----------
    window
        What is kept of the frame.
    mask
        How much of every pixel lies between the lips, 0..1, shape (y, x) of the window.
    core, around
        Pixels well inside, and of a ring around it.
    box
        Odd side of the boxes, which twice make a blur.
    """

    window: Window
    mask: npt.NDArray[np.float32]
    core: npt.NDArray[np.bool_]
    around: npt.NDArray[np.bool_]
    box: int

    @classmethod
    def of(cls, shapes: Shapes) -> MouthRegion | None:
        """Return the region of a training, or None where the lips are not known or no mouth was open."""
        if not shapes.ring or not shapes.share_open:
            return None
        side = max(shapes.size)
        lips = shapes.canonical[list(shapes.ring)]
        margin = (_FAR + 4 * _DETAIL) * side + 2
        low, high = np.floor(lips.min(axis=0) - margin), np.ceil(lips.max(axis=0) + margin)
        x0, y0 = (int(max(0, value)) for value in low)
        x1, y1 = (int(min(end, value + 1)) for end, value in zip(shapes.size[::-1], high, strict=True))
        if x1 <= x0 or y1 <= y0:
            return None
        window = Window(y0, x0, y1 - y0, x1 - x0)
        corners, shape = lips - (x0, y0), (window.height, window.width)
        hard = 1 / 512 * side
        core = soft_polygon(corners, shape, hard, -4 * hard) > 0.5
        mask = soft_polygon(corners, shape, max(1.0, _SOFT * side))
        if not core.any():
            core = mask >= 0.5 * mask.max()
        around = (soft_polygon(corners, shape, hard, _FAR * side) > 0.5) & (
            soft_polygon(corners, shape, hard, _NEAR * side) < 0.5
        )
        # two boxes of side b have the variance (b * b - 1) / 6
        box = 2 * round((np.sqrt(6 * (_DETAIL * side) ** 2 + 1) - 1) / 2) + 1
        return cls(window, mask.astype(np.float32), core, around, max(3, box))


@dataclass(frozen=True)
class MouthSums:
    """Exact sums over open mouths in the canonical frame.

    Attributes
    ----------
    n
        Images.
    pixels
        Of the window's pixels, shape (y, x, channel).
    detail
        Of the squares of their fine detail.
    tones
        Of the sums over the opening and over the ring around it, shape (2,).
    tone_products
        Of the product of both sums, and of the square of the latter, shape (2,).
    lights
        Of how bright the light on the faces is, and of its square, shape (2, channel).
    """

    n: Integers
    pixels: Integers
    detail: Integers
    tones: Integers
    tone_products: Integers
    lights: Integers

    @classmethod
    def zeros(cls, region: MouthRegion, n_channels: int) -> MouthSums:
        """Return the sums over no images."""
        shape = (region.window.height, region.window.width, n_channels)
        return cls(*(np.zeros(each, dtype=np.int64) for each in ((), shape, shape, (2,), (2,), (2, n_channels))))

    def update(self, images: npt.NDArray[np.unsignedinteger[Any]], region: MouthRegion) -> MouthSums:
        """Return the sums with those of further images.

        Parameters
        ----------
        images
            Cut to the window, shape (image, y, x, channel).
        region
            Where the window lies.
        """
        levels, unit = images.astype(np.int64), unit_of(images.dtype)
        coarse = levels if unit == _LEVELS else levels * _LEVELS // unit
        inside, around = (coarse[:, part].sum(axis=(1, 2)) for part in (region.core, region.around))
        return self._plus(
            n=len(images),
            pixels=levels.sum(axis=0),
            detail=sum(detail(image, region.box) ** 2 for image in coarse),
            tones=np.array([inside.sum(), around.sum()]),
            tone_products=np.array([(inside * around).sum(), (around * around).sum()]),
        )

    def lit(self, lights: npt.NDArray[np.unsignedinteger[Any]]) -> MouthSums:
        """Return the sums with what `light_of` says of the images' sources, shape (image, channel)."""
        bright = lights.astype(np.int64) * _LEVELS // unit_of(lights.dtype)
        return self._plus(lights=np.stack([(bright**power).sum(axis=0) for power in (1, 2)]))

    def merge(self, other: MouthSums) -> MouthSums:
        """Return the sums over both."""
        return self._plus(**vars(other))

    def _plus(self, **sums: Any) -> MouthSums:
        return replace(self, **{name: np.asarray(getattr(self, name) + new) for name, new in sums.items()})


def light_of(canonical: npt.NDArray[Any], shapes: Shapes) -> npt.NDArray[Any]:
    """Return how bright the light on a face is: almost its brightest value, shape (channel,).

    Parameters
    ----------
    canonical
        The face in the canonical frame, shape (y, x, channel).
    shapes
        Of the training.
    """
    face = canonical.reshape(-1, canonical.shape[2])[shapes.sample].T.copy()
    return np.asarray(np.percentile(face, _BRIGHTEST, axis=1, method="lower"))


def detail(image: Integers, box: int) -> Integers:
    """Return an image less its blur by two boxes, times ``box`` to the fourth power, shape (y, x, channel)."""
    height, width, n_channels = image.shape
    blurred, sums = image.copy(), np.empty_like(image)
    for axes in ((1, height, width * n_channels), (height, width, n_channels)) * 2:
        box_sums(blurred.reshape(axes), box // 2, sums.reshape(axes))
        blurred, sums = sums, blurred
    return image * box**4 - blurred


@dataclass(frozen=True)
class Mouth:
    """The picture between opened lips.

    Attributes
    ----------
    region
        Where it lies.
    picture
        float32, shape (y, x, channel) of the region's window; 1 = white.
    tone
        Mean of the ring around mouths, 1 = white; what a person's own differs by tints the picture.
    tint
        By which share of that difference.
    dim
        The dimmest light that training has seen, shape (channel,), 1 = white: less of it darkens the picture.
    """

    region: MouthRegion
    picture: npt.NDArray[np.float32]
    tone: float
    tint: float
    dim: npt.NDArray[np.float64]

    @classmethod
    def fit(cls, sums: MouthSums, region: MouthRegion, unit: int) -> Mouth | None:
        """Return what follows from the sums over images whose white is ``unit``; None if there are none."""
        n = int(sums.n)
        if n == 0:
            return None
        mean = sums.pixels / n
        lips = region.mask > 0
        scale = float(region.box**4)
        real = (sums.detail[lips] / n).mean() / scale**2
        blurred = detail(np.rint(mean * (_LEVELS / unit)).astype(np.int64), region.box) / scale
        kept = (blurred[lips] ** 2).mean()
        gain = LIFT * max(0.0, float(np.sqrt(real / kept)) - 1) if kept else 0.0
        picture = mean / unit + gain * blurred / _LEVELS * region.mask[..., np.newaxis]
        n_channels = mean.shape[2]
        sizes = n_channels * np.array([region.core.sum(), region.around.sum()])
        product = sums.tone_products[0] / n - (sums.tones[0] / n) * (sums.tones[1] / n)
        spread = sums.tone_products[1] / n - (sums.tones[1] / n) ** 2
        tint = 0.0
        if spread > 0:
            tint = float(np.clip(product / spread * sizes[1] / max(1, sizes[0]), 0, 1))
        tone = float(sums.tones[1] / n / max(1, sizes[1]) / _LEVELS)
        light, square = sums.lights / n / np.array([[_LEVELS], [_LEVELS**2]])
        dim = light - _DIM * np.sqrt(np.maximum(square - light * light, 0))
        return cls(region, np.clip(picture, 0, 1).astype(np.float32), tone, tint, np.maximum(dim, 1 / _LEVELS))

    def tinted(
        self, canonical: npt.NDArray[np.floating[Any]], light: npt.NDArray[np.floating[Any]]
    ) -> npt.NDArray[np.float32]:
        """Return the picture in the tone and the light of a person's face, shape (y, x, channel).

        Parameters
        ----------
        canonical
            The face with its new appearance in the canonical frame, shape (y, x, channel).
        light
            What `light_of` says of it as it was.
        """
        around = canonical[self.region.window.slices][self.region.around]
        own = float(around.mean(dtype=np.float64)) if len(around) else self.tone
        dimmed = np.minimum(1, light / self.dim).astype(np.float32)
        return np.asarray(dimmed * (self.picture + np.float32(self.tint * (own - self.tone))))
