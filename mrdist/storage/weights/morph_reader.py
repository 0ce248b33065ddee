"""Apply the weights stores of shape and appearance."""

from __future__ import annotations

import logging
from copy import copy
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt
import zarr

from mrdist.errors import DataError, ParameterError, StoreError
from mrdist.geometry import Block, Shape
from mrdist.morphing.dials import AS_TRAINED, Dials
from mrdist.morphing.landmark_sums import Lips
from mrdist.morphing.morph import Morph
from mrdist.morphing.mouths import Mouth, MouthRegion
from mrdist.morphing.shapes import Expression
from mrdist.morphing.warps import IDENTITY
from mrdist.storage.access.urls import array_of, redact, store_errors
from mrdist.storage.images.reader import Images
from mrdist.storage.weights.masked import MaskedReader, MaskedTraining, MorphTraining
from mrdist.storage.weights.morph import MOUTH, SHAPE, read_shapes
from mrdist.storage.weights.reader import Codes, Floats, Model
from mrdist.synthesis import check_images, to_floats

if TYPE_CHECKING:
    import scipy.sparse

logger = logging.getLogger("mrdist")


@dataclass(frozen=True)
class MorphModel(Model):
    """A mapping trained by shape and appearance.

    Attributes
    ----------
    morph
        What applies it.
    training
        What was trained.
    dials
        How strongly it is applied.
    """

    morph: Morph
    training: MorphTraining
    dials: Dials = AS_TRAINED

    @property
    def shape(self) -> Shape:
        """Image height and width in pixels."""
        return self.training.shape

    @property
    def moving(self) -> MorphModel:
        """How it moves faces: by their landmarks."""
        return self

    @property
    def n_points(self) -> int:
        """How many landmarks the faces of the training had."""
        return self.training.n_points

    @property
    def control(self) -> npt.NDArray[np.integer]:
        """Which of these it moves."""
        return self.morph.shapes.control

    @property
    def mean_points(self) -> Floats:
        """Where the mean face has those that it moves, in sides of the frame."""
        points: Floats = (self.morph.shapes.reference + 0.5) / self.shape[::-1]
        return points

    @property
    def n_parameters(self) -> int:
        """Numbers that a prediction needs."""
        shapes, mouth = self.morph.shapes, self.morph.mouth
        moving = shapes.movement.size + shapes.canonical.size + shapes.anchors.size
        return self.morph.weights.n_parameters + moving + (mouth.picture.size if mouth else 0)

    @property
    def n_nonzeros(self) -> int:
        """Those numbers that are not zero."""
        shapes, mouth = self.morph.shapes, self.morph.mouth
        moving = sum(int(np.count_nonzero(each)) for each in (shapes.movement, shapes.canonical, shapes.anchors))
        return self.morph.weights.n_nonzeros + moving + (int(np.count_nonzero(mouth.picture)) if mouth else 0)

    def predict(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return the images that the mapping makes of aligned images whose landmarks nobody knows: the mean ones.

        With landmarks the pictures are better, see `apply`. The first call for a store says so, through the logger
        ``mrdist``.
        """
        _tell_of_means(self.url)
        return self.move_as_mean(images)

    def move_as_mean(self, images: npt.NDArray[np.generic]) -> Floats:
        """Return the same, and tell nobody."""
        stack = check_images(images, self.shape, self.n_channels)
        reference, expression = self.morph.shapes.reference, self._expression
        made = np.stack([self.morph.apply(image, reference, expression, IDENTITY) for image in stack])
        return made.reshape(images.shape)

    def make(self, images: npt.NDArray[np.generic], landmarks: Floats | None) -> Floats:
        """Return the images of a store with the expression of the target; one without landmarks stays as it is."""
        if landmarks is None:
            return self.predict(images)
        unknown = int((~np.isfinite(landmarks).all(axis=(1, 2))).sum())
        if unknown:
            logger.warning(
                "%d of %d images stay as they are under %s, since their landmarks are not known.",
                unknown,
                len(images),
                redact(self.url),
            )
        return np.stack(
            [
                self.apply(image, points, in_frame=True) if np.isfinite(points).all() else to_floats(image, np.float32)
                for image, points in zip(images, landmarks, strict=True)
            ]
        )

    def predict_nothing(self) -> Floats:
        """Return the intercepts of the canonical frame."""
        made: Floats = self.morph.weights.predict(np.zeros((1, *self.shape, self.n_channels), dtype=np.float32))[0]
        return made

    def apply(
        self, image: npt.NDArray[np.generic], landmarks: Floats, *, in_frame: bool = False
    ) -> npt.NDArray[np.float32]:
        """Return a photograph with the expression of the target, as strong as the `dials` say.

        Parameters
        ----------
        image
            uint8, uint16 or floats in 0..1, shape (y, x, channel), of any size, gray or RGB.
        landmarks
            (x, y) in pixels of the image, shape (point, 2), of the scheme trained on.
        in_frame
            Whether the image is aligned as the images of the store are; else landmarks say where its face lies.

        Returns
        -------
        float32 array in the shape of ``image``
            1 = white, not clipped.

        Raises
        ------
        DataError
            If there are other landmarks, or some are not numbers.
        ParameterError
            If no training target had such a mouth, or the strength is that of a target.
        """
        wanted = (self.training.n_points, 2)
        if np.shape(landmarks) != wanted:
            raise DataError(
                f"landmarks must have shape {wanted}, those of {self.training.scheme}, got {np.shape(landmarks)}."
            )
        return self.move(image, np.asarray(landmarks)[self.morph.shapes.control], in_frame=in_frame)

    def move(
        self, image: npt.NDArray[np.generic], points: Floats, *, in_frame: bool = False
    ) -> npt.NDArray[np.float32]:
        """Do what `apply` does, for points of control alone, shape (n, 2)."""
        n_channels, to_frame = image.shape[2], IDENTITY if in_frame else None
        seen = np.repeat(image, 3, axis=2) if n_channels == 1 and self.n_channels == 3 else image
        made = self.morph.apply(seen, points, self._expression, to_frame)
        return made if made.shape[2] == n_channels else made.mean(axis=2, keepdims=True)

    @property
    def _expression(self) -> Expression:
        if self.dials.strength == "own":
            raise ParameterError(
                "strength must be a number for a photograph: own is measured from a target's landmarks."
            )
        return self.morph.shapes.expression(self.dials.strength, self.dials.mouth)

    def to_scipy(self) -> scipy.sparse.csr_array | list[scipy.sparse.csr_array]:
        """Return the masked regression of the canonical frame, see `mrdist.synthesis.MaskedWeights.to_scipy`."""
        return self.morph.weights.to_scipy()


@dataclass(frozen=True)
class MorphBlock:
    """What makes a block of output pixels: whole images, of which the block is cut out."""

    window: Block
    block: Block
    morph: Morph
    dials: Dials
    lips: Lips | None

    @property
    def intercept(self) -> npt.NDArray[np.floating]:
        """Shape (y, x, group)."""
        intercept: npt.NDArray[np.floating] = self.morph.weights.intercept
        return np.moveaxis(intercept.reshape(-1, *self.morph.weights.shape), 0, -1)[self.block.slices]

    def predict(self, x: npt.NDArray[np.generic], codes: Codes | None) -> npt.NDArray[np.floating]:
        """Return the block of the images ``x``; an image without landmarks stays as it is."""
        assert codes is not None
        made, control = [], self.morph.shapes.control
        for image, points in zip(x, codes.reshape(len(x), codes.shape[1], -1, 2), strict=True):
            expression = self._expression(points) if np.isfinite(points).all() else Expression(0.0, 0.0)
            made.append(self.morph.apply(image, points[0, control], expression, IDENTITY))
        return np.stack(made)[:, *self.block.slices]

    def _expression(self, points: Floats) -> Expression:
        shapes, strength = self.morph.shapes, self.dials.strength
        if strength == "own":
            return shapes.measure(points[0], points[1], self.lips)
        return shapes.expression(strength, self.dials.mouth)


class MorphReader(MaskedReader):
    """Reads a complete weights store of shape and appearance."""

    training: MorphTraining
    training_type: ClassVar[type[MaskedTraining]] = MorphTraining
    makes_whole_images: ClassVar[bool] = True

    @property
    def reach(self) -> int:
        """Rows beyond a block that its windows need: all."""
        return self.training.height

    dials: Dials = AS_TRAINED

    def turned(self, dials: Dials | None) -> MorphReader:
        """Return a reader that applies the expression as strongly as asked.

        Raises
        ------
        ParameterError
            If no training target had such a mouth.
        """
        if dials is None:
            return self
        if dials.strength != "own":
            self.morph.shapes.expression(dials.strength, dials.mouth)
        other = copy(self)
        other.dials = dials
        return other

    @cached_property
    def morph(self) -> Morph:
        """What applies it."""
        with store_errors(self.url):
            shapes = read_shapes(self._group)
            kept = self._group.get(MOUTH)
            if shapes is None:
                raise StoreError(f"{redact(self.url)} has lost the group {SHAPE!r}; train it again.")
            region = MouthRegion.of(shapes)
            mouth = None
            if region is not None and isinstance(kept, zarr.Group):
                tone, tint = (float(kept.attrs[name]) for name in ("tone", "tint"))  # type: ignore[arg-type]
                dim = np.array(kept.attrs["dim"], dtype=np.float64)
                mouth = Mouth(region, np.asarray(array_of(kept, "picture")[...]), tone, tint, dim)
        return Morph(shapes, self.read(self.frame), mouth)

    def codes(self, images: Images, label: str, rows: npt.NDArray[np.int64]) -> Codes:
        """Return the landmarks of images, shape (image, 1, coordinate), or, for their own strength, of both labels.

        Raises
        ------
        DataError
            If the store has none of the scheme trained on.
        """
        points = landmarks_of(images, self.training.scheme, self.training.n_points)
        labels = [label, *([self.training.target] if self.dials.strength == "own" else [])]
        columns = [images.column(each) for each in labels]
        codes: Codes = points[rows][:, columns].astype(np.float64).reshape(len(rows), len(labels), -1)
        return codes

    def unmoved(self, images: Images, label: str, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the rows whose landmarks are not known."""
        return rows[~np.isfinite(self.codes(images, label, rows)).all(axis=(1, 2))]

    def block(self, block: Block) -> MorphBlock:  # type: ignore[override]
        """Return what makes a block, from whole images."""
        return MorphBlock(self.frame, block, self.morph, self.dials, self.training.lips)

    def norms(self, block: Block, *, intercept: bool) -> npt.NDArray[np.float64]:
        """Refuse, as methods without weights of pixels do."""
        return super(MaskedReader, self).norms(block, intercept=intercept)

    def model(self) -> MorphModel:  # type: ignore[override]
        """Return the whole mapping."""
        return MorphModel(
            n_channels=self.training.n_channels,
            morph=self.morph,
            training=self.training,
            dials=self.dials,
            **self.known,
        )


@cache
def _tell_of_means(url: str) -> None:
    logger.warning(
        "%s moves faces by their landmarks; where these are not known, a face moves as the mean face does.",
        redact(url),
    )


def landmarks_of(images: Images, scheme: str | None = None, n_points: int | None = None) -> npt.NDArray[np.float32]:
    """Return the landmarks of an images store, shape (image, label, point, 2).

    Raises
    ------
    DataError
        If it has none, or others than those asked for.
    """
    points = images.landmarks
    if points is None:
        linked = "another method, which needs none, or " if images.linked_arrays else ""
        raise DataError(
            f"{redact(images.url)} has no landmarks, by which the method morph warps faces; {'choose ' * bool(linked)}"
            f"{linked}ingest the photographs with --align landmarks."
        )
    found = images.landmark_scheme, points.shape[2]
    if scheme is not None and found != (scheme, n_points):
        raise DataError(
            f"{redact(images.url)} has {found[1]} landmarks of {found[0]}, but the mapping was trained on {n_points} "
            f"of {scheme}; ingest the photographs with those."
        )
    return points
