"""Draw what the stores hold: faces, weights and importance maps."""

from __future__ import annotations

import io
from collections.abc import Sequence
from os import fspath
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.methods.dials import OWN
from mrdist.morphing.dials import Dials
from mrdist.pipeline.applying.check import check_mapping
from mrdist.pipeline.applying.refine import importance_of, norms_of
from mrdist.pipeline.judging._contest import dials_of
from mrdist.pipeline.judging._portraits import made_of
from mrdist.pipeline.showing._scales import scale_of
from mrdist.pipeline.showing.info import info
from mrdist.refinement import Refinement, blend
from mrdist.storage import Images, StorageOptions, WeightsReader, is_local, normalize_url, open_weights, redact
from mrdist.storage.access.places import check_writable, make_folder, write_file
from mrdist.synthesis import MaskedWeights, to_floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RADII = (0.0, 0.03, 0.06, 0.12)
SMOOTHINGS = (0.0, 0.02, 0.04, 0.08)
_DOTS = 120  # an inch
_LARGEST_MASK = 16


@plain_arguments
def plot_faces(
    weights_url: Address,
    images_url: Address,
    out: Address,
    *,
    split: str = "test",
    count: int = 6,
    refine: bool | Refinement = False,
    strengths: Sequence[float | Literal["own"]] | None = None,
    mouth: str | None = None,
    storage_options: StorageOptions = None,
) -> str:
    """Draw inputs, the outputs of a mapping, and targets.

    Parameters
    ----------
    weights_url, images_url
        A weights store and an images store with its labels.
    out
        File of the picture; its extension decides the format.
    split
        Whose images are drawn.
    count
        How many of them at most.
    refine
        Draw the refined outputs too, as in `mrdist.synthesize`.
    strengths, mouth
        How strongly the expression is shown, each strength in a row, see `mrdist.morphing.dials.Dials`.
    storage_options
        Options of the fsspec filesystems.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    ParameterError
        If ``count`` is not positive, or strength or mouth is given for a mapping that has no such dials.
    DataError
        If there is no such image.
    StoreError
        If a store cannot be read or the picture cannot be written.
    """
    from mrdist.plotting import plot_faces

    weights_url, images_url, out = (fspath(each) for each in (weights_url, images_url, out))
    if count < 1:
        raise ParameterError(f"count must be at least 1, got {count}.")
    reader, images = WeightsReader.open(weights_url, storage_options), Images.open(images_url, storage_options)
    check_mapping(reader, images)
    labels = (reader.training.source, reader.training.target)
    chosen = images.rows(labels, split)[:count]
    inputs, targets = (images.read(label, chosen) for label in labels)
    importance = importance_of(weights_url, refine, storage_options)
    rows = {"input": list(inputs)}
    for title, turned in _turned(reader, strengths, mouth).items():
        made = made_of(turned, images, chosen)
        rows[title] = list(made)
        if importance is not None:
            rows["refined"] = list(blend(to_floats(inputs), made, importance))
    rows["target"] = list(targets)
    figure = new_figure(1.6 * len(inputs), 1.6 * len(rows) * images.shape[0] / images.shape[1])
    plot_faces(rows, ax=figure.subplots())
    return save(figure, out, storage_options)


def _turned(
    reader: WeightsReader, strengths: Sequence[float | Literal["own"]] | None, mouth: str | None
) -> dict[str, WeightsReader]:
    """Return a mapping as often as it is drawn, by title."""
    if strengths is None:
        return {"output": reader.turned(Dials.given(None, mouth))}
    return {
        dials.strength if dials.strength == OWN else f"{dials.strength:g}": reader.turned(dials)
        for dials in dials_of(strengths, mouth)
    }


@plain_arguments
def plot_refinement(
    weights_url: Address,
    images_url: Address | None,
    out: Address,
    *,
    radii: Sequence[float] = RADII,
    smoothings: Sequence[float] = SMOOTHINGS,
    refinement: Refinement | None = None,
    storage_options: StorageOptions = None,
) -> str:
    """Draw the importance of a mapping's pixels for some disk radii (down) and smoothings (across).

    Parameters
    ----------
    weights_url
        A weights store.
    images_url
        An images store, whose first test image is drawn beneath; without it the maps are drawn alone.
    out
        File of the picture; its extension decides the format.
    radii, smoothings
        In sides of the image.
    refinement
        All other options.
    storage_options
        Options of the fsspec filesystems.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    ParameterError
        If there is no radius or smoothing, or one is invalid.
    StoreError
        If a store cannot be read or the picture cannot be written.
    """
    from dataclasses import replace

    from mrdist.plotting import plot_importance

    weights_url, out = fspath(weights_url), fspath(out)
    if not (radii and smoothings):
        raise ParameterError("there is nothing to draw: give at least one radius and one smoothing.")
    base = refinement or Refinement()
    grid = [[replace(base, radius=radius, smoothing=smoothing) for smoothing in smoothings] for radius in radii]
    reader, image = WeightsReader.open(weights_url, storage_options), None
    if images_url is not None:
        images = Images.open(images_url, storage_options)
        check_mapping(reader, images)
        image = images.read(reader.training.source, images.rows((reader.training.source,), "test")[:1])[0]
    norms = norms_of(reader, intercept=base.intercept)
    figure = new_figure(1.8 * len(smoothings) + 0.5, 1.8 * len(radii) * norms.shape[0] / norms.shape[1] + 0.5)
    ax = figure.subplots()
    plot_importance(
        [[each.importance(norms) for each in row] for row in grid],
        image,
        rows=[f"{radius:g}" for radius in radii],
        columns=[f"{smoothing:g}" for smoothing in smoothings],
        ax=ax,
    )
    ax.set_ylabel("radius of the disk (sides)")
    ax.set_xlabel("smoothing (sides)")
    return save(figure, out, storage_options)


@plain_arguments
def plot_receptive_fields(
    weights_url: Address,
    out: Address,
    *,
    pixels: Sequence[tuple[int, int]] = (),
    storage_options: StorageOptions = None,
) -> str:
    """Draw the weights of some output pixels.

    Parameters
    ----------
    weights_url
        A weights store.
    out
        File of the picture; its extension decides the format.
    pixels
        Rows and columns; by default five between the middle and the lower edge, where the mouth of a face is.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    ParameterError
        If a pixel lies outside the image.
    StoreError
        If the store cannot be read or the picture cannot be written.
    """
    from mrdist.plotting import plot_receptive_fields

    weights_url, out = fspath(weights_url), fspath(out)
    model = _masked(weights_url, storage_options)
    height, width = model.shape
    for y, x in pixels:
        if not (0 <= y < height and 0 <= x < width):
            raise ParameterError(f"pixel {y},{x} lies outside the image of {height} x {width} pixels; choose another.")
    chosen = list(pixels) or [(height * (6 + k) // 12, width // 2) for k in range(5)]
    figure = new_figure(1.5 * len(chosen) + 1.4, 2.3)
    plot_receptive_fields(model, chosen, ax=figure.subplots())
    return save(figure, out, storage_options)


@plain_arguments
def plot_intercept(weights_url: Address, out: Address, *, storage_options: StorageOptions = None) -> str:
    """Draw the intercept of a mapping: what it adds to every output.

    Parameters
    ----------
    weights_url
        A weights store.
    out
        File of the picture; its extension decides the format.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    StoreError
        If the store cannot be read or the picture cannot be written.
    """
    from mrdist.plotting import plot_intercept

    store, out = (fspath(weights_url), storage_options), fspath(out)
    figure = new_figure(5, 4)
    plot_intercept(_masked(*store), scale=scale_of(*store), ax=figure.subplots())
    return save(figure, out, storage_options)


@plain_arguments
def plot_cv(weights_url: Address, out: Address, *, storage_options: StorageOptions = None) -> str:
    """Draw the errors that a cross-validation computed, over alpha, and its choice.

    Parameters
    ----------
    weights_url
        A weights store whose hyperparameters were chosen by cross-validation.
    out
        File of the picture; its extension decides the format.
    storage_options
        Options of the fsspec filesystem.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    ParameterError
        If there was no cross-validation.
    StoreError
        If the store cannot be read or the picture cannot be written.
    """
    from mrdist.plotting import plot_cv

    weights_url, out = fspath(weights_url), fspath(out)
    search = info(weights_url, storage_options).get("cross_validation", {})
    if "table" not in search:
        raise ParameterError(
            f"{redact(weights_url)} has no results of a cross-validation; train with --alpha cv (alpha='cv')."
        )
    figure = new_figure(6.4, 4.2)
    plot_cv(search["table"], search["chosen"], scale=scale_of(weights_url, storage_options), ax=figure.subplots())
    return save(figure, out, storage_options)


def _masked(weights_url: str, storage_options: StorageOptions) -> MaskedWeights:
    model = open_weights(weights_url, storage_options)
    if not isinstance(model, MaskedWeights):
        raise ParameterError(
            f"{redact(model.url)} was trained by the method {model.method}, which has no receptive fields to draw; "
            "choose a mapping of masked regression."
        )
    return model


@plain_arguments
def plot_mask(out: Address, *, size: int = 5, receptive_field: int = 3, dilation: int = 1) -> str:
    """Draw the matrix of a masked regression on a small image: where weights may be.

    Parameters
    ----------
    out
        File of the picture; its extension decides the format.
    size
        Side of the image in pixels, at most 16.
    receptive_field, dilation
        As in `mrdist.train`.

    Returns
    -------
    str
        ``out``.

    Raises
    ------
    ParameterError
        If the image is too large to draw or too small for the field.
    StoreError
        If the picture cannot be written.
    """
    from mrdist.plotting import plot_mask

    out = fspath(out)
    if not 1 <= size <= _LARGEST_MASK:
        raise ParameterError(
            f"size must be from 1 to {_LARGEST_MASK} pixels, so that the matrix can be seen, got {size}."
        )
    figure = new_figure(6, 6)
    plot_mask((size, size), ReceptiveField(receptive_field, dilation), ax=figure.subplots())
    return save(figure, out)


@plain_arguments
def plot_learning_curve(images_url: Address, out: Address, **options: Any) -> dict[str, Any]:
    """Draw the error on people not trained on against the number of training pairs.

    Parameters
    ----------
    images_url
        An images store.
    out
        File of the picture; its extension decides the format.
    options
        Those of `mrdist.pipeline.judging.learning_curve.learning_curve`, which also describes errors and result.

    Returns
    -------
    dict
    """
    from mrdist.pipeline.judging.learning_curve import learning_curve
    from mrdist.plotting import plot_learning_curve

    images_url, out = fspath(images_url), fspath(out)
    figure, storage_options = new_figure(7, 4), options.get("storage_options")
    _check_ending(figure, out)
    check_writable(out, storage_options)
    curve, ax = learning_curve(images_url, **options), figure.subplots()
    plot_learning_curve(curve["pairs"], curve["curves"], curve["identity"], scale=curve.get("scale"), ax=ax)
    save(figure, out, storage_options)
    return curve


def new_figure(width: float, height: float) -> Figure:
    """Return a figure of a size in inches."""
    from matplotlib.figure import Figure  # slow to import

    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, out: str, storage_options: StorageOptions = None) -> str:
    """Write the picture whole or not at all, and create its folder."""
    _check_ending(figure, out)
    content = io.BytesIO()
    figure.savefig(content, format=PurePath(out).suffix[1:].lower(), dpi=_DOTS)
    if is_local(out):
        make_folder(str(Path(normalize_url(out)).parent))
    write_file(out, content.getvalue(), storage_options)
    return out


def _check_ending(figure: Figure, out: str) -> None:
    endings = sorted(figure.canvas.get_supported_filetypes())
    if PurePath(out).suffix[1:].lower() not in endings:
        raise ParameterError(f"cannot write a picture to {out}: its name must end with one of {', '.join(endings)}.")
