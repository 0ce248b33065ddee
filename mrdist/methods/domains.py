"""What the value of an option may be.

A `Domain` checks a value, reads it from a text and describes it as JSON Schema. The command line, the service and its
page import this module to describe options, so that it loads no numeric library before a value is refused.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, ClassVar, Literal, NoReturn

from mrdist.errors import ParameterError

Kind = Literal["integer", "number", "boolean", "choice", "pair", "size", "text"]
Rule = Callable[[Any], object]
"""Raises ParameterError for a number outside the limits, in the words of the code that computes with it."""


def refuse(name: str, must: str, value: object) -> NoReturn:
    """Raise the ParameterError of an option that ``must be`` something else."""
    from mrdist.arguments import shown  # with NumPy

    raise ParameterError(f"{name} must be {must}, got {shown(value)}.")


class Domain(ABC):
    """The values that an option may have.

    Attributes
    ----------
    kind, what
        Its name, and what one value is.
    """

    kind: ClassVar[Kind]
    what: ClassVar[str]

    @abstractmethod
    def check(self, name: str, value: Any) -> Any:
        """Return a plain value, ready for JSON.

        Raises
        ------
        ParameterError
            If it lies outside the domain; ``name`` is the option's.
        """

    @property
    @abstractmethod
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a value."""

    def read(self, name: str, text: str) -> Any:  # noqa: ARG002
        """Return what a text stands for, not yet checked.

        Raises
        ------
        ParameterError
            If it stands for no value of this kind.
        """
        return text


@dataclass(frozen=True)
class Whole(Domain):
    """Whole numbers.

    Attributes
    ----------
    minimum, maximum
        Limits, both included.
    odd
        Whether it must be odd, which is checked by ``rule``, or where the images are known.
    rule
        A further check, made first.
    early
        Whether reading checks the limits, too: in the shell, a value outside them is then a usage error.

    Examples
    --------
    >>> Whole(2).check("folds", 3), Whole(2).read("folds", "3")
    (3, 3)
    >>> Whole(2).check("folds", 1)
    Traceback (most recent call last):
    mrdist.errors.ParameterError: folds must be a whole number of at least 2, got 1.
    """

    kind: ClassVar[Kind] = "integer"
    what: ClassVar[str] = "a whole number"
    minimum: int | None = None
    maximum: int | None = None
    odd: bool = False
    rule: Rule | None = None
    early: bool = False

    def check(self, name: str, value: Any) -> int:
        """Return the number; see `Domain.check`."""
        if isinstance(value, bool) or not isinstance(value, Integral):
            refuse(name, self.what, value)
        number = int(value)
        if self.rule is not None:
            self.rule(number)
        if self.minimum is not None and number < self.minimum:
            refuse(name, f"a whole number of at least {self.minimum}", number)
        if self.maximum is not None and number > self.maximum:
            refuse(name, f"a whole number of at most {self.maximum}", number)
        return number

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        limits = {"minimum": self.minimum, "maximum": self.maximum}
        given = {name: limit for name, limit in limits.items() if limit is not None}
        return {"type": "integer", **given, **({"not": {"multipleOf": 2}} if self.odd else {})}

    def read(self, name: str, text: str) -> int:
        """Return the number that a text stands for."""
        number = as_number(text)
        return number if isinstance(number, int) and not self.early else self.check(name, number)


@dataclass(frozen=True)
class Number(Domain):
    """Finite numbers.

    Attributes
    ----------
    minimum, above, maximum
        Smallest number, the number that it must be more than, and the largest one.
    rule
        Check of the limits in other words than ``name must be must, got value``.
    must
        What it must be, in words.

    Examples
    --------
    >>> Number(minimum=0).check("tolerance", 1)
    1.0
    >>> Number(above=0).check("gamma", 0)
    Traceback (most recent call last):
    mrdist.errors.ParameterError: gamma must be a finite number of more than 0, got 0.0.
    """

    kind: ClassVar[Kind] = "number"
    what: ClassVar[str] = "a number"
    minimum: float | None = None
    above: float | None = None
    maximum: float | None = None
    rule: Rule | None = None
    must: str | None = None

    def check(self, name: str, value: Any) -> float:
        """Return the number; see `Domain.check`."""
        if isinstance(value, bool) or not isinstance(value, Real):
            refuse(name, self.what, value)
        try:
            number = float(value)
        except OverflowError:
            raise ParameterError(f"{name} must be a finite number, got one of hundreds of digits.") from None
        if self.rule is not None:
            self.rule(number)
        within = (self.minimum is None or number >= self.minimum) and (self.maximum is None or number <= self.maximum)
        if not (math.isfinite(number) and within and (self.above is None or number > self.above)):
            refuse(name, self.must or f"a finite number{self._limit}", number)
        return number

    @property
    def _limit(self) -> str:
        limits = ("more than", self.above), ("at least", self.minimum), ("at most", self.maximum)
        said = " and ".join(f"{words} {limit:g}" for words, limit in limits if limit is not None)
        return f" of {said}" if said else ""

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        limits = {"minimum": self.minimum, "exclusiveMinimum": self.above, "maximum": self.maximum}
        return {"type": "number", **{name: limit for name, limit in limits.items() if limit is not None}}

    def read(self, name: str, text: str) -> float:
        """Return the number that a text stands for."""
        try:
            return float(text)
        except ValueError:
            return self.check(name, text)


def as_number(text: str) -> float | str:
    """Return the number that a text stands for, a whole one if it is written as one, else the text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


@dataclass(frozen=True)
class Flag(Domain):
    """True or False.

    Attributes
    ----------
    yes, no
        What they mean, in words.
    off
        Name of the switch that turns it off.
    """

    kind: ClassVar[Kind] = "boolean"
    what: ClassVar[str] = "True or False"
    yes: str
    no: str
    off: str

    def check(self, name: str, value: Any) -> bool:
        """Return the value; see `Domain.check`."""
        return value if isinstance(value, bool) else refuse(name, self.what, value)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        return {"type": "boolean"}


@dataclass(frozen=True)
class Choice(Domain):
    """One of several names.

    Attributes
    ----------
    words
        Name -> what it means, empty where the name says it.
    told
        All names in words, where they are too many for a list.

    Examples
    --------
    >>> Choice({"rgb": "", "gray": ""}).check("color", "red")
    Traceback (most recent call last):
    mrdist.errors.ParameterError: color must be one of rgb, gray, got 'red'.
    """

    kind: ClassVar[Kind] = "choice"
    what: ClassVar[str] = "one of several names"
    words: Mapping[str, str]
    told: str = ""

    def check(self, name: str, value: Any) -> str:
        """Return the name; see `Domain.check`."""
        if not isinstance(value, str) or value not in self.words:
            refuse(name, self.told or f"one of {', '.join(self.words)}", value)
        return value

    @property
    def phrase(self) -> str:
        """The names and what they mean."""
        *most, last = (f"{name} ({word})" if word else name for name, word in self.words.items())
        return self.told or f"{', '.join(most)} or {last}"

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        return {"type": "string", "enum": list(self.words)}


@dataclass(frozen=True)
class Pair(Domain):
    """A height and a width in pixels."""

    kind: ClassVar[Kind] = "pair"
    what: ClassVar[str] = "a height and a width"

    def check(self, name: str, value: Any) -> tuple[int, int]:  # noqa: ARG002 (whose sentences name the block)
        """Return both; see `Domain.check`."""
        from mrdist.planning import check_block  # with NumPy

        return check_block(value)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        return {"type": "array", "items": {"type": "integer", "minimum": 1}, "minItems": 2, "maxItems": 2}

    def read(self, name: str, text: str) -> tuple[int, int]:
        """Return what ``16,32`` stands for."""
        sides = tuple(map(as_number, text.split(",")))
        return self.check(name, sides if len(sides) > 1 else sides[0])


@dataclass(frozen=True)
class Size(Domain):
    """A number of bytes, or a text such as 2GiB."""

    kind: ClassVar[Kind] = "size"
    what: ClassVar[str] = "a positive size such as 2GiB or 600MB"

    def check(self, name: str, value: Any) -> int | str:
        """Return it as it is; see `Domain.check`."""
        from mrdist.planning import parse_bytes  # with NumPy

        if isinstance(value, bool) or not isinstance(value, int | str):
            refuse(name, self.what, value)
        parse_bytes(value)
        return value

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        pattern = r"^\s*[0-9]*\.?[0-9]+\s*([kKmMgGtT][iI]?)?[bB]?\s*$"
        return {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": pattern}]}
