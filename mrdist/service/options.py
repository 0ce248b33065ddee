"""Options of trainings in requests: fields made from the table of them, which refuse what `mrdist.train` refuses.

The fields call the table's own checks, so that a client hears the sentence of Python; pydantic reads and describes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, WithJsonSchema, create_model

from mrdist.datasets.discovery import LAYOUTS
from mrdist.methods.dials import DIALS, of_photographs
from mrdist.methods.domains import Choice, Number, Whole
from mrdist.methods.option_table import OPTIONS, SHARED, Option
from mrdist.methods.option_words import by_option, describe, name_default, sentence
from mrdist.methods.registry import METHODS
from mrdist.pipeline.ingesting.options import INGEST, of_catalogs
from mrdist.pipeline.judging.evaluate import SPLITS
from mrdist.service.catalog import Name, SourcePath

_LARGEST = 2**31 - 1
_MOST = 16  # fields, or numbers of weights, to choose from
_MOST_PENALTIES = 100
_NAMES: Mapping[str, Any] = {"dataset": Name, "reference": Name, "landmark_model": SourcePath}
Model = TypeVar("Model", bound=BaseModel)


def in_request(option: Option) -> Option:
    """Return an option with the limits of requests, which are small enough to be planned at once."""
    domain = option.domain
    if isinstance(domain, Whole):
        domain = replace(domain, maximum=min(_LARGEST, domain.maximum or _LARGEST))
    return replace(option, domain=domain, most=_MOST_PENALTIES if isinstance(domain, Number) else _MOST)


def field_of(option: Option, description: str) -> Any:
    """Return a field that may be left out, for `with_fields`: a type and its default."""
    allowed = in_request(option)
    forms = [_titled(form, option.name) for form in allowed.schema.get("anyOf", [allowed.schema])]
    forms.append({"type": "null"})
    checked = PlainValidator(_checked(allowed))
    return Annotated[Any, checked, WithJsonSchema({"anyOf": forms}), Field(description=description)], None


def _titled(schema: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a schema whose choices have a title, after which generated clients name them."""
    if "items" in schema:
        return {**schema, "items": _titled(schema["items"], name)}
    return {**schema, "title": name.replace("_", " ").title()} if "enum" in schema else dict(schema)


def text_field_of(option: Option, description: str) -> Any:
    """Return a field like `field_of`, whose values are texts: of a form or a query."""
    kind, default = field_of(option, description)
    read = BeforeValidator(lambda value: option.read(value) if isinstance(value, str) else value)
    return Annotated[kind, read], default


def _checked(option: Option) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value is None:
            return None
        checked = option.check([whole(each) for each in value] if isinstance(value, list) else whole(value))
        return list(checked) if isinstance(checked, tuple) else checked

    return check


def whole(value: Any) -> Any:
    """Return 3 for 3.0: JSON has no whole numbers of its own."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def with_fields(fields: Mapping[str, Any]) -> Callable[[type[Model]], type[Model]]:
    """Return a decorator that adds fields to a model."""

    def add(model: type[Model]) -> type[Model]:
        return create_model(
            model.__name__, __base__=model, __doc__=model.__doc__, __module__=model.__module__, **fields
        )

    return add


METHOD = Option("method", "Method", "method", Choice({name: known.label for name, known in METHODS.items()}), "M")


def training_fields() -> dict[str, Any]:
    """Return the fields of a training: its method, and the options of all methods."""
    methods = {name: method.options for name, method in METHODS.items()}
    fields: dict[str, Any] = {"method": field_of(METHOD, sentence(METHOD.phrase))}
    for name, defaults in by_option(methods).items():
        usual = name_default(OPTIONS[name], defaults)
        fields[name] = field_of(OPTIONS[name], describe(OPTIONS[name], list(defaults), list(methods), usual))
    for name, default in SHARED.items():
        usual = "the service's" if name == "max_memory" else OPTIONS[name].word(default)
        fields[name] = field_of(OPTIONS[name], describe(OPTIONS[name], usual=usual))
    return fields


def dial_fields(*, photographs: bool) -> dict[str, Any]:
    """Return the fields of what can be turned when a model is applied, to photographs or to the rows of a dataset."""
    fields = {}
    for name, dial in DIALS.items():
        option = of_photographs(dial) if photographs else dial
        words = f"Of models with dials: {option.phrase}; by default {option.usual}."
        if photographs and isinstance(option.domain, Number):
            words += " Of other models: the share of the change that is taken, at most 1."
        fields[name] = text_field_of(option, words)
    return fields


def ingest_fields() -> dict[str, Any]:
    """Return the fields of an ingest; what names files and stores takes names of the catalogue."""
    fields = {}
    for name, known in INGEST.items():
        option = of_catalogs(known)
        if name == "layout":
            option = replace(
                option, domain=Choice({"auto": "", **{layout: each.meaning for layout, each in LAYOUTS.items()}})
            )
        words = describe(option, usual=option.usual)
        if name in _NAMES:
            fields[name] = Annotated[_NAMES[name] | None, Field(description=words)], None
        else:
            fields[name] = field_of(option, words)
    return fields


def comparison_fields() -> dict[str, Any]:
    """Return the fields of a comparison."""
    names = Choice({**{name: known.label for name, known in METHODS.items()}, "identity": "the unchanged image"})
    described = {
        "methods": replace(METHOD, domain=names, help="methods to compare", single=False, several=True),
        **{
            f"{name}s": replace(OPTIONS[name], single=False, chosen="each is a row")
            for name in ("receptive_field", "dilation", "pool")
        },
        "alpha": OPTIONS["alpha"],
        "color": OPTIONS["color"],
        "split": replace(
            OPTIONS["split"], domain=Choice(dict.fromkeys(SPLITS, "")), help="split whose images are scored"
        ),
        "max_memory": OPTIONS["max_memory"],
    }
    having = by_option({name: method.options for name, method in METHODS.items()})
    turned = [name for name, method in METHODS.items() if method.has_dials]
    having |= {name: dict.fromkeys(turned) for name in DIALS}
    described |= {
        "strengths": replace(DIALS["strength"], single=False, several=True, chosen="each is a row"),
        "mouth": DIALS["mouth"],
    }
    judged = Field(description="Judge expression, person and sharpness too; by default true.")
    return {
        name: field_of(option, describe(option, list(having.get(option.name, ())), list(METHODS)))
        for name, option in described.items()
    } | {"recognition": (Annotated[bool | None, judged], None)}
