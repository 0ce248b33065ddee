"""Inner loops of the sparse regressions: a working set of columns for l1, the choice of a column for l0.

Fractions are summed in one fixed order, without fastmath. Gram matrices come in exact where images are integers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from mrdist._kernels.lanes import jit

Array = npt.NDArray[np.float64]
Singles = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

LANES = 16
"""Products that are compared at a time."""
_DEPENDENT = 1e-12  # share of a column's square that is not explained by others: below, it counts as dependent


@jit
def lasso_gap(rss: float, sst: float, explained: float, l1: float, largest: float, penalty: float) -> float:
    """Duality gap of ``|t - X w|^2 / 2 + penalty |w|_1``, at the residual shrunk until it is dual feasible.

    Parameters
    ----------
    rss, sst
        ``|t - X w|^2`` and ``|t|^2``.
    explained
        ``w' X' t``.
    l1
        ``|w|_1``.
    largest
        Largest ``|X'(t - X w)|``.
    """
    shrink = 1.0 if largest <= penalty else penalty / largest
    return 0.5 * rss * (1.0 + shrink * shrink) + penalty * l1 - shrink * (sst - explained)


@jit
def _restricted_gap(gradient: Array, products: Array, weights: Array, sst: float, penalty: float) -> float:
    explained, unexplained, l1, largest = 0.0, 0.0, 0.0, 0.0
    for i in range(len(weights)):
        explained += weights[i] * products[i]
        unexplained += weights[i] * gradient[i]
        l1 += abs(weights[i])
        largest = max(largest, abs(gradient[i]))
    return lasso_gap(max(sst - explained - unexplained, 0.0), sst, explained, l1, largest, penalty)


@jit
def _residual_products(gram: Array, products: Array, weights: Array, gradient: Array) -> None:
    gradient[:] = products
    for i in range(len(weights)):
        w = weights[i]
        if w != 0.0:
            for j in range(len(weights)):
                gradient[j] -= w * gram[i, j]


@jit
def _step(gram: Array, weights: Array, gradient: Array, penalty: float) -> None:
    """Minimise over the weight that violates its optimality most; of equals, the first."""
    chosen, most, best = 0, 0.0, 0.0
    for i in range(len(weights)):
        diagonal = gram[i, i]
        if diagonal > 0.0:
            pull = gradient[i] + diagonal * weights[i]
            after = max(abs(pull) - penalty, 0.0) / diagonal
            after = after if pull > 0.0 else -after
            gain = abs(after - weights[i]) * diagonal
            if gain > most:
                chosen, most, best = i, gain, after
    if most > 0.0:
        step = best - weights[chosen]
        weights[chosen] = best
        for j in range(len(weights)):
            gradient[j] -= step * gram[chosen, j]


@jit
def _jump(gram: Array, products: Array, weights: Array, penalty: float, a: Array, v: Array, support: Ints) -> bool:
    """Go towards the minimum for the signs that the weights have, as far as they keep them.

    Where a column depends on those before it, go along the line on which the fit does not change and the penalty falls.
    Return whether a weight became zero on the way.
    """
    k = 0
    for i in range(len(weights)):
        if weights[i] != 0.0:
            support[k] = i
            k += 1
    for p in range(k):
        i = support[p]
        v[p] = products[i] - (penalty if weights[i] > 0.0 else -penalty)
        for q in range(p, k):
            a[p, q] = gram[i, support[q]]
    rank = k
    for p in range(k):  # upper Cholesky factor, row by row
        if not a[p, p] > _DEPENDENT * gram[support[p], support[p]]:
            rank = p
            break
        root = np.sqrt(a[p, p])
        for q in range(p, k):
            a[p, q] /= root
        v[p] /= root
        for i in range(p + 1, k):
            factor = a[p, i]
            v[i] -= factor * v[p]
            for q in range(i, k):
                a[i, q] -= factor * a[p, q]
    if rank < k:
        for p in range(rank):
            v[p] = -a[p, rank]
    for p in range(rank - 1, -1, -1):
        total = v[p]
        for q in range(p + 1, rank):
            total -= a[p, q] * v[q]
        v[p] = total / a[p, p]
    if rank < k:
        v[rank] = 1.0
        slope = 0.0
        for p in range(rank + 1):
            slope += v[p] if weights[support[p]] > 0.0 else -v[p]
        for p in range(rank + 1):
            v[p] = -v[p] if slope > 0.0 else v[p]
        k = rank + 1
    else:
        for p in range(k):
            v[p] -= weights[support[p]]
    share = np.inf if rank < k else 1.0
    for p in range(k):
        w = weights[support[p]]
        if w * v[p] < 0.0:
            share = min(share, -w / v[p])
    if share == np.inf:
        return False
    crossed = False
    for p in range(k):
        w = weights[support[p]]
        if w * v[p] < 0.0 and -w / v[p] <= share:
            weights[support[p]] = 0.0
            crossed = True
        else:
            weights[support[p]] = w + share * v[p]
    return crossed


@jit
def descend(
    gram: Array, products: Array, weights: Array, members: Ints, counts: Ints, which: Ints, penalty: float,
    sst: Array, limits: Array, iterations: Ints, max_iterations: int,
) -> None:  # fmt: skip
    """Minimise ``|t - X w|^2 / 2 + penalty |w|_1`` over each target's working set.

    A step of coordinate descent brings in the worst violator, and direct solves go to the minimum for the signs that
    there are; both lower the objective, and no set of signs comes twice. (Whole sweeps bring in dozens of neighbouring
    pixels that resemble each other, and sending them away again takes most of the time.)

    Parameters
    ----------
    gram
        ``X' X`` of a pool of columns, shape (column, column).
    products
        ``X' t``, shape (target, column).
    weights
        Where the minimisation starts and where it ends, shape (target, column).
    members, counts
        A target's working set: positions in the pool, shape (target, column), and how many.
    which
        Targets to work on.
    sst
        ``|t|^2``, shape (target,).
    limits
        Duality gap within the working set at which a target is done.
    iterations
        Steps and direct solves of each target so far; at ``max_iterations`` it counts as unsolved.
    """
    for p in which:
        m = counts[p]
        own, q, w, g = np.empty((m, m)), np.empty(m), np.empty(m), np.empty(m)
        for i in range(m):
            q[i], w[i] = products[p, members[p, i]], weights[p, members[p, i]]
            for j in range(m):
                own[i, j] = gram[members[p, i], members[p, j]]
        a, v, support = np.empty((m, m)), np.empty(m), np.empty(m, dtype=np.int64)
        _residual_products(own, q, w, g)
        while iterations[p] < max_iterations and _restricted_gap(g, q, w, sst[p], penalty) > limits[p]:
            iterations[p] += 1
            _step(own, w, g, penalty)
            crossed = True
            while crossed and iterations[p] < max_iterations:
                iterations[p] += 1
                crossed = _jump(own, q, w, penalty, a, v, support)
            _residual_products(own, q, w, g)
        for i in range(m):
            weights[p, members[p, i]] = w[i]


@jit
def _dot(a: Array, b: Array) -> float:
    """Sum of products: eight sums side by side, which fill a vector register, in one fixed order."""
    n = len(a)
    s0, s1, s2, s3, s4, s5, s6, s7 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    whole = n - n % 8
    for i in range(0, whole, 8):
        s0 += a[i] * b[i]
        s1 += a[i + 1] * b[i + 1]
        s2 += a[i + 2] * b[i + 2]
        s3 += a[i + 3] * b[i + 3]
        s4 += a[i + 4] * b[i + 4]
        s5 += a[i + 5] * b[i + 5]
        s6 += a[i + 6] * b[i + 6]
        s7 += a[i + 7] * b[i + 7]
    for i in range(whole, n):
        s0 += a[i] * b[i]
    return ((s0 + s4) + (s2 + s6)) + ((s1 + s5) + (s3 + s7))


@jit
def _subtract_rows(product: Singles, rows: Singles, places: Ints, weights: Array, count: int) -> None:
    """Subtract weighted rows, four in one pass."""
    whole = count - count % 4
    for i in range(0, whole, 4):
        a, b, c, d = rows[places[i]], rows[places[i + 1]], rows[places[i + 2]], rows[places[i + 3]]
        u, v = np.float32(weights[i]), np.float32(weights[i + 1])
        w, x = np.float32(weights[i + 2]), np.float32(weights[i + 3])
        for j in range(len(product)):
            product[j] = product[j] - ((u * a[j] + v * b[j]) + (w * c[j] + x * d[j]))
    for i in range(whole, count):
        a, u = rows[places[i]], np.float32(weights[i])
        for j in range(len(product)):
            product[j] -= u * a[j]


@jit
def strongest(
    first: Singles, rows: Singles, places: Ints, weights: Array, counts: Ints, which: Ints, slack: Array,
    columns: Array, residuals: Array, allowed: npt.NDArray[np.bool_], best: Ints,
) -> None:  # fmt: skip
    """Find the column most correlated with each residual, exactly, from approximate correlations.

    Parameters
    ----------
    first
        ``X' t`` in float32, shape (target, column); the columns are padded with zeros to a multiple of ``LANES``.
    rows
        Rows of ``X' X`` in float32, shape (row, column).
    places
        Row of each chosen column, shape (target, choice).
    weights, counts
        Of the chosen columns, shape (target, choice), and how many there are.
    which
        Targets to work on.
    slack
        Largest error of ``X' t - X' X w`` in float32, shape (target,).
    columns
        X, shape (column, row).
    residuals
        ``t - X w``, shape (target, row).
    allowed
        Which columns each target may use, shape (target, column); of width 0 for all.
    best
        Where the positions go, shape (target,): of equal columns the first, -1 if all correlations are zero.
    """
    n_columns = len(columns)
    top = np.empty(LANES, dtype=np.float32)
    product = np.empty(first.shape[1], dtype=np.float32)
    for p in which:
        product[:] = first[p]
        _subtract_rows(product, rows, places[p], weights[p], counts[p])
        if allowed.shape[1]:
            for j in range(n_columns):
                if not allowed[p, j]:
                    product[j] = np.float32(0.0)
        top[:] = np.float32(0.0)
        for j in range(0, len(product), LANES):
            for lane in range(LANES):
                value = abs(product[j + lane])
                top[lane] = value if value > top[lane] else top[lane]
        floor = np.float32(top.max() - 2.0 * slack[p])
        largest = 0.0
        best[p] = -1
        for j in range(n_columns):
            if abs(product[j]) >= floor and product[j] != 0.0:
                exact = abs(_dot(columns[j], residuals[p]))
                if exact > largest:
                    largest = exact
                    best[p] = j


@jit
def extend(
    columns: Array, which: Ints, best: Ints, chosen: Ints, counts: Ints, basis: Array, factor: Array,
    shares: Array, residuals: Array,
) -> None:  # fmt: skip
    """Add a column to each target's set: an orthonormal basis of the set grows by one, the residual loses that part.

    A column that depends on those before it ends a target's growth: its count stays.

    Parameters
    ----------
    columns
        X, shape (column, row).
    residuals
        Shape (target, row).
    which
        Targets to work on.
    best
        The column to add, shape (target,).
    chosen, counts
        Columns of each target, shape (target, column), and how many.
    basis
        Q of the chosen columns' QR decomposition, shape (target, column, row).
    factor
        R, its column after column in rows, shape (target, column, column).
    shares
        ``Q' t``, shape (target, column).
    """
    n_rows = columns.shape[1]
    new = np.empty(n_rows)
    for p in which:
        j, k, residual = best[p], counts[p], residuals[p]
        new[:] = columns[j]
        square = _dot(new, new)
        for a in range(k):
            old = basis[p, a]
            part = _dot(old, new)
            factor[p, k, a] = part
            for n in range(n_rows):
                new[n] -= part * old[n]
        rest = _dot(new, new)
        if not rest > _DEPENDENT * square:
            continue
        length = np.sqrt(rest)
        for n in range(n_rows):
            new[n] /= length
        basis[p, k] = new
        share = _dot(new, residual)
        for n in range(n_rows):
            residual[n] -= share * new[n]
        factor[p, k, k] = length
        shares[p, k] = share
        chosen[p, k] = j
        counts[p] = k + 1


@jit
def substitute(factor: Array, shares: Array, counts: Ints, which: Ints, weights: Array) -> None:
    """Solve ``R w = Q' t`` of each target; `extend` explains the shapes."""
    for p in which:
        for a in range(counts[p] - 1, -1, -1):
            total = shares[p, a]
            for b in range(a + 1, counts[p]):
                total -= factor[p, b, a] * weights[p, b]
            weights[p, a] = total / factor[p, a, a]
