"""How close synthesised images are to their targets: MSE, PSNR, SSIM and R2."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from mrdist._kernels.likeness import chroma, linear_light, similarity
from mrdist.moments import unit_of

SSIM_HALO = 5
"""Radius in pixels of SSIM's Gaussian window (sigma 1.5, cut off at 3.5 sigma)."""

Floats = npt.NDArray[np.floating]

_GAUSSIAN = np.exp(-0.5 * np.square(np.arange(SSIM_HALO + 1) / 1.5))
_TAPS = _GAUSSIAN / (2 * _GAUSSIAN.sum() - 1)


def r2(prediction: Floats, target: Floats) -> float:
    """Coefficient of determination, averaged over the outputs that vary.

    Parameters
    ----------
    prediction, target
        Shape (image, ...); every position after the first axis is an output.

    Returns
    -------
    float
        Mean of ``1 - SSE / SST`` over outputs; those with a constant target have none and are left out.
        NaN if all targets are constant.

    Examples
    --------
    >>> target = np.array([[0.0, 1.0], [1.0, 1.0]])
    >>> r2(target, target)
    1.0
    """
    prediction, target = prediction.astype(np.float64), target.astype(np.float64)
    sse = np.square(prediction - target).sum(axis=0)
    sst = np.square(target - target.mean(axis=0)).sum(axis=0)
    varies = target.max(axis=0) > target.min(axis=0)
    return float((1 - sse[varies] / sst[varies]).mean()) if varies.any() else float("nan")


def chroma_difference(
    prediction: npt.NDArray[np.generic], target: npt.NDArray[np.generic]
) -> npt.NDArray[np.float64]:
    """Return how far colours lie apart, whatever their lightness.

    Parameters
    ----------
    prediction, target
        sRGB images, shape (..., 3): floats, 1 = white, clipped to 0..1; or uint8 or uint16.

    Returns
    -------
    float64 array of the shape of ``target``
        The mean absolute difference of CIELAB's a and b (D65), the same for every channel.

    Examples
    --------
    >>> gray, red = np.full((1, 1, 3), 0.5), np.array([[[0.5, 0.4, 0.4]]])
    >>> chroma_difference(gray, 0.8 * gray).max() < 0.01, chroma_difference(gray, red).round(1)
    (np.True_, array([[[7., 7., 7.]]]))
    """
    difference = np.abs(lab_chroma(prediction) - lab_chroma(target)).mean(axis=0)
    return np.broadcast_to(difference.reshape(*target.shape[:-1], 1), target.shape)


def lab_chroma(images: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    """Return CIELAB's a and b (D65) of sRGB images, shape (2, pixel) for images of shape (..., 3).

    It is scikit-image's ``rgb2lab`` to 1e-11, and several times as fast: of integers each level is converted once.

    Parameters
    ----------
    images
        Floats, 1 = white, clipped to 0..1; or uint8 or uint16.
    """
    if images.dtype.kind == "f":
        light = _light(images.astype(np.float64, copy=False))
    else:
        unit = unit_of(images.dtype)
        light = _light(np.arange(unit + 1) / unit)[images]
    made = np.empty((2, light.size // 3))
    chroma(light.reshape(-1, 3), *made)
    return made


def _light(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    light = np.empty(values.shape)
    linear_light(np.ascontiguousarray(values).reshape(-1), light.reshape(-1))
    return light


@dataclass(frozen=True)
class PixelScores:
    """What tells an image from its target, pixel by pixel.

    Attributes
    ----------
    truth, squared_error
        Shape (y, x, channel); 1 = white.
    similarity
        SSIM, the mean over channels, shape (y, x); 0 where its window does not fit into what was given.
    """

    truth: npt.NDArray[np.float64]
    squared_error: npt.NDArray[np.float64]
    similarity: npt.NDArray[np.float64]

    @classmethod
    def of(cls, prediction: Floats, target: Floats, inner: tuple[slice, slice]) -> PixelScores:
        """Compare a block of an image.

        Parameters
        ----------
        prediction, target
            Shape (y, x, channel), the block and up to `SSIM_HALO` pixels around it; 1 = white.
        inner
            The block in them.
        """
        prediction, target = (np.ascontiguousarray(image, dtype=np.float64) for image in (prediction, target))
        height, width, _ = target.shape
        similar = np.zeros((height, width))
        if min(height, width) > 2 * SSIM_HALO:
            fits = slice(SSIM_HALO, height - SSIM_HALO), slice(SSIM_HALO, width - SSIM_HALO)
            found = np.empty((height - 2 * SSIM_HALO, width - 2 * SSIM_HALO))
            similarity(prediction.reshape(height, -1), target.reshape(height, -1), _TAPS, found)
            similar[fits] = found
        truth = target[inner]
        return cls(truth, np.square(prediction[inner] - truth), similar[inner])


@dataclass(frozen=True)
class ScoreSums:
    """Sums from which scores follow; those of disjoint blocks of pixels add up to those of the image.

    Attributes
    ----------
    squared_error, ssim
        Sum over pixels (and channels) for every image, shape (image,); 1 = white.
    n_values, n_ssim
        Number of terms in each of them.
    r2, n_r2
        Sum of R2 over the outputs that vary, and their number.
    """

    squared_error: npt.NDArray[np.float64]
    ssim: npt.NDArray[np.float64]
    n_values: int
    n_ssim: int
    r2: float
    n_r2: int

    def __add__(self, other: ScoreSums) -> ScoreSums:
        return ScoreSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def scores(self) -> dict[str, float | None]:
        """Return mean MSE, PSNR (dB), SSIM and R2 over the images; None where a score is undefined."""
        if not self.n_values or not len(self.squared_error):
            return dict.fromkeys(("mse", "psnr", "ssim", "r2"))
        mse = self.squared_error / self.n_values
        return {
            "mse": float(mse.mean()),
            "psnr": float((-10 * np.log10(mse)).mean()) if (mse > 0).all() else None,
            "ssim": float((self.ssim / self.n_ssim).mean()) if self.n_ssim else None,
            "r2": self.r2 / self.n_r2 if self.n_r2 else None,
        }


class BlockScorer:
    """Scores a block of pixels from its images, one after the other: the sums do not depend on how they come.

    Parameters
    ----------
    inner
        The block inside the arrays given to `add`, which reach up to `SSIM_HALO` pixels beyond it.
    scored
        Pixels of the block that count, boolean, shape of the block.
    ssim_scored
        Those that count for SSIM: the ones whose whole window lies in the image.
    """

    def __init__(
        self, inner: tuple[slice, slice], scored: npt.NDArray[np.bool_], ssim_scored: npt.NDArray[np.bool_]
    ) -> None:
        self._inner = inner
        self._scored = scored
        self._ssim_scored = ssim_scored
        self._squared_error: list[float] = []
        self._ssim: list[float] = []
        self._n_channels = 1
        self._sse: Floats | float = 0.0
        # Deviations from the first image: their sums lose nothing to cancellation where the target is constant.
        self._first: Floats | None = None
        self._sum: Floats | float = 0.0
        self._square: Floats | float = 0.0

    def add(self, prediction: Floats, target: Floats) -> None:
        """Add images, floats of shape (image, y, x, channel); 1 = white."""
        self._n_channels = target.shape[3]
        for one, other in zip(prediction, target, strict=True):
            self.add_image(PixelScores.of(one, other, self._inner))

    def add_image(self, pixels: PixelScores) -> None:
        """Add an image that has been compared with its target."""
        self._n_channels = pixels.truth.shape[2]
        truth, error = pixels.truth[self._scored], pixels.squared_error[self._scored]
        self._squared_error.append(float(error.sum()))
        self._ssim.append(float(pixels.similarity[self._ssim_scored].sum()))
        self._sse = self._sse + error
        self._first = truth if self._first is None else self._first
        deviation = truth - self._first
        self._sum = self._sum + deviation
        self._square = self._square + np.square(deviation)

    def sums(self) -> ScoreSums:
        """Return the sums over all images added."""
        n = len(self._ssim)
        sse, sst = np.asarray(self._sse), np.asarray(self._square - np.square(self._sum) / max(n, 1))
        varies = np.asarray(self._square) > 0
        return ScoreSums(
            squared_error=np.array(self._squared_error),
            ssim=np.array(self._ssim),
            n_values=int(self._scored.sum()) * self._n_channels,
            n_ssim=int(self._ssim_scored.sum()),
            r2=float((1 - sse[varies] / sst[varies]).sum()),
            n_r2=int(varies.sum()),
        )
