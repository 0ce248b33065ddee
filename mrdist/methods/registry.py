"""The registry of methods: a line each; all else derives from it."""

from __future__ import annotations

from mrdist.methods import masked, morph, reduced_rank, sparse, whole
from mrdist.methods.method import Method

METHODS: dict[str, Method] = {
    "mr": masked.MR,
    "pixel": masked.PIXEL,
    "l2": whole.L2,
    "kernel": whole.KERNEL,
    "pca": whole.PCA,
    "rrr": reduced_rank.RRR,
    "mean": whole.MEAN,
    "l1": sparse.L1,
    "l0": sparse.L0,
    "morph": morph.MORPH,
}
METHODS_COMPARED = ("mr", "l2", "l1", "l0", "pixel", "identity")
"""What a comparison compares unless told otherwise: methods of the paper, and the input as it is."""
