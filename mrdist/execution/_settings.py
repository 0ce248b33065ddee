"""Settings of this process while a run needs them: runs in several threads overlap, and share what is one for all."""

from __future__ import annotations

import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from typing import Any


def overlapping(make: Callable[[], AbstractContextManager[None]]) -> Callable[[], AbstractContextManager[None]]:
    """Decorate the maker of a context that the first of several threads enters and the last one leaves.

    Otherwise the second would restore, at its end, what the first had changed.
    """
    lock, entered, n_users = threading.Lock(), make(), 0

    @wraps(make)
    @contextmanager
    def shared() -> Iterator[None]:
        nonlocal entered, n_users
        with lock:
            if n_users == 0:
                entered = make()
                entered.__enter__()
            n_users += 1
        try:
            yield
        finally:
            with lock:
                n_users -= 1
                if n_users == 0:
                    entered.__exit__(None, None, None)

    return shared


@overlapping
@contextmanager
def quiet() -> Iterator[None]:
    """Silence Dask's own reports of lost connections: mrdist raises one sentence instead."""
    import distributed  # noqa: F401  (creates the loggers)

    loggers = [logging.getLogger(name) for name in logging.root.manager.loggerDict if name.startswith("distributed")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


@overlapping
@contextmanager
def versions_unwarned() -> Iterator[None]:
    """Leave other versions of packages to the check of our own."""
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)
        yield


@overlapping
@contextmanager
def main_left_alone() -> Iterator[None]:
    """Keep new worker processes from importing the user's script.

    Python imports ``__main__`` in every process it starts, so a script without the usual guard would run once more in
    every worker. Tasks need only mrdist, not the script.
    """
    main = sys.modules["__main__"]
    hidden: dict[str, Any] = {
        name: main.__dict__.pop(name) for name in ("__file__", "__spec__") if name in main.__dict__
    }
    main.__spec__ = None
    try:
        yield
    finally:
        main.__dict__.update(hidden)
