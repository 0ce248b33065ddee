"""Methods that see the whole image: ridge regression, with a kernel, on principal components, and the mean."""

from mrdist.methods.method import SEARCH, Method

_HOME = ("mrdist.methods.whole.phases", "WholeWork")
_ESTIMATORS = "mrdist.baselines.global_estimators"

L2 = Method(
    _HOME,
    {"alpha": 0.4, "penalize_intercept": True, **SEARCH},
    label="ridge on the whole image",
    help="Each pixel from all pixels; solved with one unknown per training image.",
    estimator=(_ESTIMATORS, "GlobalRidge"),
)
KERNEL = Method(
    _HOME,
    {"alpha": 0.01, "penalize_intercept": True, "gamma": None, **SEARCH},
    label="kernel ridge",
    help="Ridge on the whole image with a Gaussian kernel.",
    estimator=(_ESTIMATORS, "GaussianRidge"),
)
PCA = Method(
    _HOME,
    {"components": None},
    label="principal components",
    help="Regression on the first components of the source.",
    estimator=(_ESTIMATORS, "PrincipalComponentRegression"),
)
MEAN = Method(
    ("mrdist.methods.whole.mean", "MeanWork"),
    {},
    label="mean face",
    help="The mean target, whatever the input: a baseline that others must beat.",
    uses_input=False,
    estimator=(_ESTIMATORS, "MeanTarget"),
)
