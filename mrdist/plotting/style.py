"""One colour per method in every picture, and plain axes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from zlib import crc32

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from matplotlib.transforms import BboxBase

_FAR = 1.6  # times the best error, or that of doing nothing: what lies beyond would flatten all others
_RINGS = (9, 20, 34, 50, 68)  # distances from a point in points, at which its label may stand
_SIDES = ((1, 0.6), (1, -0.6), (-1, 0.6), (-1, -0.6), (0, 1), (0, -1), (1, 0), (-1, 0))

# Okabe and Ito's palette, which most colour-blind people can tell apart
_COLORS = {
    "mr": "#D55E00",
    "pixel": "#E69F00",
    "l2": "#0072B2",
    "kernel": "#56B4E9",
    "pca": "#009E73",
    "l1": "#CC79A7",
    "l0": "#9A6FB0",
    "mean": "#8A8A8A",
    "identity": "#8A8A8A",
}
_OTHERS = ("#999933", "#B03A5B", "#4C4CB8", "#5F7A8A")  # of methods that have no colour of their own
_FIELDS = {"5x5": "#9C3D00", "7x7": "#F0A06A", "9x9": "#6B2A00", "11x11": "#F7C9A5"}  # shades of mr's


def error_label(whose: str, scale: str | None) -> str:
    """Return the label of an axis of errors: of people, or of images of another meaning of 0 and 1.

    Examples
    --------
    >>> error_label("held out", None), error_label("held out", "0 = 250 K, 1 = 320 K")
    ('MSE on people held out (1 = white)', 'MSE on images held out (0 = 250 K, 1 = 320 K)')
    """
    return f"MSE on {'people' if scale is None else 'images'} {whose} ({scale or '1 = white'})"


def color_of(name: str) -> str:
    """Return the colour of a method, the first word of a name; of ``mr 5x5``, a shade of it.

    Examples
    --------
    >>> color_of("mr 3x3") == color_of("mr"), color_of("mr 5x5") == color_of("mr")
    (True, False)
    >>> color_of("morph 5x5 own") == color_of("morph")
    True
    """
    method, _, rest = name.partition(" ")
    own = _COLORS.get(method, _OTHERS[crc32(method.encode()) % len(_OTHERS)])
    return _FIELDS.get(rest.partition(" ")[0], own) if own == _COLORS["mr"] else own


def plain(ax: Axes, *, grid: str | None = None) -> None:
    """Remove the sides of the frame that carry no scale."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(visible=True, axis=grid, alpha=0.25, linewidth=0.7)  # type: ignore[arg-type]


def bare(ax: Axes) -> None:
    """Remove everything but the picture and the texts beside it."""
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


_PAD = 0.1  # inches


def new_axes(aspect: float, height: float = 4.2) -> Axes:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt  # slow to import

    figure, ax = plt.subplots(figsize=(max(2.0, height * aspect), height), layout="constrained")
    # more than its default, which leaves names beside and above a picture outside
    figure.get_layout_engine().set(w_pad=_PAD, h_pad=_PAD)  # type: ignore[call-arg, union-attr]
    return ax


def largest(values: object) -> float:
    """Return the largest finite absolute value, or 1 if all are zero."""
    magnitudes = np.abs(np.asarray(values, dtype=np.float64))
    return float(np.max(magnitudes, initial=0.0, where=np.isfinite(magnitudes))) or 1.0


def ceiling(errors: Iterable[float], reference: float = 0.0) -> float:
    """Return where an axis of errors ends, so that good methods stay distinct however bad the worst is.

    Parameters
    ----------
    errors
        What is drawn.
    reference
        An error that must lie on the axis, such as that of the identity.

    Examples
    --------
    >>> ceiling([0.6, 0.8, 40.0], reference=1.0), ceiling([0.6, 0.8], reference=1.0)
    (1.6, 1.0)
    """
    known = [error for error in errors if np.isfinite(error)] or [reference or 1.0]
    return min(max([*known, reference]), _FAR * max(min(known), reference))


def end_at(ax: Axes, top: float, errors: Iterable[float], reference: float) -> None:
    """Let the axis of errors end a little above ``top``, and begin a little below the least."""
    bottom = min([reference, *(error for error in errors if np.isfinite(error))])
    margin = 0.1 * (top - bottom) or 0.1 * abs(top) or 1.0
    ax.set_ylim(bottom - margin, top + margin)


def few_ticks(ax: Axes) -> None:
    """Give a logarithmic axis of counts a few ticks, such as 20k, 50k, 100k."""
    from matplotlib.ticker import EngFormatter, LogLocator, NullLocator  # slow to import

    low, high = ax.get_xlim()
    ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 100 else (1,), numticks=6))
    ax.xaxis.set_major_formatter(EngFormatter(sep=""))
    ax.xaxis.set_minor_locator(NullLocator())


def label_points(ax: Axes, labels: Mapping[str, tuple[float, float]]) -> None:
    """Write a label beside each point, inside the axes and clear of the other labels and points.

    Call it when the axes have their limits: where a label fits is measured in pixels.
    """
    from matplotlib.transforms import Bbox  # slow to import

    ax.figure.draw_without_rendering()  # type: ignore[union-attr]
    frame = ax.get_window_extent()
    radius = 5 * ax.figure.dpi / 72
    places = {name: ax.transData.transform(point) for name, point in labels.items()}
    taken: list[BboxBase] = [Bbox([place - radius, place + radius]) for place in places.values()]
    for name, point in labels.items():
        others = [box for other, box in zip(places, taken, strict=False) if other != name] + taken[len(places) :]
        text = ax.annotate(name, point, (0, 0), textcoords="offset points", annotation_clip=False)
        for ring, side in ((ring, side) for ring in _RINGS for side in _SIDES):
            _put(text, ring, side)
            box = text.get_window_extent().padded(1.5)
            inside = frame.x0 <= box.x0 and box.x1 <= frame.x1 and frame.y0 <= box.y0 and box.y1 <= frame.y1
            if inside and not any(box.overlaps(other) for other in others):
                break
        if ring > _RINGS[1]:  # too far to tell whose it is
            line = {"arrowstyle": "-", "color": "#8A8A8A", "linewidth": 0.7}
            ax.annotate("", point, text.get_position(), textcoords="offset points", arrowprops=line)
        taken.append(text.get_window_extent().padded(1.5))


def _put(text: Annotation, ring: int, side: tuple[float, float]) -> None:
    """Move a label to one side of its point."""
    x, y = side
    text.set_position((ring * x, ring * y))
    text.set_horizontalalignment("left" if x > 0 else "right" if x < 0 else "center")
    text.set_verticalalignment("bottom" if y > 0 else "top" if y < 0 else "center")
