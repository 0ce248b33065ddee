"""Arrays that miss values in some images, and masked regression that drops their rows, written from its equations."""

from __future__ import annotations

import numpy as np
import zarr

import mrdist
from mrdist.storage import Images

RANGES = {"low": (-64, 64), "high": (-64, 64)}
PAIR = {"source": "low", "target": "high", "workers": 0, "progress": False}


def draw(seed, shape, share=0.05, land=True):
    """Return two fields of whole numbers in -60..60, NaN where a share of them, and the land, is missing."""
    rng = np.random.default_rng(seed)
    low, high = (rng.integers(-60, 60, shape).astype("f8") for _ in range(2))
    high = np.clip(np.round(0.5 * high + 0.4 * low), -60, 60)
    for values in (low, high):
        values[rng.random(shape) < share] = np.nan
        if land:
            values[:, :2, 3:6] = np.nan
    high[:, -1, 0] = np.nan
    return low, high


def shares(values):
    """Values as shares of their range, as links round them."""
    return np.rint((values + 64) / 128 * 2**22) / 2**22


def write(folder, low, high, *, name="data", nothing=None, dtype="f4", chunks=None, **how):
    """Write a zarr group of format 2; what is missing becomes ``nothing``, by default NaN."""
    group = zarr.open_group(f"{folder}/{name}.zarr", mode="w", zarr_format=2)
    for label, values in (("low", low), ("high", high)):
        stored = (values if nothing is None else np.where(np.isnan(values), nothing, values)).astype(dtype)
        array = group.create_array(
            label, shape=values.shape, dtype=dtype, chunks=chunks or (5, 7, 6, 3)[: values.ndim], **how
        )
        array[...] = stored
        if nothing is not None:
            array.attrs["missing_value"] = nothing
    return {label: f"{folder}/{name}.zarr/{label}" for label in ("low", "high")}


def link(folder, addresses, *, dims=("image", "y", "x"), missing="drop-rows", name="images", **options):
    """Link arrays, every image a subject of its own, all of the split train."""
    url = f"{folder}/{name}.zarr"
    how = {"dims": dims, "missing": missing, "ranges": RANGES, "split": ["train"] * options.pop("n", 24)}
    mrdist.link(url, addresses, **how | options)
    return url


def solve_rows(x, t, alpha, *, penalize_intercept=True):
    """Solve one ridge regression; return weights and intercept."""
    if not penalize_intercept:
        centred, means = x - x.mean(axis=0), (x.mean(axis=0), t.mean(axis=0))
        w = np.linalg.solve(centred.T @ centred + alpha * np.eye(x.shape[1]), centred.T @ (t - means[1]))
        return w, means[1] - means[0] @ w
    rows = np.column_stack([x, np.ones(len(x))])
    w = np.linalg.solve(rows.T @ rows + alpha * np.eye(rows.shape[1]), rows.T @ t)
    return w[:-1], w[-1]


def nowhere(values):
    """Return the pixels that every image misses."""
    return np.isnan(values).any(axis=3).all(axis=0)


def taps_of(low, land, y, x, size, dilation=1):
    """Return what a pixel sees, shape (image, tap, channel): zeros outside and on land."""
    n, height, width, n_channels = low.shape
    taps = []
    for dy in range(-(size // 2), size // 2 + 1):
        for dx in range(-(size // 2), size // 2 + 1):
            v, u = y + dilation * dy, x + dilation * dx
            inside = 0 <= v < height and 0 <= u < width and not land[v, u]
            taps.append(low[:, v, u] if inside else np.zeros((n, n_channels)))
    return np.stack(taps, axis=1)


def naive(low, high, alpha, *, size=3, color="shared", dilation=1, land=None, **how):
    """Regress every pixel on the images in which it misses nothing; shapes are those of the store, and n_rows.

    ``land`` are pixels of low and high that no image has; by default none of these.
    """
    land = (nowhere(low), nowhere(high)) if land is None else land
    n, height, width, n_channels = low.shape
    n_taps = size * size
    lead = {"shared": (), "separate": (n_channels,), "joint": (n_channels, n_channels)}[color]
    coef, intercept = np.zeros((*lead, n_taps, height, width)), np.full((*lead[:1], height, width), np.nan)
    n_rows = np.zeros((height, width), dtype=int)
    for y, x in np.ndindex(height, width):
        target = high[:, y, x]
        if land[1][y, x]:
            intercept[..., y, x], n_rows[y, x] = 0, n * (n_channels if color == "shared" else 1)
            continue
        taps = taps_of(low, land[0], y, x, size, dilation)
        whole = ~np.isnan(taps).any(axis=(1, 2)) & ~np.isnan(target).any(axis=1)
        taps, target = taps[whole], target[whole]
        n_rows[y, x] = whole.sum() * (n_channels if color == "shared" else 1)
        if not whole.any():
            continue
        if color == "shared":
            rows = np.moveaxis(taps, 2, 1).reshape(-1, n_taps)
            coef[:, y, x], intercept[y, x] = solve_rows(rows, target.reshape(-1), alpha, **how)
        for channel in range(n_channels) if color != "shared" else ():
            seen = taps[:, :, channel] if color == "separate" else np.moveaxis(taps, 2, 1).reshape(len(taps), -1)
            w, intercept[channel, y, x] = solve_rows(seen, target[:, channel], alpha, **how)
            coef[channel, ..., y, x] = w if color == "separate" else w.reshape(n_channels, n_taps)
    return coef, intercept, n_rows


def predict(low, land, coef, intercept, size=3):
    """Return what weights of one channel make, NaN where a tap is missing."""
    n, height, width, _ = low.shape
    made = np.empty((n, height, width))
    for y, x in np.ndindex(height, width):
        made[:, y, x] = taps_of(low, land, y, x, size)[..., 0] @ coef[:, y, x] + intercept[y, x]
    return made


def arrays_of(url):
    """Return the arrays of a store by path."""
    group = zarr.open_group(url, mode="r")
    return {path: np.asarray(node) for path, node in group.members(max_depth=None) if isinstance(node, zarr.Array)}


def same(one, other):
    """Whether two stores hold the same arrays, to the last bit."""
    ours, theirs = arrays_of(one), arrays_of(other)
    assert ours.keys() == theirs.keys()
    for path, values in ours.items():
        np.testing.assert_array_equal(values, theirs[path], err_msg=path)
        assert values.tobytes() == theirs[path].tobytes()


def pixels_of(url, label):
    """Return the shares that a store reads, NaN where they are missing."""
    images = Images.open(url)
    from mrdist.geometry import Block

    return images.reader(nan=True).read(label, 0, images.n_images, Block(0, 0, *images.shape))
