"""Choose a method with its options, and make its work."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrdist.errors import ParameterError
from mrdist.methods.lesson import Lesson
from mrdist.methods.options import check_options
from mrdist.methods.registry import METHODS
from mrdist.methods.training import TrainingWork
from mrdist.running.tasks import RunOptions


def work_of(lesson: Lesson, run: RunOptions, options: Mapping[str, Any]) -> TrainingWork[Any]:
    """Return the work of a training; nothing is touched.

    Raises
    ------
    ParameterError
        If an option is invalid for these images, or the method does not support the colour.
    DataError
        If it needs whole images, and some miss pixels that others have.
    """
    method = METHODS[lesson.method]
    if lesson.color == "joint" and not method.knows_joint:
        able = ", ".join(name for name, other in METHODS.items() if other.knows_joint)
        raise ParameterError(
            f"method {lesson.method} does not support the colour joint; choose shared or separate, or a method of "
            f"{able}."
        )
    if not method.drops_rows:
        able = ", ".join(name for name, other in METHODS.items() if other.drops_rows)
        labels = lesson.source, lesson.target
        lesson.images.check_whole(labels, f"method {lesson.method}", f"choose a method of {able},")
    return method.work(lesson, run, **lesson.in_pixels(options))


def choose_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a method: those that are given (not None), and the defaults of the others.

    Raises
    ------
    ParameterError
        If the method does not exist, or an option is invalid or not one of the method.

    Examples
    --------
    >>> choose_options("pixel", {"alpha": 2.0, "dilation": None})["alpha"]
    2.0
    """
    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    known = METHODS[method].options
    for name, value in given.items():
        if value is not None and name not in known:
            raise ParameterError(
                f"method {method} has no option {name} (got {value!r}); its options are "
                f"{', '.join(known) or 'those of all methods'}."
            )
    return {**known, **check_options({name: value for name, value in given.items() if value is not None})}
