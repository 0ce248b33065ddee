"""The methods of `mrdist.train`: what each does, and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from mrdist.errors import ParameterError
from mrdist.methods.lesson import Lesson
from mrdist.methods.options import check_options
from mrdist.methods.training import TrainingWork
from mrdist.running.tasks import RunOptions


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    home
        Module and name of what makes its work of a `Lesson`, `RunOptions` and all its options; imported when it is
        needed, with the libraries that only it needs.
    options
        Its options besides those that all methods share, with their defaults; None where the default follows from the
        images.
    knows_joint
        Whether its outputs can see all input channels.
    """

    home: tuple[str, str]
    options: Mapping[str, Any]
    knows_joint: bool = False

    def work(self, lesson: Lesson, run: RunOptions, options: Mapping[str, Any]) -> TrainingWork[Any]:
        """Check the options and return the work; nothing is touched.

        Raises
        ------
        ParameterError
            If an option is invalid for these images, or the method does not support the colour.
        """
        if lesson.color == "joint" and not self.knows_joint:
            able = ", ".join(name for name, method in METHODS.items() if method.knows_joint)
            raise ParameterError(
                f"method {lesson.method} does not support the colour joint; choose shared or separate, or a method of "
                f"{able}."
            )
        module, name = self.home
        work: TrainingWork[Any] = getattr(import_module(module), name)(lesson, run, **options)
        return work


_SEARCH = {"alphas": None, "folds": None, "rule": None, "seed": None}

METHODS: dict[str, Method] = {
    "mr": Method(
        ("mrdist.methods.masked.phases", "masked_work"),
        {"receptive_field": 3, "dilation": 1, "alpha": 0.4, "penalize_intercept": True, **_SEARCH},
        knows_joint=True,
    ),
    "pixel": Method(
        ("mrdist.methods.masked.phases", "masked_work"),
        {"alpha": 0.4, "penalize_intercept": True, **_SEARCH},
        knows_joint=True,
    ),
    "l2": Method(
        ("mrdist.methods.whole.phases", "WholeWork"),
        {"alpha": 0.4, "penalize_intercept": True, **_SEARCH},
    ),
    "kernel": Method(
        ("mrdist.methods.whole.phases", "WholeWork"),
        {"alpha": 0.01, "penalize_intercept": True, "gamma": None, **_SEARCH},
    ),
    "pca": Method(("mrdist.methods.whole.phases", "WholeWork"), {"components": None}),
    "mean": Method(("mrdist.methods.whole.mean", "MeanWork"), {}),
    "l1": Method(
        ("mrdist.methods.sparse.phases", "lasso_work"),
        {"alpha": 0.001, "window": None, "max_iterations": 1000, **_SEARCH},
    ),
    "l0": Method(
        ("mrdist.methods.sparse.phases", "omp_work"),
        {"nonzeros": None, "tolerance": 0.0, "window": None, "folds": None, "rule": None, "seed": None},
    ),
}


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
