"""Faces in rows, and the weights and intercept of one masked regression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError
from mrdist.moments import unit_of
from mrdist.plotting.style import bare, largest, new_axes
from mrdist.synthesis import MaskedWeights

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_faces(rows: Mapping[str, Sequence[npt.NDArray[np.generic]]], *, ax: Axes | None = None) -> Axes:
    """Draw a grid of images, one row per kind.

    Parameters
    ----------
    rows
        Title -> images of shape (y, x, channel), uint8 or floats (1 = white, clipped), the same number for each.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ParameterError
        If the rows differ in length or are empty.

    Examples
    --------
    >>> ax = plot_faces({"input": [np.zeros((8, 8, 1))], "output": [np.ones((8, 8, 1))]})
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['input', 'output']
    """
    lengths = {len(images) for images in rows.values()}
    if len(lengths) != 1 or 0 in lengths:
        raise ParameterError(f"rows must have the same number of images, got {[len(row) for row in rows.values()]}.")
    strips = [np.concatenate([_to_rgb(image) for image in images], axis=1) for images in rows.values()]
    picture = np.concatenate(strips)
    if ax is None:
        ax = new_axes(picture.shape[1] / picture.shape[0])
    ax.imshow(picture, interpolation="antialiased")
    height = picture.shape[0] / len(rows)
    ax.set_yticks([(k + 0.5) * height - 0.5 for k in range(len(rows))], list(rows), rotation="vertical", va="center")
    ax.set_xticks([])
    bare(ax)
    return ax


def plot_receptive_fields(
    weights: MaskedWeights, pixels: Sequence[tuple[int, int]], *, channel: int = 0, ax: Axes | None = None
) -> Axes:
    """Draw the weights of chosen output pixels side by side, red above and blue below zero.

    Parameters
    ----------
    weights
        A trained mapping.
    pixels
        Rows and columns of output pixels.
    channel
        Channel whose weights are drawn, for separate colour; for joint colour, its weights on itself.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    coef = weights.coef if weights.color == "shared" else weights.coef[channel]
    coef = coef[channel] if weights.color == "joint" else coef
    size = weights.field.size
    fields = [np.pad(coef[:, y, x].reshape(size, size), 1, constant_values=np.nan) for y, x in pixels]
    picture = np.concatenate(fields, axis=1)
    if ax is None:
        ax = new_axes(picture.shape[1] / picture.shape[0] + 1, height=1.9)
    limit = largest(picture)
    drawn = ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    ax.figure.colorbar(
        drawn, ax=ax, label="weight\n(output / input)", pad=0.02, ticks=[-limit, 0, limit], format="%.2g"
    )
    titles = [f"({y}, {x})" for y, x in pixels]
    ax.set_xticks([(k + 0.5) * (size + 2) - 0.5 for k in range(len(pixels))], titles)
    ax.set_xlabel("output pixel (row, column)")
    ax.set_yticks([])
    bare(ax)
    return ax


def plot_intercept(
    weights: MaskedWeights, *, channel: int = 0, scale: str | None = None, ax: Axes | None = None
) -> Axes:
    """Draw the intercept as an image: what the mapping adds to every output.

    Parameters
    ----------
    weights
        A trained mapping.
    channel
        Channel that is drawn, for separate and joint colour.
    scale
        What 0 and 1 of the target mean, by default black and white.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes
    """
    intercept = weights.intercept if weights.color == "shared" else weights.intercept[channel]
    if ax is None:
        ax = new_axes(intercept.shape[1] / intercept.shape[0], height=3)
    limit = largest(intercept)
    drawn = ax.imshow(intercept, cmap="RdBu_r", vmin=-limit, vmax=limit)
    ax.figure.colorbar(drawn, ax=ax, label=f"intercept ({scale or '1 = white'})")
    ax.set_xlabel("column (pixels)")
    ax.set_ylabel("row (pixels)")
    return ax


def plot_importance(
    importance: Sequence[Sequence[npt.NDArray[np.floating]]],
    image: npt.NDArray[np.generic] | None = None,
    *,
    rows: Sequence[str] = (),
    columns: Sequence[str] = (),
    ax: Axes | None = None,
) -> Axes:
    """Draw a grid of importance maps, each over an image that stays visible where it matters.

    Parameters
    ----------
    importance
        Rows of maps of shape (y, x), in 0..1.
    image
        What the mapping sees, shape (y, x, channel), uint8 or floats; without it the maps are drawn alone.
    rows, columns
        Their names.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> ax = plot_importance([[np.zeros((8, 8)), np.ones((8, 8))]], columns=["before", "after"])
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['before', 'after']
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable

    height, width = importance[0][0].shape
    color = colormaps["inferno"]
    tiles = []
    for row in importance:
        maps = [color(values)[..., :3] for values in row]
        if image is not None:
            maps = [0.45 * _to_rgb(image) + 0.55 * tile for tile in maps]
        tiles.append(np.concatenate(maps, axis=1))
    picture = np.concatenate(tiles)
    if ax is None:
        ax = new_axes(picture.shape[1] / picture.shape[0])
    ax.imshow(picture, interpolation="antialiased")
    ax.figure.colorbar(ScalarMappable(cmap=color), ax=ax, label="importance", shrink=0.8, pad=0.02)
    ax.set_xticks([(k + 0.5) * width - 0.5 for k in range(len(columns))], list(columns))
    ax.set_yticks([(k + 0.5) * height - 0.5 for k in range(len(rows))], list(rows), rotation="vertical", va="center")
    bare(ax)
    return ax


def _to_rgb(image: npt.NDArray[np.generic]) -> npt.NDArray[np.floating[Any]]:
    pixels = np.asarray(image, dtype=np.float64) / (1 if image.dtype.kind == "f" else unit_of(image.dtype))
    return np.broadcast_to(np.clip(pixels, 0, 1), (*pixels.shape[:2], 3))
