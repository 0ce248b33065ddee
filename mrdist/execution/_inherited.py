"""Processes forked from one that used Dask: its threads did not come along, and Dask waits for them without end.

Seen with distributed 2026.8.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from mrdist.errors import ExecutionError

_user: int | None = None


def note_use() -> None:
    """Remember that this process uses Dask.

    Raises
    ------
    ExecutionError
        If it was forked from one that did.
    """
    global _user
    check_not_inherited()
    _user = os.getpid()


def check_not_inherited() -> None:
    """Raise ExecutionError if this process was forked from one that used Dask."""
    if _user not in (None, os.getpid()):
        raise _inherited()


def check_answers(owner: Any, seconds: float) -> None:
    """Raise ExecutionError if the event loop of a client or a cluster does not run in this process."""
    answered = threading.Event()
    owner.loop.add_callback(answered.set)
    if not answered.wait(seconds):
        raise _inherited()


def _inherited() -> ExecutionError:
    return ExecutionError(
        f"process {os.getpid()} was forked from one that uses Dask, whose threads it does not have; give workers=0, or "
        'start processes by multiprocessing.get_context("spawn").'
    )
