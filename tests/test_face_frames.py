"""Weights of every method, however they were trained, know where faces lie: any photograph can be given to them."""

from __future__ import annotations

import io
from types import SimpleNamespace

import commands
import numpy as np
import pytest
from PIL import Image

import mrdist
from mrdist.datasets.alignment import FRAME_PUPILS, place_frame
from mrdist.datasets.retouching import crop_face, feathered, retouch
from mrdist.errors import DataError, ParameterError
from mrdist.methods.registry import METHODS
from mrdist.pipeline.showing.opened import OpenedMapping
from mrdist.storage import WeightsReader
from mrdist.storage.access.urls import consolidate, open_group
from mrdist.storage.images.face_frame import FaceFrame
from mrdist.storage.images.reader import Images
from mrdist.storage.weights.mappings import MappingGroup

LABELS = {"source": "neutral", "target": "happy"}
SIZE, SIDE, CORNER = 32, 80, (21, 13)  # of a frame, of the face in a photograph, and (x, y) of its corner there
PUPILS = tuple((CORNER + FRAME_PUPILS * SIDE - 0.5).ravel().tolist())
SEARCHED = {
    f"{name} by cross-validation": (name, {"alpha" if "alphas" in method.options else "nonzeros": "cv", "folds": 2})
    for name, method in METHODS.items()
    if "folds" in method.options
}
ALONE = {
    **{name: (name, commands.known(name, components=5)) for name in METHODS},
    **SEARCHED,
    "mr by pixel": ("mr", {"alpha": "cv", "folds": 2, "rule": "pixel"}),
    "mr of several fields": ("mr", {"alpha": "cv", "folds": 2, "receptive_field": [1, 3]}),
}
OF_SUMS = {"solved": {}, "solved of sums in two steps": {"append": True}}
TOGETHER = {
    "mappings together": {"method": "mr"},
    "mappings apart": {"method": "mean"},
    "mappings by cross-validation": {"method": "pixel", "alpha": "cv", "folds": 2},
}
WAYS = [*ALONE, *OF_SUMS, *TOGETHER, "compare"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """A small store, one of its people in a photograph that is larger and not square, and weights as they are asked."""
    folder = tmp_path_factory.mktemp("faces")
    found = SimpleNamespace(folder=folder, images=str(folder / "images.zarr"), weights={})
    mrdist.generate(found.images, images=16, size=SIZE, labels=("neutral", "happy"), color="gray", workers=0)
    found.frame = FaceFrame.of_images(Images.open(found.images), "neutral")
    large = Image.fromarray(mrdist.open_images(found.images)["neutral"].values[0, ..., 0]).resize((SIDE, SIDE))
    found.pixels = np.random.default_rng(0).integers(0, 256, (120, 150), dtype=np.uint8)
    found.pixels[CORNER[1] : CORNER[1] + SIDE, CORNER[0] : CORNER[0] + SIDE] = np.asarray(large)
    found.photograph = folder / "photograph.png"
    Image.fromarray(found.pixels).save(found.photograph)
    return found


def trained(faces, way):
    """Return the weights stores of a way to train, which is gone once."""
    if way not in faces.weights:
        faces.weights[way] = _train(faces, way, str(faces.folder / way.replace(" ", "-")))
    return faces.weights[way]


def _train(faces, way, url):
    alone = {"workers": 0, "progress": False}
    if way in ALONE:
        method, options = ALONE[way]
        mrdist.train(faces.images, url, method=method, **LABELS, **options, **alone)
        return [url]
    if way in OF_SUMS:
        sums = f"{url}-sums"
        if OF_SUMS[way]:
            mrdist.accumulate(faces.images, sums, split="val", **LABELS, **alone)
        mrdist.accumulate(faces.images, sums, **LABELS, **OF_SUMS[way], **alone)
        mrdist.solve(sums, url, **alone)
        return [url]
    if way in TOGETHER:
        mrdist.train_mappings(faces.images, url, source="neutral", both_ways=True, **TOGETHER[way], **alone)
        return list(MappingGroup.open(url).urls.values())
    rows = mrdist.compare(faces.images, out=url, methods=[*METHODS], alpha=0.1, **LABELS, **alone)["methods"]
    assert {row["method"] for row in rows} == set(METHODS)
    return [f"{url}/{row['weights']}" for row in rows]


def same(one, other):
    return all(
        np.array_equal(getattr(one, name), getattr(other, name))
        for name in ("face_mask", "reference_points", "mean_face")
    )


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_train_keeps_where_faces_lie(faces, way):
    for url in trained(faces, way):
        training = WeightsReader.open(url).training
        frame = FaceFrame.of_images(Images.open(faces.images), training.source)
        assert frame.mean_face is not None
        assert same(WeightsReader.open(url).face_frame, frame)


@pytest.mark.parametrize("method", METHODS)
def test_a_photograph_that_is_not_of_the_trained_size(faces, tmp_path, method):
    """What `predict` changes in the frame that the points name arrives in the photograph as `retouch` has it."""
    (url,) = trained(faces, method)
    points = ",".join(map(str, PUPILS))
    report = commands.report("synthesize", url, faces.photograph, "--points", points, "--out", tmp_path)
    with Image.open(next(iter(report["written"].values()))) as picture:
        made = np.asarray(picture)
    if not METHODS[method].needs_landmarks:  # which change the photograph itself: tests/test_morph_method.py
        positions = place_frame(np.reshape(PUPILS, (2, 2)), faces.frame.reference_points)
        pixels = faces.pixels[..., np.newaxis]
        face = crop_face(pixels, positions, SIZE)
        change = mrdist.open_weights(url).predict(face[np.newaxis])[0] - face / 255
        expected = retouch(pixels, 1, change, feathered(faces.frame.face_mask), positions)
        np.testing.assert_array_equal(made, expected[..., 0])
    assert (made != faces.pixels).mean() > 0.02
    opened = OpenedMapping.open(url).retouch(faces.photograph.read_bytes(), points=PUPILS)
    with Image.open(io.BytesIO(opened.content)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), made)


@pytest.mark.parametrize("method", METHODS)
def test_refinement_or_why_not(faces, tmp_path, method):
    (url,) = trained(faces, method)
    points = {"points": PUPILS, "out": str(tmp_path / "made"), "refine": True, "progress": False}
    if OpenedMapping.open(url).is_refined:
        assert mrdist.synthesize(url, str(faces.photograph), **points).written
        return
    with pytest.raises(ParameterError, match=f"method {method}.* leave the refinement out"):
        mrdist.synthesize(url, str(faces.photograph), **points)
    assert not (tmp_path / "made").exists()


def forget(url):
    """Make of weights what an mrdist left that did not keep where faces lie."""
    group = open_group(url, None, write=True)
    for name in ("face_mask", "reference_points", "mean_face"):
        del group[name]
    consolidate(group, url)


@pytest.mark.parametrize("way", [*SEARCHED, "solved", "mappings together", "mappings apart"])
def test_weights_of_an_older_mrdist_learn_it_from_the_same_command(faces, way):
    urls = trained(faces, way)
    expected = [commands.files(url) for url in urls]
    for url in urls:
        forget(url)
        with pytest.raises(DataError, match="run the training command once more"):
            mrdist.synthesize(url, str(faces.photograph), str(faces.folder / "made"), points=PUPILS, progress=False)
    assert _train(faces, way, str(faces.folder / way.replace(" ", "-"))) == urls
    assert [commands.files(url) for url in urls] == expected
