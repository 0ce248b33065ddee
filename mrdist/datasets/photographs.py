"""Photographs of people: which files belong together, and how one is read.

The only place of the package that decodes image files for a dataset.
"""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mrdist.errors import PhotographError

Color = Literal["rgb", "gray"]


@dataclass(frozen=True)
class Take:
    """One person's photographs, one for each expression.

    Attributes
    ----------
    subject : str
        The person's id.
    photographs : dict of str to Path
        Label of the expression -> photograph, in alphabetical order of the labels.
    landmarks : dict of str to Path
        Label -> landmark file, for the photographs that have one.
    """

    subject: str
    photographs: dict[str, Path] = field(default_factory=dict)
    landmarks: dict[str, Path] = field(default_factory=dict)


def read_photograph(path: str | os.PathLike[str], color: Color) -> npt.NDArray[np.uint8]:
    """Read a photograph the way a viewer shows it.

    The EXIF orientation is applied, transparency is laid on white, 16-bit gray is rounded to 8 bits, and
    palettes and CMYK become RGB. Gray is Rec. 601 luminance.

    Parameters
    ----------
    path : path-like
        A file in any format that pillow reads.
    color : {"rgb", "gray"}
        Three channels or one.

    Returns
    -------
    uint8 array of shape (y, x, channel)

    Raises
    ------
    PhotographError
        The file is missing, truncated, no image, too large for pillow's limit against decompression bombs,
        or has pixels of more than 16 bits.
    """
    path = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file)
                image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise PhotographError(
            f"Photograph {path} has more than {Image.MAX_IMAGE_PIXELS} pixels, the limit against "
            "decompression bombs: make it smaller first."
        ) from error
    except (OSError, SyntaxError, ValueError) as error:  # pillow's PNG reader raises SyntaxError
        raise PhotographError(f"Photograph {path} cannot be read: {error}.") from error
    pixels = np.asarray(_to_8_bits(image, path).convert("L" if color == "gray" else "RGB"))
    return pixels.reshape(*pixels.shape[:2], -1)


def _to_8_bits(image: Image.Image, path: Path) -> Image.Image:
    """Return the image in mode L or RGB."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise PhotographError(
            f"Photograph {path} has 32-bit pixels (mode {image.mode}): save it with 8 or 16 bits a channel."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    return image if image.mode == "L" else image.convert("RGB")
