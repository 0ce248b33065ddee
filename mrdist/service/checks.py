"""Checks of requests before they are queued: their cost, or the reason why they cannot be done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mrdist.datasets.synthetic import LABELS
from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.methods.lesson import check_two
from mrdist.pipeline.ingesting.check import check_ingest
from mrdist.pipeline.ingesting.generate import check_generation
from mrdist.pipeline.judging.check import check_comparison
from mrdist.pipeline.training.check import Cost, check_training
from mrdist.pipeline.training.plan import plan
from mrdist.planning import MIB
from mrdist.running.workers import n_slots_of
from mrdist.service.catalog import Catalog
from mrdist.service.machine import memory_of_machine
from mrdist.service.refusals import RefusedError
from mrdist.service.settings import Settings
from mrdist.service.work import MAKES, NEEDS_IMAGES, Verb, memory_limit, photographs

_DRAWING = Cost(1, 512 * MIB)  # for verbs that work image by image


def check(catalog: Catalog, settings: Settings, verb: Verb, name: str, options: Mapping[str, Any]) -> Cost:
    """Check a request as far as possible before it is queued.

    Parameters
    ----------
    catalog, settings
        Of the service.
    verb, name, options
        Of the request.

    Returns
    -------
    Cost
        Cost of the job.
    """
    _check_place(catalog, verb, name)
    given = dict(options)
    if verb in NEEDS_IMAGES:
        images = catalog.find("datasets", given.pop("images"))
        given["max_memory"] = memory_limit(settings, given)
        call = {**given, "workers": settings.workers, "storage_options": catalog.storage_options}
    if verb == "train":
        cost = check_training(images, **_labels(call))
    elif verb == "compare":
        cost = check_comparison(images, **call)
    elif verb == "generate":
        _check_room(catalog, given)
        check_generation(**given)
        cost = _DRAWING
    else:
        source, given = photographs(catalog, given)
        check_ingest(source, **given, src_storage_options=catalog.storage_options)
        cost = _DRAWING
    _check_memory(settings, cost)
    return cost


def check_early(catalog: Catalog, settings: Settings, verb: Verb, name: str, options: Mapping[str, Any]) -> Cost:
    """Check what can be checked of a request whose datasets are still being made; parameters are those of `check`."""
    _check_place(catalog, verb, name)
    memory = memory_limit(settings, options) if verb in NEEDS_IMAGES else _DRAWING.peak_memory
    if verb == "train":
        _labels(options)
    elif verb == "compare":
        check_two(options["source"], options["target"])
    return Cost(1, memory)


def _check_place(catalog: Catalog, verb: Verb, name: str) -> None:
    """Make sure that nothing is lost where the result goes."""
    catalog.check_writable(MAKES[verb], name)
    if catalog.is_complete(MAKES[verb], name):
        raise RefusedError(409, f"{name!r} is already in {MAKES[verb]}; delete it first or choose another name.")


def plan_request(catalog: Catalog, settings: Settings, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the cost of a training, as ``mrdist plan --json`` does."""
    given = dict(options)
    images = catalog.find("datasets", given.pop("images"))
    given["max_memory"] = memory_limit(settings, given)
    call = _labels({**given, "workers": settings.workers, "storage_options": catalog.storage_options})
    if call["target"] is None:
        answer = check_training(images, **call).to_dict()
    else:
        del call["both_ways"]
        answer = plan(images, **call).to_dict()
    workers = answer.get("workers")
    if settings.scheduler is not None:
        workers, answer["where"] = None, f"on the workers of {settings.scheduler}"
    if workers is None:
        workers = max(1, min(n_slots_of(settings.workers), answer["n_blocks"]))
    return {**answer, "workers": workers, "memory": answer["peak_memory"] * max(1, workers)}


def _check_room(catalog: Catalog, options: Mapping[str, Any]) -> None:
    """Make sure that drawn faces, which hardly compress, fit onto the disk."""
    n_labels, n_channels = len(options.get("labels", LABELS)), 1 if options.get("color") == "gray" else 3
    needed, free = options["images"] * options["size"] ** 2 * n_labels * n_channels, catalog.free_bytes()
    if free is not None and needed > free:
        raise RefusedError(
            507,
            f"the dataset would take about {needed} bytes, but the catalogue's disk has {free} free; request fewer or "
            "smaller images.",
        )


def _check_memory(settings: Settings, cost: Cost) -> None:
    """Make sure that the workers of a job fit into this machine; those of a cluster are checked when it starts."""
    if settings.scheduler is not None:
        return
    workers, there = max(1, min(n_slots_of(settings.workers), cost.blocks)), memory_of_machine()
    if workers * cost.peak_memory > there:
        raise MemoryLimitError(
            f"the job would need {workers} workers of {cost.peak_memory} bytes, but the machine has {there}; lower "
            "max_memory, or start the service with fewer --workers."
        )


def _labels(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `check_training` for those of `mrdist train`."""
    given = dict(options)
    target, mappings = given.pop("target", None), given.pop("mappings", None)
    if (target is None) == (mappings is None):
        raise ParameterError("give either target (a label or all) or mappings.")
    check_two(given["source"], target)
    return {**given, "target": None if target == "all" else target, "both_ways": mappings is not None}
