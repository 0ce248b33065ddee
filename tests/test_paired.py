from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mrdist.paired import means_of_people, paired_difference, rank

SEEDS = st.integers(0, 1000)


@given(seed=SEEDS, n=st.integers(2, 30))
def test_the_interval_is_that_of_the_paired_t_test(seed, n):
    one, other = np.random.default_rng(seed).normal(size=(2, n))
    found = paired_difference(one, other)
    wanted = scipy.stats.ttest_rel(one, other).confidence_interval(0.95)
    assert found.mean == pytest.approx((one - other).mean())
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


@given(seed=SEEDS, n=st.integers(2, 30), n_comparisons=st.integers(1, 9))
def test_several_intervals_at_once_are_those_of_bonferroni(seed, n, n_comparisons):
    one, other = np.random.default_rng(seed).normal(size=(2, n))
    found = paired_difference(one, other, n_comparisons=n_comparisons)
    wanted = scipy.stats.ttest_rel(one, other).confidence_interval(1 - 0.05 / n_comparisons)
    assert (found.low, found.high) == pytest.approx((wanted.low, wanted.high))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = (paired_difference(rng.normal(0.3, 1, 8), np.zeros(8)) for _ in range(2000))
    held = np.mean([found.low <= 0.3 <= found.high for found in draws])
    assert abs(held - 0.95) < 4 * np.sqrt(0.95 * 0.05 / 2000)


def test_equal_methods_are_seldom_told_apart():
    """Eight methods that differ by chance alone: one is called behind in about a twentieth of the comparisons."""
    rng = np.random.default_rng(0)
    rankings = (rank(dict(zip("abcdefgh", rng.normal(size=(8, 8)), strict=True))) for _ in range(500))
    # to compare with the best of the same sample costs a little more than the intervals know of
    assert np.mean([len(ranking.leaders) < 8 for ranking in rankings]) < 0.15


def test_takes_of_a_person_count_once():
    values, subjects = np.array([1.0, 2.0, 6.0, 4.0]), np.array(["b", "a", "b", "b"])
    assert means_of_people(values, subjects).tolist() == [2.0, 11 / 3]


@pytest.mark.parametrize("smaller", [True, False])
def test_a_method_that_is_always_better_is_ahead_and_one_that_wins_by_chance_is_not(smaller):
    rng = np.random.default_rng(1)
    people = rng.uniform(1, 2, 8)
    sign = 1 if smaller else -1
    scores = {"a": sign * people, "b": sign * (people + 0.5 + rng.normal(0, 0.01, 8))}
    assert rank(scores, smaller=smaller).leaders == ("a",)
    scores["b"] = sign * (people + rng.normal(0.01, 0.2, 8))
    assert rank(scores, smaller=smaller).leaders == ("a", "b")


def test_one_person_tells_nothing():
    found = rank({"a": np.array([1.0]), "b": np.array([100.0])})
    assert found.leaders == ("a", "b")
    assert found.in_words() == "a and b, not to be told apart on 1 person"
    assert (found.differences["b"].mean, found.differences["b"].low, found.differences["b"].sign) == (99, None, 0)


def test_methods_that_say_the_same_are_alike():
    same = np.arange(8.0)
    assert rank({"mr 1x1": same, "pixel": same.copy()}).leaders == ("mr 1x1", "pixel")
