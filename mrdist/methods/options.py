"""Checks of the options of all methods, by the table of them.

A checked option is a plain Python number or a list of them, ready for JSON, even if NumPy gave it. Limits that depend
on the images (how wide a window may be, how many components there are) are checked where the images are known.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from mrdist.arguments import plain
from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.methods.option_table import OPTIONS


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
    return {name: OPTIONS[name].check(plain(value)) for name, value in given.items()}


def check_fixed(*, receptive_field: Any, dilation: Any, pool: Any = 0, **search: object) -> dict[str, int]:
    """Return the one field and pool of a training without cross-validation.

    Raises
    ------
    ParameterError
        If there are several, or an option of cross-validation is given.
    """
    check_unsearched("--alpha cv (alpha='cv')", **search)
    fixed: dict[str, int] = {}
    for name, choices in (("receptive_field", receptive_field), ("dilation", dilation), ("pool", pool)):
        values = as_list(choices)
        if len(values) != 1:
            raise ParameterError(
                f"{name} must be one number, got {', '.join(map(str, values))}; add --alpha cv (alpha='cv') "
                "to choose one of several by cross-validation."
            )
        fixed[name] = values[0]
    return fixed


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
        If one is there twice.

    Examples
    --------
    >>> check_numbers((5, 1))
    [1, 5]
    """
    ascending = sorted(numbers)
    for number, following in pairwise(ascending):
        if number == following:
            raise ParameterError(f"nonzeros contains {number} twice; give each number once.")
    return ascending


def as_list(value: int | Sequence[int]) -> list[int]:
    """Return one value or several as a list."""
    return [value] if isinstance(value, int) else list(value)
