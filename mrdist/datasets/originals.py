"""Photographs at their own depth, with colour profile and EXIF, ready to be changed in part."""

from __future__ import annotations

import io
import os
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mrdist.datasets.photographs import decoding
from mrdist.errors import PhotographError
from mrdist.storage.access.files import File

#: Modes whose pixels are kept as they are; any other becomes RGB, with transparency RGBA.
_KEPT = ("L", "LA", "RGB", "RGBA")


@dataclass(frozen=True)
class Original:
    """A photograph that stands upright.

    Attributes
    ----------
    pixels : uint8 or uint16 array of shape (y, x, channel)
        Gray or RGB, with alpha as the last of two or four channels.
    info : dict
        What pillow keeps with a PNG: the colour profile and EXIF without the orientation, which is applied.
    """

    pixels: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def n_colors(self) -> int:
        """Channels without alpha: 1 or 3."""
        return 1 if self.pixels.shape[2] < 3 else 3

    def to_png(self, pixels: npt.NDArray[np.generic] | None = None, **compression: int) -> bytes:
        """Return the file of a PNG with these or other pixels of the same shape, without loss; options are pillow's."""
        pixels = self.pixels if pixels is None else pixels
        image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
        stream = io.BytesIO()
        image.save(stream, format="PNG", **compression, **self.info)
        return stream.getvalue()


def read_original(path: str | os.PathLike[str]) -> Original:
    """Read a photograph without changing a pixel, except for its orientation.

    Palettes and CMYK become RGB, bilevel images gray, since a change needs values in between.

    Parameters
    ----------
    path : path-like
        Path or URL of a file that `mrdist.datasets.photographs.read_photograph` reads.

    Returns
    -------
    Original

    Raises
    ------
    PhotographError
        As `read_photograph`, and if it is a 16-bit colour image, of which pillow reads 8 bits.
    """
    file = File.of(path)
    if file.suffix == ".npy":
        raise PhotographError(_not_kept(file))
    with decoding(file) as image:
        if image.mode in _KEPT and ";16" in str(getattr(image, "tile", "")):
            raise PhotographError(
                f"Photograph {file} has 16-bit colours, of which 8 bits would be lost: save it with 8 bits per channel "
                "or as 16-bit gray."
            )
        if image.mode in ("F", "I"):
            raise PhotographError(_not_kept(file))
        image = ImageOps.exif_transpose(image)
        image.load()
    profile, exif = image.info.get("icc_profile"), image.getexif()
    info: dict[str, Any] = {"exif": exif} if len(exif) else {}
    if profile and image.mode != "CMYK":
        info["icc_profile"] = profile
    if image.mode.startswith("I;16"):
        return Original(np.asarray(image).astype(np.uint16)[..., np.newaxis], info)
    if image.mode not in _KEPT:
        image = image.convert("L" if image.mode == "1" else "RGBA" if image.has_transparency_data else "RGB")
    pixels = np.asarray(image)
    return Original(pixels.reshape(*pixels.shape[:2], -1), info)


def _not_kept(file: File) -> str:
    return (
        f"Photograph {file} holds floats or an array, which a PNG cannot keep outside the face: save it as PNG with 8 "
        "bits per channel or as 16-bit gray, or give one of the trained size."
    )
