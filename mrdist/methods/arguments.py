"""Arguments of trainings in Python: the options of all methods, and what all trainings share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

from mrdist.methods.option_table import SHARED
from mrdist.moments import Color
from mrdist.running.arguments import RUNNING, Cutting, Running
from mrdist.storage import StorageOptions


class MethodOptions(TypedDict, total=False):
    """The options of all methods, see `mrdist.train`; None stands for the method's default."""

    receptive_field: int | Sequence[int] | None
    dilation: int | Sequence[int] | None
    pool: int | Sequence[int] | None
    prior: str | None
    alpha: float | Literal["cv"] | None
    alphas: Sequence[float] | None
    folds: int | None
    rule: str | None
    seed: int | None
    penalize_intercept: bool | None
    gamma: float | None
    components: int | None
    window: int | None
    max_iterations: int | None
    nonzeros: int | Sequence[int] | Literal["cv"] | None
    tolerance: float | None


class TrainingOptions(MethodOptions, total=False):
    """With those that all methods have."""

    color: Color
    dtype: str


class EstimateArguments(TrainingOptions, Cutting, total=False):
    """Of an estimate."""


class PlanArguments(EstimateArguments, total=False):
    """Of a plan."""

    split: str
    storage_options: StorageOptions


class TrainArguments(TrainingOptions, Running, total=False):
    """Of a training."""

    split: str


TRAINING: Mapping[str, Any] = {
    **dict.fromkeys(MethodOptions.__annotations__),
    **{name: SHARED[name] for name in ("color", "dtype", "split")},
    **RUNNING,
}
"""Defaults."""


def options_of(how: Mapping[str, Any]) -> dict[str, Any]:
    """Return those arguments that are options of methods: all that not every training has."""
    shared = {*SHARED, *RUNNING}
    return {name: value for name, value in how.items() if name not in shared}
