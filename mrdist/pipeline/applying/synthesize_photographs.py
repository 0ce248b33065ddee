"""Give photographs a new expression."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets.detection import REMEDY
from mrdist.datasets.layouts.records import LANDMARKS, PHOTOGRAPHS
from mrdist.errors import DataError, ParameterError
from mrdist.execution import progress_bar
from mrdist.pipeline.applying._contact_sheet import CONTACT_SHEET, before_after, contact_sheet_of
from mrdist.pipeline.applying._given import Faces, Given
from mrdist.pipeline.applying._photographs import Retoucher
from mrdist.pipeline.applying.reports import SynthesisReport
from mrdist.storage import StorageOptions
from mrdist.storage.access.files import File
from mrdist.storage.access.places import beside, find_files, make_folder, same_place, write_file

logger = logging.getLogger("mrdist")


def synthesize_photographs(
    retoucher: Retoucher,
    inputs: Sequence[str],
    out: str,
    *,
    importance: npt.NDArray[np.float32] | None,
    points: Given | None,
    faces: Faces,
    contact_sheet: bool,
    strict: bool,
    progress: bool | None,
    storage_options: StorageOptions,
    output_storage_options: StorageOptions,
) -> SynthesisReport:
    """Apply a mapping to photographs; parameters are those of `mrdist.synthesize`, with importances as numbers."""
    photographs = _pictures(inputs, out, storage_options)
    if points is not None and len(photographs) > 1:
        raise ParameterError(
            f"points (--points) belong to one photograph, but there are {len(photographs)}; give one, or put a "
            "landmark file beside each."
        )
    make_folder(out, output_storage_options)
    written: dict[str, str] = {}
    aligned: dict[str, str] = {}
    left_out: dict[str, str] = {}
    measures: dict[str, dict[str, float]] = {}
    warnings: dict[str, list[str]] = {}
    n_faces: dict[str, int] = {}
    pairs: list[Image.Image] = []
    with progress_bar(len(photographs), 0, "photograph", show=progress) as advance:
        for name, (file, picture) in photographs.items():
            try:
                landmarks = None if points is not None else beside(file, sorted(LANDMARKS, reverse=True))
                prepared = retoucher.prepare(file, points=points, landmarks=landmarks, faces=faces)
                made = retoucher.picture(prepared, importance=importance)
                write_file(picture, made.content, output_storage_options)
                written[name] = picture
                if made.alignment is not None:
                    aligned[name] = made.alignment
                if made.measures:
                    measures[name] = made.measures
                if made.warnings:
                    warnings[name] = made.warnings
                if made.n_faces > 1:
                    n_faces[name] = made.n_faces
                if contact_sheet:
                    pairs.append(before_after(file, made.content))
            except DataError as error:
                if strict:
                    raise
                left_out[name] = str(error)
            advance(1, "")
    if not written:
        raise DataError(next(iter(left_out.values()), "there is no photograph to work on; give at least one."))
    sheet = f"{out.rstrip('/')}/{CONTACT_SHEET}" if contact_sheet else None
    if sheet is not None:
        write_file(sheet, contact_sheet_of(pairs), output_storage_options)
    if "registration" in aligned.values():
        logger.warning(
            "Faces were located by their likeness to the mean face of the training; they would be found more reliably "
            "after %s.",
            REMEDY,
        )
    return SynthesisReport(written, aligned, left_out, sheet, measures, warnings, n_faces)


def _pictures(inputs: Sequence[str], out: str, storage_options: StorageOptions) -> dict[str, tuple[File, str]]:
    """Return each photograph and the picture to write, by the photograph's name; no two share a picture."""
    files: dict[str, File] = {}
    for place in inputs:
        files |= find_files(place, PHOTOGRAPHS, storage_options)
    taken: dict[str, str] = {f"{out.rstrip('/')}/{CONTACT_SHEET}": "the contact sheet"}
    pictures: dict[str, tuple[File, str]] = {}
    for name, file in files.items():
        picture = f"{out.rstrip('/')}/{Path(file.name).stem}.png"
        if picture in taken:
            raise ParameterError(
                f"{taken[picture]} and {name} would both become {picture}; rename one or use two folders."
            )
        if same_place(picture, file.url):
            raise ParameterError(f"{name} would be overwritten by its own result; choose another --out.")
        taken[picture] = name
        pictures[name] = (file, picture)
    return pictures
