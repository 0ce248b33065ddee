"""Pictures of the weights of one mapping or of several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.analysis import WeightSurvey
from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField, Shape
from mrdist.plotting.style import bare, ceiling, color_of, largest, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDE = 10  # letters that fit above a map
Scale = Literal["around zero", "ratio", "magnitude"]


def plot_fields_beside(
    fields: Mapping[str, Sequence[npt.NDArray[np.floating]]], titles: Sequence[str], *, ax: Axes | None = None
) -> Axes:
    """Draw the receptive fields of several mappings at the same output pixels, one row per mapping.

    Every row has its own scale, its largest absolute weight, which is printed beside it: red above and blue below zero.

    Parameters
    ----------
    fields
        Mapping -> weights around each output pixel (`mrdist.analysis.patches`), squares of one side; NaN is drawn as
        nothing.
    titles
        Titles of the pixels.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    ParameterError
        If the number of squares of a mapping differs from the number of titles.

    Examples
    --------
    >>> ax = plot_fields_beside({"mr": [np.eye(3)], "l2": [np.ones((3, 3))]}, ["eye"])
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['mr', 'l2']
    """
    for name, squares in fields.items():
        if len(squares) != len(titles):
            raise ParameterError(f"{name} has {len(squares)} receptive field(s) for {len(titles)} pixel(s).")
    pad = max(1, next(iter(fields.values()))[0].shape[0] // 16)
    strips = []
    limits = [largest(squares) for squares in fields.values()]
    for squares, limit in zip(fields.values(), limits, strict=True):
        strips.append(np.concatenate([np.pad(s / limit, pad, constant_values=np.nan) for s in squares], axis=1))
    picture = np.concatenate(strips)
    if ax is None:
        ax = new_axes(picture.shape[1] / picture.shape[0], height=1.3 * len(fields))
    drawn = ax.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    bar: dict[str, Any] = {"location": "bottom", "shrink": 0.5, "aspect": 40, "pad": 0.03}
    ax.figure.colorbar(drawn, ax=ax, label="weight / largest of its row (right)", ticks=[-1, 0, 1], **bar)
    step = strips[0].shape[0]
    ax.set_xticks([(k + 0.5) * step - 0.5 for k in range(len(titles))], titles)
    ax.xaxis.tick_top()
    ax.set_yticks([(k + 0.5) * step - 0.5 for k in range(len(fields))], list(fields))
    for k, limit in enumerate(limits):
        ax.text(picture.shape[1], (k + 0.5) * step - 0.5, f"±{limit:.2g}", va="center")
    bare(ax)
    return ax


def plot_maps(
    maps: Mapping[str, npt.NDArray[np.floating]], *, scale: Scale, label: str, ax: Axes | None = None
) -> Axes:
    """Draw one image per mapping, in a row with one common scale.

    Parameters
    ----------
    maps
        Mapping -> shape (y, x); all of one shape.
    scale
        ``around zero``: red above and blue below; ``ratio``: the same around 1, by factors up to 16;
        ``magnitude``: from 0 on. Where one mapping has far larger values than another, the scale ends before them,
        with a pointed colour bar.
    label
        Label of the scale.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> ax = plot_maps({"mr": np.full((4, 4), 5.0)}, scale="ratio", label="weights / intercept")
    >>> [label.get_text() for label in ax.get_xticklabels()]
    ['mr']
    """
    height, width = next(iter(maps.values())).shape
    pad = max(1, width // 32)
    picture = np.concatenate(
        [np.pad(image.astype(np.float64), ((0, 0), (pad, pad)), constant_values=np.nan) for image in maps.values()],
        axis=1,
    )
    options: dict[str, Any]
    ticks: dict[str, Any] = {}
    if scale == "ratio":
        with np.errstate(divide="ignore"):
            picture = np.clip(np.log2(picture), -4, 4)
        options = {"cmap": "RdBu_r", "vmin": -4, "vmax": 4}
        ticks = {"ticks": [-4, -2, 0, 2, 4], "format": lambda value, _: f"{2.0**value:g}"}
    else:
        peaks = [largest(image) for image in maps.values()]
        limit = ceiling(peaks)
        around_zero = scale == "around zero"
        options = {"cmap": "RdBu_r" if around_zero else "magma", "vmin": -limit if around_zero else 0, "vmax": limit}
        if limit < max(peaks):
            ticks = {"extend": "both" if around_zero else "max"}
    if ax is None:
        ax = new_axes(picture.shape[1] / height * 0.9, height=2.6)
    drawn = ax.imshow(picture, **options, interpolation="nearest")
    ax.figure.colorbar(drawn, ax=ax, label=label, shrink=0.8, pad=0.01, **ticks)
    step = width + 2 * pad
    names = [name.replace(" ", "\n", 1) if len(name) > _WIDE else name for name in maps]
    ax.set_xticks([(k + 0.5) * step - 0.5 for k in range(len(maps))], names)
    ax.xaxis.tick_top()
    ax.set_yticks([])
    bare(ax)
    return ax


def plot_reach(surveys: Mapping[str, WeightSurvey], *, ax: Axes | None = None) -> Axes:
    """Draw the share of a mapping's absolute weights against the distance from the output pixel.

    Parameters
    ----------
    surveys
        Mapping -> survey of its weights.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> survey = WeightSurvey((2, 2))
    >>> survey.add(np.eye(4), np.arange(4))
    >>> plot_reach({"pixel": survey}).get_xlabel()
    'distance from the output pixel'
    """
    if ax is None:
        ax = new_axes(1.6, height=3.6)
    reaches = {name: survey.reach() for name, survey in surveys.items()}
    end = max((float(distance[-1]) for distance, _ in reaches.values() if len(distance)), default=1.0)
    for name, (distance, share) in reaches.items():
        x, y = np.concatenate([[0.0], distance, [end]]), np.concatenate([[0.0], share, [1.0]])
        ax.step(x, y, where="post", label=name, color=color_of(name), linewidth=1.8)
    ax.set_xscale("symlog", linthresh=2)
    ax.set_xlim(-0.05, max(end, 3.0))
    ticks = [tick for tick in (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024) if tick <= max(end, 3.0)]
    ax.set_xticks(ticks, [f"{tick} px" for tick in ticks])
    ax.xaxis.set_minor_locator(_no_ticks())
    ax.set_ylim(0, 1.02)
    ax.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    ax.set_xlabel("distance from the output pixel")
    ax.set_ylabel("share of the weights within it")
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    plain(ax, grid="both")
    return ax


def plot_mask(shape: Shape, field: ReceptiveField, *, ax: Axes | None = None) -> Axes:
    """Draw where weights may be: one row per output pixel, one column per input pixel, the intercept last.

    Parameters
    ----------
    shape
        Image height and width in pixels, small enough to be seen.
    field
        The receptive field.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> ax = plot_mask((5, 5), ReceptiveField(3))
    >>> ax.get_title()
    '5 x 5 pixels, fields of 3 x 3: 194 of 650 weights'
    """
    field.check_fits(shape)
    height, width = shape
    n = height * width
    pixel = np.arange(n)
    targets = pixel[:, None] + field.offsets @ (width, 1)
    mask = np.zeros((n, n + 1))
    row, tap = np.nonzero(field.in_bounds(shape).reshape(field.n_offsets, n).T)
    mask[row, targets[row, tap]] = 1
    mask[:, n] = 2
    if ax is None:
        ax = new_axes(1.0, height=4.5)
    from matplotlib.colors import ListedColormap  # slow to import

    ax.pcolormesh(mask, cmap=ListedColormap(["#e8e8e8", color_of("mr"), color_of("l2")]), edgecolor="white", lw=0.6)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    ax.set_xlabel("input pixel, the intercept last")
    ax.set_ylabel("output pixel")
    ax.set_title(
        f"{height} x {width} pixels, fields of {field.size} x {field.size}: {int((mask > 0).sum())} of {n * (n + 1)} "
        "weights"
    )
    ax.set_xticks([])
    ax.set_yticks([])
    bare(ax)
    return ax


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator  # slow to import

    return NullLocator()
