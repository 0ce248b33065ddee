"""The kernels of warps against plain NumPy in the same order of operations: equal bits, whatever the vectors."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from mrdist._kernels.warping import box_sums, depths, factorise, look_up, spread, substitute, to_integers
from mrdist.morphing.warps import IDENTITY, Controls, Window

SHAPE = (23, 37)


def weights(t: np.ndarray) -> list[np.ndarray]:
    return [
        0.5 * t * (t * (2 - t) - 1),
        0.5 * (t * t * (3 * t - 5) + 2),
        0.5 * t * (t * (4 - 3 * t) + 1),
        0.5 * t * t * (t - 1),
    ]


def looked_up(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the cubic convolution at places, borders carried on, column after column."""
    height, width, _ = image.shape
    x, y = np.clip(x, 0, width - 1), np.clip(y, 0, height - 1)
    left, top = x.astype(int), y.astype(int)
    across, down = (weights((at - whole)[..., None]) for at, whole in ((x, left), (y, top)))
    total = 0.0
    for j in range(4):
        columns = np.clip(left + j - 1, 0, width - 1)
        taps = 0.0
        for i in range(4):
            taps = taps + down[i] * image[np.clip(top + i - 1, 0, height - 1), columns].astype(np.float64)
        total = total + across[j] * taps
    return np.asarray(total, dtype=np.float32)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_pixels_are_looked_up_with_the_same_bits_in_vectors_of_any_channels(channels: int, dtype: type) -> None:
    rng = np.random.default_rng(channels)
    image = (rng.random((*SHAPE, channels)) * 255).astype(dtype)
    moved = rng.normal(0, 3, (2, *SHAPE))
    out = np.empty((*SHAPE, channels), dtype=np.float32)
    affine = np.array([[0.9, 0.1, 1.5], [-0.2, 1.1, 0.5]])
    look_up(image, moved, 1.0, affine, (2, 1), SHAPE, out)
    v, u = np.mgrid[: SHAPE[0], : SHAPE[1]].astype(np.float64)
    u, v = u + 1, v + 2
    x, y = (row[0] * u + row[1] * v + row[2] + moved[axis] for axis, row in enumerate(affine))
    assert_array_equal(out, looked_up(image, x, y))
    still = np.empty_like(out)
    look_up(image, np.zeros_like(moved), 1.0, IDENTITY, (0, 0), SHAPE, still)
    assert_array_equal(still, image.astype(np.float32))


def test_the_factor_is_that_of_the_system() -> None:
    points = np.random.default_rng(0).random((40, 2)) * 30
    factor = factorise(points, 9.0, 0.01)
    distance = np.hypot(*(points[:, None] - points).transpose(2, 0, 1)) / 9
    system = np.maximum(0, 1 - distance) ** 4 * (4 * distance + 1) + 0.01 * np.eye(40)
    assert_allclose(factor @ factor.T, system, atol=1e-12)
    assert_array_equal(factor, np.tril(factor))
    sides = np.random.default_rng(1).normal(size=(40, 3))
    assert_allclose(system @ substitute(factor, sides), sides, atol=1e-10)


def test_bumps_are_spread_as_far_as_they_reach() -> None:
    rng = np.random.default_rng(2)
    points, loads = rng.uniform(-5, 40, (12, 2)), rng.normal(size=(12, 4))
    out = np.empty((4, 12, 19))
    spread(points, loads, 7.5, 2.0, out)
    y, x = np.mgrid[:12, :19] * 2.0
    distance = np.hypot(x - points[:, :1, None], y - points[:, 1:, None]) / 7.5
    assert_allclose(out, np.einsum("pk,pyx->kyx", loads, np.maximum(0, 1 - distance) ** 4 * (4 * distance + 1)))


def test_several_warps_at_once_are_those_of_each() -> None:
    rng = np.random.default_rng(3)
    controls, window = Controls(rng.uniform(2, 30, (9, 2)), 8), Window(1, 2, 20, 25)
    moved = rng.normal(size=(5, 9, 2))
    for one, together in zip(moved, controls.warps(list(moved), window, 3.0, [IDENTITY] * 5), strict=True):
        assert_array_equal(controls.warp(one, window, 3.0).nodes, together.nodes)


def test_values_are_rounded_to_integers_within_white() -> None:
    values = np.array([-3, -0.5, 0.49, 0.5, 1.5, 2.5, 254.5, 254.51, 255.4, 300], dtype=np.float32)
    out = np.empty(len(values), dtype=np.uint8)
    to_integers(values, 1.0, 255, out)
    assert_array_equal(out, np.rint(np.clip(values, 0, 255)))
    wide = np.empty(2, dtype=np.uint16)
    to_integers(np.array([0.25, 1.5], dtype=np.float32), 65535.0, 65535, wide)
    assert_array_equal(wide, [np.rint(np.float32(0.25) * np.float32(65535)), 65535])


def test_depths_in_a_square_with_a_notch() -> None:
    corners = np.array([[2.0, 2.0], [12.0, 2.0], [12.0, 12.0], [7.0, 7.0], [2.0, 12.0]])
    out = np.empty((15, 15))
    depths(corners, out)
    assert out[4, 7] == 2
    assert out[0, 7] == -2
    assert_allclose(out[10, 7], -np.sqrt(4.5))
    assert_allclose(out[0, 0], -np.sqrt(8))


@pytest.mark.parametrize("reach", [1, 4, 9])
def test_box_sums_carry_the_border_on(reach: int) -> None:
    values = np.random.default_rng(reach).integers(-9, 9, (3, 7, 2))
    out = np.empty_like(values)
    box_sums(values, reach, out)
    padded = np.pad(values, ((0, 0), (reach, reach), (0, 0)), mode="edge")
    assert_array_equal(out, sum(padded[:, k : k + 7] for k in range(2 * reach + 1)))
