"""One call of the pipeline per job, which imports what it needs when it is called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from mrdist.errors import MemoryLimitError, ParameterError
from mrdist.planning import parse_bytes
from mrdist.service.catalog import Catalog, Kind
from mrdist.service.settings import Settings

Verb = Literal["train", "compare", "generate", "ingest"]

MAKES: Mapping[Verb, Kind] = {"train": "models", "compare": "comparisons", "generate": "datasets", "ingest": "datasets"}
NEEDS_IMAGES = ("train", "compare")
_MODEL = ".task"  # which no upload may be called: a model is code of somebody, run by native code


def datasets_of(verb: Verb, options: Mapping[str, Any]) -> list[str]:
    """Return the names of the datasets that a request reads."""
    names = ["images"] if verb in NEEDS_IMAGES else ["reference"] if verb == "ingest" else []
    return [options[name] for name in names if options.get(name) is not None]


def perform(catalog: Catalog, settings: Settings, verb: Verb, name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Do or resume the work of a request; parameters are those of `check`.

    Returns
    -------
    dict
        The output of the command line with ``--json``.
    """
    url = catalog.url_of(MAKES[verb], name)
    given = dict(options)
    how: dict[str, Any] = {"workers": settings.workers, "scheduler": settings.scheduler, "progress": False}
    how["storage_options"] = catalog.storage_options
    if verb in NEEDS_IMAGES:
        how["max_memory"] = memory_limit(settings, given)
        images = catalog.find("datasets", given.pop("images"))
        given.pop("max_memory", None)
    if verb == "train":
        return _train(images, url, {**given, **how})
    if verb == "compare":
        from mrdist.pipeline.judging.compare import compare

        return compare(images, **given, out=url, **how)
    if verb == "generate":
        from mrdist.pipeline.ingesting.generate import generate

        generate(url, **given, **how)
        return {"images": given["images"]}
    from mrdist.pipeline.ingesting.ingest import ingest

    source, given = photographs(catalog, given)
    return ingest(source, url, **given, **how, src_storage_options=catalog.storage_options).to_dict()


def photographs(catalog: Catalog, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the source and the options of an ingest, with URLs in place of the catalogue's names."""
    given = dict(options)
    if "landmark_model" in given:
        if not given["landmark_model"].endswith(_MODEL):
            raise ParameterError(
                f"landmark_model must be a {_MODEL} file below sources/, where only who runs the service puts one, got "
                f"{given['landmark_model']!r}."
            )
        given["landmark_model"] = catalog.source(given["landmark_model"])
    if "reference" in given:
        given["reference"] = catalog.find("datasets", given["reference"])
    return catalog.source(given.pop("source")), given


def memory_limit(settings: Settings, options: Mapping[str, Any]) -> int:
    """Return the limit per worker process of a job, in bytes.

    Raises
    ------
    MemoryLimitError
        If it is more than a job may request.
    """
    limit = parse_bytes(options["max_memory"]) if "max_memory" in options else settings.max_memory
    if limit > settings.max_memory:
        raise MemoryLimitError(
            f"max_memory is {limit} bytes, but a job of this service may request at most {settings.max_memory} per "
            "worker process; request less."
        )
    return limit


def _train(images: str, url: str, options: dict[str, Any]) -> dict[str, Any]:
    both_ways, target = options.pop("mappings", None) is not None, options.pop("target", None)
    if target is not None and target != "all":
        from mrdist.pipeline.training.train import train

        return train(images, url, target=target, **options).to_dict()
    from mrdist.pipeline.training.mappings import train_mappings

    return train_mappings(images, url, both_ways=both_ways, **options).to_dict()
