"""One colour for each method in every picture, and axes that leave the data alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
_FIELDS = {"5x5": "#9C3D00", "7x7": "#F0A06A", "9x9": "#6B2A00", "11x11": "#F7C9A5"}  # shades of mr's


def color_of(name: str) -> str:
    """Return the colour of a method; of a name such as ``mr 5x5``, a shade of that of its first word.

    Examples
    --------
    >>> color_of("mr 3x3") == color_of("mr"), color_of("mr 5x5") == color_of("mr")
    (True, False)
    """
    method, _, rest = name.partition(" ")
    return _FIELDS.get(rest.partition(" ")[0], _COLORS.get(method, "#009E73"))


def plain(ax: Axes, *, grid: str | None = None) -> None:
    """Leave of the frame only what carries a scale."""
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    ax.set_axisbelow(True)
    if grid is not None:
        ax.grid(visible=True, axis=grid, alpha=0.25, linewidth=0.7)  # type: ignore[arg-type]


def bare(ax: Axes) -> None:
    """Leave nothing but the picture and the texts beside it."""
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)


def new_axes(aspect: float, height: float = 4.2) -> Axes:
    """Return the axes of a new figure."""
    import matplotlib.pyplot as plt  # slow to import

    _, ax = plt.subplots(figsize=(max(2.0, height * aspect), height), layout="constrained")
    return ax


def largest(values: object) -> float:
    """Return the largest absolute value that is a number, or 1 if there is none but zero."""
    found = np.abs(np.asarray(values, dtype=np.float64))
    return float(np.max(found, initial=0.0, where=np.isfinite(found))) or 1.0
