"""Tests whether one mapping is better than another: paired differences, with people as the sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

CONFIDENCE = 0.95
_LEAST_ERROR = 1e-12

Floats = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Difference:
    """A mean difference or ratio between two mappings over people, with a confidence interval for people like these.

    Attributes
    ----------
    mean
        Mean over the people; the geometric mean for ratios.
    low, high
        Ends of the confidence interval; None for fewer than two people.
    neutral
        Its value if both are equal: 0, or 1 for a ratio.
    """

    mean: float
    low: float | None
    high: float | None
    neutral: float = 0.0

    @property
    def sign(self) -> int:
        """-1 or 1 where the interval lies below or above the neutral value; 0 where the two cannot be told apart."""
        if self.low is None or self.high is None:
            return 0
        return 1 if self.low > self.neutral else -1 if self.high < self.neutral else 0

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
    percentile bootstrap's, which is too narrow there. It covers the choice of the people tested, not of those trained
    on: another training set would move both mappings.

    Parameters
    ----------
    one, other
        Scores of every person, shape (person,).
    n_comparisons
        Number of intervals that hold the truth together with `CONFIDENCE`: each is widened accordingly (Dunn, Multiple
        comparisons among means, Journal of the American Statistical Association 56, 1961: Bonferroni's inequality).

    Examples
    --------
    >>> paired_difference(np.array([1.0, 2.0, 3.0]), np.array([0.5, 1.0, 1.5])).to_dict()["mean"]
    1.0
    >>> paired_difference(np.array([1.0]), np.array([0.5]))
    Difference(mean=0.5, low=None, high=None, neutral=0.0)
    """
    from scipy.special import stdtrit

    differences = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    n, mean = len(differences), float(differences.mean())
    if n < 2:
        return Difference(mean, None, None)
    quantile = float(stdtrit(n - 1, 1 - (1 - CONFIDENCE) / (2 * n_comparisons)))
    half = quantile * float(differences.std(ddof=1)) / n**0.5
    return Difference(mean, mean - half, mean + half)


def paired_ratio(one: Floats, other: Floats, *, n_comparisons: int = 1) -> Difference:
    """Return the mean ratio of two mappings' errors on the same people, with its interval.

    Errors of people differ by factors, so the hardest person would dominate a difference of errors: `paired_difference`
    compares their logarithms (a difference of PSNR is the same in dB). An error below 1e-12 (120 dB) counts as 1e-12.

    Examples
    --------
    >>> round(paired_ratio(np.array([1.0, 20.0]), np.array([2.0, 40.0])).mean, 6)
    0.5
    """
    logs = (np.log(np.maximum(values, _LEAST_ERROR)) for values in (one, other))
    log_ratio = paired_difference(*logs, n_comparisons=n_comparisons)
    low, high = (None if end is None else float(np.exp(end)) for end in (log_ratio.low, log_ratio.high))
    return Difference(float(np.exp(log_ratio.mean)), low, high, neutral=1.0)


@dataclass(frozen=True)
class Ranking:
    """The best mappings by one measure.

    Attributes
    ----------
    best
        The mapping with the best mean.
    differences
        Difference (for errors: ratio) between every mapping and the best; the intervals hold all at once.
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
        """Return the verdict in words; ``titles`` replaces names of mappings.

        Examples
        --------
        >>> few = np.array([[1.0, 2.0, 3.0], [1.1, 1.9, 3.1]])
        >>> rank({"mr": few[0], "pixel": few[1]}).in_words()
        'mr and pixel, which cannot be told apart on 3 people'
        >>> rank({"mr": few[0], "mean": 5 * few[0]}).in_words()
        'mr, ahead of all others on 3 people'
        """
        *others, last = (name if titles is None else titles[name] for name in self.leaders)
        on = f"on {self.n_people} {'person' if self.n_people == 1 else 'people'}"
        if others:
            return f"{', '.join(others)} and {last}, which cannot be told apart {on}"
        return last if len(self.differences) == 1 else f"{last}, ahead of all others {on}"


def rank(scores: Mapping[str, Floats], *, errors: bool = True) -> Ranking:
    """Find the best mapping, and those that cannot be told apart from it.

    Parameters
    ----------
    scores
        Mapping -> score of every person, shape (person,), the same people for all.
    errors
        Whether scores are errors, compared by ratios; if not, larger scores are better, compared by differences.

    Examples
    --------
    >>> ranking = rank({"mr": np.array([1.0, 2.0, 3.0]), "pixel": np.array([1.1, 1.9, 3.1])})
    >>> ranking.best, ranking.leaders
    ('mr', ('mr', 'pixel'))
    """
    compare = paired_ratio if errors else paired_difference
    reference = next(iter(scores.values()))
    means = {name: compare(values, reference).mean for name, values in scores.items()}
    best = (min if errors else max)(means, key=lambda name: means[name])
    n_comparisons = max(1, len(scores) - 1)
    differences = {name: compare(values, scores[best], n_comparisons=n_comparisons) for name, values in scores.items()}
    behind = 1 if errors else -1
    leaders = tuple(name for name, difference in differences.items() if difference.sign != behind)
    return Ranking(best, differences, leaders, len(scores[best]))
