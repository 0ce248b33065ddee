"""Check a training before it starts, without writing anything; and what a request costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mrdist.geometry import Shape
from mrdist.moments import Color
from mrdist.pipeline.training._prepare import prepare, prepare_mappings
from mrdist.planning import DEFAULT_MEMORY, Cut
from mrdist.storage import StorageOptions


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
