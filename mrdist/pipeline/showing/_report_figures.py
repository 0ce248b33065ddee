"""The pictures of a report, each as data: faces as they are, figures once for light and once for dark pages."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from mrdist.analysis import Roles, WeightSurvey
from mrdist.geometry import ReceptiveField
from mrdist.pipeline.judging._verdicts import name_of
from mrdist.pipeline.judging.compare import looks, sizes_and_errors
from mrdist.synthesis import to_floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Rows = Sequence[Mapping[str, Any]]
Themes = dict[str, str]
"""The data of one figure: for ``light`` and for ``dark`` pages."""

_THEMES = {"light": "#1b1f24", "dark": "#d7dde5"}


def draw_errors(rows: Rows) -> Themes:
    """Draw the errors of a comparison's rows beside that of the identity."""
    from mrdist.plotting import plot_errors

    errors = {name_of(row): row["relative_mse"] for row in rows if row["relative_mse"] is not None}
    return _themed(_beside(rows), lambda ax: plot_errors(errors, ax=ax))


def draw_sizes(rows: Rows) -> Themes:
    """Draw the errors of a comparison's rows over their numbers of parameters."""
    from mrdist.plotting import plot_sizes

    return _themed(_beside(rows), lambda ax: plot_sizes(sizes_and_errors(rows), ax=ax))


def _beside(rows: Rows) -> tuple[float, float]:
    """Return the size of two figures that stand side by side."""
    return 5.2, max(3.4, 0.9 + 0.34 * len(rows))


def draw_fields(fields: Mapping[str, Any], titles: Sequence[str]) -> Themes | None:
    """Draw the weights around some output pixels, a row a method; None if no method has any."""
    from mrdist.plotting import plot_fields_beside

    if not fields:
        return None
    return _themed((8, 1.25 * len(fields) + 1.1), lambda ax: plot_fields_beside(fields, titles, ax=ax))


def draw_reach(surveys: Mapping[str, WeightSurvey]) -> Themes | None:
    """Draw the share of each method's weights within a distance; None if no method has any."""
    from mrdist.plotting import plot_reach

    return _themed((7, 4), lambda ax: plot_reach(surveys, ax=ax)) if surveys else None


def draw_mask() -> Themes:
    """Draw where the weights of a small masked regression may be."""
    from mrdist.plotting import plot_mask

    return _themed((6, 6), lambda ax: plot_mask((5, 5), ReceptiveField(3), ax=ax))


def draw_field_sizes(rows: Rows, shape: tuple[int, int]) -> Themes | None:
    """Draw the errors of masked regressions over the width of the receptive field; None if there are fewer than 3."""
    from mrdist.plotting import plot_field_sizes

    curves: dict[int, dict[int, float]] = {}
    for row in rows:
        # a mapping that moves faces, or whose pixels lend each other their sums, is no point of these curves
        if _is_plain(row) and row["relative_mse"] is not None:
            across = (row["receptive_field"] - 1) * row["dilation"] + 1
            curves.setdefault(row["dilation"] if across > 1 else 1, {})[across] = row["relative_mse"]
    if sum(map(len, curves.values())) < 3:
        return None
    others = {
        name_of(row): row["relative_mse"]
        for row in rows
        if not _is_plain(row) and looks(row) and row["relative_mse"] is not None
    }
    curves = dict(sorted(curves.items()))
    return _themed((8.5, 4.2), lambda ax: plot_field_sizes(curves, others, max(shape), ax=ax))


def _is_plain(row: Mapping[str, Any]) -> bool:
    """Return whether receptive fields are all that tells the mapping of a row from others of its kind."""
    return row["receptive_field"] is not None and row.get("strength") is None and not row.get("pool")


def draw_error_maps(
    made: Mapping[str, npt.NDArray[np.floating]], inputs: npt.NDArray[np.generic], targets: npt.NDArray[np.generic]
) -> Themes:
    """Draw the root mean square error of every pixel over some images, of each method and of the identity."""
    wanted = to_floats(targets)
    outputs = {"identity": to_floats(inputs), **made}
    maps = {name: np.sqrt(np.square(each - wanted).mean(axis=(0, 3))) for name, each in outputs.items()}
    return _draw_maps(maps, "magnitude", "root mean square error")


def draw_intercepts(roles: Mapping[str, Roles], scale: str | None) -> Themes | None:
    """Draw the intercepts of the methods that have weights too; None if there is no such method.

    ``scale`` says what 0 and 1 of a linked target mean.
    """
    maps = {name: each.intercept.mean(axis=2) for name, each in roles.items() if each.maps[0].any()}
    return _draw_maps(maps, "around zero", f"intercept ({scale or '1 = white'})") if maps else None


def draw_ratios(roles: Mapping[str, Roles]) -> Themes | None:
    """Draw what the weights put out over the intercept, pixel by pixel; None if no method has weights."""
    maps = {}
    for name, each in roles.items():
        weights, intercept = each.maps
        if weights.any():
            maps[name] = weights / np.maximum(intercept, 1e-12)
    return _draw_maps(maps, "ratio", "weights / intercept") if maps else None


def _draw_maps(maps: Mapping[str, npt.NDArray[np.floating]], scale: Any, label: str) -> Themes:
    from mrdist.plotting import plot_maps

    return _themed((2.1 * len(maps) + 1, 2.7), lambda ax: plot_maps(maps, scale=scale, label=label, ax=ax))


def draw_faces(
    inputs: npt.NDArray[np.generic],
    made: Mapping[str, npt.NDArray[np.floating]],
    targets: npt.NDArray[np.generic],
    shape: tuple[int, int],
) -> list[dict[str, Any]]:
    """Return a row for the inputs, for each method and for the targets: its name and a picture of every person."""
    from PIL import Image

    from mrdist.pipeline.applying._pictures import to_picture

    larger = max(1, round(160 / max(shape)))

    def picture(image: npt.NDArray[np.floating]) -> str:
        face = to_picture(image)
        face = face.resize((face.width * larger, face.height * larger), Image.Resampling.LANCZOS)
        data = io.BytesIO()
        face.save(data, format="PNG")
        return _uri(data.getvalue())

    kinds = {"input": to_floats(inputs), **made, "target": to_floats(targets)}
    return [{"name": name, "pictures": [picture(face) for face in faces]} for name, faces in kinds.items()]


def _themed(size: tuple[float, float], draw: Callable[[Axes], object]) -> Themes:
    """Draw a picture for light and one for dark pages, both without a background."""
    from matplotlib import rc_context  # slow to import
    from matplotlib.figure import Figure

    pictures = {}
    for theme, ink in _THEMES.items():
        options: dict[Any, Any] = {"font.size": 10.5, "text.color": ink, "axes.labelcolor": ink, "axes.edgecolor": ink}
        with rc_context(options | {"xtick.color": ink, "ytick.color": ink, "grid.color": ink}):
            figure = Figure(figsize=size, layout="constrained")
            draw(figure.subplots())
            data = io.BytesIO()
            figure.savefig(data, format="png", dpi=130, transparent=True)
        pictures[theme] = _uri(data.getvalue())
    return pictures


def _uri(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"
