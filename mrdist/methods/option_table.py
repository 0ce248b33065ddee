"""The options of trainings, each described once: the command line, the requests of clients and the page derive theirs.

A method names the options that it has, with their defaults; what they mean and may be stands in `OPTIONS`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mrdist.codecs import CODECS, CODECS_TOLD, DEFAULT_CODEC
from mrdist.errors import ParameterError
from mrdist.methods.domains import Choice, Domain, Flag, Number, Pair, Size, Whole, as_number, refuse


@dataclass(frozen=True)
class Option:
    """An option of trainings.

    Attributes
    ----------
    name
        As in `mrdist.train`.
    label, help
        Its name for people, and what it is: a phrase without a full stop.
    domain
        What one value may be.
    metavar
        Stands for one value in the help of commands.
    usual
        Its default in words, where a method's is None because it follows from the images, or all methods' is.
    single, several
        Whether one value may be given, and a list of them.
    most
        Longest list, if there is a limit.
    cv
        Whether it may be ``"cv"``: chosen by cross-validation.
    chosen
        How cross-validation chooses it, a further phrase.
    search
        Whether it is an option of cross-validation.
    prominent
        Whether a form shows it at once.
    suggested
        Values that a form offers.
    """

    name: str
    label: str
    help: str
    domain: Domain
    metavar: str
    usual: str = ""
    single: bool = True
    several: bool = False
    most: int | None = None
    cv: bool = False
    chosen: str = ""
    search: bool = False
    prominent: bool = False
    suggested: Sequence[int] = ()

    def check(self, value: Any) -> Any:
        """Return a plain value, ready for JSON.

        Raises
        ------
        ParameterError
            If it is invalid.

        Examples
        --------
        >>> OPTIONS["nonzeros"].check((3, 5)), OPTIONS["nonzeros"].check("cv")
        ([3, 5], 'cv')
        """
        if self.cv and isinstance(value, str):
            several = ", several of them," if self.several else ""
            return value if value == "cv" else refuse(self.name, f"{self.domain.what}{several} or 'cv'", value)
        if not self.several or (self.single and not _is_several(value)):
            return self.domain.check(self.name, value)
        if not _is_several(value):
            refuse(self.name, "a list of names" if isinstance(self.domain, Choice) else "a list of numbers", value)
        if len(value) == 0:
            raise ParameterError(f"{self.name} must have at least one value, got none.")
        if self.most is not None and len(value) > self.most:
            raise ParameterError(f"{self.name} must have at most {self.most} values, got {len(value)}.")
        return [self.domain.check(self.name, each) for each in value]

    def read(self, text: str) -> Any:
        """Return what a text in the shell stands for, not yet checked.

        Raises
        ------
        ParameterError
            If it stands for nothing that the option could be.

        Examples
        --------
        >>> OPTIONS["alphas"].read("0.1,1"), OPTIONS["alpha"].read("cv"), OPTIONS["dilation"].read("2")
        ((0.1, 1.0), 'cv', 2)
        """
        if self.cv and isinstance(as_number(text), str) and "," not in text:
            return self.check(text)
        if self.several and ("," in text or not self.single):
            values = tuple(self.domain.read(self.name, part) for part in text.split(","))
            if any(not isinstance(value, str) and not math.isfinite(value) for value in values):  # words in a list
                self.check(values)
            return values
        return self.domain.read(self.name, text)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a value."""
        forms: list[dict[str, Any]] = [self.domain.schema] if self.single else []
        if self.several:
            longest = {} if self.most is None else {"maxItems": self.most}
            forms.append({"type": "array", "items": self.domain.schema, "minItems": 1, **longest})
        if self.cv:
            forms.append({"type": "string", "const": "cv"})
        return forms[0] if len(forms) == 1 else {"anyOf": forms}

    @property
    def phrase(self) -> str:
        """What it is and may be, without a full stop.

        Examples
        --------
        >>> OPTIONS["dtype"].phrase, OPTIONS["alpha"].phrase
        ('data type of the weights: float32 or float64', 'penalty of the weights, for images in 0..1; cv chooses it by \
cross-validation')
        """
        words = self.help
        if isinstance(self.domain, Choice):
            words += f": {self.domain.phrase}"
        return f"{words}; {self.chosen}" if self.chosen and (self.cv or self.several) else words

    def word(self, value: Any) -> str:
        """Return a default in words.

        Examples
        --------
        >>> OPTIONS["alpha"].word(0.001), OPTIONS["window"].word(None), OPTIONS["penalize_intercept"].word(True)
        ('0.001', 'all', 'penalised like a weight')
        """
        if value is None:
            return self.usual
        if isinstance(self.domain, Flag):
            return self.domain.yes if value else self.domain.no
        return f"{value:g}" if isinstance(value, float) else str(value)


def _is_several(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _check_side(side: int) -> None:
    from mrdist.geometry import ReceptiveField  # with NumPy

    ReceptiveField(side)


def _check_dilation(dilation: int) -> None:
    from mrdist.geometry import ReceptiveField

    ReceptiveField(1, dilation)


def _check_pool(pool: int) -> None:
    from mrdist.geometry import check_pool

    check_pool(pool)


def _check_alpha(alpha: float) -> None:
    from mrdist.solvers import check_alpha  # with Numba

    check_alpha(alpha)


def _check_gamma(gamma: float) -> None:
    from mrdist.baselines.dual import check_gamma  # with SciPy

    check_gamma(gamma)


_PENALTY = Number(above=0, rule=_check_alpha)

OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        Option(
            "receptive_field",
            "Receptive field",
            "odd side of the receptive field",
            Whole(1, odd=True, rule=_check_side),
            "R",
            several=True,
            chosen="with alpha cv, several to choose from",
            prominent=True,
            suggested=(1, 3, 5, 7, 9),
        ),
        Option(
            "dilation",
            "Dilation",
            "distance between taps",
            Whole(1, rule=_check_dilation),
            "D",
            several=True,
            chosen="with alpha cv, several to choose from",
        ),
        Option(
            "pool",
            "Pooled neighbours",
            "standard deviation in pixels over which neighbours lend each other their sums, 0 for none",
            Whole(0, 8, rule=_check_pool),
            "P",
            several=True,
            chosen="with alpha cv, several to choose from",
        ),
        Option(
            "prior",
            "Prior of the weights",
            "what the penalty shrinks the weights to",
            Choice({"zero": "0", "identity": "the input pixel itself"}),
            "PRIOR",
        ),
        Option(
            "alpha",
            "Penalty of the weights, alpha",
            "penalty of the weights, for images in 0..1",
            _PENALTY,
            "A",
            cv=True,
            chosen="cv chooses it by cross-validation",
            prominent=True,
        ),
        Option("components", "Components", "number of components", Whole(1), "K", usual="32, or as many as fit"),
        Option(
            "nonzeros",
            "Weights per pixel",
            "maximum number of weights per pixel",
            Whole(1),
            "K",
            usual="10, or as many as fit",
            several=True,
            cv=True,
            chosen="cross-validation chooses among several, or with cv",
        ),
        Option(
            "tolerance",
            "Training MSE to stop at",
            "training MSE at which a pixel needs no more weights",
            Number(minimum=0, must="a finite mean squared error of at least 0"),
            "E",
        ),
        Option(
            "window",
            "Window of input pixels",
            "odd side of the square of input pixels",
            Whole(1, odd=True),
            "R",
            usual="all",
        ),
        Option(
            "max_iterations",
            "Maximum iterations",
            "maximum number of iterations per pixel",
            Whole(1, 2**63 - 1),  # counted in 64 bits
            "N",
        ),
        Option(
            "gamma",
            "Gamma",
            "coefficient of the Gaussian",
            Number(above=0, rule=_check_gamma),
            "G",
            usual="1 / median squared distance of two images",
        ),
        Option(
            "alphas",
            "Penalties to try",
            "penalties to try",
            _PENALTY,
            "A",
            usual="ten values",
            single=False,
            several=True,
            search=True,
        ),
        Option(
            "folds",
            "Folds",
            "number of folds; nobody is in two",
            Whole(2),
            "K",
            usual="5, or as many as there are people",
            search=True,
        ),
        Option(
            "rule",
            "Rule of the choice",
            "rule of the choice",
            Choice(
                {"min": "least error", "1se": "simplest within one standard error", "pixel": "a separate one per pixel"}
            ),
            "RULE",
            usual="min",
            search=True,
        ),
        Option(
            "seed",
            "Seed of the folds",
            "random seed of the folds",
            Whole(0, early=True),  # as the seeds of other commands
            "N",
            usual="0",
            search=True,
        ),
        Option(
            "penalize_intercept",
            "Intercept",
            "penalise the intercept like a weight",
            Flag("penalised like a weight", "free", off="free-intercept"),
            "",
        ),
        Option(
            "color",
            "Colour",
            "weights of the channels",
            Choice(
                {
                    "shared": "one set of weights for the three channels",
                    "separate": "each channel has its own weights",
                    "joint": "each channel is predicted from all three",
                }
            ),
            "MODE",
            prominent=True,
        ),
        Option(
            "split",
            "People to train on",
            "rows to train on",
            Choice(dict.fromkeys(("train", "val", "test", "all"), "")),
            "SPLIT",
        ),
        Option(
            "dtype",
            "Data type of the weights",
            "data type of the weights",
            Choice(dict.fromkeys(("float32", "float64"), "")),
            "T",
        ),
        Option(
            "block",
            "Block, rows and columns",
            "rows and columns of a block, rounded up to whole chunks",
            Pair(),
            "Y,X",
            usual="as memory allows",
        ),
        Option("max_memory", "Memory of a worker", "memory limit of a worker process", Size(), "SIZE"),
        Option(
            "codec",
            "Codec of the chunks",
            "codec of what is written",
            Choice(CODECS, CODECS_TOLD),
            "CODEC",
            usual=f"{DEFAULT_CODEC}, or that of the store that goes on",
        ),
    )
}

SHARED: Mapping[str, Any] = {
    "color": "shared",
    "split": "train",
    "dtype": "float32",
    "block": None,
    "max_memory": "2GiB",
    "codec": None,
}
"""Options that all methods have, with their defaults."""
