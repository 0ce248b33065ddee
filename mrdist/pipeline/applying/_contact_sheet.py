"""All photographs before and after, as one picture."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence

from PIL import Image, ImageOps

from mrdist.datasets.photographs import Upload, read_photograph
from mrdist.storage.access.files import File

CONTACT_SHEET = "contact-sheet.png"
_THUMB = 256


def before_after(file: File, content: bytes) -> Image.Image:
    """Return thumbnails of a photograph and its result side by side."""
    pictures = [read_photograph(each, "rgb") for each in (file, Upload("", content=content, max_pixels=1 << 40))]
    pair = [ImageOps.contain(Image.fromarray(pixels), (_THUMB, _THUMB)) for pixels in pictures]
    both = Image.new("RGB", (2 * _THUMB, _THUMB), "white")
    for number, image in enumerate(pair):
        both.paste(image, (number * _THUMB + (_THUMB - image.width) // 2, (_THUMB - image.height) // 2))
    return both


def contact_sheet_of(pairs: Sequence[Image.Image]) -> bytes:
    """Return pairs of thumbnails, from `before_after`, as the file of a PNG."""
    columns = math.ceil(math.sqrt(len(pairs) / 2))
    width, height = pairs[0].size
    gap = _THUMB // 16
    sheet = Image.new("RGB", (columns * (width + gap) - gap, -(-len(pairs) // columns) * (height + gap) - gap), "white")
    for number, pair in enumerate(pairs):
        sheet.paste(pair, (number % columns * (width + gap), number // columns * (height + gap)))
    stream = io.BytesIO()
    sheet.save(stream, format="PNG")
    return stream.getvalue()
