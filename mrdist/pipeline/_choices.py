"""The settings of methods that `mrdist.train` does not choose itself, for comparisons: errors on people held out."""

from __future__ import annotations

from collections.abc import Sequence

COMPONENTS = (2, 4, 8, 16, 32)
"""Tried for pca."""


def fitting(candidates: Sequence[int], n_pairs: int) -> list[int]:
    """Return the numbers of components that so many pairs allow.

    Examples
    --------
    >>> fitting(COMPONENTS, 10)
    [2, 4, 8]
    """
    return [candidate for candidate in candidates if candidate < n_pairs]
