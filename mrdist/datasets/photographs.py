"""Photographs of people: which files belong together, and how one is read.

The only place of the package that decodes image files for a dataset.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from mrdist.errors import PhotographError, PhotographFormatError, PhotographSizeError
from mrdist.storage.files import File

Color = Literal["rgb", "gray"]
Half = Literal["left", "right"]
Normalize = Literal["255", "minmax"]

#: What pillow may decode. Its other plug-ins are left out: EPS, for one, would run Ghostscript on the file.
_FORMATS = ("JPEG", "PNG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000", "TGA")
#: Of those, what strangers may send.
_UPLOADED = ("JPEG", "PNG", "WEBP", "TIFF", "BMP")
#: A few kilobytes of JPEG can ask for thousands of passes over all pixels; progressive photographs have about ten.
_MAX_SCANS, _SCAN = 64, b"\xff\xda"


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
    """A photograph that somebody has sent, held in memory and trusted less than a file; ``url`` is but its name.

    Attributes
    ----------
    content
        The bytes.
    max_pixels
        With more it is refused from its head, before anything is decoded.
    """

    content: bytes = field(default=b"", repr=False)
    max_pixels: int = 1 << 26

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
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
        Tells takes of one person apart; may be empty.
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


def read_photograph(path: str | os.PathLike[str], color: Color) -> npt.NDArray[np.uint8]:
    """Read a photograph the way a viewer shows it.

    The EXIF orientation is applied, transparency is laid on white, and 16-bit gray is rounded to 8 bits (of 16-bit
    colour, pillow keeps the upper 8). Palettes become RGB; so does CMYK, through the profile in the file if it has
    one. Gray is Rec. 601 luminance. Of a file with several pages the first is read; an animation is refused.

    Parameters
    ----------
    path : path-like
        A `Photograph`, or the path or URL of a file: JPEG, PNG, TIFF, BMP, GIF, WebP, PPM, JPEG 2000 or TGA.
    color : {"rgb", "gray"}
        Three channels or one.

    Returns
    -------
    uint8 array of shape (y, x, channel)

    Raises
    ------
    PhotographError
        The file is missing, truncated, no image, animated, too large for pillow's limit against decompression bombs,
        or has pixels of more than 16 bits.
    """
    file = File.of(path)
    with decoding(file) as image:
        ImageOps.exif_transpose(image, in_place=True)
        image.load()
    half = file.half if isinstance(file, Photograph) else None
    if half is not None:
        image = image.crop(_half(image.size, half, file))
    image = _to_8_bits(image, file)
    mode = "L" if color == "gray" else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))  # convert would copy
    return pixels.reshape(*pixels.shape[:2], -1)


def photograph_size(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Return width and height in pixels as `read_photograph` would, from the head of the file.

    Raises
    ------
    PhotographError
        As `read_photograph`, as far as the head tells.
    """
    file = File.of(path)
    with decoding(file, head=True) as image:
        width, height = image.size
        if image.getexif().get(0x0112, 1) >= 5:  # turned by a right angle
            width, height = height, width
    if isinstance(file, Photograph) and file.half is not None:
        left, _, right, _ = _half((width, height), file.half, file)
        width = right - left
    return width, height


def count_pixels(path: str | os.PathLike[str]) -> int:
    """Return how many pixels a photograph has, from the head of the file alone: nothing is decoded.

    Raises
    ------
    PhotographError
        As `read_photograph`, as far as the head tells.
    """
    with decoding(File.of(path), head=True) as image:
        return image.width * image.height


def stretch(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Map the darkest value of an image, of all its channels together, to 0 and the brightest to 255.

    An image of a single value stays as it is.

    Examples
    --------
    >>> stretch(np.array([[[10, 20], [30, 60]]], dtype=np.uint8)).tolist()
    [[[0, 51], [102, 255]]]
    """
    low, high = int(image.min()), int(image.max())
    if low == high:
        return image
    return np.rint((image.astype(np.float64) - low) * 255 / (high - low)).astype(np.uint8)


@contextmanager
def decoding(file: File, *, head: bool = False) -> Iterator[Image.Image]:
    """Open an image, with one sentence for whatever is wrong with it."""
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
                        f"Photograph {file} is an animation of {frames} frames: save the one that is meant."
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
            f"Photograph {file} cannot be identified as an image; {', '.join(formats)} are read."
        ) from error
    except (OSError, SyntaxError, ValueError, KeyError, EOFError, MemoryError) as error:
        # pillow's readers of single formats raise all of them
        raise PhotographError(f"Photograph {file} cannot be read: {error}.") from error


def _check_upload(file: Upload, image: Image.Image) -> None:
    width, height = image.size
    if width * height > file.max_pixels:
        raise PhotographSizeError(
            f"Photograph {file} has {width} x {height} pixels, and {file.max_pixels} are the limit: make it "
            "smaller first."
        )
    if image.format in ("JPEG", "MPO") and (scans := file.content.count(_SCAN)) > _MAX_SCANS:
        raise PhotographError(
            f"Photograph {file} is a JPEG of {scans} scans, and {_MAX_SCANS} are the limit: save it anew as a "
            "usual one."
        )


def _half(size: tuple[int, int], half: Half, file: File) -> tuple[int, int, int, int]:
    width, height = size
    if width % 2:
        raise PhotographError(f"Photograph {file} is {width} pixels wide, which cannot be two pictures side by side.")
    return (0, 0, width // 2, height) if half == "left" else (width // 2, 0, width, height)


def _to_8_bits(image: Image.Image, file: File) -> Image.Image:
    """Return the image in mode L or RGB."""
    if image.mode.startswith("I;16"):
        wide = np.asarray(image).astype(np.uint32)
        return Image.fromarray(((wide + 128) // 257).astype(np.uint8))
    if image.mode in ("I", "F"):
        raise PhotographError(
            f"Photograph {file} has 32-bit pixels (mode {image.mode}): save it with 8 or 16 bits a channel."
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image).convert("RGB")
    if image.mode == "CMYK" and "icc_profile" in image.info:
        return _through_profile(image)
    return image if image.mode in ("L", "RGB") else image.convert("RGB")


def _through_profile(image: Image.Image) -> Image.Image:
    """Convert CMYK to sRGB by the file's own profile; one that is broken is passed over, as viewers do."""
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
        converted = ImageCms.profileToProfile(image, profile, ImageCms.createProfile("sRGB"), outputMode="RGB")
    except (ImageCms.PyCMSError, OSError):
        converted = None
    return converted if converted is not None else image.convert("RGB")
