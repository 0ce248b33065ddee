"""Means over mappings of what `mrdist.evaluate` returns for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def mean(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are defined, None if there is none.

    Examples
    --------
    >>> mean([1.0, None, 2.0]), mean([None])
    (1.5, None)
    """
    defined = [value for value in values if value is not None]
    return sum(defined) / len(defined) if defined else None


def mean_scores(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Average dictionaries of the same form number by number, each over the dictionaries that have it.

    Examples
    --------
    >>> mean_scores([{"test": {"mse": 1.0, "r2": None}}, {"test": {"mse": 3.0, "r2": 0.5}}])
    {'test': {'mse': 2.0, 'r2': 0.5}}
    """
    results = list(results)
    averaged: dict[str, Any] = {}
    for name in dict.fromkeys(name for result in results for name in result):
        values = [result[name] for result in results if name in result]
        inner = [value for value in values if isinstance(value, Mapping)]
        averaged[name] = mean_scores(inner) if inner else mean(values)
    return averaged
