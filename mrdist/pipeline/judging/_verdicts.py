"""Verdicts on the methods of a comparison: the best, those that cannot be told apart from it, and the harmful ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.methods.dials import OWN
from mrdist.methods.registry import METHODS
from mrdist.morphing.dials import AS_TRAINED
from mrdist.paired import Difference, paired_difference, paired_ratio, rank
from mrdist.pipeline.judging._scores import SplitScores

MEASURES = {"mse": True, "face_mse": True, "ssim": False}
"""What methods are compared by, and whether it is an error."""
TITLES = {"mse": "MSE of the frame", "face_mse": "MSE in the face", "ssim": "SSIM of the frame"}


def name_of(row: Mapping[str, Any]) -> str:
    """Return what tables and pictures call a row of a comparison.

    Examples
    --------
    >>> name_of({"method": "mr", "receptive_field": 5, "dilation": 2})
    'mr 5x5 d2'
    >>> name_of({"method": "pixel", "receptive_field": 1})
    'pixel'
    >>> name_of({"method": "morph", "receptive_field": 3, "dilation": 1, "pool": 2, "strength": 0.5, "mouth": "open"})
    'morph 3x3 pool 2 0.5 open'
    """
    name, size, dilation = str(row["method"]), row.get("receptive_field"), row.get("dilation")
    if size is None or name not in METHODS or "receptive_field" not in METHODS[name].options:
        return name
    words = [name, f"{size}x{size}"]
    if dilation and dilation > 1:
        words.append(f"d{dilation}")
    if row.get("pool"):
        words.append(f"pool {row['pool']}")
    return " ".join([*words, *_dials_of(row)])


def _dials_of(row: Mapping[str, Any]) -> list[str]:
    """Return words for dials that are turned; a mouth is each person's own where the strength is."""
    strength, mouth = row.get("strength"), row.get("mouth")
    if strength is None:
        return []
    said = [] if strength == AS_TRAINED.strength else [OWN if strength == OWN else f"{strength:g}"]
    return said if mouth == AS_TRAINED.mouth or strength == OWN else [*said, str(mouth)]


def is_ranked(row: Mapping[str, Any]) -> bool:
    """Return whether a row competes: at each person's own strength a mapping knows something of the target.

    Examples
    --------
    >>> is_ranked({"strength": "own"}), is_ranked({"strength": 1.0}), is_ranked({})
    (False, True, True)
    """
    return row.get("strength") != OWN


def scores_of_people(scores: SplitScores, mapping: str) -> dict[str, Any]:
    """Return the names of the people of a split and their scores by measure, None for one that is undefined."""
    frame, face = (scores.of_people(region, mapping) for region in ("frame", "face"))
    by_measure = {"mse": frame["mse"], "face_mse": face["mse"], "ssim": frame["ssim"]}
    return {
        "names": scores.people,
        **{name: None if values is None else values.tolist() for name, values in by_measure.items()},
    }


def judge(rows: list[dict[str, Any]], identity: Mapping[str, Any]) -> dict[str, Any]:
    """Compare the rows of a comparison person by person.

    Every row gets ``from_identity`` and ``from_best`` (by measure: the ratio of errors, see
    `mrdist.paired.paired_ratio`, and the difference of SSIM; None where one is undefined), ``leads`` (by measure) and
    ``remark``.

    Parameters
    ----------
    rows
        Of methods, and of the identity if it takes part; those at each person's own strength are not ranked.
    identity
        Its row.

    Returns
    -------
    dict
        ``people``, their names, and ``verdicts``, in words by measure.
    """
    for row in rows:
        row |= {"from_identity": {}, "from_best": {}, "leads": {}}
    verdicts: dict[str, str] = {}
    for measure, is_error in MEASURES.items():
        compare = paired_ratio if is_error else paired_difference
        scores = {number: _scores(row, measure) for number, row in enumerate(rows)}
        known = {n: values for n, values in scores.items() if values is not None and is_ranked(rows[n])}
        theirs = _scores(identity, measure)
        for number, row in enumerate(rows):
            ours = scores[number]
            row["from_identity"][measure] = None if ours is None or theirs is None else compare(ours, theirs).to_dict()
            row["from_best"][measure], row["leads"][measure] = None, False
        if not known:
            continue
        ranking = rank({str(number): values for number, values in known.items()}, errors=is_error)
        for number in known:
            rows[number]["from_best"][measure] = ranking.differences[str(number)].to_dict()
            rows[number]["leads"][measure] = str(number) in ranking.leaders
        verdicts[measure] = ranking.in_words({str(number): name_of(rows[number]) for number in known})
    for row in rows:
        row["remark"] = None if row["method"] == "identity" else _remark(row["from_identity"]["mse"])
    return {"people": identity["people"]["names"], "verdicts": verdicts}


def _scores(row: Mapping[str, Any], measure: str) -> npt.NDArray[np.float64] | None:
    values = row["people"][measure]
    return None if values is None else np.array(values, dtype=np.float64)


def _remark(ratio: Mapping[str, float | None] | None) -> str | None:
    """Return a remark on a ratio to the identity's error; None if it is better."""
    if ratio is None or ratio["mean"] is None:
        return None
    sign = Difference(ratio["mean"], ratio["low"], ratio["high"], neutral=1.0).sign
    if sign > 0:
        return "worse than leaving the photograph as it is"
    if sign < 0:
        return None
    return f"{'no better than' if ratio['mean'] > 1 else 'not to be told apart from'} leaving the photograph as it is"


def sentences(comparison: Mapping[str, Any]) -> list[str]:
    """Return the verdicts and remarks of a comparison, one sentence each.

    Parameters
    ----------
    comparison
        With the ``verdicts`` and rows of `judge`.
    """
    said = [f"{TITLES[measure]}, best: {verdict}." for measure, verdict in comparison.get("verdicts", {}).items()]
    remarks: dict[str, list[str]] = {}
    for row in comparison["methods"]:
        if row.get("remark"):
            remarks.setdefault(row["remark"], []).append(name_of(row))
    return said + [f"{', '.join(names)}: {remark}." for remark, names in remarks.items()]


def interval_text(ratio: Mapping[str, float | None] | None) -> str:
    """Return a ratio with its interval as text, a dash where there is none.

    Examples
    --------
    >>> interval_text({"mean": 0.87, "low": 0.741, "high": 1.02})
    '0.87 (0.74 to 1.02)'
    """
    if ratio is None or ratio["mean"] is None:
        return "-"
    mean = f"{ratio['mean']:.2f}"
    return mean if ratio["low"] is None else f"{mean} ({ratio['low']:.2f} to {ratio['high']:.2f})"


def ratio_sentence(scores: Mapping[str, Any]) -> str:
    """Return how the model compares with the identity in a region of `mrdist.evaluate`, in words.

    Examples
    --------
    >>> ratio_sentence({"ratio": {"mse": {"mean": 0.5, "low": 0.4, "high": 0.6}}, "n_people": 8})
    "0.50 (0.40 to 0.60) of the identity's MSE (95% over 8 people): better than leaving the photograph as it is."
    """
    ratio = scores["ratio"]["mse"]
    if ratio is None:
        return "the MSE is undefined."
    over = "1 person" if ratio["low"] is None else f"95% over {scores['n_people']} people"
    remark = _remark(ratio) or "better than leaving the photograph as it is"
    return f"{interval_text(ratio)} of the identity's MSE ({over}): {remark}."
