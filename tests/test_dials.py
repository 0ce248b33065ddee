"""The dials of models, strength and mouth: in Python, in the shell and over HTTP, and what people are told of faces."""

from __future__ import annotations

import io
import json
import logging
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import zarr
from fastapi.testclient import TestClient
from numpy.testing import assert_array_equal
from PIL import Image

import mrdist
from mrdist.methods.dials import DIALS
from mrdist.methods.registry import METHODS
from mrdist.morphing.dials import AS_TRAINED, MOUTHS, STRONGEST, Dials
from mrdist.pipeline.applying import _photographs
from mrdist.pipeline.showing.opened import OpenedMapping
from mrdist.service import synthesis
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.storage import Images, WeightsReader
from mrdist.storage.weights import morph_reader
from mrdist.synthesis import to_pixels

API, SIDE = "/api/v1", 32
LABELS = {"source": "neutral", "target": "happy"}
ALONE = {"workers": 0, "progress": False}
DIALLED = next(name for name, method in METHODS.items() if method.has_dials)
UNKNOWN = "its landmarks are not known, so it moves as the mean face does"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with a model that has dials, one that has none, the people of both, and people without landmarks."""
    catalog = Catalog.open(str(tmp_path_factory.mktemp("dials") / "catalog"))
    people, bare = (catalog.url_of("datasets", name) for name in ("people", "bare"))
    mrdist.generate(people, images=12, size=SIDE, labels=[*LABELS.values()], **ALONE)
    pixels = {label: zarr.open_group(people, mode="r")[label][:3] for label in LABELS.values()}
    commands.write_store(bare, pixels, landmarks=False)
    for name, method in (("moving", DIALLED), ("plain", next(iter(METHODS)))):
        mrdist.train(people, catalog.url_of("models", name), method=method, **LABELS, **ALONE)
    client = TestClient(create_app(catalog), base_url="http://127.0.0.1")
    stream = io.BytesIO()
    Image.fromarray(pixels["neutral"][0]).save(stream, format="PNG")
    return SimpleNamespace(
        catalog=catalog, client=client, people=people, bare=bare, face=stream.getvalue(), pixels=pixels["neutral"]
    )


def post(service, content=None, **data):
    files = {"photograph": ("face.png", content or service.face)}
    return service.client.post(f"{API}/synthesis", files=files, data={"model": "moving", **data})


def shown(answer):
    assert answer.status_code == 200, answer.text
    with Image.open(io.BytesIO(answer.content)) as picture:
        return np.asarray(picture)


def refusal(answer):
    assert answer.status_code == 422, answer.text
    return answer.json()["detail"]


def row(service, model="moving", dataset="people", number=0, **params):
    return service.client.get(f"{API}/models/{model}/faces/{dataset}/{number}.png", params=params)


def test_the_table_is_that_of_the_dials():
    assert tuple(DIALS["mouth"].domain.words) == MOUTHS
    assert DIALS["strength"].domain.schema["anyOf"][0] == {"type": "number", "minimum": 0, "maximum": STRONGEST}
    assert {name: option.usual for name, option in DIALS.items()} == {"strength": "1", "mouth": "auto"}
    assert Dials(**{name: getattr(AS_TRAINED, name) for name in DIALS}) == AS_TRAINED


@pytest.mark.parametrize("command", ["synthesize", "evaluate"])
def test_the_shell_says_what_the_table_says_and_which_methods_have_dials(command):
    said = " ".join(commands.succeed(command, "--help").stdout.split())
    having = ", ".join(name for name, method in METHODS.items() if method.has_dials)
    for option in DIALS.values():
        assert f"--{option.name} {option.metavar} {having}: {option.help}" in said


def test_a_model_says_what_can_be_turned(service):
    listed = {each["name"]: each for each in service.client.get(f"{API}/models").json()["models"]}
    assert listed["plain"]["dials"] == []
    dials = {dial["name"]: dial for dial in listed["moving"]["dials"]}
    assert list(dials) == list(DIALS)
    limits = [dials["strength"][key] for key in ("kind", "minimum", "maximum", "default")]
    assert limits == ["number", 0, STRONGEST, AS_TRAINED.strength]
    assert [choice["value"] for choice in dials["mouth"]["choices"]] == [*MOUTHS]
    assert dials["mouth"]["default"] == AS_TRAINED.mouth
    assert service.client.get(f"{API}/models/moving").json()["dials"] == listed["moving"]["dials"]
    methods = {each["name"]: each for each in service.client.get(f"{API}/methods").json()["methods"]}
    assert [name for name, each in methods.items() if each["has_dials"]] == [DIALLED]
    for name in ("moving", "plain"):
        reader = WeightsReader.open(service.catalog.url_of("models", name))
        assert (reader.dials is not None) == METHODS[reader.training.method].has_dials


def test_the_description_has_the_limits(service):
    described = service.client.get("/openapi.json").json()
    form = described["components"]["schemas"]["Synthesis"]["properties"]
    assert (form["strength"]["minimum"], form["strength"]["maximum"]) == (0, STRONGEST)
    assert form["mouth"]["enum"] == [*MOUTHS]
    for path in ("/models/{name}/faces/{dataset}/{row}.png", "/models/{name}/scores"):
        fields = {field["name"]: field for field in described["paths"][API + path]["get"]["parameters"]}
        assert {"type": "string", "const": "own"} in fields["strength"]["schema"]["anyOf"]
        assert fields["mouth"]["schema"]["anyOf"][0]["enum"] == [*MOUTHS]


@pytest.mark.parametrize("turned", [{}, {"strength": 0.5}, {"strength": 1.5, "mouth": "closed"}, {"mouth": "open"}])
def test_a_photograph_is_changed_as_the_shell_does(service, tmp_path, turned):
    (tmp_path / "face.png").write_bytes(service.face)
    options = [word for name, value in turned.items() for word in (f"--{name}", value)]
    weights = service.catalog.url_of("models", "moving")
    commands.succeed("synthesize", weights, tmp_path / "face.png", "--out", tmp_path / "made", *options)
    assert_array_equal(shown(post(service, **turned)), np.asarray(Image.open(tmp_path / "made" / "face.png")))


def test_strengths_and_mouths_differ_and_0_is_the_photograph(service):
    made = [shown(post(service, strength=str(strength))) for strength in (0, 0.5, 1.5)]
    assert_array_equal(made[0], service.pixels[0])
    assert len({picture.tobytes() for picture in made}) == 3
    assert (shown(post(service, mouth="open")) != shown(post(service, mouth="closed"))).any()


@pytest.mark.parametrize(
    ("turned", "said"),
    [
        ({"strength": "1.6"}, "strength must lie in 0..1.5, got 1.6"),
        ({"strength": "nan"}, "strength must lie in 0..1.5, got nan"),
        ({"strength": "much"}, "strength must be a number, got 'much'"),
        ({"strength": "own"}, "strength must be a number for photographs, got 'own'"),
        ({"mouth": "wide"}, "mouth must be one of auto, open, closed, got 'wide'"),
        ({"model": "plain", "strength": "1.2"}, "strength must be from 0 to 1 for "),
        ({"model": "plain", "mouth": "open"}, "mouth is for mappings that move faces, but "),
        ({"model": ["moving", "plain"], "mouth": "open"}, "mouth is for mappings that move faces, but "),
        ({"refine": "true"}, "only mappings with receptive fields can be refined"),
    ],
)
def test_what_cannot_be_turned_is_refused_in_a_sentence(service, turned, said):
    sentence = refusal(post(service, **turned))
    assert said in sentence
    assert sentence.endswith(".")


def test_the_strength_of_a_model_without_dials_is_still_the_share_of_its_change(service):
    whole, half = (shown(post(service, model="plain", strength=s)).astype(float) for s in ("1", "0.5"))
    assert np.abs(half - (service.pixels[0] + whole) / 2).max() <= 1.01


def test_rows_of_a_dataset_are_made_with_their_landmarks_and_their_own_strength(service):
    images, reader = Images.open(service.people), WeightsReader.open(service.catalog.url_of("models", "moving"))
    for turned in ({}, {"strength": 0.6, "mouth": "open"}, {"strength": "own"}):
        own = reader.turned(Dials(**turned))
        codes = own.codes(images, "neutral", np.array([1]))
        made = own.block(own.frame).predict(service.pixels[1:2], codes)[0]
        answer = row(service, number=1, **turned)
        assert_array_equal(shown(answer), to_pixels(made, np.uint8))
        assert "x-mrdist-warning" not in answer.headers
    assert "leave them out" in refusal(row(service, model="plain", strength="0.5"))
    marks = {row(service, **turned).headers["etag"] for turned in ({}, {"strength": 0.6}, {"mouth": "open"})}
    assert len(marks) == 3


def test_rows_without_landmarks_say_so(service):
    answer = row(service, dataset="bare")
    assert "moves as the mean face does" in answer.headers["x-mrdist-warning"]
    assert (shown(answer) != service.pixels[0]).any()
    assert "has no landmarks" in refusal(row(service, dataset="bare", strength="own"))


def test_scores_at_a_strength_are_kept_apart(service):
    def scores(**asked):
        answer = service.client.get(f"{API}/models/moving/scores", params={"split": "train", **asked}).json()
        return answer["dials"], answer["splits"]["train"]["face"]["model"]["mse"]

    usual, own = scores(), scores(strength="own")
    assert (usual[0], own[0]) == ({}, {"strength": "own"})
    assert own[1] != usual[1]
    assert (scores(), scores(strength="own")) == (usual, own)


# --- a photograph is read once -------------------------------------------------------------------------


def test_a_slider_reads_the_photograph_once(service, monkeypatch):
    read = []
    monkeypatch.setattr(_photographs, "read_pixels", lambda *how: read.append(how) or reading(*how))
    reading = mrdist.datasets.photographs.read_pixels
    monkeypatch.setattr(synthesis, "_prepared", type(synthesis._prepared)(1 << 20, size=lambda each: each.n_bytes))
    answers = [post(service, strength=str(strength)) for strength in (0.2, 0.4, 0.6)]
    assert len(read) == 1
    assert ["decode" in answer.headers["server-timing"] for answer in answers] == [True, False, False]
    assert len({answer.content for answer in answers}) == 3
    post(service, model="plain")
    assert len(read) == 2  # which may want other colours, and finds the face by its own mean face
    monkeypatch.setattr(synthesis, "_prepared", type(synthesis._prepared)(10, size=lambda each: each.n_bytes))
    again = [post(service, strength="0.4") for _ in range(2)]
    assert len(read) == 4  # what is too large is not kept
    assert {answer.content for answer in again} == {answers[1].content}


def test_a_photograph_is_prepared_for_all_strengths(service):
    opened = OpenedMapping.open(service.catalog.url_of("models", "moving"))
    prepared = opened.prepare(service.face)
    assert prepared.n_bytes == service.pixels[0].nbytes
    for strength in (0.3, 1.2):
        assert (
            opened.change(prepared, strength=strength).content
            == opened.retouch(service.face, strength=strength).content
        )


# --- whose landmarks nobody knows ----------------------------------------------------------------------


def test_a_photograph_whose_landmarks_are_not_known_is_told_everywhere(service, tmp_path, caplog):
    (tmp_path / "face.png").write_bytes(service.face)
    weights, out = service.catalog.url_of("models", "moving"), tmp_path / "made"
    done = commands.succeed("synthesize", weights, tmp_path / "face.png", "--out", out)
    assert f"face.png: {UNKNOWN}; put a landmark file of its 61 points beside it" in done.stderr
    with caplog.at_level(logging.WARNING, "mrdist"):
        report = mrdist.synthesize(weights, tmp_path / "face.png", out, progress=False)
    assert [UNKNOWN in message for message in caplog.messages] == [True]
    assert all(UNKNOWN in each for (each,) in report.warnings.values())
    assert UNKNOWN in post(service).headers["x-mrdist-warning"]
    pictures = post(service, model=["moving", "plain"]).json()["pictures"]
    assert [any(UNKNOWN in each for each in picture["warnings"]) for picture in pictures] == [True, False]


def test_python_is_told_once(service, caplog):
    morph_reader._tell_of_means.cache_clear()
    model = mrdist.open_weights(service.catalog.url_of("models", "moving"))
    with caplog.at_level(logging.WARNING, "mrdist"):
        for _ in range(2):
            model.predict(service.pixels)
    assert ["moves as the mean face does" in message for message in caplog.messages] == [True]


def test_images_of_a_store_that_stay_as_they_are_are_counted(service, tmp_path, caplog):
    url = str(tmp_path / "some.zarr")
    group = zarr.open_group(service.people, mode="r")
    commands.write_store(url, {label: group[label][:4] for label in LABELS.values()})
    zarr.open_group(url)["landmarks"][1, 0] = np.nan
    weights = service.catalog.url_of("models", "moving")
    done = commands.succeed("synthesize", weights, url, "--out", tmp_path / "made.zarr", "--workers", 0, "--json")
    assert json.loads(done.stdout)["unmoved"] == 1
    assert "1 of 4 images of" in done.stderr
    with caplog.at_level(logging.WARNING, "mrdist"):
        assert mrdist.evaluate(weights, url, splits=["train"], **ALONE)["unmoved"] == 1
        images = Images.open(url)
        model = mrdist.open_weights(weights)
        model.make(service.pixels[:3], images.landmarks_of("neutral", np.arange(3)))
    assert ["stay as they are" in message for message in caplog.messages] == [True, True]
    assert "unmoved" not in mrdist.evaluate(weights, service.people, splits=["train"], **ALONE)
