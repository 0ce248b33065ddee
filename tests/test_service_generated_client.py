"""A client that openapi-python-client makes of /openapi.json does a day's work with a real service, as users would.

``pip install mrdist[openapi]``, or ``MRDIST_OPENAPI_PYTHON_CLIENT``, the command of an installation elsewhere, and
``pytest -m long tests/test_service_generated_client.py``. The client needs attrs and httpx, which schemathesis brings.
"""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from services import serving, token_file

import mrdist
from mrdist.datasets.synthetic import render_face

GENERATOR = os.environ.get("MRDIST_OPENAPI_PYTHON_CLIENT") or shutil.which(
    "openapi-python-client", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
)
pytestmark = [pytest.mark.long, pytest.mark.skipif(GENERATOR is None, reason="openapi-python-client is not here")]

TOKEN = "the-token-of-the-generated-client"
SIDE, PEOPLE = 32, 10


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    """A service with an empty catalogue that wants a token."""
    folder = tmp_path_factory.mktemp("client")
    with serving(
        folder / "catalog", folder / "log", "--workers", 0, "--token-file", token_file(folder, TOKEN)
    ) as found:
        found.folder = folder
        yield found
    assert "Traceback" not in (folder / "log").read_text()


@pytest.fixture(scope="module")
def api(service):
    """The generated package: its operations and models by name, and a client; nothing was left out of it."""
    with urllib.request.urlopen(f"{service.url}/openapi.json") as described:
        (service.folder / "openapi.json").write_bytes(described.read())
    made = subprocess.run(
        [
            *(GENERATOR, "generate", "--path", "openapi.json", "--meta", "none", "--output-path", "lab_client"),
            *("--config", Path(__file__).with_name("openapi-python-client.yaml")),
        ],
        cwd=service.folder,
        env={**os.environ, "PATH": f"{Path(GENERATOR).parent}{os.pathsep}{os.environ.get('PATH', '')}"},  # its linter
        capture_output=True,
        text=True,
        check=True,
    )
    assert "WARNING" not in made.stdout + made.stderr, made.stdout + made.stderr
    sys.path.insert(0, str(service.folder))
    package = importlib.import_module("lab_client")
    folder = service.folder / "lab_client"
    modules = [path.relative_to(folder).with_suffix("").parts for path in folder.glob("api/*/[a-z]*.py")]
    calls = {parts[-1]: importlib.import_module(".".join(("lab_client", *parts))) for parts in modules}
    models = importlib.import_module("lab_client.models")
    with package.AuthenticatedClient(service.url, TOKEN, raise_on_unexpected_status=True, timeout=60) as client:
        yield SimpleNamespace(**calls, m=models, client=client)


@pytest.fixture
def do(api):
    """Return a function that does an operation and returns its answer, parsed."""

    def do(operation, *args, status=200, **parameters):
        answer = getattr(api, operation).sync_detailed(*args, client=api.client, **parameters)
        assert answer.status_code == status, answer.content
        return answer.parsed

    return do


def face(person, label):
    stream = io.BytesIO()
    pixels = render_face(person, label, SIDE)
    Image.fromarray(np.asarray(pixels)).save(stream, "png")
    stream.seek(0)
    return stream


def wait(do, service, job):
    """Wait for a job as the generated client can, by its events, which end with it."""
    assert "event: end" in do("watch_job", job.id)
    job = do("get_job", job.id)
    assert job.state == "done", (job, service.log.read_text())
    return job


def test_a_day_of_a_lab(api, do, service):
    m = api.m
    file = sys.modules["lab_client.types"].File
    assert do("get_session").role == "admin"

    for person in range(PEOPLE):
        for label in ("neutral", "happy"):
            photograph = file(face(person, label), "face.png", "image/png")
            body = m.BodyAddPhotograph(photograph=photograph, path=f"{label}/p{person}.png")
            assert do("add_photograph", "people", body=body, status=201).path == body.path
    understood = do("understand_source", "people")
    assert (understood.people, understood.whole, understood.n_left_out) == (PEOPLE, PEOPLE, 0)
    assert understood.labels.to_dict() == {"neutral": PEOPLE, "happy": PEOPLE}

    ingest = m.IngestDataset("people", m.IngestOptions("people", align=m.IngestOptionsAlign.NONE))
    job = do("make_dataset", body=ingest, status=202)
    assert (job.verb, job.state) == ("ingest", "queued")
    wait(do, service, job)
    (dataset,) = do("list_datasets").datasets
    assert (dataset.name, dataset.images, dataset.shape) == ("people", PEOPLE, [SIDE, SIDE])
    row = do("list_dataset_rows", "people", limit=3).rows[0]
    picture = do("get_dataset_picture", "people", row.row, "happy").payload
    assert Image.open(picture).size == (SIDE, SIDE)

    options = m.TrainOptions("people", "neutral", target="happy", method=m.TrainOptionsMethod.MR, receptive_field=3)
    assert do("plan_training", body=m.PlanRequest(options=options)).n_blocks >= 1
    job = do("submit_job", body=m.TrainRequest("smile", "train", options), idempotency_key="a day", status=202)
    again = do("submit_job", body=m.TrainRequest("smile", "train", options), idempotency_key="a day", status=202)
    assert again.id == job.id
    assert wait(do, service, job).model == "smile"
    assert do("get_job_result", job.id).result["blocks"] >= 1
    described = do("get_model", "smile")
    assert (described.complete, described.dataset, described.source, described.target) == (
        *(True, "people", "neutral", "happy"),
    )

    compare = m.CompareOptions("people", "neutral", "happy", recognition=False)
    compare.methods = [m.CompareOptionsMethod.MR, m.CompareOptionsMethod.IDENTITY]
    wait(do, service, do("submit_job", body=m.CompareRequest("both", "compare", compare), status=202))
    table = do("get_comparison", "both")
    assert [each["method"] for each in table.methods] == ["mr", "identity"]
    assert Image.open(do("get_comparison_picture", "both").payload).format == "PNG"
    scores = do("get_model_scores", "smile", split=m.GetModelScoresSplit.TEST)
    assert scores.splits["test"]["frame"]["model"]["mse"] > 0

    def photograph():
        return file(face(3, "neutral"), "mine.png", "image/png")

    made = do("synthesize", body=m.Synthesis(photograph(), ["smile"])).payload.read()
    assert Image.open(io.BytesIO(made)).size == (SIDE, SIDE)
    half = do("synthesize", body=m.Synthesis(photograph(), ["smile"], refine=True, strength=0.5)).payload.read()
    assert half.startswith(b"\x89PNG")
    assert half != made
    (told,) = do("synthesize_each", body=m.Synthesis(photograph(), ["smile"])).pictures
    assert (told.model, told.alignment) == ("smile", "aligned")

    store = do("download_model", "smile").payload.read()
    with zipfile.ZipFile(io.BytesIO(store)) as archive:
        archive.extractall(service.folder / "unpacked")
    assert mrdist.info(service.folder / "unpacked/smile.zarr")["complete"]
    assert do("download_model", "smile", range_="bytes=9-", status=206).payload.read() == store[9:]
    matrix = do("download_model", "smile", format_=m.DownloadModelFormat.CSR).payload
    assert sparse.load_npz(matrix).shape[1] == SIDE * SIDE + 1

    refused = do("get_model", "frown", status=404)
    assert refused.detail.startswith("there is no model 'frown'")
    assert do("delete_model", "smile", status=204) is None
    assert [each.name for each in do("list_models").models] == []
