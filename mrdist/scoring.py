"""How close synthesised images are to their targets: MSE, PSNR, SSIM and R2.

`neg_mean_squared_error`, `peak_signal_noise_ratio` and `structural_similarity` are scorers for the ``scoring=`` of
scikit-learn's `GridSearchCV`, `cross_val_score` and the like: its own ones that have a name take tables alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.moments import check_values, unit_of

SSIM_HALO = 5
"""Radius in pixels of SSIM's Gaussian window (sigma 1.5, cut off at 3.5 sigma)."""

Floats = npt.NDArray[np.floating]
Images = npt.NDArray[Any]


class Predicts(Protocol):
    """A fitted estimator, or an opened model."""

    def predict(self, X: Images, /) -> Floats:
        """Return the images that it makes of ``X``; 1 = white."""


def prediction_and_target(model: Predicts, X: Images, Y: Images) -> tuple[Floats, Floats]:
    """Return what a model makes of ``X`` and the images ``Y`` that it should have made, as floats of one shape.

    Raises
    ------
    DataError
        If the images do not form pairs, or hold NaN or values outside 0..1.
    """
    prediction, target = model.predict(X), np.asarray(Y)
    if prediction.size != target.size or prediction.shape[:3] != target.shape[:3]:
        raise DataError(f"X and Y must be pairs of equal shape, got {np.shape(X)} and {target.shape}.")
    check_values(target, "Y")
    white = 1 if target.dtype.kind == "f" else unit_of(target.dtype)
    return prediction, np.divide(target, white, dtype=np.float64).reshape(prediction.shape)


def neg_mean_squared_error(model: Predicts, X: Images, Y: Images) -> float:
    """Return minus the mean squared error over images, pixels and channels: a scorer, 0 at best; 1 = white.

    Examples
    --------
    >>> from sklearn.model_selection import GridSearchCV
    >>> from mrdist import MaskedRegression
    >>> X = np.random.default_rng(0).integers(0, 256, (20, 8, 8), dtype=np.uint8)
    >>> search = GridSearchCV(MaskedRegression(), {"alpha": [0.01, 100]}, scoring=neg_mean_squared_error)
    >>> search.fit(X, 255 - X).best_params_
    {'alpha': 0.01}
    """
    prediction, target = prediction_and_target(model, X, Y)
    return -float(np.square(prediction - target).mean())


def peak_signal_noise_ratio(model: Predicts, X: Images, Y: Images) -> float:
    """Return the mean over the images of the PSNR in dB: a scorer, the higher the better; infinite without error."""
    psnr = _scores(model, X, Y)["psnr"]
    return np.inf if psnr is None else psnr


def structural_similarity(model: Predicts, X: Images, Y: Images) -> float:
    """Return the mean SSIM: a scorer, 1 at best; NaN for images smaller than SSIM's window of 11 pixels."""
    ssim = _scores(model, X, Y)["ssim"]
    return np.nan if ssim is None else ssim


def _scores(model: Predicts, X: Images, Y: Images) -> dict[str, float | None]:
    prediction, target = (
        images if images.ndim == 4 else images[..., np.newaxis] for images in prediction_and_target(model, X, Y)
    )
    everywhere = np.ones(target.shape[1:3], dtype=bool)
    windowed = np.zeros_like(everywhere)
    windowed[SSIM_HALO:-SSIM_HALO, SSIM_HALO:-SSIM_HALO] = True
    scorer = BlockScorer((slice(None), slice(None)), everywhere, windowed)
    scorer.add(prediction, target)
    return scorer.sums().scores()


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


def chroma_difference(prediction: Floats, target: Floats) -> npt.NDArray[np.float64]:
    """Return how far colours lie apart, whatever their lightness.

    Parameters
    ----------
    prediction, target
        sRGB images, shape (..., 3); 1 = white, clipped to 0..1.

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
    from skimage.color import rgb2lab  # slow to import, and workers that train need none

    one, other = (rgb2lab(np.clip(image, 0, 1))[..., 1:] for image in (prediction, target))
    difference = np.abs(one - other).mean(axis=-1, keepdims=True)
    return np.broadcast_to(difference, target.shape)


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
    """Scores a block of pixels from its images, slab by slab.

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
        self._squared_error: list[npt.NDArray[np.float64]] = []
        self._ssim: list[float] = []
        self._n_channels = 1
        self._sse: Floats | float = 0.0
        # Deviations from the first image: their sums lose nothing to cancellation where the target is constant.
        self._first: Floats | None = None
        self._sum: Floats | float = 0.0
        self._square: Floats | float = 0.0

    def add(self, prediction: Floats, target: Floats) -> None:
        """Add images, floats of shape (image, y, x, channel); 1 = white."""
        prediction, target = prediction.astype(np.float64), target.astype(np.float64)
        self._n_channels = target.shape[3]
        if not len(target):
            return
        truth = target[:, *self._inner][:, self._scored]
        error = np.square(prediction[:, *self._inner][:, self._scored] - truth)
        self._squared_error.append(error.sum(axis=(1, 2)))
        self._sse = self._sse + error.sum(axis=0)
        self._first = truth[0] if self._first is None else self._first
        deviation = truth - self._first
        self._sum = self._sum + deviation.sum(axis=0)
        self._square = self._square + np.square(deviation).sum(axis=0)
        self._ssim += [
            self._similarity(a, b) if self._ssim_scored.any() else 0.0 for a, b in zip(prediction, target, strict=True)
        ]

    def _similarity(self, prediction: Floats, target: Floats) -> float:
        from skimage.metrics import structural_similarity  # slow to import, and workers that train need none

        _, similarity = structural_similarity(
            target,
            prediction,
            data_range=1.0,
            gaussian_weights=True,
            use_sample_covariance=False,
            channel_axis=-1,
            full=True,
        )
        return float(similarity[self._inner][self._ssim_scored].mean(axis=-1).sum())

    def sums(self) -> ScoreSums:
        """Return the sums over all images added."""
        n = len(self._ssim)
        sse, sst = np.asarray(self._sse), np.asarray(self._square - np.square(self._sum) / max(n, 1))
        varies = np.asarray(self._square) > 0
        return ScoreSums(
            squared_error=np.concatenate([np.empty(0), *self._squared_error]),
            ssim=np.array(self._ssim),
            n_values=int(self._scored.sum()) * self._n_channels,
            n_ssim=int(self._ssim_scored.sum()),
            r2=float((1 - sse[varies] / sst[varies]).sum()),
            n_r2=int(varies.sum()),
        )
