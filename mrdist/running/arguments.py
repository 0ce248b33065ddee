"""Arguments that all verbs with workers share: each stands here once, with its default."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypedDict

from mrdist.arguments import Address
from mrdist.codecs import check_codec
from mrdist.execution import Scheduler
from mrdist.geometry import Shape
from mrdist.planning import DEFAULT_MEMORY
from mrdist.running.tasks import Place, RunOptions
from mrdist.running.workers import check_workers, further_memory, output_options
from mrdist.storage import StorageOptions, check_apart, codec_to_use, normalize_url


class Cutting(TypedDict, total=False):
    """How work is cut, see `mrdist.train`."""

    block: Shape | None
    workers: int | None
    max_memory: int | str


class Running(Cutting, total=False):
    """How a verb runs, see `mrdist.train`."""

    scheduler: Scheduler | None
    codec: str | None
    overwrite: bool
    progress: bool | None
    storage_options: StorageOptions


RUNNING: Mapping[str, Any] = {
    "block": None,
    "workers": None,
    "max_memory": DEFAULT_MEMORY,
    "scheduler": None,
    "codec": None,
    "overwrite": False,
    "progress": None,
    "storage_options": None,
}
"""Defaults."""


def run_options(
    reads: Address,
    writes: Address | None,
    how: Mapping[str, Any],
    output_storage_options: StorageOptions = None,
) -> RunOptions:
    """Check, before anything is touched, where a run reads and writes and who works on it.

    Parameters
    ----------
    reads, writes
        Addresses; None if nothing is written.
    how
        Arguments of `Running`; others are passed over.
    output_storage_options
        Options of the filesystem of the output, which has those of the input unless it is local.

    Raises
    ------
    ParameterError
        If an option is invalid, or the output lies inside the input or around it.
    StoreExistsError
        If the output is to be resumed with another codec than it has.
    ExecutionError
        If the scheduler cannot be used.
    """
    told = {name: how.get(name, default) for name, default in RUNNING.items()}
    storage_options = told.pop("storage_options")
    told["codec"] = check_codec(told["codec"])
    urls, output = [normalize_url(reads)], Place("")
    if writes is not None:
        urls.append(normalize_url(writes))
        output = Place(urls[1], output_options(urls[1], output_storage_options, storage_options))
        check_apart(*urls)
        if told["codec"] is not None and not told["overwrite"]:
            codec_to_use(output.url, output.options, told["codec"])
    limit, n_slots = check_workers(told["workers"], told["scheduler"], *urls, max_memory=told["max_memory"])
    further = further_memory(told["workers"], told["scheduler"], *urls)
    return RunOptions(output, n_slots=n_slots, further_memory=further, **{**told, "max_memory": limit})
