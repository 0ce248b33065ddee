"""Give photographs, or all images of a store, a new expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets.photographs import read_photograph
from mrdist.errors import DataError, ParameterError, StoreError, StoreNotFoundError
from mrdist.execution import progress_bar
from mrdist.pipeline.refine import importance_of
from mrdist.pipeline.synthesize_store import StoreSynthesisReport, synthesize_store
from mrdist.refinement import Refinement, blend
from mrdist.storage import Model, StorageOptions, describe, open_weights, redact
from mrdist.synthesis import to_floats, to_pixels


@dataclass(frozen=True)
class SynthesisReport:
    """What was written, and what was left out.

    Attributes
    ----------
    written
        Input -> picture.
    left_out
        Input -> reason.
    """

    written: dict[str, str]
    left_out: dict[str, str]

    def to_dict(self) -> dict[str, object]:
        """Return what ``mrdist synthesize --json`` prints."""
        return {
            "written": self.written,
            "left_out": [{"what": what, "reason": reason} for what, reason in self.left_out.items()],
        }


def synthesize(
    weights_url: str,
    inputs: str | Sequence[str],
    out: str,
    *,
    refine: bool | Refinement = False,
    strict: bool = False,
    workers: int | None = None,
    scheduler: str | None = None,
    max_memory: str | int | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
    weights_storage_options: StorageOptions = None,
    output_storage_options: StorageOptions = None,
) -> SynthesisReport | StoreSynthesisReport:
    """Apply a trained mapping to photographs of the size it was trained on, or to an images store.

    Parameters
    ----------
    weights_url
        A weights store.
    inputs
        Photographs, each read in the colour of the mapping, as the ingested ones were; or one images store.
    out
        Of photographs: folder for the pictures, ``<stem>.png`` each, 8 bits, values outside 0..1 clipped. Of a store:
        URL of the new one, see `mrdist.pipeline.synthesize_store.synthesize_store`.
    refine
        Keep the input where the mapping does not matter: ``(1 - a) x + a y`` with the importance a that
        `mrdist.refine` has kept in the weights store, or else that of `mrdist.Refinement`'s defaults; one may be given.
    strict
        Fail at the first photograph that cannot be used, instead of leaving it out.
    workers, scheduler, max_memory, overwrite
        For a store alone, as in `mrdist.train`.
    progress
        As in `mrdist.train`.
    storage_options, weights_storage_options, output_storage_options
        Options of the fsspec filesystems of the images, of the weights and of the new store (by default the same).

    Returns
    -------
    SynthesisReport or StoreSynthesisReport

    Raises
    ------
    ParameterError
        If two inputs would be written to the same picture, an input would be overwritten, or an option does not go
        with the kind of input.
    DataError
        If no photograph can be used, or, with ``strict``, one cannot; if images and weights do not fit each other.
    MemoryLimitError
        If not even a strip of images fits into ``max_memory``.
    StoreError
        If a store cannot be read or written.
    """
    inputs = [inputs] if isinstance(inputs, str) else inputs
    given: dict[str, Any] = {
        name: value
        for name, value in (
            ("workers", workers),
            ("scheduler", scheduler),
            ("max_memory", max_memory),
            ("overwrite", overwrite or None),
        )
        if value is not None
    }
    if len(inputs) == 1 and _is_store(inputs[0], storage_options):
        if strict:
            raise ParameterError(f"strict is for photographs, and {redact(inputs[0])} is a store; leave it out.")
        return synthesize_store(
            weights_url,
            inputs[0],
            out,
            refine=refine,
            **given,
            progress=progress,
            storage_options=storage_options,
            weights_storage_options=weights_storage_options,
            output_storage_options=output_storage_options,
        )
    for name in given:
        raise ParameterError(
            f"{name} (--{name.replace('_', '-')}) is for images stores, and {', '.join(inputs)} is none; leave it out."
        )
    if weights_storage_options is None:
        weights_storage_options = storage_options
    model = open_weights(weights_url, weights_storage_options)
    return _synthesize_photographs(
        model,
        importance_of(weights_url, refine, weights_storage_options),
        inputs,
        out,
        strict=strict,
        progress=progress,
    )


def _is_store(url: str, options: StorageOptions) -> bool:
    try:
        describe(url, options)
    except StoreNotFoundError:
        return False
    return True


def _synthesize_photographs(
    model: Model,
    importance: npt.NDArray[np.float32] | None,
    inputs: Sequence[str],
    out: str,
    *,
    strict: bool,
    progress: bool | None,
) -> SynthesisReport:
    folder = Path(out)
    pictures: dict[Path, str] = {}
    for path in inputs:
        picture = folder / f"{Path(path).stem}.png"
        if picture in pictures:
            raise ParameterError(
                f"{pictures[picture]} and {path} would both become {picture}; rename one or use two folders."
            )
        if picture.resolve() == Path(path).resolve():
            raise ParameterError(f"{path} would be overwritten by its own result; choose another --out.")
        pictures[picture] = path
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"folder {out} cannot be made ({error.strerror}); choose another --out.") from error
    written: dict[str, str] = {}
    left_out: dict[str, str] = {}
    with progress_bar(len(pictures), 0, "photograph", show=progress) as advance:
        for picture, path in pictures.items():
            try:
                _write(_synthesize_one(model, importance, path), picture)
                written[path] = str(picture)
            except DataError as error:
                if strict:
                    raise
                left_out[path] = str(error)
            advance(1, "")
    if not written:
        raise DataError(next(iter(left_out.values()), "there is no photograph to work on; name at least one."))
    return SynthesisReport(written, left_out)


def to_picture(image: npt.NDArray[np.floating]) -> Image.Image:
    """Return an image of floats, shape (y, x, channel), as an 8-bit picture; values outside 0..1 are clipped."""
    pixels = to_pixels(image, np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


def _synthesize_one(model: Model, importance: npt.NDArray[np.float32] | None, path: str) -> npt.NDArray[np.floating]:
    photograph = read_photograph(path, "rgb" if model.n_channels == 3 else "gray")
    if photograph.shape[:2] != model.shape:
        height, width = photograph.shape[:2]
        raise DataError(
            f"{path} has {width} x {height} pixels, the weights were trained on {model.shape[1]} x {model.shape[0]}; "
            "align and resize it first."
        )
    output: npt.NDArray[np.floating] = model.predict(photograph[np.newaxis])
    if importance is not None:
        output = blend(to_floats(photograph[np.newaxis]), output, importance)
    made: npt.NDArray[np.floating] = output[0]
    return made


def _write(image: npt.NDArray[np.floating], picture: Path) -> None:
    """Write beside and rename, so that a full disk leaves no half picture."""
    partial = picture.with_suffix(".png.partial")
    try:
        to_picture(image).save(partial, format="PNG")
        partial.replace(picture)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise StoreError(
            f"{picture} cannot be written ({error.strerror or error}); free some space or choose another --out."
        ) from error
