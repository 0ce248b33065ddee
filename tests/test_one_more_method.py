"""A method that nothing but the registry knows is known everywhere; so are options that only the table knows."""

from __future__ import annotations

import inspect
import re
from dataclasses import replace
from importlib import import_module, reload
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

import mrdist
from mrdist.cli.main import commands as shell
from mrdist.errors import ParameterError
from mrdist.methods.domains import Number
from mrdist.methods.method import Method
from mrdist.methods.option_table import OPTIONS, SHARED, Option
from mrdist.methods.options import check_options
from mrdist.methods.registry import METHODS
from mrdist.methods.whole.mean import MeanWork
from mrdist.plotting.style import color_of
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.runner import Order, run
from mrdist.service.settings import Settings

PACKAGE = Path(mrdist.__file__).parent
LABELS = {"source": "neutral", "target": "happy"}
NAME, LABEL, HELP = "another", "another regression", "It is only here to be found."
COPIED = {"mr": {"receptive_field": 3}, "rrr": {"components": 2}, "l1": {"window": 3, "alpha": 0.01}}  # a layout each
# served by modules that make what they serve when they are imported
MADE_ONCE = ("options", "requests", "routes.jobs", "routes.plans")


def service(folder):
    """Return a client of a service that does jobs in its own process, and its catalogue."""
    catalog = Catalog.open(str(folder / "catalog"))
    return TestClient(create_app(catalog, Settings(workers=0)), base_url="http://127.0.0.1"), catalog


def help_of(command):
    """Return the help of a command by its switches."""
    said = CliRunner().invoke(shell, [*command.split(), "--help"], terminal_width=1000, max_content_width=1000)
    assert said.exit_code == 0, said.output
    entries = re.split(r"\n  (?=-)", said.output.partition("Options:")[2])
    return {entry.split()[0]: " ".join(entry.split()[1:]) for entry in entries if entry}


@pytest.fixture
def add(monkeypatch):
    """Return a function that adds a method, with options that no other has."""
    with monkeypatch.context() as patch:

        def add(name, method, *options):
            for option in options:
                patch.setitem(OPTIONS, option.name, option)
            patch.setitem(METHODS, name, method)
            _make_again()

        yield add
    _make_again()


def _make_again():
    for name in MADE_ONCE:
        reload(import_module(f"mrdist.service.{name}"))


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    url = str(tmp_path_factory.mktemp("faces") / "people.zarr")
    mrdist.generate(url, images=16, size=32, labels=[*LABELS.values()], color="gray", workers=0, progress=False)
    return url


@pytest.mark.parametrize("command", ["train", "plan", "submit train"])
@pytest.mark.parametrize("original", COPIED)
def test_the_shell_offers_it(add, command, original):
    before = help_of(command)
    add(NAME, replace(METHODS[original], label=LABEL, help=HELP))
    said = help_of(command)
    assert f"{NAME} ({LABEL})" in said["--method"]
    assert list(said) == list(before)
    for switch in before:
        assert (NAME in _methods_of(said[switch])) == (original in _methods_of(before[switch])), switch


def _methods_of(help_of_option):
    """Return the names that stand before the colon of an option that not all methods have."""
    names = help_of_option.partition(":")[0]
    if "all but" in names:
        lacking = re.findall(r"\w+", names.partition("all but")[2])
        return [name for name in METHODS if name not in lacking]
    return re.findall(r"\w+", names)


@pytest.mark.parametrize("original", COPIED)
def test_it_is_trained_and_told_like_any_other(add, images, tmp_path, original):
    options = COPIED[original]
    add(NAME, replace(METHODS[original], label=LABEL, help=HELP))
    client, catalog = service(tmp_path)
    people, weights = catalog.url_of("datasets", "people"), catalog.url_of("models", "it")
    mrdist.rechunk(images, people, chunks=(8, 32, 32), workers=0)

    forms = {form["name"]: form for form in client.get("/api/v1/methods").json()["methods"]}
    assert forms[NAME] == {**forms[original], "name": NAME, "label": LABEL.capitalize(), "phrase": LABEL, "help": HELP}
    schemas = client.get("/openapi.json").json()["components"]["schemas"]
    assert NAME in schemas["TrainOptions"]["properties"]["method"]["anyOf"][0]["enum"]
    compared = schemas["CompareOptions"]["properties"]["methods"]
    assert NAME in compared["anyOf"][0]["items"]["enum"]
    assert f"{NAME} ({LABEL})" in compared["description"]

    asked = {"images": "people", **LABELS, "method": NAME, **options}
    job = client.post("/api/v1/jobs", json={"verb": "train", "name": "it", "options": asked}).json()
    assert run(Order(catalog.url, job["id"], Settings(workers=0))) == 0
    model = client.get("/api/v1/models/it").json()
    like = str(tmp_path / "like.zarr")
    report = mrdist.train(people, like, method=original, **LABELS, **options, workers=0, progress=False)
    assert (model["method"], model["method_label"], model["complete"]) == (NAME, LABEL, True)
    assert model["scores"]["train"] == report.scores
    assert model["layout"] == mrdist.info(like)["layout"]
    faces = mrdist.open_images(people)["neutral"].values[:2]
    made, wanted = (mrdist.open_weights(url).predict(faces) for url in (weights, like))
    np.testing.assert_array_equal(made, wanted)


def test_it_is_compared_and_reported(add, images, tmp_path):
    add(NAME, replace(METHODS["rrr"], label=LABEL, help=HELP))
    out, page = tmp_path / "out", tmp_path / "report.html"
    words = ["compare", images, "--source", "neutral", "--target", "happy", "--out", str(out), "--alpha", "0.1"]
    done = CliRunner().invoke(shell, [*words, "--methods", f"{NAME},mean,identity", "--workers", "0"])
    assert done.exit_code == 0, done.output
    assert re.search(rf"^{NAME} ", done.output, re.MULTILINE)
    assert (out / f"{NAME}.zarr").exists()
    assert re.fullmatch("#[0-9A-F]{6}", color_of(NAME))
    mrdist.report([str(out)], str(page), people=1)
    assert f"<td>{NAME}</td>" in page.read_text()


class ShrunkWork(MeanWork):
    """It has been asked with all options, checked."""

    def __init__(self, lesson, run, *, shrinkage, depth):
        assert (shrinkage, depth) == (0.5, 3)
        super().__init__(lesson, run)


def test_options_of_its_own_are_told_and_checked(add, images, tmp_path):
    shrinkage = Option("shrinkage", "Shrinkage", "how far weights are drawn to zero", Number(minimum=0), "S")
    depth = replace(OPTIONS["window"], name="depth", label="Depth", help="how deep it looks", usual="as deep as it can")
    home = (__name__, "ShrunkWork")
    add("shrunk", Method(home, {"shrinkage": 0.25, "depth": None}, "shrunk ridge", "Shrinks."), shrinkage, depth)
    said = help_of("train")
    assert "shrunk (shrunk ridge)" in said["--method"]
    assert said["--shrinkage"] == "S shrunk: how far weights are drawn to zero. [default: (0.25)]"
    assert said["--depth"] == "R shrunk: how deep it looks. [default: (as deep as it can)]"
    client, catalog = service(tmp_path)
    (form,) = [form for form in client.get("/api/v1/methods").json()["methods"] if form["name"] == "shrunk"]
    fields = {option["name"]: option for option in form["options"]}
    assert set(fields) == {"shrinkage", "depth", *SHARED}
    assert {"default": 0.25, "minimum": 0, "kind": "number"}.items() <= fields["shrinkage"].items()
    described = client.get("/openapi.json").json()["components"]["schemas"]["TrainOptions"]["properties"]
    assert described["shrinkage"]["anyOf"] == [{"type": "number", "minimum": 0}, {"type": "null"}]

    mrdist.rechunk(images, catalog.url_of("datasets", "people"), chunks=(8, 32, 32), workers=0)
    asked = {"images": "people", **LABELS, "method": "shrunk", "shrinkage": 0.5, "depth": 3.0}
    answer = client.post("/api/v1/plans", json={"options": asked})
    assert (answer.status_code, answer.json()["n_blocks"]) == (200, 1)
    answer = client.post("/api/v1/plans", json={"options": {**asked, "shrinkage": -1}})
    sentence = "shrinkage must be a finite number of at least 0, got -1.0."
    assert (answer.status_code, answer.json()["detail"]) == (422, sentence)
    with pytest.raises(ParameterError, match=re.escape(sentence)):
        check_options({"shrinkage": -1})
    train = shell.commands["train"]
    parameters = {each.name: each for each in train.get_params(click.Context(train))}
    with pytest.raises(click.BadParameter, match="shrinkage must be a number, got 'much'"):
        parameters["shrinkage"].type.convert("much", None, None)


# Words that are also names of methods, where they mean something else.
NO_NAMES = {".py": {"mean"}, ".js": set(), ".jinja": set(), ".css": set()}


@pytest.mark.parametrize("room", ["service", "cli", "pipeline/showing"])
def test_nothing_that_people_look_at_names_a_method(room):
    files = [path for path in (PACKAGE / room).rglob("*") if path.suffix in NO_NAMES]
    assert len(files) >= 9
    for path in files:
        names = "|".join(METHODS.keys() - NO_NAMES[path.suffix])
        assert not re.search(rf"""["'`](?:{names})["'`]|\b(?:{names}):\s*["'`]""", path.read_text()), path


def test_what_the_shell_compares_is_what_python_compares():
    asked = inspect.signature(mrdist.compare).parameters
    for command in (shell.commands["compare"], shell.commands["submit"].commands["compare"]):
        context, options = click.Context(command), {option.name: option for option in command.params}
        for name in ("methods", "receptive_fields", "dilations", "alpha", "color", "split"):
            default = options[name].type_cast_value(context, options[name].get_default(context))
            assert default == asked[name].default, name
