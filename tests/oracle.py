"""Masked regression written from its equations only: plain loops over pixels and taps, NumPy in float64.

Images are floats in 0..1 of shape (image, y, x, channel); weights have the shapes of `mrdist.solvers.Solution`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import Ridge


@dataclass
class OracleSolution:
    coef: np.ndarray  # (group, offset, y, x)
    intercept: np.ndarray  # (group, y, x)
    sse: np.ndarray
    sst: np.ndarray


def offsets(size, dilation=1):
    reach = range(-(size // 2), size // 2 + 1)
    return [(dy * dilation, dx * dilation) for dy in reach for dx in reach]


def rows(images, color):
    """Images of shape (plane, row, y, x): for shared colour every channel of every image is a row."""
    if color == "shared":
        return np.moveaxis(images, 3, 1).reshape(1, -1, *images.shape[1:3])
    return np.moveaxis(images, 3, 0)


def field_values(images, y, x, size, dilation=1):
    """Input pixels that output pixel (y, x) sees, zeros outside; images (row, y, x), result (row, offset)."""
    n_rows, height, width = images.shape
    columns = []
    for dy, dx in offsets(size, dilation):
        inside = 0 <= y + dy < height and 0 <= x + dx < width
        columns.append(images[:, y + dy, x + dx] if inside else np.zeros(n_rows))
    return np.stack(columns, axis=1)


def seen_by(plane, source_rows, y, x, size, dilation=1, color="shared"):
    """Inputs of an output pixel, shape (row, tap); for joint colour those of every channel in turn."""
    planes = source_rows if color == "joint" else source_rows[plane : plane + 1]
    return np.hstack([field_values(images, y, x, size, dilation) for images in planes])


def ridge(inputs, target, alpha, penalize_intercept):
    """Weights with the intercept last."""
    if not penalize_intercept:
        model = Ridge(alpha=alpha, solver="svd").fit(inputs, target)
        return np.append(model.coef_, model.intercept_)
    design = np.column_stack([inputs, np.ones(len(inputs))])
    return np.linalg.solve(design.T @ design + alpha * np.eye(design.shape[1]), design.T @ target)


def masked_regression(source, target, size, alpha, *, dilation=1, color="shared", penalize_intercept=True):
    source_rows, target_rows = rows(source, color), rows(target, color)
    n_groups, _, height, width = source_rows.shape
    n_taps = size**2 * (n_groups if color == "joint" else 1)
    found = OracleSolution(
        np.zeros((n_groups, n_taps, height, width)), *(np.zeros((n_groups, height, width)) for _ in range(3))
    )
    for group in range(n_groups):
        for y in range(height):
            for x in range(width):
                inputs = seen_by(group, source_rows, y, x, size, dilation, color)
                wanted = target_rows[group, :, y, x]
                weights = ridge(inputs, wanted, alpha, penalize_intercept)
                residual = wanted - inputs @ weights[:-1] - weights[-1]
                found.coef[group, :, y, x] = weights[:-1]
                found.intercept[group, y, x] = weights[-1]
                found.sse[group, y, x] = np.square(residual).sum()
                found.sst[group, y, x] = np.square(wanted - wanted.mean()).sum()
    return found


def predict(images, coef, intercept, size, *, dilation=1):
    """Apply weights of shape (plane, tap, y, x) to images of shape (image, y, x, channel)."""
    color = "joint" if coef.shape[1] > size**2 else "separate"
    source_rows = np.moveaxis(images, 3, 0)
    out = np.zeros(images.shape)
    for channel in range(images.shape[3]):
        group = channel % len(coef)
        for y in range(images.shape[1]):
            for x in range(images.shape[2]):
                inputs = seen_by(channel, source_rows, y, x, size, dilation, color)
                out[:, y, x, channel] = inputs @ coef[group, :, y, x] + intercept[group, y, x]
    return out


def fixed_point(images):
    """Floats rounded to multiples of 2^-22."""
    return np.round(images.astype(np.float64) * 2**22) / 2**22


def errors_held_out(source, target, fold, size, alpha, *, dilation=1, color="shared", penalize_intercept=True):
    """Sum of squared errors on every fold of the images, by weights fitted to the others, shape (fold,)."""
    found = []
    for number in range(max(fold) + 1):
        out = np.asarray(fold) == number
        fitted = masked_regression(
            source[~out], target[~out], size, alpha,
            dilation=dilation, color=color, penalize_intercept=penalize_intercept,
        )  # fmt: skip
        predicted = predict(source[out], fitted.coef, fitted.intercept, size, dilation=dilation)
        found.append(np.square(target[out] - predicted).sum())
    return np.array(found)
