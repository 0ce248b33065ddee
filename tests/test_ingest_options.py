"""The options of an ingest are those of one table in Python, in the shell, in requests and in the page."""

from __future__ import annotations

import inspect
import re
from typing import get_args

import click
import commands
import numpy as np
import pytest
import zarr
from fastapi.testclient import TestClient
from numpy.testing import assert_array_equal
from PIL import Image

import mrdist
from mrdist.cli.main import commands as shell
from mrdist.datasets.alignment import ALIGNERS
from mrdist.datasets.depth import DEPTHS
from mrdist.datasets.layouts.records import ANGLES
from mrdist.datasets.photographs import Color, Normalize
from mrdist.pipeline.ingesting._faces import SEVERAL
from mrdist.pipeline.ingesting.options import INGEST, of_catalogs
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

API = "/api/v1"
#: What only the shell and Python have, and what the table leaves to them.
OF_MACHINES = {"chunks", "append", "follow_links", "workers", "scheduler", "overwrite", "progress", "rename"}


@pytest.fixture
def service(tmp_path):
    """A service whose sources are four people without a face, in colour and in gray."""
    catalog = Catalog.open(str(tmp_path / "catalog"))
    folder = tmp_path / "catalog" / "sources" / "people"
    for label in ("neutral", "happy"):
        (folder / label).mkdir(parents=True)
        for person in range(4):
            pixels = np.random.default_rng(person).integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / label / f"{person}.png")
    (tmp_path / "catalog" / "sources" / "face.task").write_bytes(b"no model")
    return catalog, TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1")


def test_python_has_every_option_and_no_other():
    asked = inspect.signature(mrdist.ingest).parameters
    given = {name for name, each in asked.items() if each.kind is each.KEYWORD_ONLY and "storage" not in name}
    assert given == {*INGEST, *OF_MACHINES}


@pytest.mark.parametrize(
    ("name", "choices"),
    {
        "angle": ANGLES,
        "dtype": DEPTHS,
        "color": get_args(Color),
        "normalize": get_args(Normalize),
        "align": (*ALIGNERS, "none"),
        "faces": SEVERAL,
    }.items(),
)
def test_choices_are_those_that_the_work_knows(name, choices):
    assert tuple(INGEST[name].domain.words) == tuple(choices)


@pytest.mark.parametrize("catalogs", [False, True])
def test_the_shell_has_every_option_in_the_words_of_the_table(catalogs):
    command = shell.commands["submit"].commands["ingest"] if catalogs else shell.commands["ingest"]
    offered = {option.name: option for option in command.params if isinstance(option, click.Option)}
    assert set(INGEST) <= set(offered)
    for name in INGEST.keys() - {"seed", "strict"}:  # which other commands have, too
        option = of_catalogs(INGEST[name]) if catalogs else INGEST[name]
        assert offered[name].help[1:].startswith(option.phrase[1:])
        assert offered[name].show_default == option.usual


def test_requests_have_every_option_with_its_choices(service):
    fields = service[1].get("/openapi.json").json()["components"]["schemas"]["IngestOptions"]["properties"]
    assert set(fields) == {*INGEST, "source", "rename"}
    for name, known in INGEST.items():
        assert fields[name]["description"][1:].startswith(of_catalogs(known).help[1:])
        choices = getattr(known.domain, "words", None)
        if choices:
            assert fields[name]["anyOf"][0]["enum"] == [*choices]


def test_the_page_has_every_option(service):
    html = service[1].get("/datasets").text
    assert re.findall(r'data-option="(\w+)"', html) == sorted(INGEST, key=lambda name: not INGEST[name].prominent)
    for name, option in INGEST.items():
        field = html[html.index(f'id="i-{name}"') :]
        offered = re.findall(r"<option[^>]*>([^<]*)</option>", field[: field.index("</div>")])
        words = getattr(option.domain, "words", {})
        assert set(offered[1:]) >= {value for value in words if value != option.usual}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"faces": "all"}, "faces must be one of one, largest, got 'all'"),
        ({"align": "tps", "faces": "largest"}, "no faces are looked for with align tps"),
        ({"align": "none", "landmark_model": "face.task"}, "no faces are looked for with align none"),
        ({"landmark_model": "../face.task"}, "landmark_model"),
        ({"size": 3}, "size must be "),
        ({"size": "128"}, "size must be "),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"normalize": "much"}, "normalize must be one of 255, minmax, got 'much'"),
        ({"layout": "nonsense"}, "layout must be one of auto, "),
        ({"strict": "yes"}, "strict must be True or False, got 'yes'"),
    ],
)
def test_a_request_outside_the_table_is_refused_at_once(service, options, said):
    body = {"name": "x", "ingest": {"source": "people", **options}}
    answer = service[1].post(f"{API}/datasets", json=body)
    assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    assert "x" not in service[0].names("datasets")


def test_names_of_the_catalogue_stand_for_files_and_stores(service):
    client = service[1]
    for name, missing in (("landmark_model", "nothing.task"), ("reference", "nobody")):
        body = {"name": "x", "ingest": {"source": "people", "align": "landmarks", name: missing}}
        answer = client.post(f"{API}/datasets", json=body)
        assert (answer.status_code, missing in answer.json()["detail"]) == (404, True)


def test_a_request_makes_what_the_shell_makes(service, tmp_path):
    catalog, client = service
    options = {"align": "none", "size": [16, 32], "color": "gray", "normalize": "minmax", "seed": 3, "dtype": "uint8"}
    body = {"name": "served", "ingest": {"source": "people", **options}}
    job = client.post(f"{API}/datasets", json=body).json()
    assert run(Order(catalog.url, job["id"], Settings(workers=0))) == 0
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    words[3] = "16,32"
    commands.succeed("ingest", f"{catalog.url}/sources/people", tmp_path / "made.zarr", *words, "--workers", 0)
    served, made = (zarr.open_group(url) for url in (catalog.url_of("datasets", "served"), tmp_path / "made.zarr"))
    assert sorted(served.array_keys()) == sorted(made.array_keys())
    for name, array in made.arrays():
        assert_array_equal(served[name][...], array[...])
