"""Scores of a morph on images of several cells: what it makes of whole images, each made once."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from numpy.testing import assert_allclose

import mrdist
from mrdist.morphing.morph import Morph
from mrdist.storage import Images, WeightsReader
from mrdist.synthesis import to_floats

LABELS = {"source": "neutral", "target": "happy"}
ALONE = {"workers": 0, "progress": False}


@pytest.mark.slow
def test_a_morph_makes_every_image_once_whatever_the_cells(tmp_path, monkeypatch):
    faces, weights = (str(tmp_path / name) for name in ("faces.zarr", "weights.zarr"))
    mrdist.generate(faces, images=12, size=150, labels=[*LABELS.values()], seed=3, **ALONE)
    mrdist.train(faces, weights, method="morph", **LABELS, **ALONE)
    made, apply = [], Morph.apply
    monkeypatch.setattr(Morph, "apply", lambda self, image, *rest: made.append(0) or apply(self, image, *rest))
    scores = mrdist.evaluate(weights, faces, splits=["train"], **ALONE)["splits"]["train"]["frame"]["model"]
    images = Images.open(faces)
    rows = images.rows([*LABELS.values()], "train")
    assert len(made) == len(rows)  # of 2 x 2 cells
    model, pixels = WeightsReader.open(weights).model(), zarr.open_group(faces, mode="r")
    errors = [
        np.mean((model.apply(x, images.landmarks[row, 0], in_frame=True) - to_floats(y)) ** 2)
        for row, x, y in zip(rows, pixels["neutral"][...][rows], pixels["happy"][...][rows], strict=True)
    ]
    assert_allclose(scores["mse"], np.mean(errors), rtol=1e-6)
