"""Scores of synthesised images against their targets: MSE, PSNR, SSIM and R2.

`neg_mean_squared_error`, `peak_signal_noise_ratio` and `structural_similarity` are scorers for the ``scoring=`` of
scikit-learn's `GridSearchCV`, `cross_val_score` and the like: its own scorers with a name accept only tables.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from mrdist._kernels.likeness import chroma, linear_light, look_up, similarity
from mrdist._kernels.scores import add_squares, sum_values
from mrdist.errors import DataError
from mrdist.values import check_values, unit_of

SSIM_HALO = 5
"""Radius in pixels of SSIM's Gaussian window (sigma 1.5, cut off at 3.5 sigma)."""

Floats = npt.NDArray[np.floating]
Images = npt.NDArray[Any]


class Predicts(Protocol):
    """A fitted estimator, or an opened model."""

    def predict(self, X: Images, /) -> Floats:
        """Return the images that it makes of ``X``; 1 = white."""


def prediction_and_target(model: Predicts, X: Images, Y: Images) -> tuple[Floats, Floats]:
    """Return the images that a model makes of ``X``, and the targets ``Y``, as floats of one shape.

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


def mean_score(values: Iterable[float | None]) -> float | None:
    """Return the mean of the scores that are defined, None if there is none.

    Examples
    --------
    >>> mean_score([1.0, None, 2.0]), mean_score([None])
    (1.5, None)
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def mean_scores(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Average dictionaries of scores of the same form number by number, each over the dictionaries that have it.

    Examples
    --------
    >>> mean_scores([{"test": {"mse": 1.0, "r2": None}}, {"test": {"mse": 3.0, "r2": 0.5}}])
    {'test': {'mse': 2.0, 'r2': 0.5}}
    """
    results = list(results)
    averaged: dict[str, Any] = {}
    for name in dict.fromkeys(name for result in results for name in result):
        values = [result[name] for result in results if name in result]
        inner = [value for value in values if isinstance(value, Mapping)]
        averaged[name] = mean_scores(inner) if inner else mean_score(values)
    return averaged


def chroma_difference(prediction: npt.NDArray[np.generic], target: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
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

    It equals scikit-image's ``rgb2lab`` in float64 to 1e-7 and is several times as fast: roots are computed without
    powers, and for integers each level is converted once.

    Parameters
    ----------
    images
        Floats, 1 = white, clipped to 0..1; or uint8 or uint16.
    """
    flat = np.ascontiguousarray(images).reshape(-1)
    light = np.empty(flat.shape)
    if images.dtype.kind == "f":
        linear_light(flat, light)
    else:
        look_up(flat, _light_of_levels(unit_of(images.dtype)), light)
    made = np.empty((2, light.size // 3))
    chroma(light.reshape(-1, 3), *made)
    return made


@cache
def _light_of_levels(unit: int) -> npt.NDArray[np.float64]:
    light = np.empty(unit + 1)
    linear_light(np.arange(unit + 1) / unit, light)
    return light


@dataclass(frozen=True)
class ScoreSums:
    """Sums from which scores follow; those of disjoint blocks of pixels add up to those of the image.

    Attributes
    ----------
    squared_error, ssim
        Sum over pixels (and channels) for every image, shape (image,); 1 = white.
    n_values, n_ssim
        Number of terms in each of them, one for all images or one for each.
    r2, n_r2
        Sum of R2 over the outputs that vary, and their number.
    """

    squared_error: npt.NDArray[np.float64]
    ssim: npt.NDArray[np.float64]
    n_values: int | npt.NDArray[np.int64]
    n_ssim: int | npt.NDArray[np.int64]
    r2: float
    n_r2: int

    @property
    def mse(self) -> npt.NDArray[np.float64]:
        """Of every image, NaN where none of its values counts."""
        return _mean_of_terms(self.squared_error, self.n_values)

    @property
    def mean_ssim(self) -> npt.NDArray[np.float64]:
        """Likewise."""
        return _mean_of_terms(self.ssim, self.n_ssim)

    def __add__(self, other: ScoreSums) -> ScoreSums:
        return ScoreSums(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def scores(self) -> dict[str, float | None]:
        """Return mean MSE, PSNR (dB), SSIM and R2 over the images; None where a score is undefined."""
        mse, ssim = (each[~np.isnan(each)] for each in (self.mse, self.mean_ssim))
        if not len(mse):
            return dict.fromkeys(("mse", "psnr", "ssim", "r2"))
        return {
            "mse": float(mse.mean()),
            "psnr": float((-10 * np.log10(mse)).mean()) if (mse > 0).all() else None,
            "ssim": float(ssim.mean()) if len(ssim) else None,
            "r2": self.r2 / self.n_r2 if self.n_r2 else None,
        }


def _mean_of_terms(sums: npt.NDArray[np.float64], n_terms: int | npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    counts = np.broadcast_to(n_terms, sums.shape)
    means = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means


class BlockScorer:
    """Scores a block of pixels, image after image: the sums do not depend on how the images are grouped.

    Parameters
    ----------
    inner
        The block inside the arrays given to `add`, which reach up to `SSIM_HALO` pixels beyond it.
    scored
        Pixels of the block that count, boolean, shape of the block.
    fits
        Pixels of the block for which SSIM's whole window lies in the image, and so in these arrays.
    there
        Pixels of the block that the target has, all by default; both images are zero at the others.
    """

    def __init__(
        self,
        inner: tuple[slice, slice],
        scored: npt.NDArray[np.bool_],
        fits: npt.NDArray[np.bool_],
        there: npt.NDArray[np.bool_] | None = None,
    ) -> None:
        self._inner = inner
        self._scored = scored
        self._masks = (scored, ~scored) if there is None else (scored & there, ~scored & there)
        self._ssim_masks = self._masks[0] & fits, self._masks[1] & fits
        self._squared_error: tuple[list[float], list[float]] = ([], [])
        self._ssim: tuple[list[float], list[float]] = ([], [])
        self._n_channels = 1
        # Deviations from the first image: their sums lose nothing to cancellation where the target is constant.
        self._first = np.empty((0, 0))
        self._maps = np.empty((3, 0, 0))
        self._mask = np.empty((0, 0), dtype=bool)
        # Where images miss pixels: in how many of them each value counts, and the terms of every image's sums.
        self._counts = np.empty((0, 0), dtype=np.int64)
        self._terms: list[tuple[list[int], list[int]]] = []

    def add(self, prediction: Floats, target: Floats) -> None:
        """Add images, floats of shape (image, y, x, channel); 1 = white."""
        for one, other in zip(prediction, target, strict=True):
            self.add_image(one, other)

    def add_image(self, prediction: Floats, target: Floats, lost: npt.NDArray[np.bool_] | None = None) -> None:
        """Add an image, floats of shape (y, x, channel); 1 = white.

        ``lost``, given for all images or for none, are further pixels of the block that do not count in this one, where
        both are zero.
        """
        made, truth = (np.ascontiguousarray(image, dtype=np.float64) for image in (prediction, target))
        height, width, n_channels = truth.shape
        made, truth = made.reshape(height, -1), truth.reshape(height, -1)
        y0, x0 = self._inner[0].start or 0, (self._inner[1].start or 0) * n_channels
        if not self._ssim[0]:
            self._n_channels = n_channels
            self._mask = np.repeat(self._scored, n_channels, axis=1)
            rows, columns = self._mask.shape
            self._first = truth[y0 : y0 + rows, x0 : x0 + columns].copy()
            self._maps = np.zeros((3, rows, columns))
            self._counts = np.zeros((rows, columns), dtype=np.int64)
        pair = (made, truth) if lost is None else self._filled(made, truth, (y0, x0), lost)
        errors = add_squares(*pair, (y0, x0), self._mask, self._first, self._maps)
        similarities = self._similarities(made, truth, (height, width), lost)
        for part in (0, 1):
            self._squared_error[part].append(errors[part])
            self._ssim[part].append(similarities[part])

    def _filled(
        self,
        made: npt.NDArray[np.float64],
        truth: npt.NDArray[np.float64],
        corner: tuple[int, int],
        lost: npt.NDArray[np.bool_],
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return both images with the first values that count where some are lost, which then add nothing to a sum."""
        (y0, x0), (rows, columns) = corner, self._mask.shape
        part = slice(y0, y0 + rows), slice(x0, x0 + columns)
        there = ~np.repeat(lost, self._n_channels, axis=1)
        new = there & (self._counts == 0)
        self._first[new] = truth[part][new]
        self._counts += there
        self._terms.append(
            (
                [int((mask & ~lost).sum()) * self._n_channels for mask in self._masks],
                [int((mask & ~lost).sum()) for mask in self._ssim_masks],
            )
        )
        made, truth = made.copy(), truth.copy()
        for image in (made, truth):
            image[part][~there] = self._first[~there]
        return made, truth

    def _similarities(
        self,
        made: npt.NDArray[np.float64],
        truth: npt.NDArray[np.float64],
        shape: tuple[int, int],
        lost: npt.NDArray[np.bool_] | None,
    ) -> tuple[float, float]:
        """Return the sums of SSIM over the scored pixels and over the others."""
        if not any(mask.any() for mask in self._ssim_masks):
            return 0.0, 0.0
        ssim_map = np.empty((shape[0] - 2 * SSIM_HALO, shape[1] - 2 * SSIM_HALO))
        similarity(made, truth, _TAPS, ssim_map)
        y, x = (SSIM_HALO - (axis.start or 0) for axis in self._inner)
        counted = self._ssim_masks if lost is None else [mask & ~lost for mask in self._ssim_masks]
        masks = (mask[y : y + ssim_map.shape[0], x : x + ssim_map.shape[1]] for mask in counted)
        inside, outside = sum_values(ssim_map, *(np.ascontiguousarray(mask) for mask in masks))
        return inside, outside

    def sums(self, *, scored: bool = True) -> ScoreSums:
        """Return the sums over all images added, of the scored pixels or of the block's others."""
        part = 0 if scored else 1
        mask = self._mask if scored else ~self._mask
        n, (sse, total, square) = len(self._ssim[part]), self._maps
        varies = mask & (square > 0)
        terms = [np.array([of_image[which][part] for of_image in self._terms]) for which in (0, 1)]
        counts = self._counts[varies] if self._terms else max(n, 1)
        sst = square[varies] - np.square(total[varies]) / counts
        return ScoreSums(
            squared_error=np.array(self._squared_error[part]),
            ssim=np.array(self._ssim[part]),
            n_values=terms[0] if self._terms else int(self._masks[part].sum()) * self._n_channels,
            n_ssim=terms[1] if self._terms else int(self._ssim_masks[part].sum()),
            r2=float((1 - sse[varies] / sst).sum()),
            n_r2=int(varies.sum()),
        )
