from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist.errors import ParameterError
from mrdist.geometry import Block, ReceptiveField, block_grid

FIELDS = [ReceptiveField(size, dilation) for size in (1, 3, 5, 7) for dilation in (1, 2, 3)]


@pytest.fixture(params=FIELDS, ids=lambda field: f"r{field.size}d{field.dilation}")
def field(request):
    return request.param


def window_taps(field):
    """Taps as distances from the centre, in raster order."""
    middle = field.size // 2
    return [
        ((i - middle) * field.dilation, (j - middle) * field.dilation)
        for i in range(field.size)
        for j in range(field.size)
    ]


def test_offsets_are_the_taps_in_raster_order(field):
    assert list(map(tuple, field.offsets.tolist())) == window_taps(field)
    assert field.n_offsets == len(field.offsets)


def test_lags_are_the_non_negative_differences_of_taps(field):
    taps = window_taps(field)
    differences = {(ay - by, ax - bx) for ay, ax in taps for by, bx in taps}
    assert list(map(tuple, field.lags.tolist())) == sorted(d for d in differences if d >= (0, 0))
    assert field.n_lags == len(field.lags)


def test_gram_lookup_points_at_the_pair_of_taps(field):
    corner = np.array([field.halo, field.halo])
    for a in range(field.n_offsets):
        for b in range(a + 1):
            lag, *position = field.gram_lookup[a, b]
            first = np.array(position) - corner
            assert (first == field.offsets[b]).all()
            assert (first + field.lags[lag] == field.offsets[a]).all()


def test_halo_and_reach_bound_the_taps(field):
    taps = np.array(window_taps(field))
    assert field.halo == taps.max() == -taps.min()
    assert field.reach == taps.max() - taps.min() == field.lags.max()


@pytest.mark.parametrize("shape", [(7, 9), (1, 12), (5, 2)])
def test_in_bounds_says_which_taps_see_the_image(field, shape):
    mask = field.in_bounds(shape)
    assert mask.shape == (field.n_offsets, *shape)
    for k, (dy, dx) in enumerate(window_taps(field)):
        for y in range(shape[0]):
            for x in range(shape[1]):
                assert mask[k, y, x] == (0 <= y + dy < shape[0] and 0 <= x + dx < shape[1])


@pytest.mark.parametrize("dilation", [1, 2, 5])
@pytest.mark.parametrize(("size", "lags"), [(1, 1), (3, 13), (5, 41), (7, 85)])
def test_number_of_lags(size, lags, dilation):
    assert ReceptiveField(size, dilation).n_lags == lags


@pytest.mark.parametrize("size", [0, -1, -3, 2, 4])
def test_a_size_without_a_centre_is_refused(size):
    with pytest.raises(ParameterError, match=rf"odd.*got {size};"):
        ReceptiveField(size)


@pytest.mark.parametrize(("size", "dilation"), [(10**30 + 1, 1), (3, 10**30), (2**31 + 1, 2)])
def test_a_field_wider_than_any_image_is_refused(size, dilation):
    with pytest.raises(ParameterError, match="use a smaller receptive_field or dilation"):
        ReceptiveField(size, dilation)


@pytest.mark.parametrize("dilation", [0, -1])
def test_a_dilation_below_one_is_refused(dilation):
    with pytest.raises(ParameterError, match=f"dilation .* got {dilation}"):
        ReceptiveField(3, dilation)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_a_field_wider_than_the_image_is_refused(shape):
    with pytest.raises(ParameterError, match="spans 5 pixels, more than the image's shorter side of 4"):
        ReceptiveField(3, 2).check_fits(shape)


def test_a_field_as_wide_as_the_image_fits():
    ReceptiveField(3, 2).check_fits((5, 5))


sides = st.integers(1, 40)


@given(shape=st.tuples(sides, sides), block=st.tuples(sides, sides))
def test_blocks_cover_every_pixel_once_in_raster_order(shape, block):
    blocks = block_grid(shape, block)
    covered = np.zeros(shape, dtype=int)
    for part in blocks:
        assert 1 <= part.shape[0] <= block[0]
        assert 1 <= part.shape[1] <= block[1]
        covered[part.slices] += 1
    assert (covered == 1).all()
    assert blocks == sorted(blocks)


def test_a_block_grows_beyond_the_image_and_is_clipped_to_it():
    grown = Block(0, 4, 3, 8).grown(2)
    assert grown == Block(-2, 2, 5, 10)
    assert grown.clipped((4, 9)) == Block(0, 2, 4, 9)
    assert str(grown.clipped((4, 9))) == "rows 0:4, columns 2:9"
