"""The contract of all methods, continued: a request becomes a model that is told, shown, exported and applied."""

from __future__ import annotations

import io
import shutil
from types import SimpleNamespace

import commands
import numpy as np
import pytest
import scipy.sparse
from fastapi.testclient import TestClient
from PIL import Image

import mrdist
from mrdist.methods.option_table import OPTIONS, SHARED
from mrdist.methods.registry import METHODS
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.jobs import Jobs
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings
from mrdist.storage import WeightsReader

API = "/api/v1"
SIZE = 32
LABELS = {"source": "neutral", "target": "happy"}
LAYOUTS = {"masked", "global", "sparse", "morph"}
# by option and not by method, so that a new method has its own; what is not here keeps its default
CHOSEN = {
    "receptive_field": 3,
    "alpha": 0.01,
    "penalize_intercept": False,
    "components": 3,
    "nonzeros": 2,
    "tolerance": 1e-4,
    "window": 3,
    "max_iterations": 50,
    "gamma": 0.5,
    "color": "separate",
    "dtype": "float64",
    "block": [16, 32],
    "max_memory": "1GiB",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service in this process, whose jobs are done here as they are asked for, with faces in colour."""
    catalog = Catalog.open(str(tmp_path_factory.mktemp("served") / "catalog"))
    images = catalog.url_of("datasets", "people")
    mrdist.generate(images, images=12, size=SIZE, labels=list(LABELS.values()), workers=0, progress=False)
    settings = Settings(workers=0)
    client = TestClient(create_app(catalog, settings), base_url="http://127.0.0.1")
    faces = mrdist.open_images(images)["neutral"].values[:3]
    return SimpleNamespace(catalog=catalog, client=client, images=images, settings=settings, faces=faces)


def told(answer, status=200):
    assert answer.status_code == status, answer.text
    return answer.json()


def asked(method):
    return commands.known(method, **CHOSEN) | {name: CHOSEN[name] for name in SHARED if name in CHOSEN}


def url_of(service, method):
    """Return the weights store of a method, made by a job that a request has asked for."""
    if method not in service.catalog.names("models"):
        options = {"images": "people", **LABELS, "method": method, **asked(method)}
        body = {"verb": "train", "name": method, "options": options}
        job = told(service.client.post(f"{API}/jobs", json=body), 202)
        assert (job["state"], job["options"]) == ("queued", options)
        assert run(Order(service.catalog.url, job["id"], service.settings)) == 0
    return service.catalog.url_of("models", method)


def layout_of(url):
    return WeightsReader.open(url).training.layout


@pytest.mark.parametrize("method", METHODS)
def test_a_request_becomes_the_model_that_python_trains(service, tmp_path, method):
    url = url_of(service, method)
    (job,) = [job for job in Jobs(service.catalog).latest() if job.name == method]
    assert (job.state, job.last_error, job.model) == ("done", None, method)
    direct = str(tmp_path / "direct.zarr")
    report = mrdist.train(service.images, direct, method=method, **LABELS, **asked(method), workers=0, progress=False)
    commands.assert_equal_bytes(url, direct)
    assert job.scores == report.scores
    assert told(service.client.get(f"{API}/jobs/{job.id}/result"))["result"]["blocks"] == report.blocks


@pytest.mark.parametrize("method", METHODS)
def test_a_request_outside_the_domains_is_refused_with_the_option_and_the_value(service, method):
    for name in (*METHODS[method].options, *SHARED):
        options = {"images": "people", **LABELS, "method": method, name: {"no": "value"}}
        answer = told(service.client.post(f"{API}/jobs", json={"verb": "train", "name": "no", "options": options}), 422)
        assert name in answer["detail"]
        assert answer["detail"].endswith(".")
    assert "no" not in service.catalog.names("models")


@pytest.mark.parametrize("method", METHODS)
def test_a_model_is_told_with_what_people_call_its_method_and_with_its_layout(service, method):
    layout = layout_of(url_of(service, method))
    (listed,) = [each for each in told(service.client.get(f"{API}/models"))["models"] if each["name"] == method]
    one = told(service.client.get(f"{API}/models/{method}"))
    for model in (listed, one):
        expected = (True, method, METHODS[method].label, layout, None)
        assert tuple(model[key] for key in ("complete", "method", "method_label", "layout", "problem")) == expected
        assert layout in LAYOUTS
    assert one["training"]["method"] == method
    for name in METHODS[method].options.keys() & CHOSEN.keys() & one["training"].keys():
        assert one["training"][name] == CHOSEN[name]


def test_a_model_of_an_older_mrdist_is_told_with_its_layout_too(service):
    older = service.catalog.url_of("models", "older")
    shutil.copytree(url_of(service, next(iter(METHODS))), older)
    commands.damage(older, "layout", lambda _: None)
    commands.damage(older, "training", lambda training: {k: v for k, v in training.items() if k != "method"})
    model = told(service.client.get(f"{API}/models/older"))
    assert (model["method"], model["method_label"], model["layout"]) == ("mr", METHODS["mr"].label, "masked")
    service.catalog.remove("models", "older")


@pytest.mark.parametrize("method", METHODS)
def test_the_form_of_the_page_is_the_declaration(service, method):
    """The page makes a field of every option that is told here, `tests/browser/test_options.py` looks at them."""
    (form,) = [each for each in told(service.client.get(f"{API}/methods"))["methods"] if each["name"] == method]
    declared = METHODS[method]
    assert (form["label"].lower(), form["phrase"], form["help"]) == (
        declared.label.lower(),
        declared.label,
        declared.help,
    )
    fields = {option["name"]: option for option in form["options"]}
    defaults = {**declared.options, **SHARED}
    assert list(fields) == [name for name in OPTIONS if name in defaults]
    for name, field in fields.items():
        option = OPTIONS[name]
        said = (option.label, f"{option.help}.", option.domain.kind, defaults[name], option.word(defaults[name]))
        assert (field["label"], field["help"][:1].lower() + field["help"][1:]) == said[:2]
        assert (field["kind"], field["default"], field["usual"]) == said[2:]
        assert (field["single"], field["several"], field["cv"]) == (option.single, option.several, option.cv)
    first = told(service.client.get(f"{API}/methods"))["methods"][0]["name"]
    assert first == next(iter(METHODS))


@pytest.mark.parametrize("method", METHODS)
def test_weights_of_pixels_are_shown_and_exported_and_others_say_why_not(service, tmp_path, method):
    url = url_of(service, method)
    layout, model = layout_of(url), mrdist.open_weights(url)
    out = tmp_path / "matrix.npz"
    field = service.client.get(f"{API}/models/{method}/receptive-field", params={"y": 5, "x": 7})
    download = service.client.get(f"{API}/models/{method}/download", params={"format": "csr"})
    overlay = service.client.get(f"{API}/models/{method}/importance.png")
    assert (overlay.status_code == 200) == (layout == "masked")
    if layout == "global":
        sentence = commands.failure("export", url, out, "--format", "npz")
        assert method in sentence
        assert "export a mapping with receptive fields" in commands.failure("export", url, tmp_path / "matrix.zarr")
        assert list(tmp_path.iterdir()) == []
        assert "no receptive fields" in told(field, 422)["detail"]
        assert told(download, 422)["detail"] == sentence.removeprefix("Error: ")
        return
    if layout == "morph":  # its weights are those of warped images
        assert "no receptive fields" in told(field, 422)["detail"]
    else:
        assert len(told(field)["offsets"]) == len(told(field)["weights"])
    assert download.status_code == 200
    written = commands.report("export", url, out, "--format", "npz")["written"]
    assert len(written) == 3  # a matrix for each channel, whose weights are its own
    weights = model.morph.weights if layout == "morph" else model
    made = weights.predict(service.faces)
    for channel, path in enumerate(written):
        rows = service.faces[..., channel].reshape(len(service.faces), -1) / 255
        matrix = scipy.sparse.load_npz(path)
        assert matrix.shape == (SIZE**2, SIZE**2 + 1)
        found = (matrix @ np.column_stack([rows, np.ones(len(rows))]).T).T.reshape(-1, SIZE, SIZE)
        np.testing.assert_allclose(found, made[..., channel], atol=1e-9)


@pytest.mark.parametrize("method", METHODS)
def test_info_describes_it(service, method):
    url = url_of(service, method)
    found = commands.report("info", url)
    assert (found["kind"], found["complete"], found["layout"]) == ("weights", True, layout_of(url))
    training = {"method": method, **LABELS, "height": SIZE, "width": SIZE, "n_channels": 3, "color": "separate"}
    assert training.items() <= found["training"].items()
    assert found["scores"]["train"]["mse"] > 0
    text = commands.succeed("info", url).stdout
    said = dict(line.split(maxsplit=1) for line in text.splitlines()[1:] if len(line.split()) > 1)
    assert said["complete"] == "True"
    assert any(name.endswith("method") and value == method for name, value in said.items()), text


@pytest.mark.parametrize("method", METHODS)
def test_the_list_says_whether_it_needs_landmarks(service, method):
    listed = {each["name"]: each for each in told(service.client.get(f"{API}/methods"))["methods"]}
    needed = layout_of(url_of(service, method)) == "morph"
    assert listed[method]["needs_landmarks"] == METHODS[method].needs_landmarks == needed


@pytest.mark.parametrize("method", METHODS)
def test_a_photograph_over_http_is_that_of_the_shell(service, tmp_path, method):
    url, photograph = url_of(service, method), tmp_path / "face.png"
    Image.fromarray(service.faces[0]).save(photograph)
    commands.succeed("synthesize", url, photograph, "--out", tmp_path / "made")
    made = np.asarray(Image.open(tmp_path / "made" / "face.png"))
    wanted = mrdist.open_weights(url).predict(service.faces[:1])[0].clip(0, 1) * 255
    assert np.abs(made - wanted).max() <= 0.5 + 1e-6
    files = {"photograph": ("face.png", photograph.read_bytes())}
    answer = service.client.post(f"{API}/synthesis", files=files, data={"model": method, "refine": "false"})
    assert answer.status_code == 200, answer.text[:300]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), made)
