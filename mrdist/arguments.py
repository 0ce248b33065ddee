"""Arguments of public functions: accepted types, and their conversion to plain Python values.

Callers may pass a `pathlib.Path`, a NumPy number or a column of a table. Inside, an address is a string, a number a
Python number, and a sequence a list or a tuple, so that all of them can be compared, printed, written as JSON and sent
to workers. `plain_arguments` is the only place that converts them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from functools import wraps
from inspect import Parameter, signature
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np

from mrdist.errors import ParameterError

P = ParamSpec("P")
R = TypeVar("R")

Address = str | os.PathLike[str]
"""A path or an fsspec URL."""

_NUMBERS = {"int": (Integral, "a whole number"), "float": (Real, "a number")}
_LISTS = {
    "Sequence[str]": (str | Integral, "a name", "names"),  # people may be numbered
    "Sequence[int]": (Integral, "a whole number", "whole numbers"),
    "Sequence[float]": (Real, "a number", "numbers"),
}


def plain(value: Any) -> Any:
    """Return an argument without NumPy's, pandas' or pathlib's types.

    Examples
    --------
    >>> plain(np.float64(0.5)), plain(np.array(["happy", "sad"])), plain([np.int64(4), 16])
    (0.5, ('happy', 'sad'), [4, 16])
    """
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    if type(value) is dict:
        return {plain(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray) or (hasattr(value, "__array__") and hasattr(value, "dtype")):
        values = np.asarray(value).tolist()
        return plain(tuple(values)) if isinstance(values, list) else values
    return value


def plain_arguments(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a public function: it gets every argument as `plain` returns it, and wrong types are refused.

    Parameters annotated as arrays stay arrays. Parameters annotated as `Address`, ``int`` or ``float``, a ``Sequence``
    of text or numbers, or ``StorageOptions``, or as one of these or None, are checked.

    Raises
    ------
    ParameterError
        If an address is not a path or URL, a number is not a number, a list not a list of these, or options of a
        filesystem are not a dictionary.
    """
    asked = signature(function)

    @wraps(function)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        bound = asked.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            parameter = asked.parameters[name]
            if "NDArray" in str(parameter.annotation):
                continue
            if parameter.kind is Parameter.VAR_KEYWORD:
                bound.arguments[name] = {key: plain(each) for key, each in value.items()}
            else:
                bound.arguments[name] = plain(value)
                _check(name, str(parameter.annotation), bound.arguments[name])
        return function(*bound.args, **bound.kwargs)

    return called


def shared_arguments(
    defaults: Mapping[str, Any], others: str | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function with ``**how: Unpack[Arguments]``, a ``TypedDict`` of arguments that functions share.

    It is called, completed and documented as if each of them stood in its own signature, and gets all of them.

    Parameters
    ----------
    defaults
        Of the arguments; it may know more.
    others
        Name under which the signature shows that further arguments are taken; by default none are.

    Examples
    --------
    >>> from typing import TypedDict, Unpack
    >>> class Paint(TypedDict, total=False):
    ...     color: str
    >>> @shared_arguments({"color": "red", "size": 3})
    ... def draw(name: str, **how: Unpack[Paint]) -> str:
    ...     return f"{how['color']} {name}"
    >>> draw("house"), str(signature(draw))
    ('red house', "(name: 'str', *, color: 'str' = 'red') -> 'str'")
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        own = signature(function)
        *parameters, how = own.parameters.values()
        shared = function.__globals__[how.annotation.removeprefix("Unpack[").removesuffix("]")].__annotations__
        given = {name: defaults[name] for name in shared}

        @wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            return function(*args, **{**given, **kwargs})

        parameters += [
            Parameter(name, Parameter.KEYWORD_ONLY, default=given[name], annotation=kind.__forward_arg__)
            for name, kind in shared.items()
        ]
        if others is not None:
            parameters.append(Parameter(others, Parameter.VAR_KEYWORD, annotation="Any"))
        called.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
        return called

    return decorate


def plain_fields(instance: Any) -> None:
    """Do the same with the fields of a frozen dataclass, in its ``__post_init__``."""
    for field in fields(instance):
        value = plain(getattr(instance, field.name))
        _check(field.name, str(field.type), value)
        object.__setattr__(instance, field.name, value)


def _check(parameter: str, annotation: str, value: Any) -> None:
    kinds = annotation.split(" | ")
    if value is None and "None" in kinds:
        return
    wanted = [kind for kind in kinds if kind != "None"]
    if wanted == ["Address"] and not (isinstance(value, str) and value):
        raise ParameterError(f"{parameter} must be a path or a URL, got {shown(value)}.")
    if wanted in (["int"], ["float"]):
        number, name = _NUMBERS[wanted[0]]
        if isinstance(value, bool) or not isinstance(value, number):
            raise ParameterError(f"{parameter} must be {name}, got {shown(value)}.")
    if len(wanted) == 1 and wanted[0] in _LISTS:
        kind, one, several = _LISTS[wanted[0]]
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise ParameterError(f"{parameter} must be a list of {several}, got {shown(value)}.")
        for each in value:
            if isinstance(each, bool) or not isinstance(each, kind):
                raise ParameterError(f"{parameter} must be {one}, got {shown(each)}.")
    if wanted == ["StorageOptions"] and not (value is None or isinstance(value, Mapping)):
        raise ParameterError(f"{parameter} must be a dictionary, got {type(value).__name__}.")  # may be secret


def shown(value: object) -> str:
    """Return a value as an error message shows it, on one line and not too long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 80 else f"{text[:80]}..."
