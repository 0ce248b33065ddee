"""Explain a mapping: the weights of one pixel, and pictures of those of all pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.errors import ParameterError
from mrdist.pipeline.applying._pictures import FAST, encode
from mrdist.pipeline.showing.opened import OpenedMapping
from mrdist.refinement import Refinement
from mrdist.storage import redact
from mrdist.storage.weights.sparse import SparseModel
from mrdist.synthesis import MaskedWeights

Floats = npt.NDArray[np.floating]

_LARGEST = 2048  # side in pixels of a sheet


@dataclass(frozen=True)
class PixelWeights:
    """The weights of one output pixel.

    Attributes
    ----------
    offsets
        (dy, dx) of its input pixels from itself, shape (tap, 2).
    weights
        Shape (tap,).
    inside
        Which input pixels lie inside the image, shape (tap,); the others are ignored.
    intercept
        1 = white.
    """

    offsets: npt.NDArray[np.int64]
    weights: Floats
    inside: npt.NDArray[np.bool_]
    intercept: float


def weights_at(opened: OpenedMapping, y: int, x: int, *, channel: int = 0, source: int | None = None) -> PixelWeights:
    """Return the weights of an output pixel.

    Parameters
    ----------
    opened
        The mapping.
    y, x
        Row and column of the pixel.
    channel
        Of the output.
    source
        Channel of the input, where the mapping is of joint colour; the same by default.

    Raises
    ------
    ParameterError
        If there is no such pixel or channel, or the method has no weights of pixels.
    """
    model = opened.model
    height, width = model.shape
    source = channel if source is None else source
    for name, value, end in (
        ("y", y, height),
        ("x", x, width),
        ("channel", channel, model.n_channels),
        ("source", source, model.n_channels),
    ):
        if not 0 <= value < end:
            raise ParameterError(f"{name} must be from 0 to {end - 1} for {redact(model.url)}, got {value}.")
    if isinstance(model, MaskedWeights):
        outputs = slice(None) if model.color == "shared" else channel
        coef, intercept = model.coef[outputs], model.intercept[outputs]
        weights = coef[source] if model.color == "joint" else coef
        offsets = np.asarray(model.field.offsets, dtype=np.int64)
        there = offsets + np.array([y, x])
        inside = np.asarray(((there >= 0) & (there < model.shape)).all(axis=1))
        own = np.where(inside, weights[:, y, x], 0)
        return PixelWeights(offsets, own, inside, float(intercept[y, x]))
    if isinstance(model, SparseModel):
        matrix = model.weights.matrices[min(channel, len(model.weights.matrices) - 1)]
        row = slice(*matrix.indptr[y * width + x : y * width + x + 2])
        places, values = matrix.indices[row].astype(np.int64), matrix.data[row]
        taps = places < height * width
        offsets = np.stack(np.divmod(places[taps], width), axis=1) - np.array([y, x])
        own = values[taps]
        return PixelWeights(offsets, own, np.ones(len(own), dtype=bool), float(values[~taps].sum()))
    raise _without_fields(opened, "masked regression or learned sparsity")


def importance_picture(opened: OpenedMapping, refine: bool | Refinement = True, strength: float = 1.0) -> bytes:
    """Return the importance map as a PNG to be laid over a face: as opaque as a pixel is important."""
    from matplotlib import colormaps  # slow to import

    importance = opened.importance(refine, strength)
    if importance is None:
        importance = np.ones(opened.model.shape, dtype=np.float32)
    pixels = colormaps["inferno"](0.25 + 0.75 * importance, bytes=True)
    pixels[..., 3] = np.rint(220 * importance)
    return encode(Image.fromarray(pixels), FAST)


def intercept_picture(opened: OpenedMapping, *, channel: int = 0) -> bytes:
    """Return the intercept as a PNG, red above and blue below zero."""
    model = opened.model
    if isinstance(model, MaskedWeights):
        maps = model.intercept.reshape(-1, *model.shape)
    else:
        maps = np.moveaxis(opened.reader.block(opened.reader.frame).intercept, -1, 0)
    return _around_zero(maps[_group(opened, len(maps), channel)])


def coefficients_picture(opened: OpenedMapping, *, channel: int = 0) -> bytes:
    """Return the weights of all pixels as a PNG: a map for every tap, laid out as the receptive field is.

    Red above and blue below zero, all maps on one scale; of joint colour those from the channel to itself.

    Raises
    ------
    ParameterError
        If the method has no receptive field, or there is no such channel.
    """
    model = opened.model
    if not isinstance(model, MaskedWeights):
        raise _without_fields(opened, "masked regression")
    coef = model.coef[np.newaxis] if model.color == "shared" else model.coef
    group = _group(opened, len(coef), channel)
    maps = coef[group, channel] if model.color == "joint" else coef[group]
    size, (height, width) = model.field.size, model.shape
    step = -(-size * max(height, width) // _LARGEST)
    maps = maps[:, : height // step * step, : width // step * step]
    small = maps.reshape(size, size, height // step, step, width // step, step).mean(axis=(3, 5))
    sheet = np.pad(small, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
    return _around_zero(np.concatenate(np.concatenate(sheet, axis=1), axis=1))


def _group(opened: OpenedMapping, n_groups: int, channel: int) -> int:
    if not 0 <= channel < opened.model.n_channels:
        raise ParameterError(
            f"channel must be from 0 to {opened.model.n_channels - 1} for {redact(opened.model.url)}, got {channel}."
        )
    return channel if n_groups > 1 else 0


def _around_zero(values: Floats) -> bytes:
    from matplotlib import colormaps  # slow to import

    limit = float(np.nanmax(np.abs(values))) or 1.0
    pixels = colormaps["RdBu_r"](0.5 + values / (2 * limit), bytes=True)
    pixels[np.isnan(values)] = 0
    return encode(Image.fromarray(pixels), FAST)


def _without_fields(opened: OpenedMapping, having: str) -> ParameterError:
    return ParameterError(
        f"{redact(opened.model.url)} was trained by the method {opened.model.method}, which has no receptive fields; "
        f"choose a mapping of {having}."
    )
