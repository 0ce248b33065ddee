"""Calls that wait for an object store to answer, made at once: together they take as long as one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any


def at_once(calls: Iterable[Callable[[], Any]]) -> list[Any]:
    """Return what calls return, each made in a thread of its own behind the fence that is up here.

    Raises
    ------
    Exception
        That of the first call that fails, when all are over.

    Examples
    --------
    >>> at_once([lambda: 1, lambda: 2])
    [1, 2]
    """
    waiting = [(copy_context(), call) for call in calls]
    with ThreadPoolExecutor(max(1, len(waiting))) as threads:
        answers = [threads.submit(context.run, call) for context, call in waiting]
    return [answer.result() for answer in answers]
