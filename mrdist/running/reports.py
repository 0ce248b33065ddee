"""What every run on the driver reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mrdist.storage import redact


@dataclass(frozen=True)
class RunReport:
    """What a run did.

    Attributes
    ----------
    url
        Its output.
    already_complete
        Whether the output was complete before.
    start_seconds, run_seconds
        Until the workers were there, and all the rest.
    bytes_read
        Decoded bytes of all chunks that were read.
    blocks, blocks_run
        Blocks of the work, and those that this run did.
    peak_memory_bytes
        Largest resident size of a worker.
    workers
        Processes that were started: 0 where this one worked, None with a scheduler.
    where
        Who worked and why, in words.
    """

    url: str
    already_complete: bool
    start_seconds: float
    run_seconds: float
    bytes_read: int
    blocks: int
    blocks_run: int
    peak_memory_bytes: int
    workers: int | None = field(default=0, kw_only=True)
    where: str = field(default="nowhere: nothing was left to do", kw_only=True)

    @property
    def figures(self) -> dict[str, Any]:
        """What ``--json`` prints of every run."""
        return {
            "url": redact(self.url),
            "already_complete": self.already_complete,
            "seconds": {"start": self.start_seconds, "run": self.run_seconds},
            "bytes_read": self.bytes_read,
            "blocks": self.blocks,
            "blocks_run": self.blocks_run,
            "peak_memory_bytes": self.peak_memory_bytes,
            "workers": self.workers,
            "where": self.where,
        }
