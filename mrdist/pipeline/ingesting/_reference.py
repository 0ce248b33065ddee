"""What the faces of an ingest are aligned to: a shape, and mean faces for people without landmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import PurePath

import numpy as np
import numpy.typing as npt

from mrdist.datasets.alignment import align_take, reference_shape
from mrdist.datasets.landmark_files import EXTENSIONS, read_landmarks
from mrdist.datasets.marks import SCHEME, anchor_label, anchor_of, with_pupils
from mrdist.datasets.photographs import Take, photograph_size
from mrdist.errors import DataError, LandmarkError
from mrdist.pipeline.ingesting._faces import Marked
from mrdist.running.driving import Step, tracked
from mrdist.storage import FaceFrame, Images, StorageOptions, read_frame, redact

Floats = npt.NDArray[np.float64]
#: How many training people with landmarks make the mean face that locates the others, and its side in pixels.
_MEAN_OF, _SIDE = 24, 128
_LUMINANCE = np.array([0.299, 0.587, 0.114])  # Rec. 601


@dataclass(frozen=True)
class Reference:
    """What faces are aligned to.

    Attributes
    ----------
    points
        The shape, (x, y) in sides of the frame, shape (n, 2); points 0 and 1 are the pupils.
    faces
        Label -> mean face in gray, 1 = white; empty if no face is located by one.
    marks
        Mean of the points that were found on other people in the frame, shape (478, 2), where ``points`` are of another
        template and it is known.
    """

    points: Floats
    faces: Mapping[str, Floats] = field(default_factory=dict)
    marks: Floats | None = None


def find_reference(
    takes: Sequence[Take],
    split: Sequence[str],
    *,
    align: str,
    reference: str | None,
    strict: bool,
    progress: bool | None = False,
    storage_options: StorageOptions,
    marked: Sequence[Marked] = (),
) -> Reference:
    """Return the reference of an ingest.

    Parameters
    ----------
    takes, split
        The people, and whether they train.
    align
        Method, see `mrdist.datasets.alignment.align_take`.
    reference
        A landmark file or an images store; by default, the reference is the mean shape of the training people.
    strict
        Fail at the first landmark file that cannot be read.
    marked
        Points that were found on the photographs of each of the people. The reference is their mean shape if there is
        anybody without a landmark file.

    Raises
    ------
    DataError, StoreError
        If there are no landmarks and no mean face, or ``reference`` cannot be one.
    """
    if reference is not None and PurePath(reference).suffix.lower() in EXTENSIONS:
        points, faces = reference_shape([read_landmarks(reference)]), dict[str, Floats]()
    elif reference is not None:
        images = Images.open(reference, storage_options)
        points, means = (values.astype(np.float64) for values in read_frame(images))
        if not len(points):
            raise DataError(
                f"{redact(reference)} was ingested with --align none, so it cannot be a reference; give a store of "
                "aligned faces or a landmark file."
            )
        gray = means @ _LUMINANCE if means.shape[-1] == 3 else means[..., 0]
        faces = {label: face for label, face in zip(images.labels, gray, strict=True) if np.isfinite(face).all()}
        return Reference(points, faces, _mean_marks(images))
    elif any(each.marks for each in marked) and not all(take.landmarks for take in takes):
        points, faces = _marked_shape(takes, split, marked), {}
    else:
        n_training = sum(side == "train" for side in split)
        with tracked(n_training, 0, "person", show=progress, phase="reference") as advance:
            points, faces = _training_shape(takes, split, strict, advance), {}
    if align == "features" or (align != "landmarks" and not all(take.landmarks for take in takes)):
        with tracked(_MEAN_OF, 0, "face", show=progress, phase="mean face") as advance:
            faces = _mean_faces(takes, split, points, advance)
    return Reference(points, faces)


def _training_shape(takes: Sequence[Take], split: Sequence[str], strict: bool, advance: Step) -> Floats:
    """Return the mean shape of the training people whose landmarks can be read, of the template that most have."""
    shapes = []
    unreadable: LandmarkError | None = None
    for take, side in zip(takes, split, strict=True):
        if side != "train":
            continue
        advance(1, "")
        for label, path in list(take.landmarks.items())[:1]:
            try:
                shapes.append(read_landmarks(path, partial(photograph_size, take.photographs[label])))
            except DataError as error:
                if strict:
                    raise
                unreadable = unreadable or (error if isinstance(error, LandmarkError) else None)
    if not shapes and unreadable is not None:
        raise unreadable
    counts = [len(shape) for shape in shapes]
    usual = max(set(counts), key=counts.count) if counts else 0
    return reference_shape([shape for shape in shapes if len(shape) == usual])


def _marked_shape(takes: Sequence[Take], split: Sequence[str], marked: Sequence[Marked]) -> Floats:
    """Return the mean of the shapes that were found on the training people's anchors."""
    shapes = []
    for take, side, each in zip(takes, split, marked, strict=True):
        anchor = anchor_of(replace(take, landmarks={}), each.marks)
        if side == "train" and anchor is not None:
            shapes.append(with_pupils(each.marks[anchor].points))
    if not shapes:
        raise DataError(
            "No photograph of the training people shows a face, so there is nothing to align to; give a landmark file "
            "or an images store with --reference."
        )
    return reference_shape(shapes)


def _mean_marks(images: Images) -> Floats | None:
    """Return the mean of the points that were found on the anchors of a store, which its first label mostly has."""
    if images.landmark_scheme != SCHEME:
        return None
    calm = anchor_label(images.labels)
    return FaceFrame.of_images(images, calm).mean_landmarks


def _mean_faces(takes: Sequence[Take], split: Sequence[str], points: Floats, advance: Step) -> dict[str, Floats]:
    """Return the mean face of training people with landmarks, under the label of the first."""
    faces: dict[str, list[npt.NDArray[np.uint8]]] = {}
    for take, side in zip(takes, split, strict=True):
        if side != "train" or not take.landmarks or sum(map(len, faces.values())) == _MEAN_OF:
            continue
        label = next(iter(take.landmarks))
        alone = replace(take, photographs={label: take.photographs[label]})
        try:
            aligned = align_take(alone, points, size=_SIDE, method="similarity")
        except DataError:
            continue  # reported when this person is aligned
        faces.setdefault(label, []).append(aligned.images[label])
        advance(1, "")
    return {label: np.mean(images, axis=0)[..., 0] / 255 for label, images in faces.items()}
