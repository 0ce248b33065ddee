"""Whether synthesised faces show the expression, how strongly and how sharply, and are still the same people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.datasets.detection import BLENDSHAPES, find_faces, is_installed
from mrdist.errors import DataError
from mrdist.pipeline.judging._portraits import Floats, portraits, shrunk
from mrdist.recognition import (
    SIDE,
    ExpressionRecognizer,
    ExpressionScale,
    IdentityMatcher,
    changing_region,
    describe_faces,
    sharpness,
    to_gray,
)
from mrdist.storage import Images, WeightsReader, redact
from mrdist.synthesis import to_pixels

JUDGED = ("expression", "recognised", "rank_one", "sharpness")
"""What the row of a mapping in a comparison holds, see `judged`."""

_LEARNT = 128  # real faces of an expression whose movements are measured, at most
_TRIED = 8  # of which these tell whether there are faces
_FOUND = 0.9  # share of real faces that a detector must find to judge others
_SMALLEST = 89  # pixels of a side: pupils are 32 apart, below which points of faces are uncertain


@dataclass(frozen=True)
class _Looks:
    """What is seen of faces: gradients (image, feature), movements (image, feature) and sharpness (image,)."""

    gradients: Floats
    movements: Floats | None
    sharpness: Floats | None


class Jury:
    """Recognises expressions and people; it is trained on the real faces of the training split only.

    How strongly an expression is shown is measured by the movements of the face (blendshapes) that a face detector
    sees. Where none is installed, or does not find the faces of the training, it is measured by gradients.

    Parameters
    ----------
    images
        The images store that the mapping was trained on.
    source, target
        Labels of the mapping. Every label of the store is an expression to tell apart.

    Raises
    ------
    DataError
        If the training split has no face of the source or the target.
    """

    def __init__(self, images: Images, source: str, target: str) -> None:
        rows = {label: _rows(images, (label,), "train") for label in images.labels}
        self.labels = [label for label in images.labels if rows[label].size]
        for label in (source, target):
            if label not in self.labels:
                raise DataError(
                    f"{redact(images.url)} has no image of split 'train' with {label}, which the recogniser is trained "
                    "on; leave out --recognition (recognition=True)."
                )
        described = {
            label: np.concatenate([_gradients(to_gray(faces)) for faces in portraits(images, label, rows[label])])
            for label in self.labels
        }
        self._source, self._target = source, target
        self._recognizer = ExpressionRecognizer(
            np.concatenate(list(described.values())),
            [label for label, faces in described.items() for _ in range(len(faces))],
        )
        self._matcher = IdentityMatcher(np.concatenate([described[source], described[target]]))
        moved = _movements_learnt(images, {label: rows[label] for label in (source, target)})
        self.scale = "gradients" if moved is None else "movements"
        self._scale = ExpressionScale(*(moved or (described[source], described[target])))
        self.region = _region(images, (source, target))

    def judge(self, reader: WeightsReader, images: Images, split: str) -> dict[str, Any]:
        """Recognise the expressions and people of the faces that a mapping makes, see `Case.judge`.

        Parameters
        ----------
        reader
            The mapping.
        images
            An images store with its source label.
        split
            Whose images; or all.
        """
        return self.case(images, split).judge(reader)

    def case(self, images: Images, split: str) -> Case:
        """Return what is judged: the faces of a split, looked at once for all mappings."""
        rows = images.rows((self._source,), split)
        real_rows = _rows(images, (self._target,), split) if self._target in images.labels else np.empty(0, np.int64)
        inputs = self._look(images, self._source, rows)
        real = self._look(images, self._target, real_rows) if len(real_rows) else None
        return Case(self, images, rows, real_rows, inputs, real)

    def _look(
        self, images: Images, label: str, rows: npt.NDArray[np.int64], reader: WeightsReader | None = None
    ) -> _Looks:
        gradients, movements, sharp = [], [], []
        for faces in portraits(images, label, rows, reader):
            gray = to_gray(faces)
            gradients.append(_gradients(gray))
            if self.scale == "movements":
                movements.append(movements_of(faces))
            if self.region is not None:
                sharp.append(sharpness(gray, self.region))
        return _Looks(
            np.concatenate(gradients),
            np.concatenate(movements) if movements else None,
            np.concatenate(sharp) if sharp else None,
        )


@dataclass(frozen=True)
class Case:
    """The faces of a split that mappings are judged by.

    Attributes
    ----------
    jury
        Who judges.
    images, rows, real_rows
        Where, which inputs, and which real faces of the target.
    inputs, real
        What is seen of them; None if there are no real faces.
    """

    jury: Jury
    images: Images
    rows: npt.NDArray[np.int64]
    real_rows: npt.NDArray[np.int64]
    inputs: _Looks
    real: _Looks | None

    def judge(self, reader: WeightsReader) -> dict[str, Any]:
        """Recognise the expressions and people of the faces that a mapping makes.

        Returns
        -------
        dict
            ``recognition``: the shares of ``synthesised`` faces, of the ``input`` ones and, where there are any, of
            ``real`` faces of the target that are recognised as the target, and the ``drop`` from real to synthesised.
            ``expression``: how strongly they show it, on a scale of 0 (mean real source of the training) to 1 (mean
            real target), by ``movements`` of the face or by ``gradients`` (``by``); ``found`` is the share of
            synthesised faces that the detector finds, None without it, and the others count as 0. ``identity``: the
            share of synthesised (``rank_one``) and of input faces (``input_rank_one``) whose nearest real face is their
            own person's, among the targets of ``people`` where all have one, else among the inputs. ``sharpness``:
            the gradients of synthesised and of input faces where the expression changes them most, over those of real
            faces; ``region`` is its share of the frame. None where there are no real ones.
        """
        jury, inputs, real = self.jury, self.inputs, self.real
        made = jury._look(self.images, jury._source, self.rows, reader)
        people, real_people = self.images.subject[self.rows], self.images.subject[self.real_rows]
        paired = real is not None and set(people) <= set(real_people)
        gallery = (real.gradients, real_people) if real is not None and paired else (inputs.gradients, people)
        shown = None if real is None else self._share(real)
        synthesised = self._share(made)
        return {
            "recognition": {
                "expressions": jury.labels,
                "faces": len(self.rows),
                "real": shown,
                "input": self._share(inputs),
                "synthesised": synthesised,
                "drop": None if shown is None else shown - synthesised,
            },
            "expression": {
                "by": jury.scale,
                "real": None if real is None else self._strength(real),
                "input": self._strength(inputs),
                "synthesised": self._strength(made),
                "found": None if made.movements is None else float(np.isfinite(made.movements).all(axis=1).mean()),
            },
            "identity": {
                "people": len(set(gallery[1])),
                "gallery": jury._target if paired else jury._source,
                "rank_one": jury._matcher.rank_one(made.gradients, people, *gallery),
                "input_rank_one": jury._matcher.rank_one(inputs.gradients, people, *gallery) if paired else None,
            },
            "sharpness": {
                "region": None if jury.region is None else float(jury.region.mean()),
                "input": self._sharpness(inputs),
                "synthesised": self._sharpness(made),
            },
        }

    def real_faces(self) -> dict[str, Any]:
        """Return what the real faces of the target score, by which mappings are read.

        Returns
        -------
        dict
            ``by``, ``region`` (see `judge`), and ``real``: by measure, as in the row of a mapping.
        """
        real = self.real
        values = (None, None) if real is None else (self._strength(real), self._share(real))
        sharp = None if real is None else self._sharpness(real)
        region = self.jury.region
        return {
            "by": self.jury.scale,
            "region": None if region is None else float(region.mean()),
            "real": dict(zip(JUDGED, (*values, None, sharp), strict=True)),
        }

    def _share(self, looks: _Looks) -> float:
        return self.jury._recognizer.share(looks.gradients, self.jury._target)

    def _strength(self, looks: _Looks) -> float:
        features = looks.gradients if looks.movements is None else looks.movements
        return float(np.nan_to_num(self.jury._scale.score(features)).mean())

    def _sharpness(self, looks: _Looks) -> float | None:
        """Return how sharp faces are, over how sharp real ones are."""
        if looks.sharpness is None or self.real is None or self.real.sharpness is None:
            return None
        real = float(self.real.sharpness.mean())
        return float(looks.sharpness.mean()) / real if real else None


def judged(verdict: Mapping[str, Any], whose: str) -> dict[str, float | None]:
    """Return what the row of a comparison holds of a verdict, for ``synthesised`` or ``input`` faces."""
    known = verdict["identity"]["rank_one" if whose == "synthesised" else "input_rank_one"]
    values = verdict["expression"][whose], verdict["recognition"][whose], known, verdict["sharpness"][whose]
    return dict(zip(JUDGED, values, strict=True))


def _rows(images: Images, labels: tuple[str, ...], split: str) -> npt.NDArray[np.int64]:
    """Return the rows present in all labels, none if there are none."""
    chosen = images.present[:, [images.column(label) for label in labels]].all(axis=1)
    return np.flatnonzero(chosen if split == "all" else chosen & (images.split == split))


def _some(rows: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """Return at most ``count`` rows, spread evenly."""
    return rows[np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int))] if len(rows) > count else rows


def _gradients(gray: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Describe faces at about the size at which they are recognised."""
    return describe_faces(shrunk(gray, max(1, min(gray.shape[1:]) // SIDE)))


def movements_of(faces: Floats) -> npt.NDArray[np.float64]:
    """Return the blendshapes of faces, shape (image, movement); NaN where a detector finds no face."""
    measured = np.full((len(faces), len(BLENDSHAPES) - 1), np.nan)
    for values, pixels in zip(measured, to_pixels(faces, np.uint8), strict=True):
        for face in find_faces(pixels)[:1]:
            values[:] = list(face.blendshapes.values())
    return measured


def _movements_learnt(images: Images, rows: Mapping[str, npt.NDArray[np.int64]]) -> tuple[Floats, Floats] | None:
    """Return the movements of real faces of two expressions; None where a detector cannot judge such images."""
    if not is_installed() or images.n_channels not in (1, 3) or min(images.shape) < _SMALLEST:
        return None
    moved = []
    for most in (_TRIED, _LEARNT):
        moved = [
            np.concatenate([movements_of(faces) for faces in portraits(images, label, _some(of_label, most))])
            for label, of_label in rows.items()
        ]
        seen = [np.isfinite(each).all(axis=1) for each in moved]
        if min(each.mean() for each in seen) < _FOUND:
            return None
    source, target = (each[there] for each, there in zip(moved, seen, strict=True))
    return source, target


def _region(images: Images, labels: tuple[str, str]) -> npt.NDArray[np.bool_] | None:
    """Return where the target changes real faces most, in the size of portraits; None if that is nowhere."""
    rows = _some(_rows(images, labels, "train"), _LEARNT)
    if not len(rows):
        return None
    pairs = zip(*(portraits(images, label, rows) for label in labels), strict=True)
    change = sum(np.abs(to_gray(target) - to_gray(source)).sum(axis=0, dtype=np.float64) for source, target in pairs)
    assert isinstance(change, np.ndarray)
    factor = images.shape[0] // change.shape[0]
    face = shrunk(images.face_mask[np.newaxis].astype(np.float32), factor)[0] >= 0.5
    region = changing_region(change, face)
    return region if region.any() else None
