"""Check a request before it starts, without writing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

from mrdist.methods.arguments import PlanArguments
from mrdist.moments import Color
from mrdist.pipeline.ingesting._looks import check_size
from mrdist.pipeline.ingesting._sources import find_people
from mrdist.pipeline.ingesting.ingest import check_choices
from mrdist.pipeline.judging.compare import METHODS_COMPARED, plan_comparison
from mrdist.pipeline.training._prepare import prepare, prepare_mappings
from mrdist.planning import DEFAULT_MEMORY, Cut
from mrdist.storage import StorageOptions, check_labels


@dataclass(frozen=True)
class Cost:
    """What a request takes.

    Attributes
    ----------
    blocks
        Of all its mappings.
    peak_memory
        Of a worker, in bytes.
    bytes_read, bytes_written
        As in `mrdist.planning.Cut`; at most, where mappings are trained together.
    """

    blocks: int
    peak_memory: int
    bytes_read: int = 0
    bytes_written: int = 0

    @classmethod
    def of_all(cls, parts: Sequence[Cut]) -> Cost:
        """Return the cost of parts that run one after the other."""
        return cls(
            blocks=sum(part.n_blocks for part in parts),
            peak_memory=max(part.peak_memory for part in parts),
            bytes_read=sum(part.bytes_read for part in parts),
            bytes_written=sum(part.bytes_written for part in parts),
        )

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist plan --json`` prints of a training of many mappings."""
        return {"n_blocks": self.blocks, **asdict(self)}


def check_training(
    images_url: str,
    *,
    source: str,
    target: str | None = None,
    both_ways: bool = False,
    method: str = "mr",
    **how: Unpack[PlanArguments],
) -> Cost:
    """Raise what `mrdist.train` would raise before it begins its output.

    Parameters
    ----------
    images_url
        An images store.
    source, target
        Labels; without a target, what `mrdist.train_mappings` would train is checked.
    both_ways
        As in `mrdist.train_mappings`.
    method, how
        As in `mrdist.train`.
    """
    if target is None:
        group = prepare_mappings(images_url, None, how, source=source, both_ways=both_ways, method=method)
        return Cost.of_all(group.plans)
    return Cost.of_all([prepare(images_url, None, how, source=source, target=target, method=method).plan])


def check_comparison(
    images_url: str,
    *,
    source: str,
    target: str,
    methods: Sequence[str] = METHODS_COMPARED,
    receptive_fields: Sequence[int] = (3,),
    dilations: Sequence[int] = (1,),
    alpha: float | str = "cv",
    color: Color = "shared",
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
        color=color,
        split=split,
        workers=workers,
        max_memory=max_memory,
        storage_options=storage_options,
    )
    return Cost.of_all(contest.plans)


def check_ingest(
    src: str,
    *,
    layout: str = "auto",
    dataset: str | None = None,
    angle: str = "front",
    size: int | Sequence[int] | None = None,
    color: str | None = None,
    normalize: str | None = None,
    align: str | None = None,
    dtype: str | None = None,
    rename: Mapping[str, str] | None = None,
    seed: int = 0,
    strict: bool = False,
    src_storage_options: StorageOptions = None,
) -> None:
    """Raise what `mrdist.ingest` would raise before it reads a photograph; parameters are those of `mrdist.ingest`."""
    check_choices(color=color, normalize=normalize, align=align, dtype=dtype)
    if size is not None:
        check_size(size)
    people = find_people(
        src,
        layout=layout,
        dataset=dataset,
        angle=angle,
        rename=dict(rename or {}),
        seed=seed,
        strict=strict,
        append=False,
        storage_options=src_storage_options,
    )
    check_labels(people.labels)
