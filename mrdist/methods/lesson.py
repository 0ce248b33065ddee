"""What is to be learnt, by any method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import ParameterError
from mrdist.methods.option_table import OPTIONS
from mrdist.moments import Color
from mrdist.storage import FaceFrame, Images, redact


def check_choices(color: str, split: str = "train", dtype: str = "float32") -> None:
    """Raise ParameterError if an option is not one of its choices."""
    for name, value in (("color", color), ("split", split), ("dtype", dtype)):
        OPTIONS[name].check(value)


def versions() -> dict[str, str]:
    """Return the versions of the packages that decide the bytes of an output."""
    return {name: version(name) for name in ("mrdist", "numba", "numpy", "zarr")}


def scaled(dilation: int | Sequence[int], factor: int) -> int | list[int]:
    """Return dilations in units that are so many times smaller."""
    return [one * factor for one in dilation] if isinstance(dilation, list | tuple) else int(dilation) * factor  # type: ignore[arg-type]


def check_two(source: str | None, target: str | None) -> None:
    """Check that a mapping leads from one label to another.

    Raises
    ------
    ParameterError
        If both are the same.

    Examples
    --------
    >>> check_two("neutral", "neutral")
    Traceback (most recent call last):
    mrdist.errors.ParameterError: source and target are both 'neutral'; choose two labels.
    """
    if source is not None and source == target:
        raise ParameterError(f"source and target are both {target!r}; choose two labels.")


def meaning_of(images: Images, source: str, target: str) -> dict[str, Any]:
    """Return what weights must tell of linked images: the units of both labels, and how many pixels no target has."""
    linked = {"source": images.link_of(source), "target": images.link_of(target)}
    units = {side: link.meaning.to_dict() for side, link in linked.items() if link is not None}
    there = images.there(target)
    masked = 0 if there is None else int((~there).sum())
    return ({"units": units} if units else {}) | ({"masked_pixels": masked} if masked else {})


@dataclass(frozen=True)
class Lesson:
    """What is to be learnt, by any method.

    Attributes
    ----------
    method
        Its name.
    images, rows
        An images store, and the rows of it to train on.
    source, target, split, color, dtype
        As in `mrdist.train`.
    """

    method: str
    images: Images
    rows: npt.NDArray[np.int64]
    source: str
    target: str
    split: str
    color: Color
    dtype: str

    @classmethod
    def of(
        cls, images: Images, *, method: str, source: str, target: str, split: str, color: Color, dtype: str
    ) -> Lesson:
        """Find the rows.

        Raises
        ------
        ParameterError, LabelError, DataError
            If both labels are the same, one does not exist, or there are no pairs.
        """
        check_two(source, target)
        images.read_at_once()
        return cls(method, images, images.rows((source, target), split), source, target, split, color, dtype)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where weights learnt from it come from."""
        return {
            "images": redact(self.images.url),
            "versions": versions(),
            **meaning_of(self.images, self.source, self.target),
        }

    def in_pixels(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options of a method with the dilation in pixels of the store.

        Of a source that is coarser than the target, taps are as far apart as the source's own values.
        """
        factor = self.images.pixels_per_value(self.source)
        dilation = options.get("dilation")
        if dilation is None or factor == 1:
            return dict(options)
        return {**options, "dilation": scaled(dilation, factor)}

    @property
    def face_frame(self) -> FaceFrame:
        """Where faces lie in its images."""
        return FaceFrame.of_images(self.images, self.source)

    def describe(self) -> dict[str, Any]:
        """Return what the descriptions of all trainings have, see `mrdist.storage.weights.output.Training`."""
        return {
            "method": self.method,
            "images": self.images.fingerprint((self.source, self.target), self.rows),
            "source": self.source,
            "target": self.target,
            "split": self.split,
            "color": self.color,
            "dtype": self.dtype,
            "height": self.images.shape[0],
            "width": self.images.shape[1],
            "n_channels": self.images.n_channels,
            "n_images": len(self.rows),
        }
