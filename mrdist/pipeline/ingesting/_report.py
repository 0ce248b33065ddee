"""What an ingest reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mrdist.datasets.alignment import badness


@dataclass(frozen=True)
class IngestReport:
    """What came into the store, how well it was aligned, and what was left out.

    Attributes
    ----------
    url
        The images store.
    labels
        Its labels.
    images, images_added
        Rows (takes) in the store, and those that this run has written.
    present
        Images per label.
    pairs
        People with every label.
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    quality
        Per person and label, the measures of `mrdist.datasets.alignment.AlignedTake`.
    left_out
        File or person -> reason.
    sources
        Name of each dataset -> its layout and, if it was detected, why.
    changes
        Changes on reading that were not asked for, one of `mrdist.datasets.changes.CHANGES` -> photographs.
    workers, where
        Processes that were started, 0 where this one worked and None with a scheduler; and why, in words.
    """

    url: str
    labels: tuple[str, ...]
    images: int
    images_added: int
    present: Mapping[str, int]
    pairs: int
    start_seconds: float
    run_seconds: float
    quality: Mapping[str, Mapping[str, Mapping[str, float]]]
    left_out: Mapping[str, str]
    sources: Mapping[str, str] = field(default_factory=dict)
    changes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    workers: int | None = 0
    where: str = "nowhere: nothing was left to do"

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist ingest --json`` prints."""
        return {
            "url": self.url,
            "labels": list(self.labels),
            "images": self.images,
            "images_added": self.images_added,
            "present": dict(self.present),
            "pairs": self.pairs,
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "workers": self.workers,
            "where": self.where,
            "quality": {subject: dict(labels) for subject, labels in self.quality.items()},
            "left_out": [{"what": what, "reason": reason} for what, reason in self.left_out.items()],
            "sources": dict(self.sources),
            "changed": [
                {"change": change, "photographs": len(photographs), "example": photographs[0]}
                for change, photographs in self.changes.items()
            ],
        }

    def summary(self) -> list[tuple[str, str, float, float, str]]:
        """Return rows of (label, measure, median, worst, person with the worst)."""
        measures: dict[tuple[str, str], dict[str, float]] = {}
        for subject, labels in self.quality.items():
            for label, numbers in labels.items():
                for measure, value in numbers.items():
                    measures.setdefault((label, measure), {})[subject] = value
        rows = []
        for (label, measure), values in measures.items():
            middle = float(np.median(list(values.values())))
            worst = max(values, key=lambda subject: badness(measure, values[subject]))
            rows.append((label, measure, middle, values[worst], worst))
        return rows
