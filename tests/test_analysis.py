from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st

from mrdist.analysis import Roles, WeightSurvey, patches, spread_pixels
from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.synthesis import MaskedWeights

SHAPE = (5, 7)
N = SHAPE[0] * SHAPE[1]


def a_matrix(density, seed=0):
    rng = np.random.default_rng(seed)
    return np.where(rng.random((N, N + 1)) < density, rng.normal(size=(N, N + 1)), 0.0)


def survey_of(rows, outputs=None):
    survey = WeightSurvey(SHAPE)
    survey.add(rows, np.arange(N) if outputs is None else outputs)
    return survey


def brute_force(matrix, outputs):
    """Every weight as (distance, Chebyshev distance, absolute value), with plain loops."""
    found = []
    for row, output in zip(matrix, outputs, strict=True):
        for column in range(N):
            if row[column]:
                dy, dx = output // 7 - column // 7, output % 7 - column % 7
                found.append((np.hypot(dy, dx), max(abs(dy), abs(dx)), abs(row[column])))
    return np.array(found)


@given(density=st.sampled_from([0.02, 0.3, 1.0]), seed=st.integers(0, 5))
def test_a_survey_is_what_plain_loops_find(density, seed):
    matrix = a_matrix(density, seed)
    survey, weights = survey_of(matrix), brute_force(matrix, range(N))
    mass = weights[:, 2]
    assert survey.nonzeros == len(weights)
    assert survey.per_output == pytest.approx(len(weights) / N)
    assert survey.sparsity == pytest.approx(1 - len(weights) / N**2)
    for radius in range(4):
        assert survey.share_within(radius) == pytest.approx(mass[weights[:, 1] <= radius].sum() / mass.sum())
    for count in (True, False):
        distance, share = survey.reach(count=count)
        counted = np.ones_like(mass) if count else mass
        wanted = [counted[weights[:, 0] <= d + 1e-9].sum() / counted.sum() for d in distance]
        assert np.allclose(share, wanted)
        assert np.allclose(distance, np.unique(weights[:, 0].round(9)))
    assert mass[weights[:, 0] <= survey.median_distance + 1e-9].sum() >= mass.sum() / 2 - 1e-9
    assert mass[weights[:, 0] < survey.median_distance - 1e-9].sum() < mass.sum() / 2 + 1e-9
    led = [bool(row[k]) and abs(row[k]) == np.abs(row[:N]).max() for k, row in enumerate(matrix)]
    assert survey.led_by_self == pytest.approx(np.mean(led))


def test_portions_and_sparse_rows_give_the_same_survey():
    matrix = a_matrix(0.2)
    whole = survey_of(matrix).to_dict()
    assert survey_of(scipy.sparse.csr_array(matrix)).to_dict() == whole
    portions = WeightSurvey(SHAPE)
    for start in range(0, N, 8):
        portions.add(matrix[start : start + 8], np.arange(start, min(start + 8, N)))
    assert portions.to_dict() == pytest.approx(whole)


def test_masked_weights_lie_in_their_field():
    field = ReceptiveField(3)
    coef = np.random.default_rng(0).normal(size=(9, *SHAPE)) * field.in_bounds(SHAPE)
    survey = survey_of(MaskedWeights(field, "shared", 1, coef, np.ones(SHAPE)).to_scipy())
    assert survey.nonzeros == field.in_bounds(SHAPE).sum()
    assert survey.share_within(1) == 1
    assert survey.share_within(0) == pytest.approx(np.abs(coef[4]).sum() / np.abs(coef).sum())


def test_a_mapping_without_weights_reaches_nowhere():
    survey = survey_of(np.zeros((N, N + 1)))
    assert (survey.nonzeros, survey.sparsity, survey.self_share, survey.median_distance) == (0, 1, 0, 0)
    assert survey.led_by_self == 0
    assert len(survey.reach()[0]) == 0


def test_rows_of_another_image_are_refused():
    with pytest.raises(ParameterError, match=r"35 columns .*got 34"):
        survey_of(np.zeros((N, N - 1)))


def test_roles_are_mean_absolute_outputs():
    rng = np.random.default_rng(0)
    intercept, predictions = rng.normal(size=(4, 6, 3)), rng.normal(size=(5, 4, 6, 3))
    roles = Roles(intercept)
    roles.add(predictions[:2])
    roles.add(predictions[2:])
    weights_map, intercept_map = roles.maps
    assert np.allclose(weights_map, np.abs(predictions - intercept).mean(axis=(0, 3)))
    assert np.allclose(intercept_map, np.abs(intercept).mean(axis=2))
    found = roles.to_dict()
    assert found["ratio"] == pytest.approx(weights_map.mean() / intercept_map.mean())
    assert found["intercept_share"] == pytest.approx(1 / (1 + found["ratio"]))


def test_roles_without_an_intercept():
    roles = Roles(np.zeros((2, 2, 1)))
    roles.add(np.ones((1, 2, 2, 1)))
    assert roles.ratio == float("inf")
    assert roles.to_dict() == {"weights": 1, "intercept": 0, "ratio": None, "intercept_share": 0}


@given(height=st.integers(1, 40), width=st.integers(1, 40), n=st.integers(1, 300))
def test_spread_pixels_are_different_and_few(height, width, n):
    pixels = spread_pixels((height, width), n)
    assert 0 < len(pixels) <= n
    assert (np.diff(pixels) > 0).all()
    assert pixels[-1] < height * width


def test_patches_are_centred_on_their_pixel():
    rows = np.zeros((2, N + 1))
    rows[0, 0], rows[1, 2 * 7 + 3] = 5, 6
    corner, middle = patches(rows, SHAPE, [(0, 0), (2, 3)], 2)
    assert corner[2, 2] == 5
    assert np.isnan(corner[:2]).all()
    assert middle[2, 2] == 6
    assert not np.isnan(middle).any()
