"""Batches of pixels whose systems neighbours have a part in: read from maps and solved."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.cholesky import factorise, substitute
from mrdist._kernels.lanes import jit
from mrdist._kernels.lanes_strict import SOLVE_LANES, aligned, copy_lanes, subtract_products
from mrdist._kernels.systems import assemble_centred, load_lent, load_lent_products, load_sums
from mrdist._kernels.tridiagonal import squared_error

Array = npt.NDArray[Any]


@jit
def solve_lent(
    statistics: tuple[Array, Array, Array, Array, Array],
    lookup: Array,
    taps: Array,
    n_rows: int,
    unit: int,
    alphas: Array,
    penalize_intercept: bool,
    lanes: int,
    coef: Array,
    intercept: Array,
    sse: Array,
    sst: Array,
    gram: Array,  # (group, entry, y, x), from mrdist.pooling, like the products (plane, tap, y, x)
    lent_products: Array,
    prior: float,  # of the pixel's own weight
) -> int:
    """Solve groups of pixels from centred systems that neighbours have a part in, else as `mrdist.solvers.solve` does.

    The intercept is eliminated: with v the weights less their priors and r their sum of squared errors, the pixel's own
    sums s of the sources and t of the targets (less the prior's) add ``(t - s'v)^2 alpha / (n + alpha)`` to ``n r``.
    """
    lag, cross, source_sum, target_sum, target_square = statistics
    n_planes, n_taps, height, width = coef.shape
    n_targets = n_planes // len(lag)
    n_offsets = n_taps // n_targets
    system = aligned((n_taps + n_targets, n_taps, SOLVE_LANES))
    own = aligned((n_taps + 1, n_taps + 1, SOLVE_LANES))
    sums = aligned((n_taps, SOLVE_LANES))
    products = aligned((n_targets, n_taps, SOLVE_LANES))
    target = aligned((n_targets, 2, SOLVE_LANES))
    weights = aligned((n_taps + 1, 1, SOLVE_LANES))
    weights[n_taps] = -1.0
    work = aligned((2, 1, SOLVE_LANES))
    b = aligned((1, SOLVE_LANES))
    error = aligned((1, SOLVE_LANES))
    alpha = aligned((SOLVE_LANES,))
    n, scale = np.float64(n_rows), np.float64(unit)
    for group in range(len(lag)):
        for y in range(height):
            for x0 in range(0, width, SOLVE_LANES):
                x = min(x0, width - SOLVE_LANES)
                copy_lanes(alphas, (group * height + y) * width + x, alpha, 0)
                load_lent(gram[group], y, x, system)
                for t in range(n_targets):
                    plane = group * n_targets + t
                    load_sums(
                        cross[plane], source_sum[group], target_sum[plane], target_square[plane], taps, n_rows, unit,
                        y, x, sums, products[t], target[t],
                    )  # fmt: skip
                    centre = t * n_offsets + n_offsets // 2
                    load_lent_products(lent_products[plane], gram[group], centre, prior, y, x, system, n_taps + t)
                    for a in range(n_taps):
                        for k in range(SOLVE_LANES):
                            pull = alpha[k] / (n + alpha[k]) if penalize_intercept else 0.0
                            rest = target[t, 0, k] - prior * sums[centre, k]
                            system[n_taps + t, a, k] += pull * sums[a, k] * rest
                for a in range(n_taps):
                    for c in range(a + 1):
                        for k in range(SOLVE_LANES):
                            pull = alpha[k] / (n + alpha[k]) if penalize_intercept else 0.0
                            system[a, c, k] += pull * sums[a, k] * sums[c, k]
                    for k in range(SOLVE_LANES):
                        system[a, a, k] += scale * scale * alpha[k] * n
                bad = factorise(system, lanes)
                if bad >= 0:
                    return int((group * height + y) * width + x + bad)
                assemble_centred(lag[group], source_sum[group], sums, lookup, taps, n_rows, unit, y, x, own)
                for t in range(n_targets):
                    plane = group * n_targets + t
                    substitute(system, n_taps + t)
                    weights[:n_taps, 0] = system[n_taps + t]
                    weights[t * n_offsets + n_offsets // 2] += prior
                    b[0] = target[t, 0]
                    subtract_products(b, 0, 0, weights, 0, 0, SOLVE_LANES, sums, 0, SOLVE_LANES, n_taps, 1)
                    for k in range(SOLVE_LANES):
                        b[0, k] /= (n + (alpha[k] if penalize_intercept else 0.0)) * scale
                    own[n_taps, :n_taps] = products[t]
                    own[n_taps, n_taps] = target[t, 1]
                    squared_error(own, target[t, 0], sums, n_rows, unit, weights, b, work, error)
                    for a in range(n_taps):
                        copy_lanes(weights, a * SOLVE_LANES, coef, ((plane * n_taps + a) * height + y) * width + x)
                    at = (plane * height + y) * width + x
                    copy_lanes(b, 0, intercept, at)
                    copy_lanes(error, 0, sse, at)
                    for k in range(SOLVE_LANES):
                        sst[plane, y, x + k] = target[t, 1, k] / (n * scale * scale)
    return -1
