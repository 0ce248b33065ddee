"""The methods of `mrdist.train`: the function that trains each, and its options."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError
from mrdist.geometry import Shape
from mrdist.moments import Color
from mrdist.pipeline._blocks import check_choices, versions
from mrdist.pipeline._options import check_options
from mrdist.planning import Cut
from mrdist.storage import FaceFrame, Images, StorageOptions, redact


@dataclass(frozen=True)
class Lesson:
    """What is to be learnt, by any method.

    Attributes
    ----------
    method
        Its name.
    images, rows
        An images store, and the rows of it to train on.
    source, target, split, color, dtype
        As in `mrdist.train`.
    """

    method: str
    images: Images
    rows: npt.NDArray[np.int64]
    source: str
    target: str
    split: str
    color: Color
    dtype: str

    @classmethod
    def of(
        cls, images: Images, *, method: str, source: str, target: str, split: str, color: Color, dtype: str
    ) -> Lesson:
        """Check the choices and find the rows.

        Raises
        ------
        ParameterError
            If an option is not one of its choices, or the method does not support the colour.
        LabelError, DataError
            If a label does not exist, or there are no pairs.
        """
        check_choices(color, split, dtype)
        if color == "joint" and not METHODS[method].knows_joint:
            able = ", ".join(name for name, known in METHODS.items() if known.knows_joint)
            raise ParameterError(
                f"method {method} does not support the colour joint; choose shared or separate, or a method of {able}."
            )
        return cls(method, images, images.rows((source, target), split), source, target, split, color, dtype)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where weights learnt from it come from."""
        return {"images": redact(self.images.url), "versions": versions()}

    @property
    def face_frame(self) -> FaceFrame:
        """Where faces lie in its images."""
        return FaceFrame.of_images(self.images, self.source)

    def describe(self) -> dict[str, Any]:
        """Return what the descriptions of all trainings have, see `mrdist.storage.outputs.AnyTraining`."""
        return {
            "method": self.method,
            "images": self.images.fingerprint((self.source, self.target), self.rows),
            "source": self.source,
            "target": self.target,
            "split": self.split,
            "color": self.color,
            "dtype": self.dtype,
            "height": self.images.shape[0],
            "width": self.images.shape[1],
            "n_channels": self.images.n_channels,
            "n_images": len(self.rows),
        }


@dataclass(frozen=True)
class Job:
    """A lesson, where its weights go and who works on it: what every trainer is called with.

    Attributes
    ----------
    lesson
        What is to be learnt.
    url, storage_options
        Where the weights go.
    block, workers, scheduler, max_memory, overwrite, progress
        As in `mrdist.train`; ``max_memory`` in bytes.
    n_slots
        Tasks to plan for that run at once.
    """

    lesson: Lesson
    url: str
    storage_options: StorageOptions = field(repr=False)
    block: Shape | None
    workers: int | None
    scheduler: str | None
    max_memory: int
    n_slots: int
    overwrite: bool
    progress: bool | None


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    home
        Module, name of the function that trains, and of the one that checks and plans before the trainer begins its
        output, both called with a `Job` and all options.
    options
        Its options besides those that all methods share, with their defaults; None where the default follows from the
        images.
    knows_joint
        Whether its outputs can see all input channels.
    label, help
        Its name for people, a phrase, and what it is in a sentence.
    """

    home: tuple[str, str, str]
    options: Mapping[str, Any]
    knows_joint: bool = False
    label: str = ""
    help: str = ""

    @property
    def trainer(self) -> Callable[..., Any]:
        """The function that trains; imported when it is needed, with the libraries that only it needs."""
        train: Callable[..., Any] = getattr(import_module(self.home[0]), self.home[1])
        return train

    def check(self, job: Job, options: Mapping[str, Any]) -> Cut:
        """Raise what the trainer would raise before it begins its output, and touch nothing; return how it cuts."""
        cut: Cut = getattr(import_module(self.home[0]), self.home[2])(job, **options)[-1]
        return cut


_SEARCH = {"alphas": None, "folds": None, "rule": None, "seed": None}

METHODS: dict[str, Method] = {
    "mr": Method(
        ("mrdist.pipeline.train", "train_masked", "plan_masked"),
        {"receptive_field": 3, "dilation": 1, "alpha": 0.4, "penalize_intercept": True, **_SEARCH},
        knows_joint=True,
        label="masked regression",
        help="Each pixel from the few around it: small, fast, and good with a few dozen pairs.",
    ),
    "pixel": Method(
        ("mrdist.pipeline.train", "train_masked", "plan_masked"),
        {"alpha": 0.4, "penalize_intercept": True, **_SEARCH},
        knows_joint=True,
        label="one pixel",
        help="Each pixel from itself alone; a baseline.",
    ),
    "l2": Method(
        ("mrdist.pipeline.train_global", "train_global", "plan_whole"),
        {"alpha": 0.4, "penalize_intercept": True, **_SEARCH},
        label="ridge on the whole image",
        help="Each pixel from all pixels; solved with one unknown per training image.",
    ),
    "kernel": Method(
        ("mrdist.pipeline.train_global", "train_global", "plan_whole"),
        {"alpha": 0.01, "penalize_intercept": True, "gamma": None, **_SEARCH},
        label="kernel ridge",
        help="Ridge on the whole image with a Gaussian kernel.",
    ),
    "pca": Method(
        ("mrdist.pipeline.train_global", "train_global", "plan_whole"),
        {"components": None},
        label="principal components",
        help="Regression on the first components of the source.",
    ),
    "mean": Method(
        ("mrdist.pipeline.train_mean", "train_mean", "plan_mean"),
        {},
        label="mean face",
        help="The mean target, whatever the input: a baseline that others must beat.",
    ),
    "l1": Method(
        ("mrdist.pipeline.train_sparse", "train_lasso", "plan_lasso"),
        {"alpha": 0.001, "window": None, "max_iterations": 1000, **_SEARCH},
        label="LASSO",
        help="Learned sparsity: chooses the input pixels of each pixel. Slow.",
    ),
    "l0": Method(
        ("mrdist.pipeline.train_sparse", "train_omp", "plan_omp"),
        {"nonzeros": None, "tolerance": 0.0, "window": None, "folds": None, "rule": None, "seed": None},
        label="matching pursuit",
        help="Learned sparsity with a limited number of weights per pixel. Slow.",
    ),
}


def choose_options(method: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options of a method: those that are given (not None), and the defaults of the others.

    Raises
    ------
    ParameterError
        If the method does not exist, or an option is invalid or not one of the method.

    Examples
    --------
    >>> choose_options("pixel", {"alpha": 2.0, "dilation": None})["alpha"]
    2.0
    """
    if method not in METHODS:
        raise ParameterError(f"method must be one of {', '.join(METHODS)}, got {method!r}.")
    known = METHODS[method].options
    for name, value in given.items():
        if value is not None and name not in known:
            raise ParameterError(
                f"method {method} has no option {name} (got {value!r}); its options are "
                f"{', '.join(known) or 'those of all methods'}."
            )
    return {**known, **check_options({name: value for name, value in given.items() if value is not None})}
