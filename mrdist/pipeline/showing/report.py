"""One self-contained page that compares the methods."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mrdist.analysis import Roles, WeightSurvey, patches, spread_pixels
from mrdist.arguments import Address, plain_arguments
from mrdist.errors import ParameterError, StoreError
from mrdist.pipeline.applying.check import check_mapping
from mrdist.pipeline.judging._contest import dials_of
from mrdist.pipeline.judging._jury import Jury
from mrdist.pipeline.judging._measure import dials_in, is_turned, measure_all, rows_of, timed_inputs
from mrdist.pipeline.judging._portraits import made_of
from mrdist.pipeline.judging._verdicts import interval_text, is_ranked, judge, name_of, sentences
from mrdist.pipeline.judging.compare import RESULTS, looks
from mrdist.pipeline.showing._report_figures import (
    draw_error_maps,
    draw_errors,
    draw_faces,
    draw_field_sizes,
    draw_fields,
    draw_intercepts,
    draw_mask,
    draw_ratios,
    draw_reach,
    draw_sizes,
)
from mrdist.storage import (
    File,
    Images,
    Model,
    StorageOptions,
    WeightsReader,
    describe,
    normalize_url,
    open_weights,
    redact,
)
from mrdist.storage.access.places import check_writable, is_file, write_file

_SHOWN = 8  # mappings whose faces and weights are drawn
_SURVEYED = 400  # output pixels whose weights are looked at
_PROBED = 1 << 14  # pixels of an image up to which the weights of a dense mapping are measured pixel by pixel
_BATCH = 256
_RADIUS = 7
_PIXELS = {"brow": (0.30, 0.34), "eye": (0.40, 0.32), "cheek": (0.58, 0.26), "mouth": (0.74, 0.40), "chin": (0.88, 0.5)}


@dataclass(frozen=True)
class _Entry:
    """A mapping, as its dials are turned, with its row of scores."""

    name: str
    model: Model
    reader: WeightsReader
    row: Mapping[str, Any]


@plain_arguments
def report(
    urls: Address | Sequence[Address],
    out: Address,
    *,
    images: Address | None = None,
    split: str = "test",
    people: int = 6,
    strengths: Sequence[float | Literal["own"]] | None = None,
    mouth: str | None = None,
    recognition: bool = True,
    storage_options: StorageOptions = None,
) -> str:
    """Write one self-contained HTML page with scores, faces and weights of mappings.

    Parameters
    ----------
    urls
        Weights stores, and folders that `mrdist.compare` has filled; all of one pair of labels and one size.
    out
        The page.
    images
        Images store for scores and faces; by default the one that the first mapping was trained from.
    split
        Whose images are scored and shown.
    people
        Example faces at most.
    strengths, mouth, recognition
        As in `mrdist.compare`; by default the strengths of the comparison, or 1 and ``"own"``.
    storage_options
        Options of the fsspec filesystems.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    ParameterError
        If ``people`` is not positive, the mappings are not of one pair of labels, or strength or mouth is given, and
        none of them can apply an expression more or less strongly.
    DataError
        If images and weights do not fit each other or the split has no pairs.
    StoreError
        If a store cannot be read or the page cannot be written.
    """
    out = fspath(out)
    if people < 1:
        raise ParameterError(f"people must be at least 1, got {people}.")
    check_writable(out, storage_options)
    places = [fspath(each) for each in ([urls] if isinstance(urls, str | PathLike) else urls)]
    dials = dials_of(strengths, mouth)
    stores: dict[str, list[dict[str, Any]]] = {}
    for url in places:
        folder = normalize_url(url)
        if is_file(f"{folder}/{RESULTS}", storage_options):
            comparison = _load(f"{folder}/{RESULTS}", storage_options)
            same = comparison["split"] == split and images is None
            for row in comparison["methods"]:
                if row["weights"]:
                    stores.setdefault(f"{folder}/{row['weights']}", []).extend([row] if same else [])
        else:
            describe(url, storage_options)
            stores.setdefault(url, [])
    readers = [WeightsReader.open(url, storage_options) for url in stores]
    asked = (strengths, mouth) != (None, None)
    if asked and all(reader.dials is None for reader in readers):
        raise ParameterError(
            "strength and mouth are for mappings that can apply an expression more or less strongly, but "
            f"{', '.join(redact(reader.url) for reader in readers)} cannot; leave them out."
        )
    training = readers[0].training
    for reader in readers[1:]:
        if (reader.training.source, reader.training.target) != (training.source, training.target):
            raise ParameterError(
                f"{redact(reader.url)} maps {reader.training.source} to {reader.training.target}, but "
                f"{redact(readers[0].url)} maps {training.source} to {training.target}; make one report for each."
            )
    store = Images.open(images or readers[0].attributes["provenance"]["images"], storage_options)
    for reader in readers:
        check_mapping(reader, store)
    rows = store.rows((training.source, training.target), split)
    inputs = timed_inputs(store, training.source, rows)
    wanted = [
        (reader.url, turned, next((row for row in known if is_turned(row, turned)), None))
        for reader, known in zip(readers, stores.values(), strict=True)
        for turned in (rows_of(reader, dials) if asked or not known else [dials_in(row) for row in known])
    ]
    case = Jury(store, training.source, training.target).case(store, split) if recognition else None
    methods, identity = measure_all(wanted, store.url, split, inputs, case=case, storage_options=storage_options)
    table = [*methods, identity]
    verdict = judge(table, identity)
    entries = [
        _Entry(
            name_of(row),
            open_weights(url, storage_options),
            WeightsReader.open(url, storage_options).turned(turned),
            row,
        )
        for (url, turned, _), row in zip(wanted, methods, strict=True)
    ]
    said = sentences({**verdict, "methods": table})
    real = None if case is None else case.real_faces()
    page = _render(entries, identity, said, store, (training.source, training.target), split, rows[:people], real)
    write_file(out, page.encode(), storage_options)
    return out


def _load(url: str, storage_options: StorageOptions) -> dict[str, Any]:
    path = redact(url)
    try:
        comparison: dict[str, Any] = json.loads(File(url, storage_options=storage_options).read_bytes())
        if comparison["methods"]:
            return comparison
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path} is not a result of mrdist compare ({error}); run the comparison again.") from error
    raise StoreError(f"{path} has no finished method yet; run the same mrdist compare again.")


def _render(
    entries: Sequence[_Entry],
    identity: Mapping[str, Any],
    said: Sequence[str],
    images: Images,
    labels: tuple[str, str],
    split: str,
    rows: npt.NDArray[np.int64],
    real: Mapping[str, Any] | None,
) -> str:
    from importlib.resources import files

    from jinja2 import Environment  # slow to import

    shown = _shown(entries)
    inputs, targets = (images.read(label, rows) for label in labels)
    link = images.link_of(labels[1])
    training = entries[0].model.attributes["training"]
    made = {entry.name: made_of(entry.reader, images, rows) for entry in shown}
    weights = {entry.name: _rows_of(entry.model, images.shape) for entry in shown}
    surveys, fields, titles = _surveys(weights, images.shape), _fields(weights, images.shape), list(_PIXELS)
    roles = {entry.name: _roles(entry.model, made[entry.name]) for entry in shown}
    table = sorted([*(entry.row for entry in entries), identity], key=lambda row: row["mse"])
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    template = environment.from_string(files("mrdist.pipeline.showing").joinpath("report.html.jinja").read_text())
    leaders = [name_of(row) for row in table if row["leads"]["mse"]]
    return template.render(
        source=labels[0],
        target=labels[1],
        images=redact(images.url),
        shape=images.shape,
        channels=images.n_channels,
        pairs=training["n_images"],
        tested=len(images.rows(labels, split)),
        split=split,
        table=[{**row, "name": name_of(row), "interval": interval_text(row["from_identity"]["mse"])} for row in table],
        leaders=leaders,
        best=next(row for row in table if row["leads"]["mse"]),
        mappings=len({entry.model.url for entry in entries}),
        competing=sum(map(is_ranked, table)) - 1,
        better=sum(row["remark"] is None for row in table if is_ranked(row)) - 1,
        worse=sum((row["remark"] or "").startswith("worse") for row in table if is_ranked(row)),
        said=said,
        judged=[{**row, "name": name_of(row)} for row in table] if real else [],
        real=real,
        ranked=all(map(is_ranked, table)),
        faces=draw_faces(inputs, made, targets, images.shape),
        errors=draw_errors(table),
        sizes=draw_sizes(table),
        field_sizes=draw_field_sizes([entry.row for entry in entries], images.shape),
        error_maps=draw_error_maps({each.name: made[each.name] for each in shown if looks(each.row)}, inputs, targets),
        fields=draw_fields(fields, titles),
        reach=draw_reach(surveys),
        surveys={name: survey.to_dict() for name, survey in surveys.items()},
        surveyed=min(_SURVEYED, images.shape[0] * images.shape[1]),
        intercepts=draw_intercepts(roles, None if link is None else link.meaning.scale),
        ratios=draw_ratios(roles),
        roles={name: each.to_dict() for name, each in roles.items()},
        mask=draw_mask(),
        not_affine=[entry.name for entry in shown if weights[entry.name] is None],
    )


def _shown(entries: Sequence[_Entry]) -> list[_Entry]:
    if len(entries) <= _SHOWN:
        return list(entries)
    return list({entry.row["method"]: entry for entry in reversed(entries)}.values())[::-1][:_SHOWN]


def _rows_of(model: Model, shape: tuple[int, int]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]] | None:
    """Return output pixels and their rows of weights, of the first channel; None if the mapping has no weights."""
    height, width = shape
    corners = [int(y * height) * width + int(x * width) for y, x in _PIXELS.values()]
    outputs = np.unique(np.concatenate([spread_pixels(shape, _SURVEYED), corners]))
    try:
        matrix: Any = model.to_scipy()
    except ParameterError:
        return _probe(model, outputs) if height * width <= _PROBED else None
    matrix = matrix[0] if isinstance(matrix, list) else matrix
    return outputs, matrix[outputs][:, : height * width].toarray()


def _probe(
    model: Model, outputs: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.floating]] | None:
    """Measure the weights of a dense mapping with one-pixel images; None if it is not affine."""
    height, width = model.shape
    frame = (height, width, model.n_channels)

    def ask(images: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        made = model.predict(images).astype(np.float64)
        return made[..., 0].reshape(len(images), -1)[:, outputs]

    nothing = ask(np.zeros((1, *frame), dtype=np.float32))[0]
    pair = np.random.default_rng(0).random((2, *frame), dtype=np.float32) / 2
    one, other, both = ask(np.concatenate([pair, pair.sum(axis=0, keepdims=True)])) - nothing
    if np.abs(one + other - both).max() > 1e-3 * max(1.0, float(np.abs(both).max())):
        return None
    weights = np.empty((len(outputs), height * width))
    for start in range(0, height * width, _BATCH):
        pixels = np.arange(start, min(start + _BATCH, height * width))
        images = np.zeros((len(pixels), height * width, model.n_channels), dtype=np.float32)
        images[np.arange(len(pixels)), pixels, 0] = 1
        weights[:, pixels] = (ask(images.reshape(-1, *frame)) - nothing).T
    return outputs, weights


def _surveys(weights: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, WeightSurvey]:
    surveys = {}
    spread = spread_pixels(shape, _SURVEYED)
    for name, output_rows in weights.items():
        if output_rows is None:
            continue
        outputs, rows = output_rows
        survey = WeightSurvey(shape)
        chosen = np.isin(outputs, spread)
        survey.add(rows[chosen], outputs[chosen])
        if survey.nonzeros:
            surveys[name] = survey
    return surveys


def _fields(weights: Mapping[str, Any], shape: tuple[int, int]) -> dict[str, list[npt.NDArray[np.floating]]]:
    height, width = shape
    pixels = [(int(y * height), int(x * width)) for y, x in _PIXELS.values()]
    fields = {}
    for name, output_rows in weights.items():
        if output_rows is None or not np.any(output_rows[1]):
            continue
        outputs, rows = output_rows
        places = np.searchsorted(outputs, [y * width + x for y, x in pixels])
        fields[name] = patches(rows[places], shape, pixels, _RADIUS)
    return fields


def _roles(model: Model, made: npt.NDArray[np.floating]) -> Roles:
    roles = Roles(model.predict_nothing().astype(np.float64))
    roles.add(made)
    return roles


def _number(value: float | None, form: str = "") -> str:
    """Return a number as text, a dash where there is none.

    Examples
    --------
    >>> _number(0.25, ".3f"), len(_number(None))
    ('0.250', 1)
    """
    return "\N{EN DASH}" if value is None else f"{value:{form}}"
