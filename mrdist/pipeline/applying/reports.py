"""What a synthesis wrote."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mrdist.storage import redact


@dataclass(frozen=True)
class SynthesisReport:
    """What was written, and what was left out.

    Attributes
    ----------
    written
        Input -> picture.
    aligned
        Input -> how it was aligned: points, landmarks, detection or registration. An input that was used unaligned is
        not included.
    left_out
        Input -> reason.
    contact_sheet
        Picture of all inputs before and after, if it was asked for.
    measures
        Input -> how far its face is from those of the training, see `mrdist.datasets.suitability.measure_face`.
    warnings
        Input -> what is unusual about these, if anything is.
    faces
        Input -> how many faces were changed, where it is more than one.
    """

    written: dict[str, str]
    aligned: dict[str, str]
    left_out: dict[str, str]
    contact_sheet: str | None = None
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    faces: dict[str, int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, object]:
        """Return what ``mrdist synthesize --json`` prints."""
        return {
            "written": self.written,
            **({"aligned": self.aligned} if self.aligned else {}),
            **({} if self.contact_sheet is None else {"contact_sheet": self.contact_sheet}),
            **({"measures": self.measures} if self.measures else {}),
            **({"warnings": self.warnings} if self.warnings else {}),
            **({"faces": self.faces} if self.faces else {}),
            "left_out": [{"what": what, "reason": reason} for what, reason in self.left_out.items()],
        }


@dataclass(frozen=True)
class StoreSynthesisReport:
    """What a synthesis wrote for an images store.

    Attributes
    ----------
    url
        The new images store.
    label
        Its one label.
    images, present
        Its rows, and how many of them have an image.
    start_seconds, run_seconds
        Until the workers were ready, and from then on.
    peak_memory_bytes
        Largest resident size of a worker.
    unmoved
        How many images stay as they are, since the mapping moves faces and their landmarks are not known.
    workers, where
        Processes that were started, 0 where this one worked and None with a scheduler; and why, in words.
    """

    url: str
    label: str
    images: int
    present: int
    start_seconds: float
    run_seconds: float
    peak_memory_bytes: int
    unmoved: int = 0
    workers: int | None = 0
    where: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what ``mrdist synthesize --json`` prints."""
        return {
            "url": redact(self.url),
            "label": self.label,
            "images": self.images,
            "present": self.present,
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "peak_memory_bytes": self.peak_memory_bytes,
            "workers": self.workers,
            "where": self.where,
            **({"unmoved": self.unmoved} if self.unmoved else {}),
        }


@dataclass(frozen=True)
class GroupSynthesisReport:
    """What was made by every mapping of a group.

    Attributes
    ----------
    reports
        Name of a mapping -> its report.
    """

    reports: dict[str, SynthesisReport | StoreSynthesisReport]

    def to_dict(self) -> dict[str, object]:
        """Return what ``mrdist synthesize --json`` prints."""
        return {"mappings": {name: report.to_dict() for name, report in self.reports.items()}}
