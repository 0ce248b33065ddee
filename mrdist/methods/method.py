"""What a method declares of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mrdist.methods.training import TrainingWork

SEARCH: Mapping[str, Any] = {"alphas": None, "folds": None, "rule": None, "seed": None}
"""Options of a cross-validation that chooses the penalty."""


@dataclass(frozen=True)
class Method:
    """A way to train.

    Attributes
    ----------
    home
        Module and name of what makes its work of a `mrdist.methods.lesson.Lesson`, of
        `mrdist.running.tasks.RunOptions` and of all its options; imported when it is needed, with the libraries that
        only it needs.
    options
        Its options besides those that all methods share, with their defaults; None where the default follows from the
        images.
    label, help
        Its name for people, a phrase, and what it is in a sentence.
    knows_joint
        Whether its outputs can see all input channels.
    uses_input
        Whether its output depends on the input; if not, it is a baseline without a place among those that do.
    shares_sums
        Whether mappings of the same people are trained together from shared sums, if their alpha is given: it then
        takes the options of masked regression.
    drops_rows
        Whether each of its pixels can leave out the images in which a value that it needs is missing.
    needs_landmarks
        Whether it is trained from, and applied to, images with landmarks alone.
    has_dials
        Whether what it has learnt can be applied more or less strongly, see `mrdist.methods.dials`.
    estimator
        Module and name of its class for images in memory, if there is one; what that has fitted can be saved.
    """

    home: tuple[str, str]
    options: Mapping[str, Any]
    label: str
    help: str
    knows_joint: bool = False
    uses_input: bool = True
    shares_sums: bool = False
    drops_rows: bool = False
    needs_landmarks: bool = False
    has_dials: bool = False
    estimator: tuple[str, str] | None = None

    @property
    def work(self) -> Callable[..., TrainingWork[Any]]:
        """What makes its work."""
        module, name = self.home
        work: Callable[..., TrainingWork[Any]] = getattr(import_module(module), name)
        return work
