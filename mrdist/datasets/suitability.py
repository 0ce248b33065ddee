"""How far the face of a photograph is from those that a mapping was trained on.

A mapping does to every face what it has learnt from its training. It changes a dark, turned or drawn face little or
oddly; these measures give a warning, and the photograph is changed all the same. The usual ranges include all 160
photographs of 80 people of the Face Research Lab London Set, aligned by their landmarks, each measured against the mean
of the other half.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from mrdist.datasets.likeness import likeness_of, symmetry_of

Floats = npt.NDArray[np.float64]

#: Measure -> the smallest and the largest usual value, and the likely reason outside of them.
USUAL: Mapping[str, tuple[float, float, str]] = {
    "likeness": (0.44, 1.0, "it may be drawn, covered or not a face"),
    "mouth": (0.15, 1.0, "covered, or it has another expression than those that the training changed"),
    "brightness": (0.4, 1.6, "too dark or too bright"),
    "contrast": (0.6, 2.2, "too flat or too harsh"),
    "symmetry": (0.48, 1.0, "turned to a side, or not located exactly"),
    "roll": (-20.0, 20.0, "tilted"),
}
#: The same of how a face lies in a photograph: degrees by which it is turned to the photograph's right, pixels between
#: the pupils, and the share of it that lies outside.
LYING: Mapping[str, tuple[float, float, str]] = {
    "yaw": (-20.0, 20.0, "turned to a side"),
    "pupils": (32.0, np.inf, "too small, its pupils are so few pixels apart"),
    "outside": (0.0, 0.02, "cut by the photograph's border"),
}

#: Rows and columns of the mouth in the frame, in shares of its side.
_MOUTH = (0.6, 0.85), (0.3, 0.7)


def measure_face(
    face: Floats, mean_face: Floats, face_mask: npt.NDArray[np.bool_], pupils: tuple[float, float, float, float] | None
) -> dict[str, float]:
    """Measure a face in the frame.

    Parameters
    ----------
    face, mean_face : arrays of shape (size, size)
        The face and the mean of the training's, in gray, 1 = white.
    face_mask : bool array of shape (size, size)
        Which pixels are face.
    pupils : tuple of float or None
        x and y of the one on the left of the photograph and of the other one, in its pixels.

    Returns
    -------
    dict of str to float
        ``likeness``
            To the mean face, see `mrdist.datasets.locating.Location`; 1 is the mean face itself.
        ``mouth``
            Likeness of the mouth alone.
        ``brightness``, ``contrast``
            Mean and standard deviation inside the face, divided by the mean face's.
        ``symmetry``
            Correlation of the face with its mirror image, its light evened out; less if it is turned to a side.
        ``roll``
            Angle of the line through the pupils to the horizontal in degrees, positive clockwise; only with pupils.

    Examples
    --------
    >>> mean = np.random.default_rng(0).random((64, 64))
    >>> measures = measure_face(mean / 4, mean, np.ones((64, 64), dtype=bool), (10, 10, 20, 20))
    >>> {name: round(value, 2) for name, value in measures.items() if name != "symmetry"}
    {'likeness': 1.0, 'mouth': 1.0, 'brightness': 0.25, 'contrast': 0.25, 'roll': 45.0}
    >>> unusual(measures)[0]
    'brightness 0.25 (usual 0.4 to 1.6): too dark or too bright'
    """
    mouth = tuple(slice(int(low * len(face)), int(high * len(face))) for low, high in _MOUTH)
    inside, usual = face[face_mask], mean_face[face_mask]
    measures = {
        "likeness": likeness_of(face, mean_face),
        "mouth": likeness_of(face[mouth], mean_face[mouth]),
        "brightness": float(inside.mean() / usual.mean()) if usual.mean() else 1.0,
        "contrast": float(inside.std() / usual.std()) if usual.std() else 1.0,
        "symmetry": symmetry_of(face),
    }
    if pupils is not None:
        x0, y0, x1, y1 = pupils
        measures["roll"] = float(np.degrees(np.arctan2(y1 - y0, x1 - x0)))
    return measures


def unusual(measures: Mapping[str, float]) -> list[str]:
    """Return a sentence for each measure outside its usual range."""
    return [
        f"{name} {measures[name]:.2f} (usual {_range(least, most)}): {guess}"
        for name, (least, most, guess) in {**USUAL, **LYING}.items()
        if name in measures and not least <= measures[name] <= most
    ]


def _range(least: float, most: float) -> str:
    return f"{least:g} to {most:g}" if most < np.inf else f"at least {least:g}"
