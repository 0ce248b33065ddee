"""Check a request before it starts, without writing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField, Shape
from mrdist.moments import Color
from mrdist.pipeline._ingest_looks import check_size
from mrdist.pipeline._ingest_sources import find_people
from mrdist.pipeline._methods import METHODS
from mrdist.pipeline._prepare import prepare, prepare_mappings
from mrdist.pipeline.compare import METHODS_COMPARED, contestants_of
from mrdist.pipeline.evaluate import SPLITS
from mrdist.pipeline.ingest import check_choices
from mrdist.planning import DEFAULT_MEMORY, Cut
from mrdist.storage import Images, StorageOptions, check_labels


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
    def of_all(cls, parts: Sequence[Cost | Cut]) -> Cost:
        """Return the cost of parts that run one after the other."""
        return cls(
            blocks=sum(part.n_blocks if isinstance(part, Cut) else part.blocks for part in parts),
            peak_memory=max(part.peak_memory for part in parts),
            bytes_read=sum(part.bytes_read for part in parts),
            bytes_written=sum(part.bytes_written for part in parts),
        )


def check_training(
    images_url: str,
    *,
    source: str,
    target: str | None = None,
    both_ways: bool = False,
    method: str = "mr",
    color: Color = "shared",
    split: str = "train",
    dtype: str = "float32",
    block: Shape | None = None,
    workers: int | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    storage_options: StorageOptions = None,
    **method_options: Any,
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
    method, color, split, dtype, block, workers, max_memory, storage_options, method_options
        As in `mrdist.train`.
    """
    given: dict[str, Any] = {
        "method": method,
        "options": method_options,
        "color": color,
        "split": split,
        "dtype": dtype,
        "block": block,
        "workers": workers,
        "max_memory": max_memory,
        "storage_options": storage_options,
    }
    if target is None:
        return Cost.of_all(prepare_mappings(images_url, None, source=source, both_ways=both_ways, **given).plans)
    return Cost.of_all([prepare(images_url, None, source=source, target=target, **given).plan])


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
    """Raise what `mrdist.compare` would raise before and while it trains; parameters are those of `mrdist.compare`."""
    contestants = [
        each for each in contestants_of(methods, receptive_fields, dilations, alpha) if each.method in METHODS
    ]
    if split not in SPLITS:
        raise ParameterError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    images = Images.open(images_url, storage_options)
    images.rows((source, target), split)
    for each in contestants:
        if each.method == "mr":
            field = ReceptiveField(each.options["receptive_field"], each.options["dilation"])
            field.check_fits(images.shape)
    costs = [
        check_training(
            images_url,
            source=source,
            target=target,
            method=each.method,
            color=color,
            workers=workers,
            max_memory=max_memory,
            storage_options=storage_options,
            **each.options,
        )
        for each in contestants
    ]
    return Cost.of_all(costs)


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
