"""Comparison of methods: errors, sizes, receptive fields and numbers of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mrdist.plotting.style import ceiling, color_of, end_at, error_label, few_ticks, label_points, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_errors(errors: Mapping[str, float], *, ax: Axes | None = None) -> Axes:
    """Draw errors relative to the identity's as bars, the smallest on top.

    Bars of methods that are far worse than all others are cut, with an arrow and their value.

    Parameters
    ----------
    errors
        Method -> MSE over that of the identity.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> ax = plot_errors({"l2": 1.4, "mr": 0.9})
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['mr', 'l2']
    """
    if ax is None:
        ax = new_axes(1.9, height=0.9 + 0.36 * len(errors))
    order = sorted(errors, key=lambda name: errors[name])
    values = [errors[name] for name in order]
    longest = ceiling(values, reference=1.0)
    drawn = [min(value, longest) for value in values]
    bars = ax.barh(range(len(order)), drawn, color=[color_of(name) for name in order], height=0.66)
    ax.bar_label(bars, labels=[f"{value:.3f}" if value <= longest else f"▸ {value:.3g}" for value in values], padding=4)
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.axvline(1, color="#8A8A8A", linewidth=1, linestyle="--")
    ax.set_xlim(0, 1.24 * max([1.0, *drawn]))
    ax.set_xlabel("MSE relative to that of the identity (dashed)")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    plain(ax)
    return ax


def plot_sizes(points: Mapping[str, tuple[int, float]], *, ax: Axes | None = None) -> Axes:
    """Draw error against size: down and to the left is better.

    Methods far worse than all others are drawn as arrows at the upper edge, with their error.

    Parameters
    ----------
    points
        Method -> parameters stored, and MSE over that of the identity.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> plot_sizes({"mr": (40960, 0.9), "l2": (524288, 1.4)}).get_xlabel()
    'parameters stored'
    """
    if ax is None:
        ax = new_axes(1.6, height=3.6)
    errors = [error for _, error in points.values()]
    top = ceiling(errors, reference=1.0)
    labels: dict[str, tuple[float, float]] = {}
    for name, (parameters, error) in points.items():
        labels |= _draw_point(ax, name, parameters, error, top)
    ax.set_xscale("log")
    ax.margins(x=0.18)
    few_ticks(ax)
    end_at(ax, top, errors, 1.0)
    ax.axhline(1, color="#8A8A8A", linewidth=1, linestyle="--")
    ax.set_xlabel("parameters stored")
    ax.set_ylabel("MSE / identity's")
    plain(ax, grid="both")
    label_points(ax, labels)
    return ax


def plot_field_sizes(
    curves: Mapping[int, Mapping[int, float]], others: Mapping[str, float], side: int, *, ax: Axes | None = None
) -> Axes:
    """Draw error against the pixels that a receptive field spans, up to the whole image.

    Methods far worse than all others are drawn as arrows at the upper edge, with its error.

    Parameters
    ----------
    curves
        Dilation -> pixels across -> MSE over that of the identity.
    others
        Methods that see the whole image, drawn at its side -> the same.
    side
        The image's larger side in pixels.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> plot_field_sizes({1: {1: 1.0, 3: 0.9}}, {"l2": 1.4}, 64).get_xlabel()
    'pixels across the receptive field'
    """
    if ax is None:
        ax = new_axes(1.6, height=3.6)
    shades = ("#D55E00", "#009E73", "#0072B2", "#CC79A7", "#E69F00", "#56B4E9")
    for number, (dilation, points) in enumerate(curves.items()):
        across = sorted(points)
        name = "mr" if dilation == 1 else f"mr, dilation {dilation}"
        ax.plot(across, [points[a] for a in across], "o-", label=name, color=shades[number % len(shades)])
    errors = [*(error for points in curves.values() for error in points.values()), *others.values()]
    top = ceiling(errors, reference=1.0)
    labels: dict[str, tuple[float, float]] = {}
    for name, error in others.items():
        labels |= _draw_point(ax, name, side, error, top, marker="D")
    ax.set_xscale("log", base=2)
    ticks = sorted({a for points in curves.values() for a in points} | ({side} if others else set()))
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.axhline(1, color="#8A8A8A", linewidth=1, linestyle="--")
    ax.set_xlabel("pixels across the receptive field")
    ax.set_ylabel("MSE / identity's")
    end_at(ax, top, errors, 1.0)
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    plain(ax, grid="both")
    label_points(ax, labels)
    return ax


def plot_learning_curve(
    pairs: Sequence[int],
    curves: Mapping[str, Sequence[float]],
    identity: float,
    *,
    scale: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw error against the number of training pairs.

    Parameters
    ----------
    pairs
        Numbers of pairs.
    curves
        Mapping -> MSE for each of them.
    identity
        MSE of the identity.
    scale
        What 0 and 1 of the target mean, by default black and white of pictures of people.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> plot_learning_curve([5, 10], {"mr 3x3": [0.02, 0.01]}, 0.03).get_xlabel()
    'training pairs'
    """
    if ax is None:
        ax = new_axes(1.6, height=3.6)
    options: dict[str, Any] = {} if len(curves) > 1 else {"color": color_of("mr")}
    for name, errors in curves.items():
        ax.plot(pairs, errors, "o-", label=name, **options)
    ax.axhline(identity, color="#8A8A8A", linewidth=1, linestyle="--", label="identity")
    every = [error for errors in curves.values() for error in errors]
    end_at(ax, ceiling(every, reference=identity), every, identity)
    ax.set_xscale("log")
    ax.set_xticks(list(pairs), [str(n) for n in pairs])
    ax.minorticks_off()
    ax.set_xlabel("training pairs")
    ax.set_ylabel(error_label("not trained on", scale))
    ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    plain(ax, grid="both")
    return ax


def _draw_point(
    ax: Axes, name: str, x: float, error: float, top: float, marker: str = "o"
) -> dict[str, tuple[float, float]]:
    """Draw a method, at the upper edge if its error lies beyond; return its label and where it was drawn."""
    beyond = error > top
    ax.scatter(x, min(error, top), s=70, marker="^" if beyond else marker, color=color_of(name), zorder=3)
    return {f"{name}: {error:.3g}" if beyond else name: (x, min(error, top))}
