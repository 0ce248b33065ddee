"""The quantile of Student's t against SciPy's, which takes longer to load than a small evaluation."""

from __future__ import annotations

import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st

from mrdist.paired import t_quantile


@given(st.floats(0.5, 0.9999), st.integers(1, 3000))
def test_quantiles_of_any_share_are_those_of_scipy(share, freedom):
    assert t_quantile(share, freedom) == pytest.approx(scipy.special.stdtrit(freedom, (1 + share) / 2), rel=2e-12)


@pytest.mark.parametrize("freedom", [*range(1, 120), 1000, 5001, 20000, 100001])
@pytest.mark.parametrize("n_comparisons", [1, 2, 5, 20])
def test_quantiles_of_intervals_are_those_of_scipy(freedom, n_comparisons):
    share = 1 - 0.05 / n_comparisons
    assert t_quantile(share, freedom) == pytest.approx(scipy.special.stdtrit(freedom, (1 + share) / 2), rel=1e-12)
