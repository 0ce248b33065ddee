"""Landmarks of synthetic faces, from the curves by which they are painted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mrdist.datasets import _face_parts as parts
from mrdist.datasets._face_canvas import Canvas
from mrdist.datasets._face_traits import HEAD_TOP, HEAD_Y, Expression, Person, draw_person

#: Name of the scheme: 12 points of the inner lips, 10 of the outer, 3 of the nose, 10 of the eyes with the pupils,
#: 6 of the brows, 20 of the outline.
SCHEME = "synthetic-61"

Points = list[tuple[float, float]]


def face_landmarks(person: int, label: str, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Return the landmarks of the face that `mrdist.datasets.synthetic.render_face` draws.

    Parameters
    ----------
    person : int
        Number of the person in the population of `seed`.
    label : str
        Its expression.
    seed : int, default 0
        Number of the population.

    Returns
    -------
    float64 array of shape (61, 2)
        (x, y) in sides of the picture.

    Examples
    --------
    >>> still, happy = (face_landmarks(0, label) for label in ("neutral", "happy"))
    >>> bool(np.ptp(happy[:12, 0]) > np.ptp(still[:12, 0]))  # the inner lips
    True
    """
    traits = draw_person(seed, person)
    expression = traits.expression(label)
    groups = [_lips(traits, expression), _nose(traits, expression), _eyes(traits, expression)]
    return np.concatenate([*map(np.asarray, groups), _brows(traits, expression), _outline(traits)])


def _lips(person: Person, expression: Expression) -> Points:
    u = np.linspace(-1, 1, 7)
    width = person.mouth_width * expression.mouth_width
    x = 0.5 + u * width
    at = Canvas(np.empty((3, 0, 7), np.float32), x[np.newaxis], np.empty((0, 1)), 1.0)
    curves = parts.mouth(at, person, expression)
    top, inner_top, inner_bottom, bottom = (
        each[0] for each in (curves.top, curves.inner_top, curves.inner_bottom, curves.bottom)
    )
    ring = [*zip(x, inner_top, strict=True), *zip(x[5:0:-1], inner_bottom[5:0:-1], strict=True)]
    return [*ring, *zip(x[1:6], top[1:6], strict=True), *zip(x[1:6], bottom[1:6], strict=True)]


def _nose(person: Person, expression: Expression) -> Points:
    wing = person.nose_y - 0.008 - 0.008 * expression.nose_wrinkle
    return [(0.5 - person.nose_width, wing), (0.5 + person.nose_width, wing), (0.5, person.nose_y)]


def _eyes(person: Person, expression: Expression) -> Points:
    points: Points = []
    for side, (x, y) in zip((-1, 1), person.pupils, strict=True):
        lid = y + 0.010
        points += [
            (x, y),
            (x - side * person.eye_width, lid + person.eye_tilt),
            (x + side * person.eye_width, lid - person.eye_tilt),
            (x, lid - person.eye_open * expression.upper_lid - 0.008),
            (x, lid + 0.62 * person.eye_open * expression.lower_lid),
        ]
    return points


def _brows(person: Person, expression: Expression) -> npt.NDArray[np.float64]:
    u = np.array([-0.9, 0.0, 0.9])
    inner = (1 - u) / 2
    raised = expression.brow_inner * inner**1.5 + expression.brow_outer * (1 - inner)
    y = person.brow_y + 0.010 - person.brow_arch * (1 - 0.8 * (u - 0.25) ** 2) - raised
    along = 0.178 + 0.112 * u - expression.brow_inward
    return np.concatenate([np.stack([0.5 + side * along, y], axis=-1) for side in (-1, 1)])


def _outline(person: Person) -> npt.NDArray[np.float64]:
    turn = np.arange(20) * (2 * np.pi / 20)
    v = np.sin(turn)
    across = np.sqrt((1 - v * v) / (1 - person.square * v * v)) / (1 + person.jaw * np.maximum(v, 0) ** 2)
    x = 0.5 + np.sign(np.cos(turn).round(9)) * person.width * across
    return np.stack([x, HEAD_Y + v * np.where(v < 0, HEAD_TOP, person.chin - HEAD_Y)], axis=-1)
