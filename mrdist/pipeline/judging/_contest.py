"""Who takes part in a comparison, and what their trainings take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address
from mrdist.errors import ParameterError
from mrdist.methods.dials import DIALS, OWN
from mrdist.methods.lesson import check_two
from mrdist.methods.registry import METHODS
from mrdist.moments import Color
from mrdist.morphing.dials import AS_TRAINED, Dials
from mrdist.pipeline.judging._verdicts import name_of
from mrdist.pipeline.judging.evaluate import SPLITS
from mrdist.pipeline.training._prepare import prepare
from mrdist.planning import Plan
from mrdist.storage import Images, StorageOptions


@dataclass(frozen=True)
class Contestant:
    """A method with the options it is trained with.

    Attributes
    ----------
    method
        As in `mrdist.train`.
    options
        Its own, as in `mrdist.train`.
    """

    method: str
    options: Mapping[str, Any]

    @property
    def name(self) -> str:
        """What tables and pictures call it."""
        return name_of({"method": self.method, **self.options})

    @property
    def store(self) -> str:
        """Name of its weights store in the folder of the comparison."""
        return f"{self.name.replace(' ', '-')}.zarr"


@dataclass(frozen=True)
class Contest:
    """A comparison that can begin.

    Attributes
    ----------
    contestants
        Who takes part.
    images, rows
        An images store, and the rows of it that are scored.
    dials
        How strongly those that can tell show an expression: each is a row.
    plans
        How the trainings are cut, one after the other.
    """

    contestants: Sequence[Contestant]
    images: Images
    rows: npt.NDArray[np.int64]
    dials: Sequence[Dials]
    plans: Sequence[Plan]


def plan_comparison(
    images_url: Address,
    *,
    source: str,
    target: str,
    methods: Sequence[str],
    receptive_fields: Sequence[int],
    dilations: Sequence[int],
    alpha: float | str,
    pools: Sequence[int],
    color: Color,
    strengths: Sequence[float | str] | None,
    mouth: str | None,
    split: str,
    workers: int | None,
    max_memory: int | str,
    storage_options: StorageOptions,
) -> Contest:
    """Check the arguments of a comparison and cut all its trainings, as `compare` does before it trains the first.

    Parameters and errors are those of `compare`, and of `mrdist.train`.
    """
    check_two(source, target)
    contestants = contestants_of(methods, receptive_fields, dilations, alpha, pools)
    if (strengths, mouth) != (None, None) and not any(
        METHODS[each.method].has_dials for each in contestants if each.method != "identity"
    ):
        having = ", ".join(name for name, method in METHODS.items() if method.has_dials)
        raise ParameterError(
            f"strength and mouth are for methods that can apply an expression more or less strongly ({having}), but "
            f"only {', '.join(dict.fromkeys(methods))} would be compared; leave them out or add such a method."
        )
    if split not in SPLITS:
        raise ParameterError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    images = Images.open(images_url, storage_options)
    images.check_whole((source, target), "a comparison", "train and evaluate each method,")
    images.rows((source, target), "train")
    rows = images.rows((source, target), split)
    plans = [
        prepare(
            images,
            None,
            {**each.options, "color": color, "workers": workers, "max_memory": max_memory},
            source=source,
            target=target,
            method=each.method,
        ).plan
        for each in contestants
        if each.method != "identity"
    ]
    return Contest(contestants, images, rows, dials_of(strengths, mouth), plans)


def dials_of(strengths: Sequence[float | str] | None, mouth: str | None) -> list[Dials]:
    """Return how strongly an expression is shown, each once; by default as usual and as strongly as each person did.

    Raises
    ------
    ParameterError
        If there is none, or one lies outside its domain.
    """
    chosen = (AS_TRAINED.strength, OWN) if strengths is None else strengths
    if not chosen:
        raise ParameterError("give at least one strength.")
    mouth = AS_TRAINED.mouth if mouth is None else DIALS["mouth"].check(mouth)
    # an own strength comes with the person's own mouth
    given = [Dials(DIALS["strength"].check(each), AS_TRAINED.mouth if each == OWN else mouth) for each in chosen]
    return list(dict.fromkeys(given))


def contestants_of(
    methods: Sequence[str],
    receptive_fields: Sequence[int],
    dilations: Sequence[int],
    alpha: float | str,
    pools: Sequence[int] = (0,),
) -> list[Contestant]:
    """Return the contestants that the options of `compare` ask for.

    Raises
    ------
    ParameterError
        If a method is not one of its choices, or there is nothing to train.
    """
    for method in methods:
        if method not in (*METHODS, "identity"):
            raise ParameterError(f"method must be one of {', '.join((*METHODS, 'identity'))}, got {method!r}.")
    if not set(methods) - {"identity"}:
        raise ParameterError("there is nothing to compare with the identity; name at least one method that is trained.")
    if not (receptive_fields and dilations and pools):
        raise ParameterError("give at least one receptive field, one dilation and one pool.")
    contestants = []
    for method in dict.fromkeys(methods):
        known = {} if method == "identity" else METHODS[method].options
        options = {"alpha": alpha} if "alpha" in known else {}
        if "nonzeros" in known and alpha == "cv":
            options["nonzeros"] = "cv"
        if "receptive_field" in known:
            # a single tap has no dilation
            fields = dict.fromkeys(
                (size, dilation if size > 1 else 1) for size in receptive_fields for dilation in dilations
            )
            reaches: Sequence[dict[str, int]] = [{"pool": pool} for pool in dict.fromkeys(pools)]
            contestants += [
                Contestant(method, {**options, "receptive_field": size, "dilation": dilation, **reach})
                for size, dilation in fields
                for reach in (reaches if "pool" in known else [{}])
            ]
        else:
            contestants.append(Contestant(method, options))
    return contestants
