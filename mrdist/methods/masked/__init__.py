"""Masked regression: every output pixel looks at the input pixels of its receptive field."""

from mrdist.methods.method import SEARCH, Method

_HOME = ("mrdist.methods.masked.phases", "masked_work")

MR = Method(
    _HOME,
    {
        "receptive_field": 3,
        "dilation": 1,
        "alpha": 0.4,
        "penalize_intercept": True,
        "pool": 0,
        "prior": "zero",
        **SEARCH,
    },
    label="masked regression",
    help="Each pixel from the few around it: small, fast, and good with a few dozen pairs.",
    knows_joint=True,
    shares_sums=True,
    drops_rows=True,
    estimator=("mrdist.estimator", "MaskedRegression"),
)
PIXEL = Method(
    _HOME,
    {"alpha": 0.4, "penalize_intercept": True, **SEARCH},
    label="one pixel",
    help="Each pixel from itself alone; a baseline.",
    knows_joint=True,
    shares_sums=True,
    drops_rows=True,
)
