"""The candidates of a cross-validation, and its choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mrdist.plotting.style import error_label, new_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette; fields are not methods, which have their own colours
_LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vP"


def plot_cv(
    rows: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Any],
    *,
    scale: str | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the mean error over the folds against alpha: a line per field, standard errors, and the choice marked.

    Parameters
    ----------
    rows
        The table of a weights store, one row per candidate: ``alpha`` (or ``nonzeros``, for l0), ``mse``, ``se`` and,
        where fields were tried, ``receptive_field``, ``dilation`` and ``pool``.
    chosen
        The chosen candidate, with the same names; ``alpha`` is None where every pixel has its own.
    scale
        What 0 and 1 of the target mean, by default black and white of pictures of people.
    ax
        Where to draw; a new figure unless given.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> rows = [{"receptive_field": 3, "dilation": 1, "alpha": a, "mse": 2 + a, "se": 0.1} for a in (0.1, 1.0)]
    >>> plot_cv(rows, rows[0]).get_xlabel()
    'alpha'
    """
    if ax is None:
        ax = new_axes(1.6, height=4)
    parameter = "alpha" if "alpha" in rows[0] else "nonzeros"
    names = dict.fromkeys(_field_of(row) for row in rows)
    for number, name in enumerate(names):
        line = sorted((row for row in rows if _field_of(row) == name), key=lambda row: row[parameter])
        color, marker = _LINES[number % len(_LINES)], _MARKERS[number % len(_MARKERS)]
        alphas, mse, se = ([row[key] for row in line] for key in (parameter, "mse", "se"))
        low, high = ([m + sign * s for m, s in zip(mse, se, strict=True)] for sign in (-1, 1))
        ax.fill_between(alphas, low, high, color=color, alpha=0.13, linewidth=0)
        ax.plot(alphas, mse, color=color, marker=marker, markersize=4.5, linewidth=1.6, label=name or None)
        if name == _field_of(chosen):
            _mark(ax, chosen, parameter, alphas, color)
    best = min(rows, key=lambda row: row["mse"])
    top = best["mse"] + max(6 * best["se"], 0.3 * best["mse"])  # hopeless candidates would flatten all others
    top = min(top, max(row["mse"] + row["se"] for row in rows))
    bottom = min(chosen["mse"] - chosen["se"], best["mse"] - best["se"])
    ax.set_ylim(bottom - 0.22 * (top - bottom), top + 0.04 * (top - bottom))
    ax.set_xscale("log")
    ax.set_xlabel(parameter)
    ax.set_ylabel(error_label("held out", scale))
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3), useMathText=True)
    if any(names):
        ax.legend(frameon=False, title="receptive field", loc="center left", bbox_to_anchor=(1, 0.5))
    plain(ax, grid="y")
    return ax


def _mark(ax: Axes, chosen: Mapping[str, Any], parameter: str, alphas: Sequence[float], color: str) -> None:
    """Mark the choice with a ring and an error bar; separate alphas per pixel are a line across the grid."""
    place = chosen[parameter]
    if place is None:
        ax.hlines(chosen["mse"], min(alphas), max(alphas), color=color, linestyle="--", linewidth=1.4)
        ax.annotate(
            "every pixel its own alpha", (max(alphas), chosen["mse"]), xytext=(0, -4), textcoords="offset points",
            ha="right", va="top", color=color,
        )  # fmt: skip
        return
    ax.errorbar(place, chosen["mse"], yerr=chosen["se"], color=color, capsize=4, linewidth=1.4, zorder=4)
    ax.plot(
        place, chosen["mse"], "o", markersize=13, markerfacecolor="none", markeredgecolor="black",
        markeredgewidth=1.6, zorder=5,
    )  # fmt: skip
    ax.annotate(
        f"chosen: {parameter} {place:g}", (place, chosen["mse"]), xytext=(0, -30),
        textcoords="offset points", ha=_side(place, alphas), va="top",
    )  # fmt: skip


def _side(place: float, alphas: Sequence[float]) -> str:
    """Return how a text at a place of the grid is aligned, so that it stays inside."""
    share = (alphas.index(place) + 0.5) / len(alphas) if place in alphas else 0.5
    return "left" if share < 0.25 else "right" if share > 0.75 else "center"


def _field_of(row: Mapping[str, Any]) -> str:
    if "receptive_field" not in row:
        return ""
    size, dilation = row["receptive_field"], row["dilation"]
    words = f"{size} x {size}" + (f", dilation {dilation}" if dilation > 1 else "")
    return words + (f", pool {row['pool']}" if "pool" in row else "")
