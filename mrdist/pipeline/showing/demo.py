"""The main job from end to end on synthetic faces."""

from __future__ import annotations

import io
import json
import logging
from dataclasses import dataclass
from os import fspath
from typing import Any

from mrdist.arguments import Address, plain_arguments
from mrdist.execution import Scheduler
from mrdist.pipeline.applying._pictures import to_png
from mrdist.pipeline.ingesting.generate import generate
from mrdist.pipeline.judging.evaluate import evaluate
from mrdist.pipeline.training.train import train
from mrdist.storage import Images, check_output, open_weights
from mrdist.storage.access.places import is_file, make_folder, write_file

logger = logging.getLogger("mrdist")

N_IMAGES = 300
SIZE = 128
_SHOWN = 6


@dataclass(frozen=True)
class DemoReport:
    """Where the stores and pictures of the demo are, and the scores for people outside the training.

    Attributes
    ----------
    images, weights, faces, picture
        Paths or URLs: the two stores, the folder of synthesised faces and the overview.
    scores
        What `mrdist.evaluate` returns.
    """

    images: str
    weights: str
    faces: str
    picture: str
    scores: dict[str, Any]


@plain_arguments
def demo(
    out: Address = "mrdist-demo",
    *,
    workers: int | None = None,
    scheduler: Scheduler | None = None,
    seed: int = 0,
    progress: bool | None = None,
) -> DemoReport:
    """Generate faces, train neutral -> happy, and score and draw its output for people outside the training.

    Parameters
    ----------
    out
        Folder for everything, local or in object storage such as ``s3://bucket/demo``. The stores of an earlier demo
        are replaced, other stores are not: only a demo writes ``demo.json``, with the scores.
    workers, scheduler, progress
        As in `mrdist.train`.
    seed
        Decides the people.

    Returns
    -------
    DemoReport
    """
    out = fspath(out)
    folder = out.rstrip("/")
    images_url, weights_url = f"{folder}/images.zarr", f"{folder}/weights.zarr"
    faces, picture, mark = f"{folder}/faces", f"{folder}/faces.png", f"{folder}/demo.json"
    make_folder(faces)
    ours = is_file(mark)
    for url, kind in ((images_url, "images"), (weights_url, "weights")):
        check_output(url, None, kind=kind, overwrite=ours)
    write_file(mark, b"")
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
    logger.info("3/4 scoring people outside the training")
    scores = evaluate(weights_url, images_url, splits=["test"], progress=progress)
    logger.info("4/4 drawing")
    _draw(images_url, weights_url, faces, picture)
    write_file(mark, json.dumps(scores, indent=2).encode())
    return DemoReport(images_url, weights_url, faces, picture, scores)


def _draw(images_url: str, weights_url: str, faces: str, picture: str) -> None:
    from matplotlib.figure import Figure

    from mrdist.plotting import plot_faces

    images, model = Images.open(images_url), open_weights(weights_url)
    rows = images.rows(("neutral", "happy"), "test")[:_SHOWN]
    inputs, targets = (images.read(label, rows) for label in ("neutral", "happy"))
    outputs = model.make(inputs, images.landmarks_of("neutral", rows))
    for row, output in zip(rows, outputs, strict=True):
        write_file(f"{faces}/{images.image[row]}.png", to_png(output))
    figure = Figure(figsize=(10, 5), layout="constrained")
    plot_faces({"input": list(inputs), "synthesised": list(outputs), "target": list(targets)}, ax=figure.subplots())
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=110)
    write_file(picture, drawn.getvalue())
