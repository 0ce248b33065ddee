"""Links of the description: which answer names what other operations ask for (OpenAPI, Link Object).

Whoever explores the service, a person or a program, goes from a list to its entries, and from a job to its result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_JOB, _DATASET, _MODEL, _COMPARISON, _SOURCE = (
    "/jobs/{job}",
    "/datasets/{name}",
    "/models/{name}",
    "/comparisons/{name}",
    "/sources/{source}",
)

_NAMED: Mapping[str, Mapping[str, str]] = {  # by operation: where its answer names one of these
    "submit_job": {_JOB: "/id"},
    "make_dataset": {_JOB: "/id"},
    "list_jobs": {_JOB: "/jobs/0/id"},
    "list_datasets": {_DATASET: "/datasets/0/name"},
    "list_models": {_MODEL: "/models/0/name"},
    "list_comparisons": {_COMPARISON: "/comparisons/0"},
    "list_sources": {_SOURCE: "/sources/0"},
    "add_photograph": {_SOURCE: "/source"},
}
_FURTHER: Mapping[str, Mapping[str, Mapping[str, Any]]] = {  # by operation and target: what the link gives
    "list_jobs": {"list_jobs": {"parameters": {"before": "$response.body#/next"}}},
    "get_job": {
        "get_model": {"parameters": {"name": "$response.body#/model"}},
        "get_dataset": {"parameters": {"name": "$response.body#/dataset"}},
    },
    "add_photograph": {
        "make_dataset": {
            "requestBody": {"name": "$response.body#/source", "ingest": {"source": "$response.body#/source"}}
        }
    },
    "list_dataset_rows": {
        "get_dataset_picture": {
            "parameters": {
                "name": "$request.path.name",
                "row": "$response.body#/rows/0/row",
                "label": "$response.body#/rows/0/labels/0",
            }
        }
    },
    "get_model": {
        "get_model_face": {"parameters": {"name": "$request.path.name", "dataset": "$response.body#/dataset"}},
        "get_model_scores": {"parameters": {"name": "$request.path.name", "dataset": "$response.body#/dataset"}},
        "synthesize": {"requestBody": {"model": ["$request.path.name"]}},
        "synthesize_each": {"requestBody": {"model": ["$request.path.name"]}},
    },
}


def add_links(described: Mapping[str, Any], prefix: str) -> None:
    """Add the links to the answers of a description.

    Parameters
    ----------
    described
        The description; its answers are changed.
    prefix
        Of the paths of the API.
    """
    operations = {
        operation["operationId"]: (path.removeprefix(prefix), operation)
        for path, methods in described["paths"].items()
        for operation in methods.values()
    }
    for source in {**_NAMED, **_FURTHER}:
        _, operation = operations[source]
        links = {target: {"operationId": target, **given} for target, given in _links_of(source, operations)}
        answer = next(answer for status, answer in operation["responses"].items() if status.startswith("2"))
        answer["links"] = links


def _links_of(source: str, operations: Mapping[str, tuple[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for entry, pointer in _NAMED.get(source, {}).items():
        parameter = entry.partition("{")[2].rstrip("}")
        for target, (path, _) in operations.items():
            if path == entry or path.startswith(f"{entry}/"):
                yield target, {"parameters": {parameter: f"$response.body#{pointer}"}}
    yield from _FURTHER.get(source, {}).items()
