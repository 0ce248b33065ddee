"""The pixels of image files at their own depth: 8 or 16 bits, or floats from 0 (black) to 1 (white)."""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from mrdist.errors import PhotographError, PhotographSizeError
from mrdist.storage.access.files import File
from mrdist.values import unit_of

#: uint8, uint16 or float32, shape (y, x, channel).
Pixels: TypeAlias = npt.NDArray[Any]
#: What images of a store may be.
DEPTHS = ("uint8", "uint16", "float32")
#: What readers raise for damaged files.
_DAMAGE = (OSError, ValueError, TypeError, LookupError, EOFError, MemoryError, RuntimeError, struct.error, zlib.error)
#: Rec. 601 in 65536ths, as pillow has it.
_LUMINANCE = np.array([19595, 38470, 7471])
#: Raw mode of 16-bit colours, of which pillow decodes the upper byte -> raw mode that decodes the lower byte.
_LOWER = {f"{mode};16{order}": f"{mode};16{other}" for mode in ("RGB", "RGBA") for order, other in ("BL", "LB", "NB")}


def depth_of(image: Image.Image, file: File) -> str:
    """Return the depth of an image that pillow has opened and not decoded, one of `DEPTHS`.

    Raises
    ------
    PhotographError
        The pixels are deeper.
    """
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM"):
        return "uint16"
    if image.mode == "F":
        return "float32"
    if image.mode == "I":
        raise PhotographError(
            f"Photograph {file} has 32-bit or signed integers: save it with 8 or 16 bits per channel, or as floats "
            "in 0..1."
        )
    return "uint16" if _raw_mode(image) in _LOWER and "transparency" not in image.info else "uint8"


def loses_bits(image: Image.Image) -> bool:
    """Whether pillow decodes fewer bits of an opened image than it has, whatever the raw mode."""
    if depth_of(image, File("")) != "uint8":
        return False
    if image.format == "PPM":
        tile = image.tile[0][3] if image.tile else ""  # type: ignore[attr-defined]
        return isinstance(tile, tuple) and len(tile) > 1 and isinstance(tile[1], int) and tile[1] > 255
    return ";16" in _raw_mode(image)


def is_interleaved(image: Image.Image) -> bool:
    """Whether pillow reads an image correctly: in raw planes of 16 bits it takes every byte for a pixel."""
    bits = image.tag_v2.get(258, (8,)) if image.format == "TIFF" else (8,)  # type: ignore[attr-defined]
    return max(bits) <= 8 or image.mode not in ("RGB", "RGBA") or ";16" in _raw_mode(image)


def _raw_mode(image: Image.Image) -> str:
    tiles = getattr(image, "tile", None) or [(None, None, None, "")]
    args = tiles[0][3]
    return str(args[0] if isinstance(args, tuple) else args)


def lower_bytes(image: Image.Image) -> Image.Image:
    """Let pillow decode the lower bytes of 16-bit colours; by itself it decodes the upper ones."""
    raw = _LOWER[_raw_mode(image)]
    image.tile = [  # type: ignore[attr-defined]
        type(tile)(*tile[:3], (raw, *tile[3][1:]) if isinstance(tile[3], tuple) else raw)
        for tile in image.tile  # type: ignore[attr-defined]
    ]
    return ImageOps.exif_transpose(image)


def read_array(file: File, *, head: bool = False) -> Pixels:
    """Read a file that pillow cannot read: NumPy's ``.npy``, or a TIFF of floats.

    Parameters
    ----------
    file
        Its extension gives the format.
    head
        Read no pixels: only shape and depth of the result are meaningful.

    Returns
    -------
    array of shape (y, x, 1 or 3)
        uint8, uint16 or float32; in a boolean array True is white.

    Raises
    ------
    PhotographError
        It cannot be read, its shape or dtype is not that of an image, or floats lie outside 0..1.
    """
    with _reading(file), file.open() as stream:
        pixels = (_npy if file.suffix == ".npy" else _tiff)(stream, file, head=head)
    if pixels.ndim == 2:
        pixels = pixels[..., np.newaxis]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise PhotographError(
            f"Photograph {file} holds an array of shape {pixels.shape}, but an image has (y, x), (y, x, 1) or "
            "(y, x, 3): save one image per file."
        )
    if pixels.dtype == bool:
        pixels = pixels.astype(np.uint8) * np.uint8(255)
    if pixels.dtype.kind == "f":
        return check_floats(pixels, file) if not head else pixels.astype(np.float32)
    if pixels.dtype.newbyteorder("=") not in (np.uint8, np.uint16):
        raise PhotographError(
            f"Photograph {file} holds {pixels.dtype}, but images are uint8, uint16 or floats in 0..1: convert it first."
        )
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def check_floats(pixels: npt.NDArray[np.floating[Any]], file: File) -> npt.NDArray[np.float32]:
    """Return floats as float32.

    Raises
    ------
    PhotographError
        If one is NaN or lies outside 0..1.
    """
    low, high = float(pixels.min()), float(pixels.max())
    if not (low >= 0 and high <= 1):
        what = "holds NaN" if np.isnan(low) else f"has values from {low:g} to {high:g}"
        raise PhotographError(
            f"Photograph {file} {what}, but floats must lie in 0 (black) to 1 (white): scale them, or replace NaN."
        )
    return pixels.astype(np.float32)


def _npy(stream: IO[bytes], file: File, *, head: bool) -> npt.NDArray[Any]:
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(stream)
    _check_extent(shape, file)
    if head or dtype.hasobject:
        return np.broadcast_to(np.zeros((), dtype), shape)
    stream.seek(0)
    return np.asarray(np.lib.format.read_array(stream, allow_pickle=False))


def _tiff(stream: IO[bytes], file: File, *, head: bool) -> npt.NDArray[Any]:
    import tifffile  # seldom needed

    try:
        opened = tifffile.TiffFile(io.BytesIO(stream.read()))
    except tifffile.TiffFileError as error:  # a ValueError in newer versions alone
        raise ValueError(str(error)) from error
    with opened as tiff:
        page = tiff.pages.first
        if page.photometric not in (1, 2):
            raise ValueError("its colours are neither gray from black nor RGB")
        axes = page.axes
        _check_extent(page.shape, file)
        if head:
            pixels: npt.NDArray[Any] = np.broadcast_to(np.zeros((), page.dtype), page.shape)
        else:
            pixels = page.asarray()
    return np.moveaxis(pixels, 0, -1) if axes.startswith("S") else pixels


def _check_extent(shape: tuple[int, ...], file: File) -> None:
    """Refuse an array whose header declares more numbers than the largest colour image has."""
    if math.prod(shape) > 3 * (Image.MAX_IMAGE_PIXELS or np.inf):
        raise PhotographSizeError(
            f"Photograph {file} has more than {Image.MAX_IMAGE_PIXELS} pixels, the limit against decompression bombs: "
            "make it smaller first."
        )


@contextmanager
def _reading(file: File) -> Iterator[None]:
    try:
        yield
    except PhotographError:
        raise
    except _DAMAGE as error:
        reason = str(error).strip("'\"").removesuffix(".")
        raise PhotographError(f"Photograph {file} cannot be read: {reason}.") from error


def to_gray(pixels: Pixels) -> Pixels:
    """Return pixels of shape (y, x, 3) as their luminance, shape (y, x, 1), of the same depth."""
    if pixels.dtype == np.uint8:
        return np.asarray(Image.fromarray(pixels).convert("L"))[..., np.newaxis]
    if pixels.dtype.kind == "f":
        gray = pixels.astype(np.float64) @ (_LUMINANCE / 65536)
        return gray.clip(0, 1).astype(np.float32)[..., np.newaxis]
    gray = (pixels.astype(np.int64) @ _LUMINANCE + (1 << 15)) >> 16
    return np.asarray(gray.astype(pixels.dtype)[..., np.newaxis])


def on_white(pixels: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Put pixels of shape (y, x, 4), the last channel alpha, on white."""
    values, alpha = pixels[..., :3].astype(np.uint64), pixels[..., 3:].astype(np.uint64)
    return ((values * alpha + 65535 * (65535 - alpha) + 32767) // 65535).astype(np.uint16)


def to_depth(pixels: Pixels, depth: str) -> Pixels:
    """Return pixels in another depth, white staying white.

    Examples
    --------
    >>> to_depth(np.array([0, 128, 255], np.uint8), "uint16").tolist()
    [0, 32896, 65535]
    >>> to_depth(np.array([0, 128, 129, 65535], np.uint16), "uint8").tolist()
    [0, 0, 1, 255]
    """
    if pixels.dtype == depth:
        return pixels
    if depth == "float32":
        return (pixels / unit_of(pixels.dtype)).astype(np.float32)
    white = unit_of(depth)
    if pixels.dtype.kind == "f":
        return np.rint(pixels.astype(np.float64) * white).astype(depth)
    if pixels.dtype == np.uint8:
        return pixels.astype(np.uint16) * np.uint16(257)
    return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def resize(pixels: Pixels, shape: tuple[int, int]) -> Pixels:
    """Return pixels resampled to a height and width by Lanczos' filter."""
    if pixels.shape[:2] == shape:
        return pixels
    size = shape[::-1]
    if pixels.dtype == np.uint8:
        picture = Image.fromarray(pixels if pixels.shape[2] == 3 else pixels[..., 0])
        return np.asarray(picture.resize(size, Image.Resampling.LANCZOS)).reshape(*shape, -1)
    channels = np.moveaxis(pixels.astype(np.float32), -1, 0)
    parts = [np.asarray(Image.fromarray(part).resize(size, Image.Resampling.LANCZOS)) for part in channels]
    resized = np.stack(parts, axis=-1)
    rounded = resized.clip(0, 1) if pixels.dtype.kind == "f" else np.rint(resized).clip(0, 65535)
    return np.asarray(rounded.astype(pixels.dtype))


def stretch(image: Pixels) -> Pixels:
    """Map the darkest value of an image, of all its channels together, to black and the brightest to white.

    An image of a single value stays as it is.

    Examples
    --------
    >>> stretch(np.array([[[10, 20], [30, 60]]], dtype=np.uint8)).tolist()
    [[[0, 51], [102, 255]]]
    """
    low, high = float(image.min()), float(image.max())
    if low == high:
        return image
    stretched = (
        (image.astype(np.float64) - low) * (1 if image.dtype.kind == "f" else unit_of(image.dtype)) / (high - low)
    )
    rounded = stretched if image.dtype.kind == "f" else np.rint(stretched)
    return rounded.astype(image.dtype)


def encode_deep_colors(pixels: npt.NDArray[np.uint16], level: int) -> bytes:
    """Return pixels of shape (y, x, 3) as the file of a PNG of 16 bits, which pillow cannot write.

    Parameters
    ----------
    pixels
        uint16.
    level
        zlib's compression level, 0 to 9.
    """
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2").reshape(height, -1).view(np.uint8)
    rows = np.diff(rows, axis=0, prepend=np.uint8(0))  # PNG's filter 2: what a row adds to the one above, modulo 256
    filtered = np.concatenate([np.full((height, 1), 2, np.uint8), rows], axis=1)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(filtered.tobytes(), level)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts
    )
