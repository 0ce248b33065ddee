"""Photographs of people: which files belong together, and how one is read.

The only place of the package that decodes image files for a dataset.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mrdist.datasets.changes import note
from mrdist.datasets.depth import (
    Pixels,
    check_floats,
    depth_of,
    is_interleaved,
    loses_bits,
    lower_bytes,
    on_white,
    read_array,
    to_depth,
    to_gray,
)
from mrdist.errors import PhotographError, PhotographFormatError, PhotographSizeError
from mrdist.storage.access.files import File

Color = Literal["rgb", "gray"]
Half = Literal["left", "right"]
Normalize = Literal["255", "minmax"]

#: What pillow may decode. Its other plug-ins are left out: EPS, for one, would run Ghostscript on the file.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "TGA")
#: Formats of those that clients may upload.
_UPLOADED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
#: A few kilobytes of JPEG can ask for thousands of passes over all pixels; progressive photographs have about ten.
_MAX_SCANS, _SCAN = 64, b"\xff\xda"
_ORIENTATION = 0x0112


@dataclass(frozen=True)
class Photograph(File):
    """A file with a photograph, or half of one.

    Attributes
    ----------
    half : {"left", "right"}, optional
        Which half of a picture with two side by side it is.
    """

    half: Half | None = None

    def __str__(self) -> str:
        return f"{super().__str__()} ({self.half} half)" if self.half else super().__str__()


@dataclass(frozen=True)
class Upload(File):
    """An uploaded photograph, held in memory and trusted less than a file; ``url`` is only its name.

    Attributes
    ----------
    content
        The bytes.
    max_pixels
        A photograph with more pixels is refused from its header, before anything is decoded.
    """

    content: bytes = field(default=b"", repr=False)
    max_pixels: int = 1 << 26

    @contextmanager
    def open(self, *, most: float = math.inf) -> Iterator[IO[bytes]]:  # noqa: ARG002  (it is here already)
        """Open for reading."""
        yield io.BytesIO(self.content)


@dataclass(frozen=True)
class Take:
    """One person's photographs of one session, one for each expression.

    Attributes
    ----------
    subject : str
        The person's id.
    photographs : dict of str to path-like
        Label of the expression -> photograph.
    landmarks : dict of str to path-like
        Label -> landmark file, for the photographs that have one.
    session : str
        Distinguishes takes of one person; may be empty.
    dataset : str
        Where it comes from.
    split : str, optional
        train, val or test, where the dataset says so.
    root : str
        Folder or archive that the files lie in.
    """

    subject: str
    photographs: Mapping[str, os.PathLike[str]] = field(default_factory=dict)
    landmarks: Mapping[str, os.PathLike[str]] = field(default_factory=dict)
    session: str = ""
    dataset: str = ""
    split: str | None = None
    root: str = ""

    @property
    def name(self) -> str:
        """Person and session."""
        return f"{self.subject}-{self.session}" if self.session else self.subject


@dataclass(frozen=True)
class Head:
    """Size and depth of an upright photograph, from the header of its file.

    Attributes
    ----------
    height, width : int
        In pixels.
    depth : {"uint8", "uint16", "float32"}
        What `read_pixels` makes of it.
    """

    height: int
    width: int
    depth: str


def read_photograph(path: str | os.PathLike[str], color: Color) -> npt.NDArray[np.uint8]:
    """Read a photograph the way a viewer shows it.

    The EXIF orientation is applied, transparency is put on white, and 16-bit gray and floats are rounded to 8 bits (of
    16-bit colour, pillow keeps the upper 8). Palettes become RGB; so does CMYK, through the profile in the file if it
    has one. Gray is Rec. 601 luminance. The first page is read of a file with several; an animation is refused.

    Parameters
    ----------
    path : path-like
        A `Photograph`, or the path or URL of a file: JPEG, PNG, TIFF, BMP, GIF, WebP, PPM, JPEG 2000, TGA, or NumPy's
        ``.npy`` with an array of shape (y, x), (y, x, 1) or (y, x, 3).
    color : {"rgb", "gray"}
        Three channels or one.

    Returns
    -------
    uint8 array of shape (y, x, channel)

    Raises
    ------
    PhotographError
        The file is missing, truncated, not an image, animated, too large for pillow's limit against decompression
        bombs, or has integers of more than 16 bits or floats outside 0..1.
    """
    pixels = _read(File.of(path), color, deep=False)
    assert pixels.dtype == np.uint8
    return pixels


def read_pixels(path: str | os.PathLike[str], color: Color) -> Pixels:
    """Read a photograph as `read_photograph` does, and keep its depth.

    Returns
    -------
    array of shape (y, x, channel)
        uint8, uint16, or float32 in 0..1 (1 = white). Where pillow cannot read deeper (16-bit gray with
        alpha, and 16-bit colours in PPM), 8 bits are left.
    """
    return _read(File.of(path), color, deep=True)


def _read(file: File, color: Color, *, deep: bool) -> Pixels:
    pixels = _decoded(file, deep=deep)
    half = file.half if isinstance(file, Photograph) else None
    if half is not None:
        left, _, right, _ = _half(pixels.shape[1::-1], half, file)
        pixels = pixels[:, left:right]
    if pixels.shape[2] == 3 and color == "gray":
        if (pixels != pixels[..., :1]).any():
            note("gray", file)
        pixels = to_gray(pixels)
    elif pixels.shape[2] == 1 and color == "rgb":
        pixels = pixels.repeat(3, axis=2)
    if not deep and pixels.dtype != np.uint8:
        note("depth", file)
        pixels = to_depth(pixels, "uint8")
    return pixels


def _decoded(file: File, *, deep: bool) -> Pixels:
    """Return all pixels of a file, gray or RGB."""
    if _is_array(file):
        return read_array(file)
    try:
        with decoding(file) as image:
            by_pillow = is_interleaved(image)
            if by_pillow:
                depth, lossy = depth_of(image, file), loses_bits(image)
                _note_page(image, file)
                upright: Image.Image = image
                if image.getexif().get(_ORIENTATION, 1) != 1:
                    note("orientation", file)
                    upright = ImageOps.exif_transpose(image)
                upright.load()
    except PhotographFormatError:
        if file.suffix not in (".tif", ".tiff") or isinstance(file, Upload):
            raise
        return read_array(file)
    if not by_pillow:
        return read_array(file)
    if depth == "float32":
        return check_floats(np.asarray(upright)[..., np.newaxis], file)
    if depth == "uint16" and upright.mode not in ("RGB", "RGBA"):
        return np.asarray(upright).astype(np.uint16)[..., np.newaxis]
    if depth == "uint16" and deep:
        with decoding(file) as image:
            lower = lower_bytes(image)
        colors = np.asarray(upright).astype(np.uint16) << 8 | np.asarray(lower)
        if colors.shape[2] == 4:
            _note_alpha(colors[..., 3], 65535, file)
            return on_white(colors)
        return np.asarray(colors)
    if lossy or depth == "uint16":
        note("depth", file)
    pixels = np.asarray(_to_8_bits(upright, file))
    return pixels.reshape(*pixels.shape[:2], -1)


def _is_array(file: File) -> bool:
    return file.suffix == ".npy" and not isinstance(file, Upload)


def _note_page(image: Image.Image, file: File) -> None:
    if image.format == "TIFF":
        try:
            image.seek(1)
        except EOFError:
            return
        image.seek(0)
        note("page", file)


def _note_alpha(alpha: npt.NDArray[np.generic], opaque: int, file: File) -> None:
    if (alpha != opaque).any():
        note("alpha", file)


def read_head(path: str | os.PathLike[str]) -> Head:
    """Return size and depth of a photograph as `read_pixels` would, from the head of the file.

    Raises
    ------
    PhotographError
        As `read_photograph`, as far as the head tells.
    """
    file = File.of(path)
    try:
        head = _array_head(file) if _is_array(file) else _pillow_head(file)
    except PhotographFormatError:
        if file.suffix not in (".tif", ".tiff") or isinstance(file, Upload):
            raise
        head = _array_head(file)
    if isinstance(file, Photograph) and file.half is not None:
        left, _, right, _ = _half((head.width, head.height), file.half, file)
        head = replace(head, width=right - left)
    return head


def _array_head(file: File) -> Head:
    pixels = read_array(file, head=True)
    height, width = pixels.shape[:2]
    return Head(height, width, str(pixels.dtype))


def _pillow_head(file: File) -> Head:
    with decoding(file, head=True) as image:
        depth = depth_of(image, file) if is_interleaved(image) else "uint16"
        width, height = image.size
        if image.getexif().get(_ORIENTATION, 1) >= 5:  # turned by a right angle
            width, height = height, width
    return Head(height, width, depth)


def photograph_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return width and height in pixels as `read_head` does."""
    head = read_head(path)
    return head.width, head.height


def count_pixels(path: str | os.PathLike[str]) -> int:
    """Return how many pixels a photograph has, from the head of the file alone: nothing is decoded.

    Raises
    ------
    PhotographError
        As `read_photograph`, as far as the head tells.
    """
    with decoding(File.of(path), head=True) as image:
        return image.width * image.height


@contextmanager
def decoding(file: File, *, head: bool = False) -> Iterator[Image.Image]:
    """Open an image; whatever is wrong with it becomes one sentence."""
    formats = _UPLOADED if isinstance(file, Upload) else _FORMATS
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", category=UserWarning, module="PIL")
            with (
                file.open() as stream,
                Image.open(stream if head else io.BytesIO(stream.read()), formats=formats) as image,
            ):
                if isinstance(file, Upload):
                    _check_upload(file, image)
                # those of the first two are previews and pages, which would be sought through to be counted
                frames = 1 if image.format in ("MPO", "TIFF") else getattr(image, "n_frames", 1)
                if frames > 1:
                    raise PhotographError(
                        f"Photograph {file} is an animation of {frames} frames: save the frame to be read."
                    )
                yield image
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        limit = file.max_pixels if isinstance(file, Upload) else Image.MAX_IMAGE_PIXELS
        raise PhotographSizeError(
            f"Photograph {file} has more than {limit} pixels, the limit against decompression bombs: make it smaller "
            "first."
        ) from error
    except PhotographError:
        raise
    except UnidentifiedImageError as error:
        raise PhotographFormatError(
            f"Photograph {file} cannot be identified as an image; supported are {', '.join(formats)}."
        ) from error
    except (OSError, SyntaxError, ValueError, KeyError, EOFError, MemoryError) as error:
        # pillow's readers of single formats raise all of them
        raise PhotographError(f"Photograph {file} cannot be read: {error}.") from error


def _check_upload(file: Upload, image: Image.Image) -> None:
    width, height = image.size
    if width * height > file.max_pixels:
        raise PhotographSizeError(
            f"Photograph {file} has {width} x {height} pixels, but the limit is {file.max_pixels}: make it "
            "smaller first."
        )
    if image.format in ("JPEG", "MPO") and (scans := file.content.count(_SCAN)) > _MAX_SCANS:
        raise PhotographError(
            f"Photograph {file} is a JPEG of {scans} scans, but the limit is {_MAX_SCANS}: save it again as an "
            "ordinary JPEG."
        )


def _half(size: tuple[int, int], half: Half, file: File) -> tuple[int, int, int, int]:
    width, height = size
    if width % 2:
        raise PhotographError(f"Photograph {file} is {width} pixels wide, which cannot be two pictures side by side.")
    return (0, 0, width // 2, height) if half == "left" else (width // 2, 0, width, height)


def _to_8_bits(image: Image.Image, file: File) -> Image.Image:
    """Return an image of 8 bits in mode L or RGB."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
        _note_alpha(np.asarray(image)[..., 3], 255, file)
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "CMYK":
        note("cmyk", file)
        return _through_profile(image) if "icc_profile" in image.info else image.convert("RGB")
    if image.mode == "1":
        return image.convert("L")
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _through_profile(image: Image.Image) -> Image.Image:
    """Convert CMYK to sRGB by the file's own profile; a broken profile is ignored, as viewers do."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return converted if converted is not None else image.convert("RGB")
