"""Give photographs a new expression."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets.photographs import read_photograph
from mrdist.errors import DataError, ParameterError, StoreError
from mrdist.execution import progress_bar
from mrdist.storage import Model, StorageOptions, open_weights


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
    inputs: Sequence[str],
    out: str,
    *,
    strict: bool = False,
    progress: bool | None = None,
    storage_options: StorageOptions = None,
) -> SynthesisReport:
    """Apply a trained mapping to photographs of the size it was trained on.

    Parameters
    ----------
    weights_url
        A weights store.
    inputs
        Photographs; each is read in the colour of the mapping, as the ingested ones were.
    out
        Folder for the pictures, ``<stem>.png`` each, 8 bits, values outside 0..1 clipped.
    strict
        Fail at the first photograph that cannot be used, instead of leaving it out.
    progress, storage_options
        As in `mrdist.train`; options of the weights' filesystem.

    Returns
    -------
    SynthesisReport

    Raises
    ------
    ParameterError
        If two inputs would be written to the same picture, or an input would be overwritten.
    DataError
        If no photograph can be used, or, with ``strict``, one cannot.
    """
    model = open_weights(weights_url, storage_options)
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
                _write(_synthesize_one(model, path), picture)
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
    pixels = np.rint(np.clip(image, 0, 1) * 255).astype(np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])


def _synthesize_one(model: Model, path: str) -> npt.NDArray[np.floating]:
    photograph = read_photograph(path, "rgb" if model.n_channels == 3 else "gray")
    if photograph.shape[:2] != model.shape:
        height, width = photograph.shape[:2]
        raise DataError(
            f"{path} has {width} x {height} pixels, the weights were trained on {model.shape[1]} x {model.shape[0]}; "
            "align and resize it first."
        )
    output: npt.NDArray[np.floating] = model.predict(photograph[np.newaxis])[0]
    return output


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
