"""Descriptions, units and coordinates of the variables of a weights store, for users of xarray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr

_PIXELS = "pixels"
_SQUARES = "(1 = from black to white) squared"
_PIXEL = "1 = white"
_OF_SOURCE = {"norms", "mean_face"}
_MEANINGS = {
    "coef": ("weights", "1"),
    "intercept": ("intercepts", _PIXEL),
    "alpha": ("penalties of the weights", "1"),
    "train_sse": ("sums of squared errors on the training images", _SQUARES),
    "train_sst": ("sums of squared deviations of the target from its mean", _SQUARES),
    "basis": ("what images are compared with", "1"),
    "norms": ("sums of squares of the training images", _SQUARES),
    "rotation": ("weights of the inner products with the training images", "1"),
    "importance": ("how much of the change is taken", "1"),
    "face_mask": ("pixels of the face", "1"),
    "mean_face": ("mean of the source images", _PIXEL),
    "reference_points": ("landmarks of the reference", "sides of the frame"),
    "mean_landmarks": ("mean landmarks of the source images", "sides of the frame"),
    "offsets": ("inputs relative to the output pixel, (dy, dx)", _PIXELS),
    "y": ("row", _PIXELS),
    "x": ("column", _PIXELS),
}


def describe_weights(dataset: xr.Dataset, scales: Mapping[str, str]) -> xr.Dataset:
    """Give the variables of a weights store coordinates, and attributes that say what they are and in which unit.

    ``scales`` says, of a linked source and target, what 0 and 1 mean.
    """
    coordinates = {axis: (axis, np.arange(dataset.sizes[axis])) for axis in ("y", "x") if axis in dataset.sizes}
    dataset = dataset.assign_coords(coordinates)
    if "offsets" in dataset:
        offsets = dataset["offsets"].values
        for name, place in (("dy", offsets[:, 0]), ("dx", offsets[:, 1])):
            dataset = dataset.assign_coords({name: ("offset", place, {"units": _PIXELS})})
    for name, (long_name, units) in _MEANINGS.items():
        if units in (_PIXEL, _SQUARES):
            scale = scales.get("source" if name in _OF_SOURCE else "target")
            units = units if scale is None else f"({scale}) squared" if units == _SQUARES else scale
        if name in dataset.variables:
            dataset[name].attrs = {"long_name": long_name, "units": units} | dataset[name].attrs
    return dataset
