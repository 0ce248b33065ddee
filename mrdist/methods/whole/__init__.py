"""Methods that see the whole image: ridge regression, with a kernel, on principal components, and the mean."""

from mrdist.methods.method import SEARCH, Method

_HOME = ("mrdist.methods.whole.phases", "WholeWork")

L2 = Method(_HOME, {"alpha": 0.4, "penalize_intercept": True, **SEARCH})
KERNEL = Method(_HOME, {"alpha": 0.01, "penalize_intercept": True, "gamma": None, **SEARCH})
PCA = Method(_HOME, {"components": None})
MEAN = Method(("mrdist.methods.whole.mean", "MeanWork"), {})
