"""Shape and appearance: the photograph's own pixels are moved, and then changed as those of other people were."""

from mrdist.methods.method import SEARCH, Method

MORPH = Method(
    ("mrdist.methods.morph.phases", "MorphWork"),
    {"receptive_field": 3, "dilation": 1, "alpha": 6.0, "penalize_intercept": True, "pool": 0, **SEARCH},
    label="shape and appearance",
    help="The photograph's own pixels, moved and changed: sharp; needs landmarks.",
    needs_landmarks=True,
    has_dials=True,
)
