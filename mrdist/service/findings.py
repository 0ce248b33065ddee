"""Sizes and scores of models: computed once, then kept in the catalogue beside the model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from threading import Lock, Thread
from typing import Any

from mrdist.pipeline.judging.evaluate import evaluate
from mrdist.pipeline.showing.facts import measure_mapping
from mrdist.service.cache import Cache
from mrdist.service.catalog import Catalog
from mrdist.service.problems import RefusedError
from mrdist.service.synthesis import MODEL_BYTES
from mrdist.storage.access.records import read_record, remove_record, write_record

_MOST_WAITING = 32
_records: Cache[dict[str, Any]] = Cache(1024)


def sizes_of(catalog: Catalog, name: str) -> dict[str, int | None]:
    """Return ``parameters``, ``nonzeros`` and ``bytes`` of a complete model."""
    url, stamp = catalog.url_of("models", name), catalog.stamp("models", name)

    def find() -> dict[str, Any]:
        kept = _read(catalog, name, stamp)
        if "sizes" not in kept:
            kept["sizes"] = measure_mapping(url, catalog.storage_options, max_memory=MODEL_BYTES)
            write_record(_place(catalog, name), kept, catalog.storage_options)
        sizes: dict[str, Any] = kept["sizes"]
        return sizes

    return _records.get((url, stamp), find)


def kept_scores(
    catalog: Catalog, name: str, dataset: str, split: str, turned: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return the scores that `scores_of` has kept, None if there are none or if model or dataset have changed."""
    kept = _read(catalog, name, catalog.stamp("models", name)).get("scores", {}).get(_key(dataset, split, turned or {}))
    if kept is None or kept["stamp"] != catalog.stamp("datasets", dataset):
        return None
    scores: dict[str, Any] = kept["scores"]
    return scores


def _key(dataset: str, split: str, turned: Mapping[str, Any]) -> str:
    return " ".join([dataset, split, *(f"{name}={value}" for name, value in turned.items())])


def forget(catalog: Catalog, name: str) -> None:
    """Remove the kept sizes and scores of a model."""
    remove_record(_place(catalog, name), catalog.storage_options)


class Evaluations:
    """Scores models one at a time in a thread, so that requests need not wait."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, ...], Future[dict[str, Any]]] = {}
        self._lock = Lock()
        self._turn = Lock()

    def scores_of(
        self, catalog: Catalog, name: str, dataset: str, split: str, turned: Mapping[str, Any], *, seconds: float
    ) -> dict[str, Any] | None:
        """Return the scores of a model on a split of a dataset, as `mrdist.evaluate` computes them.

        Parameters
        ----------
        catalog, name, dataset, split
            The model, and the split of the dataset.
        turned
            Its dials, as far as they are turned.
        seconds
            Longest time to wait.

        Returns
        -------
        dict or None
            None if it takes longer; the computation continues.

        Raises
        ------
        RefusedError
            If too many wait already.
        MrdistError
            If the model cannot be scored.
        """
        stamps = catalog.stamp("models", name), catalog.stamp("datasets", dataset)
        kept = kept_scores(catalog, name, dataset, split, turned)
        if kept is not None:
            return kept
        key = (catalog.url, name, _key(dataset, split, turned), *stamps)
        with self._lock:
            future = self._running.get(key)
            if future is None:
                if len(self._running) >= _MOST_WAITING:
                    raise RefusedError(
                        503, f"{_MOST_WAITING} evaluations are waiting already; try again later.", {"retry-after": "10"}
                    )
                future = self._running[key] = Future()
                work = (key, future, lambda: _evaluate(catalog, name, dataset, split, turned, stamps))
                Thread(target=self._run, args=work, name="evaluation", daemon=True).start()
        try:
            return future.result(seconds)
        except TimeoutError:
            return None

    def _run(self, key: tuple[str, ...], future: Future[dict[str, Any]], work: Callable[[], dict[str, Any]]) -> None:
        try:
            with self._turn:
                result = work()
        except BaseException as error:  # the caller that waits for it raises it
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            with self._lock:
                del self._running[key]


def _evaluate(
    catalog: Catalog, name: str, dataset: str, split: str, turned: Mapping[str, Any], stamps: tuple[str, str]
) -> dict[str, Any]:
    scored = evaluate(
        catalog.url_of("models", name),
        catalog.url_of("datasets", dataset),
        splits=[split],
        **turned,
        workers=0,
        progress=False,
        storage_options=catalog.storage_options,
    )
    said: dict[str, Any] = {part: scored[part] for part in ("source", "target", "splits", "unmoved") if part in scored}
    scores = {"model": name, "dataset": dataset, "dials": dict(turned), **said}
    kept = _read(catalog, name, stamps[0])
    kept.setdefault("scores", {})[_key(dataset, split, turned)] = {"stamp": stamps[1], "scores": scores}
    write_record(_place(catalog, name), kept, catalog.storage_options)
    return scores


def _read(catalog: Catalog, name: str, stamp: str) -> dict[str, Any]:
    """Return the record of the present model; that of an earlier one of the same name is dropped."""
    kept = read_record(_place(catalog, name), catalog.storage_options) or {}
    return kept if kept.get("stamp") == stamp else {"stamp": stamp}


def _place(catalog: Catalog, name: str) -> str:
    return f"{catalog.url}/models/{name}.json"
