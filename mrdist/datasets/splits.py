"""Train, validation and test sets drawn by person."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

TEST_SHARE = VAL_SHARE = 0.1


def split_by_subject(subjects: Sequence[str], seed: int) -> list[str]:
    """Assign every row to train, val or test, 80/10/10, so that no person is on two sides.

    Parameters
    ----------
    subjects
        Person of every row.
    seed
        Decides the draw; the order of the rows does not.

    Returns
    -------
    list of str
        One of ``train``, ``val`` and ``test`` per row. With three people or more, every split has one.

    Examples
    --------
    >>> split_by_subject(["ann", "bob", "ann", "cid"], seed=0)
    ['val', 'test', 'val', 'train']
    """
    people = sorted(set(subjects))
    order = np.random.default_rng(seed).permutation(len(people))
    least = 1 if len(people) >= 3 else 0
    n_test = max(least, round(TEST_SHARE * len(people)))
    n_val = max(least, round(VAL_SHARE * len(people)))
    split = {}
    for rank, index in enumerate(order):
        split[people[index]] = "test" if rank < n_test else "val" if rank < n_test + n_val else "train"
    return [split[subject] for subject in subjects]
