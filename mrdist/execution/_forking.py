"""Worker processes are forked from a server that has imported everything, beside this process, which imports as well.

Python starts one such server for a process, at the first need, and keeps it until the process ends; only its own user
reaches its socket. Its children have the environment that it was started with. Where that is not this process's any
more, and on systems whose libraries do not survive a fork, workers are started from nothing, about a second later.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable

MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(256 << 20), "MALLOC_MMAP_THRESHOLD_": str(256 << 20)}
"""Dask makes workers hand freed memory back at once; chunks that are read then cost a page fault for every page."""
_ENVIRONMENT = {**MALLOC, **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")}
_LIBRARIES = ["distributed.nanny", "distributed.worker", "mrdist.execution._worker", "mrdist.storage"]
_LAST = "mrdist.execution._before_forks"
PREPARES = "_MRDIST_PREPARES"
"""Variable of the server: the function, as ``module:name``, that loads what its children need."""
_SAFE = sys.platform == "linux" and sys.version_info >= (3, 11, 1)  # before, every user of the machine reached it

_OWN = {PREPARES, "PYTHONHASHSEED", "__DASK_PARENT_PID", "KMP_DUPLICATE_LIB_OK", "KMP_INIT_AT_FORK"}
"""Variables that Dask, threadpoolctl and this module set for themselves."""

_begun: tuple[int, dict[str, str]] | None = None
"""The process that has started the server, and the environment of the server."""


def begin_server(prepare: Callable[[], None] | None, *modules: str) -> None:
    """Start the server, unless there is one, and do not wait for it.

    Parameters
    ----------
    prepare
        Loads what the tasks need, see `mrdist.execution.open_executor`.
    modules
        What else they import, besides libraries that all do.
    """
    global _begun
    if not _SAFE or _begun is not None:
        return
    from multiprocessing import forkserver  # work in this process needs none

    multiprocessing.get_context("forkserver").set_forkserver_preload([*_LIBRARIES, *modules, _LAST])
    prepares = {} if prepare is None else {PREPARES: f"{prepare.__module__}:{prepare.__qualname__}"}
    added = {name: value for name, value in (_ENVIRONMENT | prepares).items() if name not in os.environ}
    os.environ.update(added)
    try:
        _begun = os.getpid(), _environment()
        forkserver.ensure_running()
    finally:
        for name in added:
            del os.environ[name]


def start_method() -> str:
    """Return how Python is to start workers: forked from the server, or from nothing."""
    if _begun != (os.getpid(), _environment()):
        return "spawn"
    import distributed.utils

    # Dask would import pandas and more here, to have it in a server of its own
    distributed.utils._forkserver_preload_set = True
    return "forkserver"


def _environment() -> dict[str, str]:
    """Return the environment that a worker gets from this process."""
    return {name: value for name, value in {**_ENVIRONMENT, **os.environ}.items() if name not in _OWN}
