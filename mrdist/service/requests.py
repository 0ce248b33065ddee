"""Requests of clients: the options of the pipeline's verbs, with names in place of URLs.

Those of trainings and ingests come from tables of options. Other numbers are not bounded here where the pipeline has
its own error for invalid ones.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, StringConstraints, Tag

from mrdist.codecs import DEFAULT_CODEC
from mrdist.datasets.synthetic import LABELS
from mrdist.methods.option_table import OPTIONS
from mrdist.methods.option_words import describe
from mrdist.service.catalog import Name, SourcePath
from mrdist.service.options import comparison_fields, field_of, ingest_fields, training_fields, whole, with_fields

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Images = Annotated[Name, Field(description="Name of a dataset.")]
Source = Annotated[Label, Field(description="Label of the inputs.")]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1), BeforeValidator(whole)]
People = Annotated[int, Field(ge=1, le=100_000, description="Each has every label."), BeforeValidator(whole)]
Side = Annotated[int, Field(ge=16, le=4096), BeforeValidator(whole)]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Return the given options under the pipeline's names."""
        return self.model_dump(exclude_none=True)


@with_fields(training_fields())
class TrainOptions(_Options):
    """Options of `mrdist train`; either target or mappings must be given."""

    images: Images
    source: Source
    target: Annotated[Label | None, Field(description="Label of the outputs; all: every other label.")] = None
    mappings: Annotated[Literal["all"] | None, Field(description="all: the source to every label and back.")] = None


@with_fields(comparison_fields())
class CompareOptions(_Options):
    """Options of `mrdist compare`."""

    images: Images
    source: Source
    target: Annotated[Label, Field(description="Label of the outputs.")]


_EXPRESSIONS = {"items": {"type": "string", "enum": list(LABELS), "title": "Label"}, "uniqueItems": True}


@with_fields({"codec": field_of(OPTIONS["codec"], describe(OPTIONS["codec"], usual=DEFAULT_CODEC))})
class GenerateOptions(_Options):
    """Options of `mrdist generate`."""

    images: People
    size: Side = 128
    labels: Annotated[list[Label], Field(min_length=1, json_schema_extra=_EXPRESSIONS)] | None = None
    color: Annotated[Literal["rgb", "gray"], Field(title="Color")] | None = None
    seed: Seed | None = None


@with_fields(ingest_fields())
class IngestOptions(_Options):
    """Options of `mrdist ingest`."""

    source: Annotated[SourcePath, Field(description="Folder or archive below the catalogue's sources/.")]
    rename: Annotated[dict[Label, Label], Field(max_length=16)] | None = None


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[Name, Field(description="Name of the store that the job makes.")]


class TrainRequest(_Request):
    """Train a model."""

    verb: Literal["train"]
    options: TrainOptions


class CompareRequest(_Request):
    """Train several methods and compare them."""

    verb: Literal["compare"]
    options: CompareOptions


class GenerateRequest(_Request):
    """Draw a dataset of synthetic faces."""

    verb: Literal["generate"]
    options: GenerateOptions


class IngestRequest(_Request):
    """Make a dataset of photographs."""

    verb: Literal["ingest"]
    options: IngestOptions


JobRequest = Annotated[TrainRequest | CompareRequest | GenerateRequest | IngestRequest, Field(discriminator="verb")]


class PlanRequest(BaseModel):
    """Ask for the cost of a training."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verb: Literal["train"] = "train"
    options: TrainOptions


class _Dataset(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name


class GenerateDataset(_Dataset):
    """A dataset of drawn faces."""

    generate: GenerateOptions


class IngestDataset(_Dataset):
    """A dataset of photographs in the catalogue."""

    ingest: IngestOptions


def _way(request: Any) -> str:
    return (
        "ingest"
        if isinstance(request, IngestDataset) or (isinstance(request, dict) and "ingest" in request)
        else "generate"
    )


DatasetRequest = Annotated[
    Annotated[GenerateDataset, Tag("generate")] | Annotated[IngestDataset, Tag("ingest")], Discriminator(_way)
]
