"""How close synthesised images are to their targets: MSE, PSNR, SSIM and R2."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt
from skimage.metrics import structural_similarity

SSIM_HALO = 5
"""Radius in pixels of SSIM's Gaussian window (sigma 1.5, cut off at 3.5 sigma)."""

Floats = npt.NDArray[np.floating]


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
    total, count = _r2_sum(prediction.astype(np.float64), target.astype(np.float64))
    return total / count if count else float("nan")


def _r2_sum(prediction: Floats, target: Floats) -> tuple[float, int]:
    sse = np.square(prediction - target).sum(axis=0)
    sst = np.square(target - target.mean(axis=0)).sum(axis=0)
    varies = target.max(axis=0, initial=-np.inf) > target.min(axis=0, initial=np.inf)
    return float((1 - sse[varies] / sst[varies]).sum()), int(varies.sum())


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


def score_sums(
    prediction: Floats,
    target: Floats,
    inner: tuple[slice, slice],
    scored: npt.NDArray[np.bool_],
    ssim_scored: npt.NDArray[np.bool_],
) -> ScoreSums:
    """Score a block of pixels.

    Parameters
    ----------
    prediction, target
        Floats of shape (image, y, x, channel), with up to `SSIM_HALO` pixels beyond the block; 1 = white.
    inner
        The block inside these.
    scored
        Pixels of the block that count, boolean, shape of the block.
    ssim_scored
        Those that count for SSIM: the ones whose whole window lies in the image.

    Returns
    -------
    ScoreSums
    """
    prediction, target = prediction.astype(np.float64), target.astype(np.float64)
    error = np.square(prediction - target)[:, *inner][:, scored]
    ssim = np.zeros(len(target))
    if ssim_scored.any():
        for n in range(len(target)):
            _, similarity = structural_similarity(
                target[n],
                prediction[n],
                data_range=1.0,
                gaussian_weights=True,
                use_sample_covariance=False,
                channel_axis=-1,
                full=True,
            )
            ssim[n] = similarity[inner][ssim_scored].mean(axis=-1).sum()
    r2_sum, n_r2 = _r2_sum(prediction[:, *inner][:, scored], target[:, *inner][:, scored])
    return ScoreSums(
        squared_error=error.sum(axis=(1, 2)),
        ssim=ssim,
        n_values=int(scored.sum()) * target.shape[3],
        n_ssim=int(ssim_scored.sum()),
        r2=r2_sum,
        n_r2=n_r2,
    )
