"""The rows of a mapping in a comparison: its scores, what it takes, how it is judged, and the same of the identity."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.execution import Scheduler
from mrdist.morphing.dials import AS_TRAINED, Dials
from mrdist.pipeline.applying.check import check_mapping
from mrdist.pipeline.judging._jury import JUDGED, Case, judged
from mrdist.pipeline.judging._scores import score_splits
from mrdist.pipeline.judging._verdicts import scores_of_people
from mrdist.planning import DEFAULT_MEMORY
from mrdist.storage import Images, Model, StorageOptions, WeightsReader, open_weights, stored_bytes

_TIMED_BYTES = 32 << 20  # of input images in a timed prediction
_TIMED_IMAGES = 32

Inputs = tuple[npt.NDArray[np.generic], npt.NDArray[np.float32] | None]
"""Images and their landmarks, if the store has them."""


def measure(
    weights_url: str,
    images_url: str,
    split: str,
    inputs: Inputs,
    *,
    dials: Dials | None = None,
    case: Case | None = None,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_memory: int | str = DEFAULT_MEMORY,
    storage_options: StorageOptions = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the row of a trained mapping, without the time it took to train, and that of the identity.

    Parameters
    ----------
    weights_url, images_url
        Stores.
    split
        Whose images are scored.
    inputs
        Images whose prediction is timed, in memory and in this process.
    dials
        How strongly an expression is shown; for a mapping that can tell.
    case
        The faces of the split, to judge expression and person by; None if they are not judged.
    workers, scheduler, max_memory
        As in `mrdist.evaluate`.
    storage_options
        Of both.
    """
    reader = WeightsReader.open(weights_url, storage_options).turned(dials)
    images = Images.open(images_url, storage_options)
    check_mapping(reader, images)
    scores = score_splits(
        reader, images, [split], workers=workers, scheduler=scheduler, max_memory=max_memory, progress=False
    ).splits[split]
    summary = scores.to_dict()
    frame, face = summary["frame"], summary["face"]
    model = open_weights(weights_url, storage_options)
    training = model.attributes["training"]
    chosen = model.attributes.get("cross_validation", {}).get("chosen", {})
    row = {
        "method": model.method,
        "receptive_field": training.get("receptive_field"),
        "dilation": training.get("dilation"),
        "alpha": training.get("alpha") if training.get("alpha") is not None else chosen.get("alpha"),
        "pool": training.get("pool"),
        "strength": None if reader.dials is None else reader.dials.strength,
        "mouth": None if reader.dials is None else reader.dials.mouth,
        **_scores(frame, face, "model"),
        "people": scores_of_people(scores, "model"),
        "intercept_share": frame["intercept_share"],
        "parameters": model.n_parameters,
        "nonzeros": model.n_nonzeros,
        "bytes": stored_bytes(weights_url, storage_options),
        "train_seconds": None,
        "predict_seconds": _predict_seconds(model, inputs),
    }
    identity = {
        "method": "identity",
        **dict.fromkeys(("receptive_field", "dilation", "alpha", "pool", "strength", "mouth")),
        **_scores(frame, face, "identity"),
        "people": scores_of_people(scores, "identity"),
        "intercept_share": None,
        "parameters": 0,
        "nonzeros": 0,
        "bytes": 0,
        "train_seconds": 0.0,
        "predict_seconds": 0.0,
        "weights": None,
    }
    verdict = None if case is None else case.judge(reader)
    for each, whose in ((row, "synthesised"), (identity, "input")):
        each |= dict.fromkeys(JUDGED) if verdict is None else judged(verdict, whose)
    return row, identity


def rows_of(reader: WeightsReader, dials: Sequence[Dials]) -> Sequence[Dials | None]:
    """Return how the rows of a mapping are turned: one as it is, unless it has dials."""
    return [None] if reader.dials is None else dials


def dials_in(row: Mapping[str, Any]) -> Dials | None:
    """Return how the row of a comparison was turned; None if its mapping has no dials or an older mrdist wrote it."""
    return None if row.get("strength") is None else Dials(row["strength"], row["mouth"])


def is_turned(row: Mapping[str, Any], dials: Dials | None) -> bool:
    """Return whether the row of a comparison was turned so; where nobody did, it is as trained."""
    return (dials_in(row) or AS_TRAINED) == (dials or AS_TRAINED)


def measure_all(
    stores: Sequence[tuple[str, Dials | None, dict[str, Any] | None]],
    images_url: str,
    split: str,
    inputs: Inputs,
    *,
    case: Case | None = None,
    storage_options: StorageOptions = None,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the rows of several mappings and that of the identity, all of the same people.

    Parameters
    ----------
    stores
        Weights stores, each with its dials and with its row in an earlier comparison or None. If a row scores other
        people, or an older mrdist wrote it without them, all mappings are measured again.
    images_url, split, inputs, case, storage_options
        As for `measure`.
    """

    def measured(url: str, dials: Dials | None) -> tuple[dict[str, Any], dict[str, Any]]:
        return measure(url, images_url, split, inputs, dials=dials, case=case, storage_options=storage_options)

    first, identity = measured(*stores[0][:2])
    names = identity["people"]["names"]
    known = all(row is None or row.get("people", {}).get("names") == names for _, _, row in stores)
    rows = [(row if known else None) or (first if number == 0 else None) for number, (_, _, row) in enumerate(stores)]
    made = [row or measured(url, dials)[0] for (url, dials, _), row in zip(stores, rows, strict=True)]
    for (url, dials, _), row in zip(stores, made, strict=True):
        if case is not None and row.get(JUDGED[0]) is None:  # not judged before
            reader = WeightsReader.open(url, storage_options).turned(dials)
            row |= judged(case.judge(reader), "synthesised")
    return made, identity


def _scores(frame: Mapping[str, Any], face: Mapping[str, Any], mapping: str) -> dict[str, Any]:
    relative = [
        region[mapping]["mse"] / region["identity"]["mse"] if region["identity"]["mse"] else None
        for region in (frame, face)
    ]
    return {**frame[mapping], "relative_mse": relative[0], "face_relative_mse": relative[1]}


def _predict_seconds(model: Model, inputs: Inputs) -> float:
    times = []
    for _ in range(4):  # the first loads what has been compiled
        started = time.perf_counter()
        model.make(*inputs)
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:])) / len(inputs[0])


def timed_inputs(images: Images, label: str, rows: npt.NDArray[np.int64]) -> Inputs:
    """Return images and their landmarks to time predictions with: few enough to lie in memory."""
    height, width = images.shape
    n = min(_TIMED_IMAGES, max(1, _TIMED_BYTES // (height * width * images.n_channels * images.dtype.itemsize)))
    return images.read(label, rows[:n]), images.landmarks_of(label, rows[:n])
