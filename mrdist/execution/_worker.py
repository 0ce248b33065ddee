"""Code that runs in the workers: the warm-up when they join, and every task."""

from __future__ import annotations

import asyncio
import gc
import platform
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, nullcontext
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from distributed import WorkerPlugin, get_worker
from distributed.protocol import pickle
from threadpoolctl import threadpool_limits

from mrdist._kernels.apart import compiled_apart
from mrdist.errors import ExecutionError
from mrdist.execution._process import in_slot
from mrdist.parts import heard_by

PACKAGES = ("mrdist", "dask", "distributed", "numba", "numpy", "zarr")
"""Packages whose versions decide the bytes of the weights, or whether tasks can be unpickled."""

_prepared: set[Callable[[], None]] = set()


class WarmUp(WorkerPlugin):  # type: ignore[misc]
    """Loads what tasks need before a worker gets the first, also in workers that join later.

    Parameters
    ----------
    prepare
        Loads it, and compiles it if that was not done before.
    """

    def __init__(self, prepare: Callable[[], None]) -> None:
        self._prepare = prepare
        self._limits: threadpool_limits | None = None
        self._apart = ExitStack()

    async def setup(self, worker: object) -> None:  # noqa: ARG002 (Dask's name)
        """Prepare in a thread: a worker that compiles still answers its scheduler."""
        await asyncio.get_running_loop().run_in_executor(None, self._load)

    def _load(self) -> None:
        self._apart.enter_context(compiled_apart())
        prepare_once(self._prepare)
        gc.freeze()  # collections skip the libraries' hundreds of thousands of objects
        self._limits = threadpool_limits(1)  # a slot has one processor

    def teardown(self, worker: object) -> None:  # noqa: ARG002
        """Leave the worker, which may be the process of a notebook, to others as it was."""
        self._apart.close()
        gc.unfreeze()
        if self._limits is not None:
            self._limits.restore_original_limits()


def prepare_once(prepare: Callable[[], None]) -> None:
    """Call what loads the needs of tasks, unless this process, or the one it was forked from, has done so."""
    if prepare not in _prepared:
        prepare()
        _prepared.add(prepare)


@cache
def own_versions() -> Mapping[str, str]:
    """Return the versions of this process, see `PACKAGES`."""
    versions = {"python": ".".join(platform.python_version_tuple()[:2])}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "none"
    return versions


def difference(wanted: Mapping[str, str], theirs: Mapping[str, str | None]) -> str:
    """Describe how the packages of another process differ from the wanted versions.

    Examples
    --------
    >>> difference({"numpy": "2.4", "zarr": "3.1"}, {"numpy": "2.3", "zarr": "3.1"})
    'numpy 2.3 and not 2.4'
    """
    return ", ".join(
        f"{name} {theirs[name]} and not {mine}" if theirs.get(name) else f"no {name}"
        for name, mine in wanted.items()
        if theirs.get(name) != mine
    )


class Packed(bytes):
    """Pickled bytes that logs and pages do not show: they may hold the keys of a store."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"<{len(self)} bytes>"


def pack(value: object) -> Packed:
    """Pickle a value, so that the scheduler neither imports nor holds its objects."""
    return Packed(pickle.dumps(value))


def unpack(packed: bytes) -> Any:
    """Return what `pack` was given."""
    return pickle.loads(packed)


PARTS = "mrdist-parts"
"""Topic of the scheduler's events in which workers say how much of a task is done."""


def work(
    packed: bytes, number: int, common: tuple[Callable[..., Any], Mapping[str, str], tuple[Any, ...], str | None]
) -> tuple[float, Any]:
    """Run a task; return the seconds that it took and its result.

    Parameters
    ----------
    packed, number
        The item, and its number.
    common
        What all tasks of a run share: the function, versions, further arguments, and the name of the run, in which
        progress within an item is told; None if nobody listens.

    Raises
    ------
    ExecutionError
        If this worker, which may have joined in the middle of a run, has other versions than the driver.
    """
    function, versions, shared, run = common
    if versions != own_versions():
        raise ExecutionError(
            f"worker {platform.node()} has {difference(versions, own_versions())}; install the same packages wherever "
            "workers run: the weights depend on them."
        )
    started = time.perf_counter()

    def tell(share: float) -> None:
        get_worker().log_event(PARTS, (run, number, share))

    with in_slot(), nullcontext() if run is None else heard_by(tell):
        result = function(unpack(packed), *shared)
    return time.perf_counter() - started, result
