"""Options and choice of the cross-validations that give all pixels one setting."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError
from mrdist.methods.lesson import Lesson
from mrdist.selection import assign_folds, choose, default_folds, standard_error
from mrdist.storage.weights.output import WeightsOutput

logger = logging.getLogger("mrdist")

RULES = ("min", "1se")
Parameter = Literal["alpha", "nonzeros"]


def check_search(lesson: Lesson, *, folds: int | None, rule: str | None, seed: int | None) -> dict[str, Any]:
    """Check the options of a cross-validation and return them with their defaults."""
    subject = lesson.images.subject[lesson.rows]
    rule, n_folds, seed = rule or "min", default_folds(subject) if folds is None else folds, seed or 0
    if rule not in RULES:
        raise ParameterError(
            f"rule must be one of {', '.join(RULES)} for the method {lesson.method}, whose pixels all have the same "
            f"setting, got {rule!r}."
        )
    assign_folds(subject, n_folds, seed)
    return {"folds": n_folds, "rule": rule, "seed": seed}


def settle(
    output: WeightsOutput,
    parameter: Parameter,
    candidates: Sequence[float],
    errors: npt.NDArray[np.float64],
    n_images: npt.NDArray[np.int64],
    *,
    rule: str | None,
) -> float:
    """Choose a setting by its errors, store it with the table of errors, log it and return it.

    Parameters
    ----------
    output
        Where it is kept.
    parameter, candidates
        What is chosen, and from which values, ascending.
    errors
        Mean squared error of every candidate on every fold, shape (candidate, fold).
    n_images
        Images of every fold.
    rule
        ``"min"`` or ``"1se"``, which prefers large penalties and few weights.
    """
    table = errors[np.newaxis]
    simplest_first = parameter == "nonzeros"
    choice = choose(table[:, ::-1] if simplest_first else table, rule="1se" if rule == "1se" else "min")
    position = len(candidates) - 1 - choice.alpha if simplest_first else choice.alpha
    chosen = {parameter: candidates[position], "mse": choice.error, "se": choice.standard_error}
    output.write_choice(parameter, chosen, table, standard_error(table), n_images)
    logger.info("cross-validation chose %s %g: mean squared error %.4g", parameter, candidates[position], choice.error)
    if choice.edge is not None:
        lower = (choice.edge == "lower") != simplest_first
        best = candidates[0 if lower else -1]
        if parameter == "alpha" or best > 1:
            logger.warning(
                "the best %s %g lies on the %s edge of the grid, and a better one may lie beyond; extend --%s",
                parameter,
                best,
                "lower" if lower else "upper",
                "alphas" if parameter == "alpha" else parameter,
            )
    return candidates[position]
