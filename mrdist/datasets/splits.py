"""Train, validation and test sets drawn by person."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

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
    ['test', 'val', 'test', 'train']
    """
    # Hashes, because the streams of random generators change between versions of their libraries.
    people = sorted(set(subjects), key=lambda person: hashlib.sha256(f"{seed} {person}".encode()).digest())
    least = 1 if len(people) >= 3 else 0
    n_test = max(least, round(TEST_SHARE * len(people)))
    n_val = max(least, round(VAL_SHARE * len(people)))
    split = {}
    for rank, person in enumerate(people):
        split[person] = "test" if rank < n_test else "val" if rank < n_test + n_val else "train"
    return [split[subject] for subject in subjects]
