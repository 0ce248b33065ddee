"""How methods compare: errors, sizes, fields and numbers of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mrdist.plotting.style import color_of, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LONGEST = 2.5  # times the identity's error: longer bars are cut, and say how long they are


def plot_errors(errors: Mapping[str, float], *, ax: Axes | None = None) -> Axes:
    """Draw errors relative to the identity's as bars, the smallest on top.

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
    drawn = [min(value, _LONGEST) for value in values]
    bars = ax.barh(range(len(order)), drawn, color=[color_of(name) for name in order], height=0.66)
    ax.bar_label(bars, labels=[f"{value:.3f}{' …' * (value > _LONGEST)}" for value in values], padding=4)
    ax.set_yticks(range(len(order)), order)
    ax.invert_yaxis()
    ax.axvline(1, color="#8A8A8A", linewidth=1, linestyle="--")
    ax.set_xlim(0, 1.18 * max([1.0, *drawn]))
    ax.set_xlabel("MSE relative to that of the identity (dashed)")
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    plain(ax)
    return ax


def plot_sizes(points: Mapping[str, tuple[int, float]], *, ax: Axes | None = None) -> Axes:
    """Draw error against size: down and to the left is better.

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
    for name, (parameters, error) in points.items():
        ax.scatter(parameters, error, s=70, color=color_of(name), zorder=3)
        ax.annotate(name, (parameters, error), xytext=(7, 5), textcoords="offset points")
    ax.set_xscale("log")
    ax.margins(x=0.18, y=0.16)
    ax.axhline(1, color="#8A8A8A", linewidth=1, linestyle="--")
    ax.set_xlabel("parameters stored")
    ax.set_ylabel("MSE / identity's")
    plain(ax, grid="both")
    return ax


def plot_field_sizes(
    curves: Mapping[int, Mapping[int, float]], others: Mapping[str, float], side: int, *, ax: Axes | None = None
) -> Axes:
    """Draw error against the pixels that a receptive field spans, up to the whole image.

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
    for name, error in others.items():
        ax.scatter(side, error, s=60, marker="D", color=color_of(name), zorder=3)
        ax.annotate(name, (side, error), xytext=(-7, 0), textcoords="offset points", ha="right", va="center")
    ax.set_xscale("log", base=2)
    ticks = sorted({a for points in curves.values() for a in points} | ({side} if others else set()))
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.axhline(1, color="#8A8A8A", linewidth=1, linestyle="--")
    ax.set_xlabel("pixels across the receptive field")
    ax.set_ylabel("MSE / identity's")
    ax.legend(frameon=False)
    plain(ax, grid="both")
    return ax


def plot_learning_curve(
    pairs: Sequence[int], curves: Mapping[str, Sequence[float]], identity: float, *, ax: Axes | None = None
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
    ax.set_xscale("log")
    ax.set_xticks(list(pairs), [str(n) for n in pairs])
    ax.minorticks_off()
    ax.set_xlabel("training pairs")
    ax.set_ylabel("MSE on people not trained on")
    ax.legend(frameon=False)
    plain(ax, grid="both")
    return ax
