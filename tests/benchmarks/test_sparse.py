"""l1 and l0 on whole images of 64 x 64, N = 200, one thread: time of an output pixel beside scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import Lasso, OrthogonalMatchingPursuit

from benchmarks.stores import synthetic
from mrdist.baselines.estimators import LassoRegression, PursuitRegression

N_PAIRS, SIDE, N_PIXELS = 200, 64, 8

pytestmark = [pytest.mark.usefixtures("one_core"), pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def pairs():
    picture = synthetic(SIDE, "gray", n_people=N_PAIRS)
    return tuple(np.stack([picture(label, n)[..., 0] for n in range(N_PAIRS)]) for label in ("neutral", "happy"))


def flat(pairs):
    """Return inputs in scikit-learn's order, and some output pixels spread over the frame, by their position."""
    source, target = (images.reshape(N_PAIRS, -1) / 255 for images in pairs)
    pixels = np.linspace(0, SIDE**2 - 1, N_PIXELS + 2).astype(int)[1:-1] + SIDE // 3
    return np.asfortranarray(source), {int(p): target[:, p] for p in pixels}


def compare(meter, pairs, ours, theirs, what):
    x, targets = flat(pairs)
    fitted = {pixel: theirs().fit(x, t) for pixel, t in targets.items()}
    model = ours().fit(*pairs)
    seconds = meter.time(
        lambda: ours().fit(*pairs), {"theirs": lambda: [theirs().fit(x, t) for t in targets.values()]}, rounds=3
    )
    least = 5 if isinstance(model, LassoRegression) else 20
    meter.tell(
        f"{what}, a pixel of {SIDE} x {SIDE}, {N_PAIRS} pairs",
        seconds["ours"] / SIDE**2,
        seconds["theirs"] / N_PIXELS,
        f"scikit-learn's {theirs().__class__.__name__}",
        speedup=True,
        target=f">= {least} x",
    )
    return {pixel: (model.to_scipy()[[pixel], :-1].toarray()[0], fit.coef_) for pixel, fit in fitted.items()}


@pytest.mark.parametrize("alpha", [1e-3, 3e-3])
def test_lasso(meter, pairs, alpha):
    def theirs():
        return Lasso(alpha=alpha, tol=1e-4, max_iter=20_000)

    found = compare(meter, pairs, lambda: LassoRegression(alpha=alpha, tolerance=1e-4), theirs, f"l1, alpha {alpha}")
    x, targets = flat(pairs)
    x = x - x.mean(axis=0)
    for pixel, (ours, _) in found.items():  # the gap that both stop at, from its definition
        t = targets[pixel] - targets[pixel].mean()
        rest = t - x @ ours
        shrink = min(1.0, alpha * N_PAIRS / max(np.abs(x.T @ rest).max(), 1e-300))
        primal = rest @ rest / 2 + alpha * N_PAIRS * np.abs(ours).sum()
        assert primal - (t @ t - np.square(t - shrink * rest).sum()) / 2 <= 1.0001e-4 * (t @ t)


@pytest.mark.parametrize("nonzeros", [5, 10, 20])
def test_omp(meter, pairs, nonzeros):
    found = compare(
        meter,
        pairs,
        lambda: PursuitRegression(nonzeros=nonzeros),
        lambda: OrthogonalMatchingPursuit(n_nonzero_coefs=nonzeros),
        f"l0, {nonzeros} weights",
    )
    for ours, theirs in found.values():
        np.testing.assert_array_equal(np.flatnonzero(ours), np.flatnonzero(theirs))
        np.testing.assert_allclose(ours, theirs, atol=1e-7)
