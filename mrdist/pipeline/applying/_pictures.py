"""Images as pictures and as files of pictures."""

from __future__ import annotations

import io
import zlib
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
from PIL import Image

from mrdist.datasets.depth import Pixels, encode_deep_colors
from mrdist.synthesis import to_pixels

#: Options of pillow for a PNG.
Compression = Mapping[str, int]
#: Its default, for files that are kept.
SMALL: Compression = {"compress_level": 6}
#: For pictures that are shown once: a quarter of the time. Little repeats in a photograph after the filters of PNG, so
#: the search for repetitions costs more than it saves.
FAST: Compression = {"compress_level": 1, "compress_type": zlib.Z_HUFFMAN_ONLY}


def to_png(image: npt.NDArray[np.floating], compression: Compression = SMALL) -> bytes:
    """Return an image of floats as the file of an 8-bit PNG."""
    return encode(to_picture(image), compression)


def encode(picture: Image.Image, compression: Compression = SMALL) -> bytes:
    """Return the file of a PNG."""
    stream = io.BytesIO()
    picture.save(stream, format="PNG", **compression)
    return stream.getvalue()


def encode_pixels(pixels: Pixels, compression: Compression = SMALL) -> bytes:
    """Return pixels of 8 or 16 bits as the file of a PNG of that depth."""
    if pixels.dtype == np.uint16 and pixels.shape[2] == 3:
        return encode_deep_colors(pixels, compression.get("compress_level", 6))
    return encode(Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0]), compression)


def to_picture(image: npt.NDArray[np.floating]) -> Image.Image:
    """Return an image of floats, shape (y, x, channel), as an 8-bit picture; values outside 0..1 are clipped."""
    pixels = to_pixels(image, np.uint8)
    return Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
