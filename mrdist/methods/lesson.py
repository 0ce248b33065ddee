"""What is to be learnt, by any method."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt

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
        LabelError, DataError
            If a label does not exist, or there are no pairs.
        """
        return cls(method, images, images.rows((source, target), split), source, target, split, color, dtype)

    @property
    def provenance(self) -> dict[str, Any]:
        """Where weights learnt from it come from."""
        return {"images": redact(self.images.url), "versions": versions()}

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
