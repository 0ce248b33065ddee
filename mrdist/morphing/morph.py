"""Apply what was learnt of shape and appearance to a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist._kernels.warping import change as write_change
from mrdist.morphing.mouths import Mouth, light_of
from mrdist.morphing.shapes import Expression, Shapes
from mrdist.morphing.views import View
from mrdist.morphing.warps import IDENTITY, Controls, Warp, Window, inverse, moved, similarity
from mrdist.synthesis import MaskedWeights, to_floats

Floats = npt.NDArray[np.floating[Any]]

_STEP = 1 / 128  # between the nodes of a warp, in sides of the frame
_MARGIN = 0.02  # around the lips, in sides of the frame
_PARTED = 0.5  # share of the usual opening from which on the picture between the lips covers what lies there


@dataclass(frozen=True)
class Morph:
    """A learnt change of expression.

    Attributes
    ----------
    shapes
        How faces move.
    weights
        Masked regression that gives a face of the canonical frame its new appearance there.
    mouth
        What opened lips show, if training has seen any.
    """

    shapes: Shapes
    weights: MaskedWeights
    mouth: Mouth | None = None

    def apply(
        self,
        image: npt.NDArray[np.generic],
        points: Floats,
        expression: Expression,
        to_frame: npt.NDArray[np.float64] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return a photograph with another expression.

        Parameters
        ----------
        image
            uint8 or uint16 (the largest value means 1.0) or floats in 0..1, shape (y, x, channel), of any size.
        points
            Points of control, (x, y) in pixels of the image, shape (n, 2): its landmarks ``[shapes.control]``.
        expression
            What to show, see `Shapes.expression`.
        to_frame
            Affine map of a pixel of the image to the frame, shape (2, 3): `IDENTITY` for images of the store; by
            default a similarity that brings the points near to the mean source.

        Returns
        -------
        float32 array in the shape of ``image``
            1 = white, not clipped. With strength 0, and far from the face, the image itself.
        """
        out: npt.NDArray[np.float32] = to_floats(image, np.float32)  # always an array of its own
        if expression == (0.0, 0.0):
            return out
        shapes = self.shapes
        own = points.astype(np.float64)
        if to_frame is None:
            to_frame = similarity(own, shapes.reference)
        to_image = inverse(to_frame)
        scale = float(np.sqrt(to_image[0, 0] * to_image[1, 1] - to_image[0, 1] * to_image[1, 0]))
        in_frame = moved(to_frame, own)
        view = View.of(in_frame, shapes.reference, shapes.radius)
        shown = in_frame + view.foreshortened(shapes.displacement(expression))
        resting = np.zeros_like(shapes.anchors)
        targets = moved(to_image, shown)
        seen = view.seen
        controls = Controls(np.concatenate([targets[seen], moved(to_image, shapes.anchors)]), shapes.radius * scale)
        window = _around(controls.points, controls.radius, image.shape)
        if window is None:
            return out
        step = max(1.0, _STEP * max(shapes.size) * scale)
        to_own = np.concatenate([(own - targets)[seen], resting])
        to_canon = np.concatenate([(shapes.canonical - shown)[seen], resting])
        back, forth = controls.warps([to_own, to_canon], window, step, [IDENTITY, to_frame])
        warped = back.apply(out)
        canonical = to_canonical(shapes, out, in_frame, to_image, scale)
        np.clip(canonical, 0, 1, out=canonical)
        changed = self._changed(canonical)
        parted, picture = self._parted(expression), None
        if self.mouth is not None and parted > 0:
            picture = self.mouth.tinted(changed, light_of(canonical, shapes))
        visible = view.seen_around(shapes.canonical, shapes.size, shapes.radius / 2)
        where = self._where * visible.reshape(-1)
        write_change(canonical.reshape(-1, out.shape[2]), changed.reshape(-1, out.shape[2]), where)
        change = forth.apply(canonical)
        change *= np.float32(expression.strength / shapes.mean_strength)
        np.add(warped, change, out=out[window.slices])
        lips = targets[list(shapes.ring)]
        inside = _around(lips, _MARGIN * max(shapes.size) * scale, image.shape) if picture is not None else None
        if self.mouth is not None and picture is not None and inside is not None:
            region = self.mouth.region
            mask = (region.mask * visible[region.window.slices])[..., np.newaxis]
            layers = np.concatenate([np.broadcast_to(picture, (*region.mask.shape, out.shape[2])), mask], axis=-1)
            to_region = to_frame - np.array([[0, 0, region.window.x], [0, 0, region.window.y]])
            lent = controls.warp(to_canon, inside, step, to_region).apply(layers)
            cover = np.float32(parted) * np.clip(lent[..., -1:], 0, 1)
            out[inside.slices] += cover * (lent[..., :-1] - out[inside.slices])
        return out

    def _changed(self, canonical: npt.NDArray[np.float32]) -> Floats:
        """Return the new appearance of a face in the canonical frame; one mapping of gray serves all colours."""
        if self.weights.n_channels == canonical.shape[2]:
            return self.weights.predict(canonical)
        planes = np.moveaxis(canonical, -1, 0)[..., np.newaxis]
        return np.moveaxis(self.weights.predict(np.ascontiguousarray(planes))[..., 0], 0, -1)

    @cached_property
    def _where(self) -> npt.NDArray[np.float32]:
        """How much of the change in appearance applies to every pixel of the canonical frame, shape (pixel,)."""
        where = self.shapes.face.astype(np.float32)
        if self.mouth is not None:
            region = self.mouth.region
            where[region.window.slices] *= 1 - region.mask
        return where.reshape(-1)

    def _parted(self, expression: Expression) -> float:
        """Return how much the picture between the lips covers what lies there."""
        usual = self.shapes.rates[1]
        return min(max(expression.opening / (_PARTED * usual), 0.0), 1.0) if usual > 0 else 0.0


def to_canonical(
    shapes: Shapes,
    photograph: npt.NDArray[Any],
    in_frame: Floats,
    to_image: npt.NDArray[np.float64] = IDENTITY,
    scale: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Return a photograph in the canonical frame, in its own values.

    Parameters
    ----------
    shapes
        Of the training.
    photograph
        Shape (y, x, channel).
    in_frame
        Its points of control in pixels of the frame, shape (n, 2).
    to_image
        Affine map of a pixel of the frame to the photograph.
    scale
        Pixels of the photograph per pixel of the frame.
    """
    factor = max(1, int(scale))
    if factor > 1:
        photograph = _shrunk(photograph, factor)
        to_image = to_image / factor
        to_image[:, 2] += 0.5 / factor - 0.5
    (warp,) = canonical_warps(shapes, [in_frame], to_image)
    return warp.apply(photograph)


def canonical_warps(
    shapes: Shapes, in_frame: Sequence[Floats], to_image: npt.NDArray[np.float64] = IDENTITY
) -> list[Warp]:
    """Return the warps that bring photographs, of the frame's scale, to the canonical frame; see `to_canonical`."""
    resting, canonical = np.zeros_like(shapes.anchors), moved(to_image, shapes.canonical)
    displacements = [np.concatenate([moved(to_image, points) - canonical, resting]) for points in in_frame]
    height, width = shapes.size
    step = max(1.0, _STEP * max(shapes.size))
    window = Window(0, 0, height, width)
    return shapes.frame_controls.warps(displacements, window, step, [to_image] * len(displacements))


def _around(points: Floats, margin: float, shape: tuple[int, ...]) -> Window | None:
    """Return the pixels of an image that lie within reach of points, if any."""
    low = np.floor(points.min(axis=0) - margin).astype(int)
    high = np.ceil(points.max(axis=0) + margin).astype(int) + 1
    x0, y0 = np.maximum(low, 0)
    x1, y1 = np.minimum(high, shape[1::-1])
    return Window(int(y0), int(x0), int(y1 - y0), int(x1 - x0)) if x0 < x1 and y0 < y1 else None


def _shrunk(image: npt.NDArray[Any], factor: int) -> npt.NDArray[np.float32]:
    """Return the means of squares of ``factor`` pixels; the border is carried on."""
    height, width = (-(-side // factor) * factor for side in image.shape[:2])
    padded = np.pad(image, ((0, height - image.shape[0]), (0, width - image.shape[1]), (0, 0)), mode="edge")
    squares = padded.reshape(height // factor, factor, width // factor, factor, image.shape[2])
    means: npt.NDArray[np.float32] = squares.mean(axis=(1, 3), dtype=np.float32)
    return means
