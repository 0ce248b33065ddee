"""One table of options: what it says of an option is what Python, the shell, the service and its page say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from fastapi.testclient import TestClient

import mrdist
import mrdist.service
from mrdist.baselines.dual import PCA_COMPONENTS
from mrdist.cli.main import commands as shell
from mrdist.errors import ParameterError
from mrdist.methods.domains import Choice, Flag, Number, Whole
from mrdist.methods.option_table import OPTIONS, SHARED
from mrdist.methods.options import check_options
from mrdist.methods.registry import METHODS
from mrdist.moments import COLORS
from mrdist.planning import DEFAULT_MEMORY, parse_bytes
from mrdist.selection import DEFAULT_ALPHAS, DEFAULT_FOLDS
from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

PAGE = Path(mrdist.service.__file__).parent / "page"
LABELS = {"source": "neutral", "target": "happy"}
CASES = [(method, name) for method, known in METHODS.items() for name in (*known.options, *SHARED)]
PLANNED = ("mr", "pixel")
# served by modules that make what they serve when they are imported
MADE_ONCE = ("options", "requests", "routes.jobs", "routes.plans")


def service(folder, **settings):
    """Return a client of a service with an empty catalogue."""
    app = create_app(Catalog.open(str(folder / "catalog")), Settings(**settings))
    return TestClient(app, base_url="http://127.0.0.1")


def of_service(client):
    """Return the options of every method, by names, and the description of those of a training."""
    methods = client.get("/api/v1/methods").json()["methods"]
    described = client.get("/openapi.json").json()["components"]["schemas"]["TrainOptions"]["properties"]
    return {each["name"]: {option["name"]: option for option in each["options"]} for each in methods}, described


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    return of_service(service(tmp_path_factory.mktemp("options")))


def help_of(command):
    """Return the help of a command by its switches."""
    said = CliRunner().invoke(shell, [*command.split(), "--help"], terminal_width=1000, max_content_width=1000)
    assert said.exit_code == 0, said.output
    entries = re.split(r"\n  (?=-)", said.output.partition("Options:")[2])
    return {entry.split()[0]: " ".join(entry.split()[1:]) for entry in entries if entry}


@pytest.fixture(scope="module")
def helps():
    return {command: help_of(command) for command in ("train", "submit train", "plan")}


def forms(schema):
    """Return the JSON Schemas that a value may fit, without null."""
    return [form for form in schema.get("anyOf", [schema]) if form.get("type") != "null"]


def default_of(method, name):
    return {**METHODS[method].options, **SHARED}[name]


@pytest.mark.parametrize(("method", "name"), CASES)
def test_an_option_is_told_everywhere_with_its_default_and_limits(served, helps, method, name):
    option, default = OPTIONS[name], default_of(method, name)
    word = option.word(default)
    methods, described = served
    asked = methods[method][name]
    assert (asked["label"], asked["help"].lower()) == (option.label, f"{option.help}.".lower())
    assert (asked["default"], asked["usual"]) == (default, word)
    schema = forms(described[name])
    for form in forms(option.domain.schema):
        limits = {key: limit for key, limit in form.items() if key not in ("type", "maximum")}
        assert any(limits.items() <= found.items() for found in (*schema, *(each.get("items", {}) for each in schema)))
    assert asked["minimum"] == option.domain.schema.get("minimum")
    assert asked["exclusive_minimum"] == option.domain.schema.get("exclusiveMinimum")
    assert ({"type": "string", "const": "cv"} in schema) == asked["cv"] == option.cv
    assert option.help.lower() in described[name]["description"].lower()
    commands = ["train", "submit train", *(["plan"] if method in PLANNED else [])]
    for said in (helps[command][f"--{name.replace('_', '-')}"] for command in commands):
        assert option.help.lower() in said.lower()
        if default is not None and not isinstance(option.domain, Flag):
            assert str(word) in said.partition("[default: ")[2]


@pytest.mark.parametrize("name", OPTIONS)
def test_limits_are_those_of_the_checks(name):
    domain = OPTIONS[name].domain
    schema = domain.schema

    def one(value):
        return [value] if not OPTIONS[name].single else value

    if isinstance(domain, Choice):
        for value in schema["enum"]:
            check_options({name: one(value)})
        with pytest.raises(ParameterError, match=domain.told or ", ".join(schema["enum"])):
            check_options({name: one("another")})
    if isinstance(domain, Whole | Number):
        least = schema.get("minimum", schema.get("exclusiveMinimum"))
        good, bad = (least, least - 1) if "minimum" in schema else (least + 1e-12, least)
        check_options({name: one(good)})
        with pytest.raises(ParameterError, match=name.removesuffix("s")):
            check_options({name: one(bad)})


def test_python_has_every_option_and_the_defaults_of_the_table():
    asked = inspect.signature(mrdist.train).parameters
    assert {name for _, name in CASES} <= set(asked)
    assert {name: asked[name].default for name in SHARED} == {**SHARED, "max_memory": DEFAULT_MEMORY}
    assert parse_bytes(SHARED["max_memory"]) == DEFAULT_MEMORY
    assert {asked[name].default for known in METHODS.values() for name in known.options} == {None}
    solved = inspect.signature(mrdist.solve).parameters
    assert {name: solved[name].default for name in ("alpha", "penalize_intercept")} == {
        name: METHODS["mr"].options[name] for name in ("alpha", "penalize_intercept")
    }
    chosen = {parameter.name: parameter.default for parameter in shell.commands["solve"].params}
    assert {name: chosen[name] for name in ("alpha", "penalize_intercept", "dtype")} == {
        name: solved[name].default for name in ("alpha", "penalize_intercept", "dtype")
    }


def test_what_stands_beside_the_table_agrees_with_it():
    assert tuple(OPTIONS["color"].domain.words) == COLORS
    assert str(PCA_COMPONENTS) in OPTIONS["components"].usual
    assert str(DEFAULT_FOLDS) in OPTIONS["folds"].usual
    assert (len(DEFAULT_ALPHAS), OPTIONS["alphas"].usual) == (10, "ten values")


def test_no_option_stands_in_the_table_for_nothing():
    assert set(OPTIONS) == {name for _, name in CASES}
    for known in METHODS.values():
        assert known.label
        assert known.help.endswith(".")


def test_the_form_knows_no_method_and_no_option():
    texts = [path.read_text() for path in (PAGE / "static/js/train/form.js", PAGE / "static/js/train/fields.js")]
    for text in (*texts, (PAGE / "templates/train.html.jinja").read_text()):
        for name in {*METHODS, *OPTIONS} - {"color"}:  # which only photographs in colour have
            assert not re.search(rf"""["'`]{name}["'`]|options\.{name}\b""", text), name


def test_a_colour_that_a_method_does_not_support_is_not_offered(served):
    methods, _ = served
    for name, method in METHODS.items():
        offered = [choice["value"] for choice in methods[name]["color"]["choices"]]
        assert offered == [color for color in COLORS if color != "joint" or method.knows_joint]


@pytest.mark.parametrize(("memory", "word"), [(2**31, "2GiB"), (600 * 2**20, "600MiB")])
def test_the_memory_of_a_job_is_that_of_its_service(tmp_path, memory, word):
    methods, _ = of_service(service(tmp_path, max_memory=memory))
    assert methods["l2"]["max_memory"]["default"] == word
    assert parse_bytes(word) == memory


@pytest.mark.parametrize(
    ("options", "limit"),
    [
        ({"receptive_field": [1] * 17}, "16"),
        ({"alpha": "cv", "alphas": [n + 1 for n in range(101)]}, "100"),
        ({"folds": 2**31}, "2147483647"),
        ({"seed": 10**400}, "2147483647"),
        ({"alpha": 10**400}, "finite"),
        ({"tolerance": -(10**400)}, "finite"),
    ],
)
def test_requests_have_limits_of_their_own(tmp_path, options, limit):
    asked = {"options": {"images": "faces", **LABELS, **options}}
    answer = service(tmp_path).post("/api/v1/plans", json=asked)
    assert answer.status_code == 422
    assert limit in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 400
