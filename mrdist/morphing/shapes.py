"""How points on faces move from one expression to another: sums over images, and what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError, ParameterError
from mrdist.morphing.landmark_sums import UNITS, Lips, ShapeSums, openings
from mrdist.morphing.warps import Controls, soft_polygon

Floats = npt.NDArray[np.floating[Any]]
Integers = npt.NDArray[np.int64]

_SPACING = 0.03  # of the image's side, between points of control that are not of the lips
_EXPLAINED = (
    0.1,
    0.4,
)  # shares of a point's movement that the expression explains: up to one it stays, from one it moves
_ANCHORS, _GROWN = 32, 1.15  # fixed points around the face, and the size of their ring
_MOSTLY = 1 / 3  # share of open mouths from which on a mouth is opened


class Expression(NamedTuple):
    """How strong an expression is, and how far it opens the mouth.

    Attributes
    ----------
    strength
        1 is the root mean square of the training targets, 0 the source.
    opening
        Distance between the lips in pixels of the frame.
    """

    strength: float
    opening: float


@dataclass(frozen=True)
class Shapes:
    """How faces move, in pixels of the frame.

    Attributes
    ----------
    size
        Height and width of the frame.
    control
        Which landmarks are points of control, shape (n,).
    reference
        Mean source, shape (n, 2).
    canonical
        The shape to which all faces are warped: the mean target, of those with an open mouth where they are many.
    anchors
        Points around the face that do not move, shape (32, 2).
    movement
        How the points move per unit of strength, and per pixel of opening, shape (2, n, 2).
    share
        How much of every point's movement is the expression's, 0..1, shape (n,).
    gauge
        What measures a strength: the sum of its products with a movement, shape (n, 2).
    rates
        Opening in pixels per unit of strength, of closed and of open mouths; NaN where training saw none.
    share_open
        Share of open mouths.
    mean_strength
        Of the training targets; at most 1.
    ring
        Positions of the inner lips among the points of control; empty where they are not known.
    """

    size: tuple[int, int]
    control: Integers
    reference: npt.NDArray[np.float64]
    canonical: npt.NDArray[np.float64]
    anchors: npt.NDArray[np.float64]
    movement: npt.NDArray[np.float64]
    share: npt.NDArray[np.float64]
    gauge: npt.NDArray[np.float64]
    rates: tuple[float, float]
    share_open: float
    mean_strength: float
    ring: tuple[int, ...] = field(default=())

    @classmethod
    def fit(cls, sums: ShapeSums, size: tuple[int, int], lips: Lips | None = None) -> Shapes:
        """Return what follows from sums.

        The strength of a pair is its movement projected on the mean movement; the movement of every point is then
        a multiple of the strength and of the opening, by least squares. A point moves as far as they explain its
        movement: what little hair and outline move from one photograph to the next is no expression.

        Raises
        ------
        DataError
            If there are no pairs.
        """
        n = int(sums.n[0])
        if n == 0:
            raise DataError("no pair of photographs has landmarks on both faces.")
        mean = (sums.source[0] / (n * UNITS)).reshape(-1, 2)
        control = _control(mean, size, lips)
        columns = np.stack([2 * control, 2 * control + 1], axis=-1).ravel()
        products = sums.moved_moved[np.ix_(columns, columns)] / (n * UNITS**2)
        moments = _Moments(
            sums.moved[:, columns] / UNITS,
            sums.moved_opening[columns] / (n * UNITS**2),
            products,
            float(sums.opening_squares[0]) / (n * UNITS**2),
            n,
        )
        explained = moments.explained()
        low, high = _EXPLAINED
        share = np.clip((explained - low) / (high - low), 0, 1)
        moments = moments.scaled(np.repeat(share, 2))
        movement, gauge, mean_strength = moments.movement()
        opening = sums.opening / UNITS
        many = bool(sums.n[1] >= _MOSTLY * n)
        chosen = 1 if many else 0
        source = sums.source[:, columns] / UNITS
        canonical = ((source + moments.moved)[chosen] / sums.n[chosen]).reshape(-1, 2)
        strengths = moments.moved @ gauge.ravel()
        groups = zip(sums.n - (sums.n[1], 0), opening - (opening[1], 0), strengths - (strengths[1], 0), strict=True)
        rates = [float(o / s) if count and s > 0 else np.nan for count, o, s in groups]
        position = {int(point): k for k, point in enumerate(control)}
        return cls(
            size,
            control,
            mean[control],
            canonical,
            _anchors(canonical),
            movement.reshape(2, -1, 2),
            share,
            (gauge * np.repeat(share, 2)).reshape(-1, 2),
            (rates[0], rates[1]),
            float(sums.n[1] / n),
            mean_strength,
            tuple(position[point] for point in lips.ring) if lips else (),
        )

    @property
    def radius(self) -> float:
        """How far a point of control reaches, in pixels of the frame."""
        return 0.2 * max(self.size)

    def expression(self, strength: float, mouth: str = "auto") -> Expression:
        """Return an expression.

        Parameters
        ----------
        strength
            1 is the root mean square of the training targets.
        mouth
            ``open``, ``closed``, or ``auto``: open where a third of the training targets were.

        Raises
        ------
        ParameterError
            If the training targets had no such mouth.
        """
        if mouth not in ("auto", "open", "closed"):
            raise ParameterError(f"mouth must be auto, open or closed, got {mouth!r}.")
        opened = self.share_open >= _MOSTLY if mouth == "auto" else mouth == "open"
        rate = self.rates[opened]
        if mouth == "open" and np.isnan(rate):
            raise ParameterError("mouth must be auto or closed: none of the training targets had an open mouth.")
        return Expression(strength, 0.0 if np.isnan(rate) else strength * rate)

    def measure(self, source: Floats, target: Floats, lips: Lips | None = None) -> Expression:
        """Return the expression that a person has shown, from all landmarks in the frame, shape (point, 2)."""
        movement = (target - source)[self.control]
        return Expression(float((movement * self.gauge).sum()), float(openings(target[np.newaxis], lips)[0]))

    def registered(self, source: Floats, target: Floats) -> npt.NDArray[np.float64]:
        """Return the points of control in a target, as far as their movement is the expression's, shape (n, 2).

        Parameters
        ----------
        source, target
            All landmarks of a pair in the frame, shape (point, 2).
        """
        before, after = (points[self.control].astype(np.float64) for points in (source, target))
        return before + self.share[:, np.newaxis] * (after - before)

    def displacement(self, expression: Expression) -> npt.NDArray[np.float64]:
        """Return how the points of control move, shape (n, 2)."""
        per_strength, per_opening = self.movement
        movement: npt.NDArray[np.float64] = expression.strength * per_strength + expression.opening * per_opening
        return movement

    @cached_property
    def face(self) -> npt.NDArray[np.float64]:
        """How much of every pixel of the canonical frame belongs to the face, 0..1, shape (y, x)."""
        soft = 0.08 * max(self.size)
        return soft_polygon(self.anchors, self.size, soft, -soft / 2)

    @cached_property
    def sample(self) -> npt.NDArray[np.intp]:
        """Pixels of the canonical frame, by number, that stand for all of the face: a quarter of its own."""
        thinned = np.zeros(self.size, dtype=bool)
        thinned[::2, ::2] = self.face[::2, ::2] > 0.5
        return np.flatnonzero(thinned)

    @cached_property
    def frame_controls(self) -> Controls:
        """The points of control in the canonical frame."""
        return Controls(np.concatenate([self.canonical, self.anchors]), self.radius)


@dataclass(frozen=True)
class _Moments:
    """Sums of movements (group, coordinate), and mean products over all ``n`` pairs."""

    moved: npt.NDArray[np.float64]
    moved_opening: npt.NDArray[np.float64]
    products: npt.NDArray[np.float64]
    opening_squares: float
    n: int

    def scaled(self, share: npt.NDArray[np.float64]) -> _Moments:
        return _Moments(
            self.moved * share,
            self.moved_opening * share,
            self.products * share * share[:, np.newaxis],
            self.opening_squares,
            self.n,
        )

    def movement(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], float]:
        """Return movements per strength and opening, shape (2, coordinate), what measures strength, and its mean."""
        mean = self.moved[0] / self.n
        size = (mean * mean).sum()
        if size == 0:
            return np.zeros((2, len(mean))), np.zeros(len(mean)), 1.0
        gauge = mean / size
        spread = self.products @ gauge
        square = float((spread * gauge).sum())  # of strengths whose mean is 1
        scale = np.sqrt(square)
        gauge, spread = gauge / scale, spread / scale
        common, opening = float((self.moved_opening * gauge).sum()), self.opening_squares
        determinant = opening - common * common  # the mean square of strengths is 1
        if opening == 0 or determinant <= 1e-9 * opening:
            return np.stack([spread, np.zeros_like(spread)]), gauge, float(1 / scale)
        return (
            np.stack(
                [
                    (opening * spread - common * self.moved_opening) / determinant,
                    (self.moved_opening - common * spread) / determinant,
                ]
            ),
            gauge,
            float(1 / scale),
        )

    def explained(self) -> npt.NDArray[np.float64]:
        """Return the share of every point's movement that strength and opening explain, less what chance would."""
        movement, gauge, _ = self.movement()
        fitted = movement[0] * (self.products @ gauge) + movement[1] * self.moved_opening
        total = np.diagonal(self.products).reshape(-1, 2).sum(axis=1)
        share: npt.NDArray[np.float64] = np.divide(
            fitted.reshape(-1, 2).sum(axis=1), total, out=np.zeros_like(total), where=total > 0
        )
        return 1 - (1 - share) * (self.n / max(self.n - len(movement), 1))


def _control(mean: npt.NDArray[np.float64], size: tuple[int, int], lips: Lips | None) -> Integers:
    """Choose landmarks that are not too near to each other; those of the lips are all kept."""
    kept = [] if lips is None else list(dict.fromkeys((*lips.ring, lips.left, lips.right, lips.upper, lips.lower)))
    spacing = _SPACING * max(size)
    for point in range(len(mean)):
        apart = mean[kept] - mean[point]
        if point not in kept and (apart * apart).sum(axis=1).min(initial=np.inf) >= spacing * spacing:
            kept.append(point)
    return np.array(kept, dtype=np.int64)


def _anchors(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return points on a ring around others: their convex hull, grown."""
    from scipy.spatial import ConvexHull, QhullError  # applying a model needs none

    try:
        corners = points[ConvexHull(points).vertices]
    except QhullError as error:
        raise DataError(f"the {len(points)} mean landmarks lie on a line, and so are no face.") from error
    centre = corners.mean(axis=0)
    closed = np.concatenate([corners, corners[:1]])
    lengths = np.sqrt((np.diff(closed, axis=0) ** 2).sum(axis=1))
    along = np.concatenate([[0], np.cumsum(lengths)])
    stops = np.arange(_ANCHORS) * (along[-1] / _ANCHORS)
    ring = np.stack([np.interp(stops, along, closed[:, axis]) for axis in (0, 1)], axis=-1)
    return np.asarray(centre + _GROWN * (ring - centre))
