"""What can be turned when a mapping is applied, each described once; see `mrdist.morphing.dials.Dials`.

The command line, requests to the service and the page derive theirs, as they do those of trainings from
`mrdist.methods.option_table`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mrdist.errors import ParameterError
from mrdist.methods.domains import Choice, Number, refuse
from mrdist.methods.option_table import Option
from mrdist.morphing.dials import AS_TRAINED, MOUTHS, STRONGEST, Dials

OWN = "own"
_STRONG = f"how strong the expression is, from 0, which gives the photograph, over 1, the usual, to {STRONGEST:g}"


@dataclass(frozen=True)
class Strength(Number):
    """A number, or each person's own strength, where the targets are known.

    Attributes
    ----------
    own
        Whether they are.

    Examples
    --------
    >>> DIALS["strength"].read("own"), DIALS["strength"].check(1)
    ('own', 1.0)
    >>> of_photographs(DIALS["strength"]).check("own")
    Traceback (most recent call last):
    mrdist.errors.ParameterError: strength must be a number for photographs, got 'own', which is measured from the \
targets of a store.
    """

    own: bool = True

    def check(self, name: str, value: Any) -> Any:
        """Return the number or the word; see `mrdist.methods.domains.Domain.check`."""
        if value != OWN:
            return super().check(name, value)
        if not self.own:
            raise ParameterError(
                f"{name} must be a number for photographs, got {OWN!r}, which is measured from the targets of a store."
            )
        return value

    def read(self, name: str, text: str) -> Any:
        """Return what a text stands for, not yet checked."""
        if text == OWN:
            return text
        try:
            return float(text)
        except ValueError:
            refuse(name, f"a number{f' or {OWN}' if self.own else ''}", text)

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema."""
        number = super().schema
        return {"anyOf": [number, {"type": "string", "const": OWN}]} if self.own else number


DIALS: Mapping[str, Option] = {
    option.name: option
    for option in (
        Option(
            "strength",
            "Strength",
            f"{_STRONG}; {OWN} is each person's, where a store has the targets",
            Strength(minimum=0, maximum=STRONGEST, rule=lambda strength: Dials(strength)),
            f"S|{OWN}",
            usual=f"{AS_TRAINED.strength:g}",
        ),
        Option(
            "mouth",
            "Mouth",
            "what the mouth does",
            Choice(dict(zip(MOUTHS, ("open if a third of those of the training were", "", ""), strict=True))),
            "|".join(MOUTHS),
            usual=AS_TRAINED.mouth,
        ),
    )
}
"""Their names are those of the attributes of `Dials`."""


def of_photographs(option: Option) -> Option:
    """Return a dial as it is for photographs, whose targets nobody knows."""
    domain = option.domain
    if not isinstance(domain, Strength):
        return option
    return replace(option, domain=replace(domain, own=False), help=_STRONG)
