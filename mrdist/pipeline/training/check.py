"""Check a training before it starts, without writing anything; and what a request costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Unpack

from mrdist.methods.arguments import PlanArguments
from mrdist.pipeline.training._prepare import prepare, prepare_mappings
from mrdist.planning import Cut


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
