"""Who takes part in a comparison, and what their trainings take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.arguments import Address
from mrdist.errors import ParameterError
from mrdist.methods.registry import METHODS
from mrdist.moments import Color
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
    plans
        How the trainings are cut, one after the other.
    """

    contestants: Sequence[Contestant]
    images: Images
    rows: npt.NDArray[np.int64]
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
    color: Color,
    split: str,
    workers: int | None,
    max_memory: int | str,
    storage_options: StorageOptions,
) -> Contest:
    """Check the arguments of a comparison and cut all its trainings, as `compare` does before it trains the first.

    Parameters and errors are those of `compare`, and of `mrdist.train`.
    """
    contestants = contestants_of(methods, receptive_fields, dilations, alpha)
    if split not in SPLITS:
        raise ParameterError(f"split must be one of {', '.join(SPLITS)}, got {split!r}.")
    images = Images.open(images_url, storage_options)
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
    return Contest(contestants, images, rows, plans)


def contestants_of(
    methods: Sequence[str], receptive_fields: Sequence[int], dilations: Sequence[int], alpha: float | str
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
    if not (receptive_fields and dilations):
        raise ParameterError("give at least one receptive field and one dilation.")
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
            contestants += [
                Contestant(method, {**options, "receptive_field": size, "dilation": dilation})
                for size, dilation in fields
            ]
        else:
            contestants.append(Contestant(method, options))
    return contestants
