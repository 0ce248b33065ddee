"""Photographs over HTTP: the same pictures as at the command line, and nothing that could hurt the service."""

from __future__ import annotations

import base64
import io
import json
import re
import struct
import threading
import zlib
from types import SimpleNamespace

import commands
import numpy as np
import pytest
from commands import NO_DETECTOR
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.datasets.alignment import place_frame
from mrdist.datasets.detection import is_installed
from mrdist.datasets.landmarks import FRAME_PUPILS
from mrdist.datasets.suitability import LYING, USUAL
from mrdist.service import synthesis
from mrdist.service.app import create_app
from mrdist.service.cache import Cache
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

SYNTHESIS = "/api/v1/synthesis"
SIZE = 48
#: Where the frame lies in the scene: its corner and its side.
CORNER, SIDE = np.array([90.0, 60.0]), 192
PUPILS = CORNER + FRAME_PUPILS * SIDE - 0.5
POINTS = ",".join(f"{value:g}" for value in PUPILS.ravel())


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A service with two models of the same people, a face of theirs, and that face in a large photograph."""
    folder = tmp_path_factory.mktemp("studio")
    catalog = Catalog.open(str(folder / "catalog"))
    images = catalog.url_of("datasets", "people")
    options = ("--images", 20, "--size", SIZE, "--labels", "neutral,happy,sad", "--workers", 0)
    commands.succeed("generate", images, *options)
    for target in ("happy", "sad"):
        labels = ("--source", "neutral", "--target", target)
        commands.succeed("train", images, catalog.url_of("models", target), *labels, "--workers", 0)
    face = mrdist.open_images(images)["neutral"].values[0]
    scene = Image.new("RGB", (400, 300), (90, 120, 60))
    scene.paste(Image.fromarray(face).resize((SIDE, SIDE), Image.Resampling.BICUBIC), (90, 60))
    client = TestClient(create_app(catalog), base_url="http://127.0.0.1")
    return SimpleNamespace(
        folder=folder, catalog=catalog, client=client, face=as_png(face), scene=as_png(np.asarray(scene))
    )


def choose_detector(monkeypatch, constants):
    """Open the models anew, with the detector of faces that is installed or with none."""
    for address, value in constants.items():
        monkeypatch.setattr(address, value)
    monkeypatch.setattr(synthesis, "_opened", Cache(10, size=lambda _: 1))


def as_png(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG", **options)
    return stream.getvalue()


def pixels_of(content):
    with Image.open(io.BytesIO(content)) as picture:
        return np.asarray(picture)


def post(studio, content, name="face.png", **data):
    return studio.client.post(SYNTHESIS, files={"photograph": (name, content)}, data={"model": "happy", **data})


def refusal(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    detail = answer.json()["detail"]
    assert detail.endswith(".")
    return detail


def at_the_command_line(studio, content, tmp_path, *options, constants=None):
    """Return the pixels that ``mrdist synthesize`` makes of the same file."""
    (tmp_path / "photograph.png").write_bytes(content)
    weights = studio.catalog.url_of("models", "happy")
    commands.succeed(
        "synthesize", weights, tmp_path / "photograph.png", "--out", tmp_path / "made", *options, constants=constants
    )
    return pixels_of((tmp_path / "made" / "photograph.png").read_bytes())


# --- the picture ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("refine", [False, True])
@pytest.mark.parametrize("which", ["aligned", "detection", "registration", "points"])
def test_the_picture_is_that_of_the_command_line(studio, tmp_path, monkeypatch, which, refine):
    if which == "detection":
        pytest.importorskip("ai_edge_litert")
    constants = {} if which == "detection" else NO_DETECTOR
    choose_detector(monkeypatch, constants)
    content = studio.face if which == "aligned" else studio.scene
    points = {"points": POINTS} if which == "points" else {}
    answer = post(studio, content, refine=str(refine).lower(), **points)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["x-mrdist-alignment"] == which
    measures = dict(measure.split("=") for measure in answer.headers["x-mrdist-measures"].split(", "))
    lying = {"aligned": set(), "detection": set(LYING)}.get(which, set(LYING) - {"yaw"})
    assert set(measures) == set(USUAL) - ({"roll"} if which == "aligned" else set()) | lying
    assert float(measures["likeness"]) > 0.5
    stages = [stage.partition(";dur=") for stage in answer.headers["server-timing"].split(", ")]
    assert {name for name, _, _ in stages} == {"decode", "model", "encode"} | (
        {"align"} if which != "aligned" else set()
    )
    assert all(float(milliseconds) >= 0 for _, _, milliseconds in stages)
    options = [*(["--refine"] if refine else []), *(["--points", POINTS] if points else [])]
    made = at_the_command_line(studio, content, tmp_path, *options, constants=constants)
    np.testing.assert_array_equal(pixels_of(answer.content), made)


def test_all_faces_need_a_detector(studio, monkeypatch):
    choose_detector(monkeypatch, NO_DETECTOR)
    assert "pip install 'mrdist[landmarks]'" in refusal(post(studio, studio.scene, faces="all"), 422)
    refusal(post(studio, studio.scene, faces="some"), 422)


@pytest.mark.skipif(not is_installed(), reason="needs the extra landmarks")
def test_all_faces_of_a_photograph_change(studio, monkeypatch):
    choose_detector(monkeypatch, {})
    scene = pixels_of(studio.scene)
    two = as_png(np.concatenate([scene, scene], axis=1))
    whole = post(studio, studio.scene)
    assert whole.headers["x-mrdist-alignment"] == "detection"
    halves = np.split(pixels_of(post(studio, two, faces="all").content), 2, axis=1)
    assert [bool((half != scene).any()) for half in halves] == [True, True]
    halves = np.split(pixels_of(post(studio, two).content), 2, axis=1)
    assert sorted(bool((half != scene).any()) for half in halves) == [False, True]


def test_a_face_found_once_is_found_again_at_the_same_place(studio):
    first, again = (post(studio, studio.scene) for _ in range(2))
    assert first.content == again.content
    found = np.array([float(value) for value in first.headers["x-mrdist-points"].split(",")]).reshape(2, 2)
    assert np.abs(found - PUPILS).max() < 0.06 * SIDE
    at_points = post(studio, studio.scene, points=POINTS).headers["x-mrdist-points"]
    np.testing.assert_allclose([float(value) for value in at_points.split(",")], PUPILS.ravel(), atol=0.1)


def test_sliders_move_the_picture(studio, tmp_path):
    plain = post(studio, studio.face).content
    face = pixels_of(studio.face).astype(float)
    assert (pixels_of(post(studio, studio.face, strength="0").content) == face).all()
    half = pixels_of(post(studio, studio.face, strength="0.5").content)
    assert np.abs(half - (face + pixels_of(plain)) / 2).max() <= 1.01  # but for what was clipped
    narrow, wide = (pixels_of(post(studio, studio.face, refine="true", radius=r).content) for r in ("0.02", "0.3"))
    assert (narrow != face).any(axis=-1).sum() < (wide != face).any(axis=-1).sum()
    commands.succeed("refine", studio.catalog.url_of("models", "sad"), "--radius", "0.02")
    kept = post(studio, studio.face, model="sad", refine="true").content
    assert kept == post(studio, studio.face, model="sad", refine="true", radius="0.02").content


def test_the_overlay_lies_where_the_change_does(studio):
    before, after = pixels_of(studio.scene).astype(int), pixels_of(post(studio, studio.scene, refine="true").content)
    overlay = pixels_of(post(studio, studio.scene, refine="true", overlay="importance").content)
    assert overlay.shape == before.shape[:2]
    assert overlay.max() > 200
    assert (before == after)[overlay == 0].mean() > 0.999
    aligned = pixels_of(post(studio, studio.face, overlay="importance").content)
    assert aligned.shape == (SIZE, SIZE)
    assert aligned.min() == 255


def test_several_models_on_one_photograph(studio):
    answer = studio.client.post(
        SYNTHESIS, files={"photograph": ("face.png", studio.face)}, data={"model": ["happy", "sad"]}
    )
    pictures = answer.json()["pictures"]
    assert [picture["model"] for picture in pictures] == ["happy", "sad"]
    for picture in pictures:
        alone = post(studio, studio.face, model=picture["model"])
        assert base64.b64decode(picture["png"]) == alone.content
        assert picture["alignment"] == "aligned"


def test_a_model_that_was_trained_again_or_deleted_is_noticed(studio):
    images = studio.catalog.url_of("datasets", "people")
    weights = studio.catalog.url_of("models", "changing")
    options = ("--source", "neutral", "--workers", 0, "--overwrite")
    commands.succeed("train", images, weights, "--target", "happy", *options)
    assert post(studio, studio.face, model="changing").content == post(studio, studio.face, model="happy").content
    commands.succeed("train", images, weights, "--target", "sad", *options)
    assert post(studio, studio.face, model="changing").content == post(studio, studio.face, model="sad").content
    studio.catalog.remove("models", "changing")
    assert "no model 'changing'" in refusal(post(studio, studio.face, model="changing"), 404)


def test_many_at_once_get_their_own_pictures(studio):
    wanted = {model: post(studio, studio.face, model=model).content for model in ("happy", "sad")}
    found = []

    def ask(model):
        found.append((model, post(studio, studio.face, model=model).content))

    threads = [threading.Thread(target=ask, args=(model,)) for model in ("happy", "sad") * 8]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 16
    assert all(content == wanted[model] for model, content in found)


def test_large_photographs_wait_for_each_other_and_small_ones_do_not(studio, monkeypatch):
    monkeypatch.setattr(synthesis, "LARGE_PIXELS", SIZE * SIZE)
    assert post(studio, studio.face).status_code == 200
    assert post(studio, studio.scene, points=POINTS).status_code == 200
    several = refusal(post(studio, studio.scene, points=POINTS, model=["happy", "sad"]), 413)
    assert f"{400 * 300} pixels" in several


# --- what is refused -----------------------------------------------------------------------------------


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of(width, height, *chunks, data=None):
    """Return a PNG of RGB that says it has this size, with other chunks before its pixels."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    pixels = zlib.compress(b"\0" * (height * (3 * width + 1)), 9) if data is None else data
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def animation():
    frames = [Image.new("RGB", (SIZE, SIZE), color) for color in ("red", "blue")]
    stream = io.BytesIO()
    frames[0].save(stream, format="PNG", save_all=True, append_images=frames[1:])
    return stream.getvalue()


def gif():
    stream = io.BytesIO()
    Image.new("P", (SIZE, SIZE)).save(stream, format="GIF")
    return stream.getvalue()


def jpeg_of_many_scans():
    stream = io.BytesIO()
    Image.effect_noise((SIZE, SIZE), 60).save(stream, format="JPEG", progressive=True)
    content = stream.getvalue()
    start = content.rindex(b"\xff\xda")
    return content[:-2] + content[start:-2] * 500 + content[-2:]


BOMB = zlib.compress(b"\0" * (80 << 20), 9)


@pytest.mark.parametrize(
    ("content", "status", "said"),
    [
        pytest.param(b"", 415, "cannot be identified", id="empty"),
        pytest.param(b"x", 415, "cannot be identified", id="one byte"),
        pytest.param(b"%PDF-1.4\n" + b"0" * 1000, 415, "cannot be identified", id="pdf"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "cannot be identified", id="svg"),
        pytest.param(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 415, "cannot be identified", id="eps"),
        pytest.param(gif(), 415, "cannot be identified", id="gif"),
        pytest.param(png_of(20_000, 10_000, data=b""), 413, "pixels", id="200 megapixels"),
        pytest.param(png_of(10_000, 8_000, data=b""), 413, "10000 x 8000", id="80 megapixels"),
        pytest.param(png_of(0x7FFFFFFF, 0x7FFFFFFF, data=b""), 413, "pixels", id="largest PNG"),
        pytest.param(png_of(0, 5, data=b""), 415, "cannot be identified", id="no pixels"),
        pytest.param(png_of(SIZE, SIZE, data=b""), 422, "cannot be read", id="no data"),
        pytest.param(png_of(SIZE, SIZE, chunk(b"zTXt", b"a\0\0" + BOMB)), 422, "too large", id="text bomb"),
        pytest.param(png_of(SIZE, SIZE, chunk(b"iCCP", b"a\0\0" + BOMB)), 422, "too large", id="profile bomb"),
        pytest.param(animation(), 422, "animation of 2 frames", id="animation"),
        pytest.param(jpeg_of_many_scans(), 422, "scans", id="JPEG of many scans"),
    ],
)
def test_what_is_no_photograph(studio, content, status, said):
    assert said in refusal(post(studio, content, "../<b>evil.png"), status)
    assert post(studio, studio.face).status_code == 200


def test_a_truncated_photograph(studio):
    assert "truncated" in refusal(post(studio, studio.face[: len(studio.face) // 2]), 422)
    stream = io.BytesIO()
    Image.fromarray(pixels_of(studio.scene)).save(stream, format="JPEG")
    assert "truncated" in refusal(post(studio, stream.getvalue()[:3000], "scene.jpg"), 422)


def test_pixels_that_unpack_to_more_than_the_picture_are_not_unpacked(studio):
    assert post(studio, png_of(SIZE, SIZE, data=BOMB)).status_code == 200


def test_the_name_of_a_file_is_no_path(studio):
    detail = refusal(post(studio, b"x", "..\\..\\a/../../etc/passwd\r\n<script>.png"), 415)
    assert detail.startswith("Photograph passwd0D0Ascript.png cannot")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"strength": "1.5"}, "strength"),
        ({"strength": "nan"}, "strength"),
        ({"refine": "true", "radius": "-1"}, "radius"),
        ({"refine": "true", "low": "5", "high": "2"}, "low must be a z-score below high"),
        ({"refine": "perhaps"}, "refine"),
        ({"radius": "0.1"}, "refine=true"),
        ({"points": "1,2,3"}, "points"),
        ({"points": "1,2,3,nan"}, "points"),
        ({"points": "-5,10,80,10"}, "cannot be two pupils"),
        ({"points": "1,2,1,2"}, "cannot be two pupils"),
        ({"overlay": "everything"}, "overlay"),
        ({"model": "../secrets"}, "model"),
        ({"model": ["happy"] * 9}, "model"),
        ({"unheard": "of"}, "unheard"),
        ({"strength": ["0", "1"]}, "strength"),
    ],
)
def test_options_that_cannot_be(studio, options, said):
    assert said in refusal(post(studio, studio.scene, **options), 422)


def test_forms_that_are_none(studio):
    client = studio.client
    assert "photograph is missing" in refusal(client.post(SYNTHESIS, files={"other": ("a", b"x")}), 422)
    assert "photograph is missing" in refusal(client.post(SYNTHESIS, files={"photograph": (None, b"x")}), 422)
    assert "model" in refusal(client.post(SYNTHESIS, files={"photograph": ("a", studio.face)}), 422)
    two = [("photograph", ("a", studio.face)), ("photograph", ("b", studio.face))]
    assert "one photograph" in refusal(client.post(SYNTHESIS, files=two, data={"model": "happy"}), 400)
    form = {"content-type": "multipart/form-data"}
    assert "boundary" in refusal(client.post(SYNTHESIS, content=b"abc", headers=form), 400)
    refusal(client.post(SYNTHESIS, json={"model": "happy"}), 422)
    refusal(client.post(SYNTHESIS, content=b"x", headers={"content-type": "image/png"}), 415)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_body_that_is_too_large(studio, streamed):
    client = TestClient(create_app(studio.catalog, Settings(max_upload_bytes=10_000)), base_url="http://127.0.0.1")
    head = b'--b\r\ncontent-disposition: form-data; name="photograph"; filename="a"\r\n\r\n'
    body = head + b"x" * 20_000 + b"\r\n--b--\r\n"
    content = iter([body[:15_000], body[15_000:]]) if streamed else body
    answer = client.post(SYNTHESIS, content=content, headers={"content-type": "multipart/form-data; boundary=b"})
    assert "the limit of 10000 bytes" in refusal(answer, 413)


@pytest.mark.parametrize("detector", [True, False])
def test_a_face_that_is_not_found_asks_for_the_pupils(studio, monkeypatch, detector):
    choose_detector(monkeypatch, {} if detector else NO_DETECTOR)
    answer = post(studio, as_png(np.full((120, 150), 99, dtype=np.uint8)))
    said = "shows no face" if detector and is_installed() else "likeness to the mean face"
    assert said in refusal(answer, 422)
    told = answer.json()
    assert told["type"] == "urn:mrdist:problem:alignment"
    assert told["detail"] == f"{told['reason']}; send x and y of the two pupils as points."  # not a switch of the shell


def test_a_model_that_is_too_large_to_stay_open(studio, monkeypatch):
    weights = studio.catalog.url_of("models", "huge")
    images = studio.catalog.url_of("datasets", "people")
    commands.succeed("train", images, weights, "--source", "neutral", "--target", "sad", "--workers", 0)
    monkeypatch.setattr(synthesis, "MODEL_BYTES", 1000)
    assert "the limit for an open mapping is 1000" in refusal(post(studio, studio.face, model="huge"), 422)
    studio.catalog.remove("models", "huge")


def test_positions_of_the_frame_are_those_of_its_pupils():
    from mrdist.pipeline.applying._photographs import Place, Retouched

    made = Retouched(b"", Place(place_frame(PUPILS, None), "points"), {})
    np.testing.assert_allclose(made.pupils, PUPILS.ravel(), atol=1e-6)


def test_every_reference_of_the_description_leads_somewhere(studio):
    text = studio.client.get("/openapi.json").text
    described = json.loads(text)
    references = set(re.findall(r'"\$ref":\s*"#/([^"]+)"', text))
    assert "components/schemas/Pictures" in references
    for reference in references:
        found = described
        for part in reference.split("/"):
            found = found[part]
