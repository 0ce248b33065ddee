"""A mapping that stays in memory, to work on one photograph after the other without delay."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from mrdist.datasets.detection import model_path
from mrdist.datasets.photographs import Upload, count_pixels
from mrdist.errors import DataError, MemoryLimitError, ParameterError
from mrdist.geometry import ReceptiveField
from mrdist.methods.dials import OWN
from mrdist.morphing.dials import Dials
from mrdist.pipeline.applying._given import Faces, Given
from mrdist.pipeline.applying._photographs import Prepared, Retouched, Retoucher
from mrdist.pipeline.applying._pictures import FAST, to_png
from mrdist.pipeline.applying.refine import norms_of
from mrdist.refinement import Refinement
from mrdist.storage import Images, StorageOptions, WeightsReader, read_importance, redact
from mrdist.storage.weights.whole import GlobalReader
from mrdist.synthesis import MaskedWeights, check_images

__all__ = ["OpenedMapping", "Prepared", "Retouched", "memory_of", "upload_pixels", "warm_up"]

#: How many importance maps, and how many ways to turn its dials, are cached.
_MAPS, _TURNED = 32, 32
_MEAN = (
    "the dataset has no landmarks of the kind that the mapping moves, so the face moves as the mean face does; ingest "
    "its photographs with --align landmarks"
)
_STILL = "the landmarks of the face are not known, so it stays as it is"


class OpenedMapping:
    """A mapping whose weights are in memory; safe to use from several threads.

    The output for a photograph is that of `mrdist.synthesize`, pixel by pixel.

    Parameters
    ----------
    reader
        Of a complete weights store.

    Attributes
    ----------
    reader
        The same.
    model
        The mapping.
    key
        Stands for this mapping where something is kept for it.
    """

    def __init__(self, reader: WeightsReader) -> None:
        self.key = object()
        self.reader = reader
        self.model = reader.model()
        self._retoucher = Retoucher(self.model, reader.face_frame)
        self._kept = read_importance(reader.url, reader.storage_options)
        self._norms = lru_cache(maxsize=2)(self._read_norms)
        self._map = lru_cache(maxsize=_MAPS)(self._make_map)
        self._turned = lru_cache(maxsize=_TURNED)(self._turn)

    @classmethod
    def open(
        cls, weights_url: str, storage_options: StorageOptions = None, *, max_memory: int | None = None
    ) -> OpenedMapping:
        """Open a weights store; errors are those of `mrdist.open_weights`.

        Raises
        ------
        MemoryLimitError
            If its weights take more than ``max_memory`` bytes.
        """
        reader = WeightsReader.open(weights_url, storage_options)
        needed = memory_of(reader)
        if max_memory is not None and needed > max_memory:
            raise MemoryLimitError(
                f"the weights of {redact(reader.url)} take {needed} bytes of memory, but the limit for an open mapping "
                f"is {max_memory}; use mrdist synthesize, which reads them in parts."
            )
        return cls(reader)

    @property
    def is_refined(self) -> bool:
        """Whether its pixels have importance: they must have weights of their own."""
        return isinstance(self.model, MaskedWeights)

    def prepare(
        self, content: bytes, name: str = "photograph", *, points: Given | None = None, faces: Faces = "largest"
    ) -> Prepared:
        """Read a photograph and find its faces, to `change` them in one way after the other.

        Parameters
        ----------
        content
            The bytes of its file: JPEG, PNG, WebP, TIFF or BMP.
        name
            Its name in error messages.
        points, faces
            As in `mrdist.synthesize`.

        Raises
        ------
        ParameterError
            If no detector is installed that finds all faces.
        DataError
            If the photograph cannot be used.
        """
        if faces == "all":
            model_path()
        return self._retoucher.prepare(Upload(name, content=content), points=points, faces=faces)

    def change(
        self,
        prepared: Prepared,
        *,
        refine: bool | Refinement = False,
        strength: float = 1.0,
        mouth: str | None = None,
        overlay: bool = False,
    ) -> Retouched:
        """Give a photograph a new expression.

        Parameters
        ----------
        prepared
            The photograph, from `prepare`.
        refine
            As in `mrdist.synthesize`.
        strength, mouth
            Of a mapping with dials, as in `mrdist.synthesize`; of any other, ``strength`` is how much of the change is
            taken, from 0 (none) to 1 (all).
        overlay
            Return the importance map instead, in gray: white takes all of the change, black nothing.

        Raises
        ------
        ParameterError
            If an option is invalid, or the method cannot be refined.
        """
        retoucher = self._retoucher
        if self.reader.dials is not None:
            retoucher = self._turned(Dials(strength, mouth or self.reader.dials.mouth))
            importance = self.importance(refine)
        elif mouth is not None:
            raise ParameterError(
                f"mouth is for mappings that move faces, but {redact(self.reader.url)} was trained by "
                f"{self.model.method}; leave it out."
            )
        else:
            importance = self.importance(refine, strength)
        if not overlay:
            return retoucher.picture(prepared, importance=importance, compression=FAST)
        if importance is None:
            importance = np.ones(self.model.shape, dtype=np.float32)
        return retoucher.overlay(prepared, importance, compression=FAST)

    def retouch(
        self,
        content: bytes,
        name: str = "photograph",
        *,
        points: Given | None = None,
        faces: Faces = "largest",
        refine: bool | Refinement = False,
        strength: float = 1.0,
        mouth: str | None = None,
        overlay: bool = False,
    ) -> Retouched:
        """Do what `prepare` and `change` do."""
        prepared = self.prepare(content, name, points=points, faces=faces)
        return self.change(prepared, refine=refine, strength=strength, mouth=mouth, overlay=overlay)

    def importance(self, refine: bool | Refinement, strength: float = 1.0) -> npt.NDArray[np.float32] | None:
        """Return how much of the change every pixel takes, None if all take all of it; see `retouch`."""
        if not (math.isfinite(strength) and 0 <= strength <= 1):
            raise ParameterError(
                f"strength must be from 0 to 1 for {redact(self.reader.url)}, which was trained by {self.model.method} "
                f"and has no more to show than its change, got {strength:g}."
            )
        if refine is False:
            return None if strength == 1 else np.full(self.model.shape, strength, dtype=np.float32)
        if refine is True and self._kept is not None:
            importance = self._kept
        else:
            importance = self._map(Refinement() if refine is True else refine)
        return (strength * importance).astype(np.float32, copy=False)

    def picture(
        self, images: Images, row: int, image: npt.NDArray[np.generic], dials: Dials | None = None
    ) -> tuple[bytes, list[str]]:
        """Return what the mapping makes of an image of a store.

        Parameters
        ----------
        images, row
            Which one.
        image
            Its pixels, shape (y, x, channel).
        dials
            How they are turned; by default as the mapping was trained.

        Returns
        -------
        bytes, list of str
            The file of a PNG, and sentences on what is not as it should be.

        Raises
        ------
        ParameterError
            If dials are given, but the method has none.
        DataError
            If size or channels are not the mapping's, or a person's own strength cannot be measured.
        """
        reader, stack, rows = self.reader.turned(dials), image[np.newaxis], np.array([row])
        check_images(stack, self.model.shape, self.model.n_channels)
        if self.model.moving is None:
            return to_png(self.model.predict(stack)[0], FAST), []
        source = reader.training.source
        try:
            codes = reader.codes(images, source, rows)
        except DataError:
            if dials is not None and dials.strength == OWN:
                raise
            moving = reader.model().moving
            assert moving is not None
            return to_png(moving.move_as_mean(stack)[0], FAST), [_MEAN]
        made = reader.block(reader.frame).predict(stack, codes)[0]
        return to_png(made, FAST), [_STILL] if len(reader.unmoved(images, source, rows)) else []

    def _turn(self, dials: Dials) -> Retoucher:
        return replace(self._retoucher, model=self.reader.turned(dials).model())

    def _read_norms(self, intercept: bool) -> npt.NDArray[np.float64]:
        return norms_of(self.reader, intercept=intercept)

    def _make_map(self, refinement: Refinement) -> npt.NDArray[np.float32]:
        return refinement.importance(self._norms(refinement.intercept))


def upload_pixels(content: bytes, name: str = "photograph") -> int:
    """Return how many pixels a photograph has, from its head.

    Raises
    ------
    PhotographError
        If it is not a photograph, or has too many pixels.
    """
    return count_pixels(Upload(name, content=content))


def memory_of(reader: WeightsReader) -> int:
    """Return about how many bytes an opened mapping takes; a global one leaves its weights in the store."""
    if isinstance(reader, GlobalReader):
        return 0
    height, width = reader.training.shape
    return reader.numbers_per_pixel * height * width * np.dtype(reader.training.dtype).itemsize


def warm_up() -> None:
    """Load what would delay the first photograph."""
    from matplotlib import colormaps  # noqa: F401
    from scipy import interpolate  # noqa: F401

    from mrdist.datasets import locating  # noqa: F401

    nothing = np.zeros((1, 1, 1, 8, 8), dtype=np.float32)
    weights = MaskedWeights(ReceptiveField(1), "shared", 1, nothing[0, 0], nothing[0, 0, 0])
    to_png(weights.predict(np.zeros((1, 8, 8, 1), dtype=np.uint8))[0], FAST)
    Refinement().importance(np.eye(8))
