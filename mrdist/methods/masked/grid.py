"""What a cross-validation of masked regression tries."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product

from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField, Shape, check_pool, common_field
from mrdist.methods.lesson import Lesson
from mrdist.methods.masked.plan import describe_training, workload_of
from mrdist.methods.options import as_list
from mrdist.planning import SearchSizes, Workload
from mrdist.selection import DEFAULT_ALPHAS, assign_folds, check_alphas, default_folds
from mrdist.solvers import Prior
from mrdist.storage import MaskedTraining
from mrdist.storage.weights.search import Search


@dataclass(frozen=True)
class Grid:
    """The candidates to try; what is not given has a default.

    Attributes
    ----------
    receptive_field, dilation, pool
        Every field that two of them make is tried with every pool.
    alphas, folds, rule, seed
        As in `mrdist.train`.
    """

    receptive_field: int | Sequence[int]
    dilation: int | Sequence[int]
    pool: int | Sequence[int] = 0
    alphas: Sequence[float] | None = None
    folds: int | None = None
    rule: str | None = None
    seed: int | None = None

    def fields(self, shape: Shape) -> list[ReceptiveField]:
        """Return the fields to try, each once.

        Raises
        ------
        ParameterError
            If there is none, or one is invalid or wider than images of ``shape``.
        """
        fields = []
        for size, dilation in product(as_list(self.receptive_field), as_list(self.dilation)):
            field = ReceptiveField(size, 1 if size == 1 else dilation)
            field.check_fits(shape)
            if field not in fields:
                fields.append(field)
        if not fields:
            raise ParameterError("receptive_field and dilation must name at least one field to try, got none.")
        return fields

    @property
    def pools(self) -> list[int]:
        """The pools to try, each once."""
        return list(dict.fromkeys(map(check_pool, as_list(self.pool))))


def describe_search(
    lesson: Lesson, grid: Grid, *, penalize_intercept: bool, prior: Prior = "zero"
) -> tuple[MaskedTraining, Search, Workload]:
    """Check the options; describe what will be trained, what is tried, and what decides the cost of both."""
    rule = "min" if grid.rule is None else grid.rule
    images = lesson.images
    fields, pools = grid.fields(images.shape), grid.pools
    models = list(product(fields, pools))
    alphas = check_alphas(DEFAULT_ALPHAS if grid.alphas is None else grid.alphas)
    field = common_field(fields)
    training = describe_training(
        lesson,
        alpha=alphas[0],
        penalize_intercept=penalize_intercept,
        receptive_field=field.size,
        dilation=field.dilation,
        pool=max(pools),
        prior=prior,
    )
    subject = images.subject[lesson.rows]
    n_folds, seed = default_folds(subject) if grid.folds is None else grid.folds, grid.seed or 0
    assign_folds(subject, n_folds, seed)
    search = Search(
        receptive_field=tuple(field.size for field, _ in models),
        dilation=tuple(field.dilation for field, _ in models),
        pool=tuple(pool for _, pool in models) if any(pools) else (),
        alphas=alphas,
        folds=n_folds,
        seed=seed,
        rule=rule,
        subjects=hashlib.sha256("\n".join(subject).encode()).hexdigest(),
    )
    sizes = SearchSizes(tuple(fields), len(alphas), n_folds, per_pixel=rule == "pixel", pools=tuple(pools))
    return training, search, replace(workload_of(images, training, field, max(pools)), search=sizes)
