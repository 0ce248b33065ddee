"""What clients may ask to be done: the options of the pipeline's verbs, with names in place of URLs.

Numbers are not bounded here where the pipeline has a sentence of its own for those that make no sense.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mrdist.service.catalog import Name, SourcePath

Label = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**31), le=2**31 - 1)]
Seed = Annotated[int, Field(ge=0, le=2**31 - 1)]
Several = Annotated[list[Whole], Field(min_length=1, max_length=16)]
Memory = (
    Annotated[int, Field(ge=1, le=2**53)] | Annotated[str, StringConstraints(pattern=r"^[0-9.]{1,12} ?[kKMGT]?i?B?$")]
)
Method = Literal["mr", "pixel", "l2", "kernel", "pca", "l1", "l0", "mean"]
Color = Literal["shared", "separate", "joint"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    def given(self) -> dict[str, Any]:
        """Return the options that were given, as the pipeline calls them."""
        return self.model_dump(exclude_none=True)


class _Training(_Options):
    images: Annotated[Name, Field(description="Name of a dataset.")]
    source: Annotated[Label, Field(description="Label of the inputs.")]
    method: Method | None = None
    receptive_field: Whole | Several | None = None
    dilation: Whole | Several | None = None
    alpha: Number | Literal["cv"] | None = None
    alphas: Annotated[list[Number], Field(min_length=1, max_length=100)] | None = None
    folds: Whole | None = None
    rule: Literal["min", "1se", "pixel"] | None = None
    seed: Seed | None = None
    color: Color | None = None
    penalize_intercept: bool | None = None
    gamma: Number | None = None
    components: Whole | None = None
    window: Whole | None = None
    max_iterations: Whole | None = None
    nonzeros: Whole | Several | Literal["cv"] | None = None
    tolerance: Number | None = None
    split: Literal["train", "val", "test", "all"] | None = None
    dtype: Literal["float32", "float64"] | None = None
    block: Annotated[list[Whole], Field(min_length=2, max_length=2)] | None = None
    max_memory: Memory | None = None


class TrainOptions(_Training):
    """Options of `mrdist train`; one of target and mappings must be there."""

    target: Annotated[Label | None, Field(description="Label of the outputs; all: every other label.")] = None
    mappings: Annotated[Literal["all"] | None, Field(description="all: the source to every label and back.")] = None


class CompareOptions(_Options):
    """Options of `mrdist compare`."""

    images: Annotated[Name, Field(description="Name of a dataset.")]
    source: Label
    target: Label
    methods: Annotated[list[Method | Literal["identity"]], Field(min_length=1, max_length=16)] | None = None
    receptive_fields: Several | None = None
    dilations: Several | None = None
    alpha: Number | Literal["cv"] | None = None
    color: Color | None = None
    split: Literal["train", "val", "test"] | None = None
    max_memory: Memory | None = None


class GenerateOptions(_Options):
    """Options of `mrdist generate`."""

    images: Annotated[int, Field(le=1_000_000, description="People; each has every label.")]
    size: Annotated[int, Field(le=4096)] = 128
    labels: Annotated[list[Label], Field(min_length=1, max_length=16)] | None = None
    color: Literal["rgb", "gray"] | None = None
    seed: Seed | None = None


class IngestOptions(_Options):
    """Options of `mrdist ingest`."""

    source: Annotated[SourcePath, Field(description="A folder or archive below the catalogue's sources/.")]
    layout: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,20}$")] | None = None
    dataset: Name | None = None
    angle: Literal["front", "half-left", "half-right", "full-left", "full-right"] | None = None
    size: Whole | None = None
    color: Literal["rgb", "gray"] | None = None
    normalize: Literal["255", "minmax"] | None = None
    align: Annotated[str, StringConstraints(pattern=r"^[a-z]{1,20}$")] | None = None
    rename: Annotated[dict[Label, Label], Field(max_length=16)] | None = None
    seed: Seed | None = None
    strict: bool | None = None


class _Request(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[Name, Field(description="What it makes will be called so.")]


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
    """What would this training cost."""

    model_config = ConfigDict(extra="forbid", strict=True)

    verb: Literal["train"] = "train"
    options: TrainOptions


class DatasetRequest(BaseModel):
    """Make a dataset; one of generate and ingest must be there."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Name
    generate: GenerateOptions | None = None
    ingest: IngestOptions | None = None
