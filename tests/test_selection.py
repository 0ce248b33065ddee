"""Folds by person, grids of penalties and the rules of choice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mrdist.errors import ParameterError
from mrdist.selection import assign_folds, check_alphas, choose, mean_error, standard_error


@given(
    takes=st.lists(st.integers(1, 4), min_size=2, max_size=30), seed=st.integers(0, 99), n_folds=st.integers(2, 6),
    order=st.randoms(use_true_random=False),
)  # fmt: skip
def test_folds_keep_people_together_and_are_balanced(takes, seed, n_folds, order):
    n_folds = min(n_folds, len(takes))
    subject = [f"person-{n}" for n, count in enumerate(takes) for _ in range(count)]
    fold = assign_folds(subject, n_folds, seed)
    sizes = np.bincount(fold, minlength=n_folds)
    assert len(sizes) == n_folds
    assert sizes.min() > 0
    assert sizes.max() - sizes.min() <= max(takes)
    of_person = dict(zip(subject, fold.tolist(), strict=True))
    assert [of_person[person] for person in subject] == fold.tolist()

    shuffled = list(range(len(subject)))
    order.shuffle(shuffled)
    again = assign_folds([subject[n] for n in shuffled], n_folds, seed)
    assert again.tolist() == fold[shuffled].tolist()


def test_the_seed_decides_and_the_draw_stays_what_it_was():
    people = [f"person-{n}" for n in range(8)]
    assert assign_folds(people, 3, seed=0).tolist() != assign_folds(people, 3, seed=1).tolist()
    assert assign_folds(people, 3, seed=0).tolist() == [1, 1, 0, 0, 1, 0, 2, 2]


@pytest.mark.parametrize(
    ("n_folds", "message"),
    [(4, "folds is 4, but the images to train on show only 3 subject"), (1, "at least 2"), (-2, "got -2")],
)
def test_folds_that_cannot_be(n_folds, message):
    with pytest.raises(ParameterError, match=message):
        assign_folds(["a", "b", "c", "a"], n_folds, seed=0)


@pytest.mark.parametrize(
    ("alphas", "message"),
    [
        ([], "alphas is empty"),
        ([1, -2], "got -2"),
        ([0.0], "got 0"),
        ([1, float("nan")], "got nan"),
        ([float("inf")], "got inf"),
        ([1, 3, 1.0], "holds 1 twice"),
    ],
)
def test_grids_that_cannot_be(alphas, message):
    with pytest.raises(ParameterError, match=message):
        check_alphas(alphas)


def test_means_and_standard_errors_are_numpys():
    errors = np.random.default_rng(0).random((2, 4, 5))
    np.testing.assert_allclose(mean_error(errors), errors.mean(axis=2), rtol=1e-14)
    np.testing.assert_allclose(standard_error(errors), errors.std(axis=2, ddof=1) / np.sqrt(5), rtol=1e-14)


def table(*means, spread=0.1):
    """Errors of two folds with these means and standard errors of ``spread``, a row a model."""
    return np.stack([np.array(means) - spread, np.array(means) + spread], axis=-1)


def test_the_least_mean_wins():
    found = choose(table([5.0, 3.0, 4.0], [4.5, 2.9, 4.0]))
    assert (found.model, found.alpha, found.edge) == (1, 1, None)
    assert (found.error, found.standard_error) == (pytest.approx(2.9), pytest.approx(0.1))


def test_one_standard_error_takes_the_smallest_model_and_its_largest_alpha():
    errors = table([5.0, 3.05, 3.08, 4.0], [4.5, 3.0, 3.05, 3.09])
    assert (choose(errors).model, choose(errors).alpha) == (1, 1)
    found = choose(errors, rule="1se")
    assert (found.model, found.alpha, found.error) == (0, 2, pytest.approx(3.08))
    found = choose(errors, rule="1se", size=[25, 9])
    assert (found.model, found.alpha) == (1, 3)


def test_of_equally_small_models_the_better_one():
    errors = table([3.09], [3.05], [3.0])
    assert choose(errors, rule="1se", size=[9, 9, 25]).model == 1


@pytest.mark.parametrize(
    ("means", "edge"), [([1, 2, 3], "lower"), ([3, 2, 1], "upper"), ([3, 1, 2], None), ([1], None)]
)
@pytest.mark.parametrize("rule", ["min", "1se"])
def test_the_edge_of_the_grid(means, edge, rule):
    """Of a grid of one there is no edge, and what the rule makes of the best does not matter."""
    assert choose(table([float(mean) for mean in means], spread=1.5), rule=rule).edge == edge
