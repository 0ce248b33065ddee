"""Methods: what can be trained, and the options of each; the page makes its form of them."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from mrdist.methods.domains import Choice, Domain, Flag, Kind, Whole
from mrdist.methods.method import Method
from mrdist.methods.option_table import OPTIONS, SHARED, Option
from mrdist.methods.option_words import sentence
from mrdist.methods.registry import METHODS
from mrdist.planning import MIB
from mrdist.service.context import SettingsHere
from mrdist.service.options import in_request
from mrdist.service.problems import problems

router = APIRouter(tags=["methods"], prefix="/methods", responses=problems())


class ChoiceAnswer(BaseModel):
    """A value that may be chosen."""

    value: str | bool
    label: Annotated[str, Field(description="What it means; empty if the value says it.")]


class OptionAnswer(BaseModel):
    """An option of a method."""

    name: str
    label: Annotated[str, Field(description="Its name for people.")]
    help: Annotated[str, Field(description="What it is, in a sentence.")]
    kind: Annotated[Kind, Field(description="What one value is; pair: rows and columns; size: bytes, such as 2GiB.")]
    default: Annotated[Any, Field(description="null if it follows from the images.")]
    usual: Annotated[str, Field(description="The default in words.")]
    minimum: float | None = None
    exclusive_minimum: float | None = None
    maximum: float | None = None
    odd: bool = False
    choices: list[ChoiceAnswer] = []
    single: Annotated[bool, Field(description="Whether one value may be given.")]
    several: Annotated[bool, Field(description="Whether a list of values may be given.")]
    cv: Annotated[bool, Field(description="Whether it may be cv: chosen by cross-validation.")]
    search: Annotated[bool, Field(description="Whether it is an option of cross-validation.")]
    prominent: Annotated[bool, Field(description="Whether a form shows it at once.")]
    suggested: Annotated[list[int], Field(description="Values that a form offers.")]


class MethodAnswer(BaseModel):
    """A way to train."""

    name: str
    label: Annotated[str, Field(description="Its name for people.")]
    phrase: Annotated[str, Field(description="The same in the middle of a sentence.")]
    help: Annotated[str, Field(description="What it is, in a sentence.")]
    needs_landmarks: Annotated[bool, Field(description="Whether it trains on datasets with landmarks alone.")]
    has_dials: Annotated[bool, Field(description="Whether its models can be applied more or less strongly.")]
    options: list[OptionAnswer]


class MethodList(BaseModel):
    """All methods; that of a training which names none comes first."""

    methods: list[MethodAnswer]


@router.get("")
def list_methods(settings: SettingsHere) -> MethodList:
    """List the methods of trainings with their options."""
    gib, rest = divmod(settings.max_memory, 1024 * MIB)
    memory = f"{settings.max_memory / MIB:g}MiB" if rest else f"{gib}GiB"
    return MethodList(methods=[_describe(name, method, memory) for name, method in METHODS.items()])


def _describe(name: str, method: Method, memory: str) -> MethodAnswer:
    given = {**method.options, **SHARED, "max_memory": memory}
    options = [_option(option, given[option], method) for option in OPTIONS if option in given]
    phrase = method.label or name
    return MethodAnswer(
        name=name,
        label=_titled(phrase),
        phrase=phrase,
        help=method.help,
        needs_landmarks=method.needs_landmarks,
        has_dials=method.has_dials,
        options=options,
    )


def _option(name: str, default: Any, method: Method) -> OptionAnswer:
    answer = describe_option(OPTIONS[name], default)
    if name == "color" and not method.knows_joint:
        answer.choices = [choice for choice in answer.choices if choice.value != "joint"]
    return answer


def describe_option(option: Option, default: Any) -> OptionAnswer:
    """Describe an option of a request and its default."""
    option = in_request(option)
    schema = option.domain.schema
    return OptionAnswer(
        name=option.name,
        label=option.label,
        help=sentence(option.help),
        kind=option.domain.kind,
        default=default,
        usual=option.word(default),
        minimum=schema.get("minimum"),
        exclusive_minimum=schema.get("exclusiveMinimum"),
        maximum=schema.get("maximum"),
        odd=isinstance(option.domain, Whole) and option.domain.odd,
        choices=_choices(option.domain),
        single=option.single,
        several=option.several,
        cv=option.cv,
        search=option.search,
        prominent=option.prominent,
        suggested=list(option.suggested),
    )


def _choices(domain: Domain) -> list[ChoiceAnswer]:
    if isinstance(domain, Flag):
        return [ChoiceAnswer(value=True, label=domain.yes), ChoiceAnswer(value=False, label=domain.no)]
    words = domain.words if isinstance(domain, Choice) else {}
    return [ChoiceAnswer(value=value, label=label) for value, label in words.items()]


def _titled(label: str) -> str:
    return label[:1].upper() + label[1:]
