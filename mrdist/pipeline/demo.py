"""The main job from end to end on synthetic faces."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mrdist.errors import StoreError
from mrdist.geometry import Block
from mrdist.pipeline._photographs import to_picture
from mrdist.pipeline.evaluate import evaluate
from mrdist.pipeline.generate import generate
from mrdist.pipeline.train import train
from mrdist.storage import Images, check_output, open_weights

logger = logging.getLogger("mrdist")

N_IMAGES = 300
SIZE = 128
_SHOWN = 6


@dataclass(frozen=True)
class DemoReport:
    """Where the demo left its stores and pictures, and how well the mapping does on people it has not seen.

    Attributes
    ----------
    images, weights, faces, picture
        Paths: the two stores, the folder of synthesised faces and the overview.
    scores
        What `mrdist.evaluate` returns.
    """

    images: str
    weights: str
    faces: str
    picture: str
    scores: dict[str, Any]


def demo(
    out: str = "mrdist-demo",
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> DemoReport:
    """Generate faces, train neutral -> happy, score it and draw what it makes of people it has not seen.

    Parameters
    ----------
    out
        Folder for everything. What an earlier demo left there is replaced, other stores are not; ``demo.json``, with
        the scores, tells the one from the other.
    workers, scheduler, progress
        As in `mrdist.train`.
    seed
        Decides the people.

    Returns
    -------
    DemoReport
    """
    folder = Path(out)
    try:
        (folder / "faces").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"folder {out} cannot be made ({error.strerror}); choose another --out.") from error
    images_url, weights_url = str(folder / "images.zarr"), str(folder / "weights.zarr")
    mark = folder / "demo.json"
    ours = mark.exists()
    for url, kind in ((images_url, "images"), (weights_url, "weights")):
        check_output(url, None, kind=kind, overwrite=ours)
    mark.touch()
    cluster: dict[str, Any] = {"workers": workers, "scheduler": scheduler, "progress": progress}
    logger.info("1/4 generating %d people with two expressions, %d x %d pixels", N_IMAGES, SIZE, SIZE)
    generate(
        images_url,
        images=N_IMAGES,
        size=SIZE,
        labels=("neutral", "happy"),
        seed=seed,
        overwrite=ours,
        **cluster,
    )
    logger.info("2/4 training neutral -> happy, receptive field 3 x 3")
    train(images_url, weights_url, source="neutral", target="happy", overwrite=ours, **cluster)
    logger.info("3/4 scoring people that the training has not seen")
    scores = evaluate(weights_url, images_url, splits=["test"], progress=progress)
    logger.info("4/4 drawing")
    picture = folder / "faces.png"
    _draw(images_url, weights_url, folder / "faces", picture)
    mark.write_text(json.dumps(scores, indent=2))
    return DemoReport(images_url, weights_url, str(folder / "faces"), str(picture), scores)


def _draw(images_url: str, weights_url: str, faces: Path, picture: Path) -> None:
    from matplotlib.figure import Figure

    from mrdist.plotting import plot_faces

    images, model = Images.open(images_url), open_weights(weights_url)
    rows = images.rows(("neutral", "happy"), "test")[:_SHOWN]
    reader, frame = images.reader(), Block(0, 0, *images.shape)
    inputs, targets = (
        np.concatenate([reader.read(label, row, row + 1, frame) for row in rows]) for label in ("neutral", "happy")
    )
    outputs = model.predict(inputs)
    for row, output in zip(rows, outputs, strict=True):
        to_picture(output).save(faces / f"{images.image[row]}.png")
    figure = Figure(figsize=(10, 5), layout="constrained")
    plot_faces({"input": list(inputs), "synthesised": list(outputs), "target": list(targets)}, ax=figure.subplots())
    figure.savefig(picture, dpi=110)
