"""Faces of a store, or what a mapping makes of them, a few at a time and at the size at which they are judged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from mrdist.geometry import Block, block_grid
from mrdist.moments import padded_window
from mrdist.storage import Images, WeightsReader
from mrdist.synthesis import to_floats

SIDE = 512
"""Side in pixels from whose double on faces are shrunk: beyond it no judge sees more."""

_STRIP_BYTES = 64 << 20  # of floats: a strip of a run of images, and a run of portraits

Floats = npt.NDArray[np.floating]


def portraits(
    images: Images, label: str, rows: npt.NDArray[np.int64], reader: WeightsReader | None = None, *, side: int = SIDE
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield faces in the order of their rows, a run of images after the other, strip by strip of large images.

    Parameters
    ----------
    images, label, rows
        Which.
    reader
        A mapping to apply.
    side
        Faces at least twice as large are shrunk to about this side.

    Yields
    ------
    ndarray
        Shape (image, y, x, channel), 0..1; means over squares of pixels of what was clipped.
    """
    shape, n_channels = images.shape, images.n_channels
    factor = max(1, min(shape) // side)
    small = shape[0] // factor, shape[1] // factor
    most = max(1, _STRIP_BYTES // (4 * small[0] * small[1] * n_channels))
    codes = None if reader is None else reader.codes(images, label, rows)
    pixels, done = images.reader(), 0
    for start, stop, chosen in images.slabs(rows, min(images.chunks[0], most)):
        run = np.empty((len(chosen), *small, n_channels), dtype=np.float32)
        part = None if codes is None else codes[done : done + len(run)]
        for block in _strips(images, reader, factor, stop - start):
            weights = None if reader is None else reader.block(block)
            window = block if weights is None else weights.window
            inside = window.clipped(shape)
            x = padded_window(pixels.read(label, start, stop, inside)[chosen], window, (inside.y0, inside.x0))
            made = np.clip(to_floats(x, np.float32) if weights is None else weights.predict(x, part), 0, 1)
            run[:, block.y0 // factor : block.y1 // factor] = shrunk(made, factor)
        done += len(run)
        yield run


def made_of(reader: WeightsReader, images: Images, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.floating]:
    """Return what a mapping makes of rows of a store as its dials are turned: whole images, not clipped."""
    weights, source = reader.block(reader.frame), reader.training.source
    pixels = padded_window(images.read(source, rows), weights.window)
    return weights.predict(pixels, reader.codes(images, source, rows))


def _strips(images: Images, reader: WeightsReader | None, factor: int, n_images: int) -> list[Block]:
    """Cut images into strips of whole squares; where a strip needs all pixels anyway, there is one."""
    height, width = (length // factor * factor for length in images.shape)
    line = 8 * n_images * width * images.n_channels
    lines = factor * max(1, _STRIP_BYTES // (line * factor))
    if reader is not None and reader.reach >= images.shape[0]:
        lines = height
    return list(block_grid((height, width), (lines, width)))


def shrunk(faces: Floats, factor: int) -> Floats:
    """Return means over squares of ``factor`` pixels, without a rest at the ends, of images (image, y, x, ...)."""
    if factor == 1:
        return faces
    n, height, width, *rest = faces.shape
    height, width = height // factor, width // factor
    squares = faces[:, : height * factor, : width * factor].reshape(n, height, factor, width, factor, *rest)
    means: Floats = squares.mean(axis=(2, 4))
    return means
