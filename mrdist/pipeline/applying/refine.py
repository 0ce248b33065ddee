"""Compute where a mapping matters, so that its results can be refined."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address, plain_arguments
from mrdist.geometry import block_grid
from mrdist.refinement import Refinement
from mrdist.running.driving import driving, hold
from mrdist.storage import StorageOptions, WeightsReader, normalize_url, read_importance, redact, write_importance

_ROWS = 128  # of weights that are read at a time: whole chunks


@dataclass(frozen=True)
class RefineReport:
    """An importance map that was written to a weights store.

    Attributes
    ----------
    url
        The weights store.
    importance
        float32 array of shape (y, x), in 0..1.
    refinement
        How it was made.
    """

    url: str
    importance: npt.NDArray[np.float32]
    refinement: Refinement

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist refine --json`` prints."""
        return {
            "url": redact(self.url),
            "refinement": asdict(self.refinement),
            "mean_importance": float(self.importance.mean(dtype=np.float64)),
        }


@plain_arguments
@driving("refine")
def refine(
    weights_url: Address, refinement: Refinement | None = None, *, storage_options: StorageOptions = None
) -> RefineReport:
    """Compute the importance of every pixel of a mapping and write it to the weights store as ``importance (y, x)``.

    From then on ``synthesize`` and ``evaluate`` refine with this map; without it they compute the default one.

    Parameters
    ----------
    weights_url
        A weights store.
    refinement
        How the map is computed from the weights; see `mrdist.Refinement` for the defaults.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    RefineReport

    Raises
    ------
    StoreError
        If the store is invalid, or cannot be read or written.
    """
    url = normalize_url(weights_url)
    refinement = refinement or Refinement()
    importance = compute_importance(WeightsReader.open(url, storage_options), refinement)
    hold(url, storage_options)
    write_importance(url, importance, asdict(refinement), storage_options)
    return RefineReport(url, importance, refinement)


def importance_of(
    weights_url: str, refine: bool | Refinement, storage_options: StorageOptions = None
) -> npt.NDArray[np.float32] | None:
    """Return the importance map that an option ``refine`` asks for.

    Parameters
    ----------
    weights_url, storage_options
        A weights store.
    refine
        False: none; True: the map of the store, or else the default one; a `Refinement`: its map.

    Returns
    -------
    float32 array of shape (y, x) or None
    """
    if refine is False:
        return None
    if refine is True:
        kept = read_importance(weights_url, storage_options)
        if kept is not None:
            return kept
        refine = Refinement()
    return compute_importance(WeightsReader.open(weights_url, storage_options), refine)


def compute_importance(model: WeightsReader, refinement: Refinement) -> npt.NDArray[np.float32]:
    """Return the importance of every pixel of a mapping, whose weights are read strip by strip."""
    return refinement.importance(norms_of(model, intercept=refinement.intercept))


def norms_of(model: WeightsReader, *, intercept: bool) -> npt.NDArray[np.float64]:
    """Return the l1 norm of every output pixel's weights, shape (y, x)."""
    shape = (model.training.height, model.training.width)
    return np.concatenate([model.norms(strip, intercept=intercept) for strip in block_grid(shape, (_ROWS, shape[1]))])
