"""A masked regression that is shrunk to the identity: the weights of the change, and the pixel itself."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from mrdist.moments import SufficientStatistics
from mrdist.solvers import Solution, solve

Sums = npt.NDArray[np.int64]


def solve_to_identity(statistics: SufficientStatistics, alpha: float, *, penalize_intercept: bool) -> Solution:
    """Solve ``|X v - (t - x)|^2 + alpha |v|^2`` for every pixel and return the weights of ``x + X v``.

    Parameters
    ----------
    statistics
        Sums over the training images, of systems that see one channel.
    alpha, penalize_intercept
        As for `mrdist.solvers.solve`.
    """
    change = solve(of_change(statistics), alpha, penalize_intercept=penalize_intercept)
    coef = change.coef.copy()
    coef[:, statistics.field.n_offsets // 2] += 1
    return replace(change, coef=coef, sst=_deviations(statistics))


def of_change(statistics: SufficientStatistics) -> SufficientStatistics:
    """Return the sums for the target less the source, exactly those of such images.

    Examples
    --------
    >>> from mrdist.geometry import ReceptiveField
    >>> x, t = np.array([[[[3]]], [[[5]]]]), np.array([[[[4]]], [[[9]]]])
    >>> sums = SufficientStatistics.zeros(ReceptiveField(1), (1, 1), n_groups=1, unit=255)
    >>> change = of_change(sums.update(x.astype(np.uint8), t.astype(np.uint8)))
    >>> change.target_sum.item(), change.target_square.item(), change.cross.item()
    (5, 17, 23)
    """
    field = statistics.field
    (height, width), centre = statistics.shape, field.n_offsets // 2
    lag = statistics.lag.astype(np.int64)
    cross, total, square = (
        getattr(statistics, name).astype(np.int64) for name in ("cross", "target_sum", "target_square")
    )
    with_own = np.empty_like(cross)  # products of every tap with the pixel itself
    for tap in range(field.n_offsets):
        number, y, x = field.gram_lookup[max(tap, centre), min(tap, centre)]
        with_own[:, tap] = lag[:, number, y : y + height, x : x + width]
    halo = field.halo
    own = statistics.source_sum[:, halo : halo + height, halo : halo + width].astype(np.int64)
    return replace(
        statistics,
        lag=lag,
        cross=cross - with_own,
        source_sum=statistics.source_sum.astype(np.int64),
        target_sum=total - own,
        target_square=square - 2 * cross[:, centre] + with_own[:, centre],
    )


def _deviations(statistics: SufficientStatistics) -> npt.NDArray[np.float64]:
    """Return the sum of squared deviations of the target from its mean, exactly 0 where it is constant."""
    n, unit = statistics.n_rows, statistics.unit
    total, square = (getattr(statistics, name).astype(np.int64) for name in ("target_sum", "target_square"))
    whole, rest = np.divmod(total, n)
    deviations: npt.NDArray[np.float64] = np.maximum((square - whole * total) - rest * (total / n), 0.0) / unit**2
    return deviations
