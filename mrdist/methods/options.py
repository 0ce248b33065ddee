"""Checks of the options of all methods, in one place.

A checked option is a plain Python number or a list of them, ready for JSON, even if NumPy gave it. Limits that depend
on the images (how wide a window may be, how many components there are) are checked where the images are known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Integral, Real
from typing import Any

from mrdist.arguments import plain, shown
from mrdist.baselines.dual import check_gamma
from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.solvers import check_alpha

Check = Callable[[str, Any], Any]
"""Called with the name and the value of an option."""


def check_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with plain values.

    Raises
    ------
    ParameterError
        If a value is invalid.

    Examples
    --------
    >>> import numpy as np
    >>> check_options({"alpha": np.float64(2), "nonzeros": np.array([3, 5])})
    {'alpha': 2.0, 'nonzeros': [3, 5]}
    """
    return {name: _CHECKS[name](name, plain(value)) for name, value in given.items()}


def check_fixed(*, receptive_field: Any, dilation: Any, **search: object) -> dict[str, int]:
    """Return the one field of a training without cross-validation.

    Raises
    ------
    ParameterError
        If there are several, or an option of cross-validation is given.
    """
    check_unsearched("--alpha cv (alpha='cv')", **search)
    field: dict[str, int] = {}
    for name, choices in (("receptive_field", receptive_field), ("dilation", dilation)):
        values = as_list(choices)
        if len(values) != 1:
            raise ParameterError(
                f"{name} must be one number, got {', '.join(map(str, values)) or 'none'}; add --alpha cv (alpha='cv') "
                "to choose one of several by cross-validation."
            )
        field[name] = values[0]
    return field


def choose_field(receptive_field: int | None, dilation: int | None, default: ReceptiveField) -> ReceptiveField:
    """Return one field; what is not given is taken from ``default``.

    Raises
    ------
    ParameterError
        If there are several, or it is invalid.

    Examples
    --------
    >>> choose_field(None, 2, ReceptiveField(3))
    ReceptiveField(size=3, dilation=2)
    """
    asked = {"receptive_field": receptive_field, "dilation": dilation}
    given = check_options({name: value for name, value in asked.items() if value is not None})
    field = check_fixed(**{"receptive_field": default.size, "dilation": default.dilation} | given)
    return ReceptiveField(field["receptive_field"], field["dilation"])


def check_unsearched(asking: str, /, **search: object) -> None:
    """Raise ParameterError if an option of cross-validation is given; ``asking`` is the option that starts one."""
    for name, value in search.items():
        if value is not None:
            raise ParameterError(f"{name} ({value}) is an option of cross-validation; add {asking}, or leave it out.")


def check_numbers(numbers: Sequence[int]) -> list[int]:
    """Return numbers of weights to choose from in ascending order.

    Raises
    ------
    ParameterError
        If there are none, or one is there twice.

    Examples
    --------
    >>> check_numbers((5, 1))
    [1, 5]
    """
    if not numbers:
        raise ParameterError("nonzeros must be a whole number, several of them, or 'cv', got none.")
    ascending = sorted(numbers)
    for number, following in pairwise(ascending):
        if number == following:
            raise ParameterError(f"nonzeros contains {number} twice; give each number once.")
    return ascending


def as_list(value: int | Sequence[int]) -> list[int]:
    """Return one value or several as a list."""
    return [value] if isinstance(value, int) else list(value)


def _whole(least: int | None = None, most: int | None = None) -> Check:
    def check(name: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, Integral):
            raise ParameterError(f"{name} must be a whole number, got {shown(value)}.")
        number = int(value)
        if least is not None and number < least:
            raise ParameterError(f"{name} must be a whole number of at least {least}, got {number}.")
        if most is not None and number > most:
            raise ParameterError(f"{name} must be a whole number of at most {most}, got {number}.")
        return number

    return check


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise ParameterError(f"{name} must be a number, got {shown(value)}.")
    return float(value)


def _alpha(name: str, value: Any) -> float:
    return check_alpha(_number(name, value))


def _gamma(name: str, value: Any) -> float | None:
    return check_gamma(_number(name, value))


def _tolerance(name: str, value: Any) -> float:
    number = _number(name, value)
    if not 0 <= number < math.inf:
        raise ParameterError(f"{name} must be a finite mean squared error of at least 0, got {number}.")
    return number


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise ParameterError(f"{name} must be True or False, got {shown(value)}.")
    return value


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ParameterError(f"{name} must be a string, got {shown(value)}.")
    return str(value)


def _several(check: Check) -> Check:
    def check_all(name: str, values: Any) -> list[Any]:
        if not _is_several(values):
            raise ParameterError(f"{name} must be a list of numbers, got {shown(values)}.")
        return [check(name, value) for value in values]

    return check_all


def _one_or_several(check: Check) -> Check:
    return lambda name, value: (_several(check) if _is_several(value) else check)(name, value)


def _or_cv(check: Check) -> Check:
    return lambda name, value: value if isinstance(value, str) and value == "cv" else check(name, value)


def _is_several(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


_CHECKS: Mapping[str, Check] = {
    "receptive_field": _one_or_several(_whole()),
    "dilation": _one_or_several(_whole()),
    "alpha": _or_cv(_alpha),
    "penalize_intercept": _flag,
    "gamma": _gamma,
    "components": _whole(1),
    "alphas": _several(_alpha),
    "folds": _whole(2),
    "rule": _text,
    "seed": _whole(0),
    "window": _whole(1),
    "max_iterations": _whole(1, 2**63 - 1),  # counted in 64 bits
    "nonzeros": _or_cv(_one_or_several(_whole(1))),
    "tolerance": _tolerance,
}
