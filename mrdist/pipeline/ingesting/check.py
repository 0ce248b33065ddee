"""Check an ingestion before it starts, without writing anything."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mrdist.codecs import check_codec
from mrdist.pipeline.ingesting._faces import alignment_of
from mrdist.pipeline.ingesting._looks import check_size
from mrdist.pipeline.ingesting._sources import find_people
from mrdist.pipeline.ingesting.ingest import check_choices, check_search
from mrdist.storage import StorageOptions, check_labels


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
    reference: str | None = None,
    faces: str | None = None,
    landmark_model: str | None = None,
    rename: Mapping[str, str] | None = None,
    seed: int = 0,
    strict: bool = False,
    codec: str | None = None,
    src_storage_options: StorageOptions = None,
) -> None:
    """Raise what `mrdist.ingest` would raise before it reads a photograph; parameters are those of `mrdist.ingest`."""
    check_codec(codec)
    check_choices(color=color, normalize=normalize, align=align, dtype=dtype, faces=faces)
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
    is_fresh = reference is None
    how = alignment_of(people.takes, align or "tps", is_fresh and align is None, is_fresh, landmark_model)
    check_search(how, faces=faces, landmark_model=landmark_model)
