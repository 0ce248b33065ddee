"""What a person who applies a learnt expression can turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mrdist.errors import ParameterError

STRONGEST = 1.5
MOUTHS = ("auto", "open", "closed")


@dataclass(frozen=True)
class Dials:
    """Strength and mouth of an expression.

    Parameters
    ----------
    strength
        0 gives the photograph, 1 the root mean square of the training targets; ``"own"`` the person's own, measured
        from the landmarks of source and target, with the person's own opening of the mouth.
    mouth
        ``open``, ``closed``, or ``auto``: open where a third of the training targets were.

    Raises
    ------
    ParameterError
        If one lies outside its domain.

    Examples
    --------
    >>> Dials(strength=9)
    Traceback (most recent call last):
        ...
    mrdist.errors.ParameterError: strength must lie in 0..1.5, got 9.
    """

    strength: float | Literal["own"] = 1.0
    mouth: str = "auto"

    def __post_init__(self) -> None:
        if self.mouth not in MOUTHS:
            raise ParameterError(f"mouth must be one of {', '.join(MOUTHS)}, got {self.mouth!r}.")
        if self.strength == "own":
            return
        strength: object = self.strength  # whatever a caller has given
        number = isinstance(strength, int | float) and not isinstance(strength, bool)
        if not number or not 0 <= self.strength <= STRONGEST:
            raise ParameterError(f"strength must lie in 0..{STRONGEST:g}, got {self.strength}.")

    @classmethod
    def given(cls, strength: float | Literal["own"] | None, mouth: str | None) -> Dials | None:
        """Return the dials that somebody has turned, None if nobody has."""
        if strength is None and mouth is None:
            return None
        return cls(1.0 if strength is None else strength, "auto" if mouth is None else mouth)


AS_TRAINED = Dials()
"""What is shown unless somebody asks otherwise."""
