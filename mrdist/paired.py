"""Whether one mapping is better than another: paired differences, with people as the sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """A mean difference between two mappings over people, and what it may be among people like these.

    Attributes
    ----------
    mean
        Over the people.
    low, high
        Ends of the confidence interval; None for fewer than two people.
    """

    mean: float
    low: float | None
    high: float | None

    @property
    def sign(self) -> int:
        """-1 or 1 where the whole interval lies on one side of 0; 0 where the two cannot be told apart."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > 0 else -1 if self.high < 0 else 0

    def to_dict(self) -> dict[str, float | None]:
        """Return what reports hold."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


def means_of_people(values: Floats, subjects: npt.NDArray[np.str_]) -> Floats:
    """Return the mean of every person's images: people are independent of each other, their takes are not.

    Parameters
    ----------
    values, subjects
        Of every image, shape (image,).

    Returns
    -------
    ndarray
        Shape (person,), by name.

    Examples
    --------
    >>> means_of_people(np.array([1.0, 5.0, 3.0]), np.array(["ann", "bob", "ann"]))
    array([2., 5.])
    """
    _, person = np.unique(subjects, return_inverse=True)
    return np.bincount(person, weights=values) / np.bincount(person)


def paired_difference(one: Floats, other: Floats, *, n_comparisons: int = 1) -> Difference:
    """Return the mean difference of two mappings on the same people, with the interval of Student's paired t.

    The mean of the differences, give or take the quantile of t with (people - 1) degrees of freedom times their
    standard error (Student, The probable error of a mean, Biometrika 6, 1908). With few people it is wider than a
    percentile bootstrap's, which is too narrow there. It covers who is tested, not who was trained on: another
    training set would move both mappings.

    Parameters
    ----------
    one, other
        Scores of every person, shape (person,).
    n_comparisons
        Intervals that are to hold the truth all at once with `CONFIDENCE`: each is widened accordingly (Dunn, Multiple
        comparisons among means, Journal of the American Statistical Association 56, 1961: Bonferroni's inequality).

    Examples
    --------
    >>> paired_difference(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 1.5])).to_dict()["mean"]
    1.0
    >>> paired_difference(np.array([1.0]), np.array([0.5]))
    Difference(mean=0.5, low=None, high=None)
    """
    from scipy.special import stdtrit

    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Difference(mean, None, None)
    quantile = float(stdtrit(n - 1, 1 - (1 - CONFIDENCE) / (2 * n_comparisons)))
    half = quantile * float(differences.std(ddof=1)) / n**0.5
    return Difference(mean, mean - half, mean + half)


@dataclass(frozen=True)
class Ranking:
    """Who is ahead by one measure.

    Attributes
    ----------
    best
        The mapping with the best mean.
    differences
        Of every mapping from it; the intervals hold all at once.
    leaders
        The best and all that cannot be told apart from it, in the order given.
    n_people
        Number of people.
    """

    best: str
    differences: Mapping[str, Difference]
    leaders: tuple[str, ...]
    n_people: int

    def in_words(self, titles: Mapping[str, str] | None = None) -> str:
        """Say who is ahead; ``titles`` are what to call the mappings, if not what they are called here.

        Examples
        --------
        >>> few = np.array([[1.0, 2.0, 3.0], [1.1, 1.9, 3.1]])
        >>> rank({"mr": few[0], "pixel": few[1]}).in_words()
        'mr and pixel, not to be told apart on 3 people'
        >>> rank({"mr": few[0], "mean": few[0] + 5}).in_words()
        'mr, ahead of all others on 3 people'
        """
        *others, last = (name if titles is None else titles[name] for name in self.leaders)
        on = f"on {self.n_people} {'person' if self.n_people == 1 else 'people'}"
        if others:
            return f"{', '.join(others)} and {last}, not to be told apart {on}"
        return last if len(self.differences) == 1 else f"{last}, ahead of all others {on}"


def rank(scores: Mapping[str, Floats], *, smaller: bool = True) -> Ranking:
    """Say who is ahead, and who cannot be told apart from the best.

    Parameters
    ----------
    scores
        Mapping -> score of every person, shape (person,), the same people for all.
    smaller
        Whether smaller scores are better.

    Examples
    --------
    >>> ranking = rank({"mr": np.array([1.0, 2.0, 3.0]), "pixel": np.array([1.1, 1.9, 3.1])})
    >>> ranking.best, ranking.leaders
    ('mr', ('mr', 'pixel'))
    """
    means = {name: float(np.mean(values)) for name, values in scores.items()}
    best = (min if smaller else max)(means, key=lambda name: means[name])
    differences = {
        name: paired_difference(values, scores[best], n_comparisons=max(1, len(scores) - 1))
        for name, values in scores.items()
    }
    behind = 1 if smaller else -1
    leaders = tuple(name for name, difference in differences.items() if difference.sign != behind)
    return Ranking(best, differences, leaders, len(scores[best]))
