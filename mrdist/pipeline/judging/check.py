"""Check a comparison before it starts, without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from mrdist.methods.registry import METHODS_COMPARED
from mrdist.moments import Color
from mrdist.pipeline.judging._contest import plan_comparison
from mrdist.pipeline.training.check import Cost
from mrdist.planning import DEFAULT_MEMORY
from mrdist.storage import StorageOptions


def check_comparison(
    images_url: str,
    *,
    source: str,
    target: str,
    methods: Sequence[str] = METHODS_COMPARED,
    receptive_fields: Sequence[int] = (3,),
    dilations: Sequence[int] = (1,),
    alpha: float | str = "cv",
    pools: Sequence[int] = (0,),
    color: Color = "shared",
    strengths: Sequence[float | Literal["own"]] | None = None,
    mouth: str | None = None,
    recognition: bool = True,  # noqa: ARG001 (there is nothing to check)
    split: str = "test",
    workers: int | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    storage_options: StorageOptions = None,
) -> Cost:
    """Raise what `mrdist.compare` would raise before it trains; parameters are those of `mrdist.compare`."""
    contest = plan_comparison(
        images_url,
        source=source,
        target=target,
        methods=methods,
        receptive_fields=receptive_fields,
        dilations=dilations,
        alpha=alpha,
        pools=pools,
        color=color,
        strengths=strengths,
        mouth=mouth,
        split=split,
        workers=workers,
        max_memory=max_memory,
        storage_options=storage_options,
    )
    return Cost.of_all(contest.plans)
