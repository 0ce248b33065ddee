"""What a user would write instead: ridge of every pixel, intercept penalised, in float64.

All return weights of shape (y, x, unknown), the intercept last, or those of a few pixels, shape (pixel, unknown).
"""

from __future__ import annotations

import numpy as np
import pytest


def design(images, size):
    """Return windows of images (image, y, x) uint8 with a last column of ones, shape (y, x, image, unknown)."""
    halo = size // 2
    padded = np.pad(images / 255, ((0, 0), (halo, halo), (halo, halo)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))
    out = np.ones((*images.shape[1:], len(images), size**2 + 1))
    out[..., :-1] = windows.transpose(1, 2, 0, 3, 4).reshape(*out.shape[:3], -1)
    return out


def targets(images):
    return np.moveaxis(images / 255, 0, -1)[..., None]


def numpy_einsum(source, target, size, alpha):
    x, t = design(source, size), targets(target)
    gram = np.einsum("yxni,yxnj->yxij", x, x) + alpha * np.eye(x.shape[-1])
    return np.linalg.solve(gram, np.einsum("yxni,yxnk->yxik", x, t))[..., 0]


def normal_equations(source, target, size, alpha):
    """Return Gram matrices with alpha on the diagonal and right-hand sides, by batched matmul."""
    x, t = design(source, size), targets(target)
    across = x.swapaxes(-1, -2)
    return across @ x + alpha * np.eye(x.shape[-1]), across @ t


def numpy_matmul(source, target, size, alpha):
    return np.linalg.solve(*normal_equations(source, target, size, alpha))[..., 0]


def pytorch(source, target, size, alpha):
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    n, height, width = source.shape
    images = torch.from_numpy(source)[:, None].to(torch.float64) / 255
    x = torch.nn.functional.unfold(images, size, padding=size // 2)
    x = torch.cat([x, torch.ones_like(x[:, :1])], dim=1).permute(2, 1, 0).contiguous()
    t = (torch.from_numpy(target).to(torch.float64) / 255).reshape(n, -1).T[..., None]
    gram = x @ x.transpose(1, 2) + alpha * torch.eye(x.shape[1], dtype=torch.float64)
    solution = torch.cholesky_solve(x @ t, torch.linalg.cholesky(gram))
    return solution.reshape(height, width, -1).numpy()


def sklearn_ridge(x, t, alpha):
    """Fit pixels whose windows x (pixel, image, unknown) are given."""
    from sklearn.linear_model import Ridge

    return np.stack([Ridge(alpha=alpha, fit_intercept=False).fit(a, b[:, 0]).coef_ for a, b in zip(x, t, strict=True)])


def himalaya_ridge(x, t, alpha):
    """Fit pixels as `sklearn_ridge` does: himalaya's batches share X, which no two pixels do."""
    solve_ridge_svd = pytest.importorskip("himalaya.ridge").solve_ridge_svd
    return np.stack([solve_ridge_svd(a, b, alpha=alpha, warn=False)[:, 0] for a, b in zip(x, t, strict=True)])


def brainiak_searchlight(source, target, size, alpha):
    """Run a searchlight over a volume of one inhabited plane; it leaves out its border, which padding provides."""
    searchlight = pytest.importorskip("brainiak.searchlight.searchlight", exc_type=(ImportError, RuntimeError))
    halo = size // 2
    border = ((halo, halo), (halo, halo), (halo, halo), (0, 0))
    volumes = [np.pad(np.moveaxis(images, 0, -1)[:, :, None] / 255, border) for images in (source, target)]
    mask = np.zeros(volumes[0].shape[:3], dtype=bool)
    mask[:, :, halo] = True
    light = searchlight.Searchlight(sl_rad=halo, pool_size=1)
    light.distribute(volumes, mask)
    light.broadcast(alpha)
    found = light.run_searchlight(_ridge_of_voxel)
    return np.array(found[halo:-halo, halo:-halo, halo].tolist())


def _ridge_of_voxel(volumes, mask, radius, alpha):
    n_images = volumes[0].shape[3]
    x = np.vstack([volumes[0][:, :, radius].reshape(-1, n_images), np.ones(n_images)])
    return np.linalg.solve(x @ x.T + alpha * np.eye(len(x)), x @ volumes[1][radius, radius, radius])
