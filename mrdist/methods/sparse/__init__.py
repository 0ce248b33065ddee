"""Learned sparsity: LASSO and orthogonal matching pursuit."""

from mrdist.methods.method import SEARCH, Method

L1 = Method(
    ("mrdist.methods.sparse.phases", "lasso_work"),
    {"alpha": 0.001, "window": None, "max_iterations": 1000, **SEARCH},
    label="LASSO",
    help="Learned sparsity: chooses the input pixels of each pixel. Slow.",
    estimator=("mrdist.baselines.estimators", "LassoRegression"),
)
L0 = Method(
    ("mrdist.methods.sparse.phases", "omp_work"),
    {"nonzeros": None, "tolerance": 0.0, "window": None, "folds": None, "rule": None, "seed": None},
    label="matching pursuit",
    help="Learned sparsity with a limited number of weights per pixel. Slow.",
    estimator=("mrdist.baselines.estimators", "PursuitRegression"),
)
