"""Whether synthesised faces show the expression, and are still the same people."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mrdist.errors import DataError
from mrdist.geometry import block_grid
from mrdist.moments import padded_window
from mrdist.recognition import SIDE, ExpressionRecognizer, IdentityMatcher, describe_faces, to_gray
from mrdist.storage import Images, WeightsReader, redact
from mrdist.synthesis import to_floats

_STRIP_BYTES = 64 << 20  # of floats: a strip of a run of images


class Jury:
    """Recognises expressions and people; it is trained on the real faces of the training split only.

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
        self.labels = [label for label in images.labels if _rows(images, (label,), "train").size]
        for label in (source, target):
            if label not in self.labels:
                raise DataError(
                    f"{redact(images.url)} has no image of split 'train' with {label}, which the recogniser is trained "
                    "on; leave out --recognition (recognition=True)."
                )
        described = {
            label: describe_faces(small_faces(images, label, _rows(images, (label,), "train"))) for label in self.labels
        }
        self._source, self._target = source, target
        self._recognizer = ExpressionRecognizer(
            np.concatenate(list(described.values())),
            [label for label, faces in described.items() for _ in range(len(faces))],
        )
        self._matcher = IdentityMatcher(np.concatenate([described[source], described[target]]))

    def judge(self, reader: WeightsReader, images: Images, split: str) -> dict[str, Any]:
        """Recognise the expressions and people of the faces that a mapping makes.

        Parameters
        ----------
        reader
            The mapping.
        images
            An images store with its source label.
        split
            Whose images; or all.

        Returns
        -------
        dict
            ``recognition``: the shares of ``synthesised`` faces, of the ``input`` ones and, where there are any, of
            ``real`` faces of the target that are recognised as the target, and the ``drop`` from real to synthesised.
            ``identity``: the share of synthesised (``rank_one``) and of input faces (``input_rank_one``) whose nearest
            real face is their own person's, among the targets of ``people`` where all have one, else among the inputs.
        """
        rows = images.rows((self._source,), split)
        made = describe_faces(small_faces(images, self._source, rows, reader))
        inputs = describe_faces(small_faces(images, self._source, rows))
        real_rows = _rows(images, (self._target,), split) if self._target in images.labels else np.empty(0, np.int64)
        real = describe_faces(small_faces(images, self._target, real_rows)) if len(real_rows) else None
        shown = None if real is None else self._recognizer.share(real, self._target)
        synthesised = self._recognizer.share(made, self._target)
        people = images.subject[rows]
        paired = real is not None and set(people) <= set(images.subject[real_rows])
        gallery, gallery_people = (real, images.subject[real_rows]) if paired else (inputs, people)
        assert gallery is not None
        return {
            "recognition": {
                "expressions": self.labels,
                "faces": len(rows),
                "real": shown,
                "input": self._recognizer.share(inputs, self._target),
                "synthesised": synthesised,
                "drop": None if shown is None else shown - synthesised,
            },
            "identity": {
                "people": len(set(gallery_people)),
                "gallery": self._target if paired else self._source,
                "rank_one": self._matcher.rank_one(made, people, gallery, gallery_people),
                "input_rank_one": self._matcher.rank_one(inputs, people, gallery, gallery_people) if paired else None,
            },
        }


def _rows(images: Images, labels: tuple[str, ...], split: str) -> npt.NDArray[np.int64]:
    """Return the rows present in all labels, none if there are none."""
    chosen = images.present[:, [images.column(label) for label in labels]].all(axis=1)
    return np.flatnonzero(chosen if split == "all" else chosen & (images.split == split))


def small_faces(
    images: Images, label: str, rows: npt.NDArray[np.int64], reader: WeightsReader | None = None
) -> npt.NDArray[np.float32]:
    """Return faces in grey levels at about the size at which they are recognised, strip by strip of large images.

    Parameters
    ----------
    images, label, rows
        Which.
    reader
        A mapping to apply.

    Returns
    -------
    ndarray
        Shape (image, y, x), 0..1; means over squares of pixels where images are at least twice as large as `SIDE`.
    """
    height, width = images.shape
    factor = max(1, min(height, width) // SIDE)
    codes = None if reader is None else reader.codes(images, label, rows)
    run = images.chunks[0]
    line = 8 * run * width * images.n_channels
    strip = factor * max(1, _STRIP_BYTES // (line * factor))
    pixels = images.reader()
    small = np.empty((len(rows), height // factor, width // factor), dtype=np.float32)
    for block in block_grid((height // factor * factor, width), (strip, width)):
        weights = None if reader is None else reader.block(block)
        window = block if weights is None else weights.window
        inside = window.clipped(images.shape)
        done = 0
        for start, stop, chosen in images.slabs(rows, run):
            x = padded_window(pixels.read(label, start, stop, inside)[chosen], window, (inside.y0, inside.x0))
            part = None if codes is None else codes[done : done + len(x)]
            made = to_gray(to_floats(x) if weights is None else weights.predict(x, part))
            made = made[:, :, : width // factor * factor]
            cells = made.reshape(len(x), block.shape[0] // factor, factor, -1, factor).mean(axis=(2, 4))
            small[done : done + len(x), block.y0 // factor : block.y1 // factor] = cells
            done += len(x)
    return small
