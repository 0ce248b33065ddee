"""What Dask runs in every local worker process before its first task."""

from __future__ import annotations

import signal


def dask_setup(_worker: object) -> None:
    """Leave Ctrl-C, which a terminal sends to the whole process group, to the driver: it stops the workers in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
