from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from mrdist.paired import means_of_people, paired_difference, paired_ratio, rank

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
    rankings = (rank(dict(zip("abcdefgh", rng.lognormal(size=(8, 8)), strict=True))) for _ in range(500))
    # to compare with the best of the same sample costs a little more than the intervals know of
    assert np.mean([len(ranking.leaders) < 8 for ranking in rankings]) < 0.15


def test_takes_of_a_person_count_once():
    values, subjects = np.array([1.0, 2.0, 6.0, 4.0]), np.array(["b", "a", "b", "b"])
    assert means_of_people(values, subjects).tolist() == [2.0, 11 / 3]


@given(seed=SEEDS, n=st.integers(2, 30))
def test_a_ratio_is_a_difference_in_decibels(seed, n):
    one, other = np.random.default_rng(seed).lognormal(-6, 2, size=(2, n))
    found = paired_ratio(one, other)
    psnr = paired_difference(-10 * np.log10(one), -10 * np.log10(other))
    assert [-10 * np.log10(each) for each in (found.mean, found.high, found.low)] == pytest.approx(
        [psnr.mean, psnr.low, psnr.high]
    )


def test_a_ratio_of_nothing_is_finite():
    assert paired_ratio(np.zeros(3), np.zeros(3)).to_dict() == {"mean": 1, "low": 1, "high": 1}


@pytest.mark.parametrize("errors", [True, False])
def test_a_method_that_is_always_better_is_ahead_and_one_that_wins_by_chance_is_not(errors):
    rng = np.random.default_rng(1)
    people = rng.uniform(1, 2, 8)
    sign = 1 if errors else -1
    scores = {"a": people, "b": people + sign * (0.5 + rng.normal(0, 0.01, 8))}
    assert rank(scores, errors=errors).leaders == ("a",)
    scores["b"] = people + sign * rng.normal(0.01, 0.2, 8)
    assert rank(scores, errors=errors).leaders == ("a", "b")


def test_a_method_that_is_worse_on_everybody_is_behind_even_if_one_person_is_much_harder():
    errors = np.array([1.0, 1.2, 0.9, 1.1, 1.0, 0.8, 1.3, 40.0])
    factors = np.array([3.0, 4.0, 5.0, 3.0, 6.0, 4.0, 5.0, 4.0])
    assert rank({"a": errors, "b": factors * errors}).leaders == ("a",)


def test_one_person_tells_nothing():
    found = rank({"a": np.array([1.0]), "b": np.array([100.0])})
    assert found.leaders == ("a", "b")
    assert found.in_words() == "a and b, which cannot be told apart on 1 person"
    assert found.differences["b"].mean == pytest.approx(100)
    assert (found.differences["b"].low, found.differences["b"].sign) == (None, 0)


def test_methods_that_say_the_same_are_alike():
    same = np.arange(1.0, 9.0)
    assert rank({"mr 1x1": same, "pixel": same.copy()}).leaders == ("mr 1x1", "pixel")
