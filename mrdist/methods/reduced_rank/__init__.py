"""Reduced-rank regression of the whole image: ridge regression whose matrix of weights has a small rank."""

from mrdist.methods.method import SEARCH, Method

RRR = Method(
    ("mrdist.methods.reduced_rank.phases", "ReducedRankWork"),
    {"alpha": 0.4, "components": None, **SEARCH},
    label="reduced-rank regression",
    help="Ridge on the whole image by a few directions: those of the source that explain the target best.",
)
