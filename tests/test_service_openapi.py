"""The description alone: what generated clients need of it, and what leads from one operation to the next."""

from __future__ import annotations

import re

import pytest
from fastapi.testclient import TestClient

from mrdist.service.app import create_app
from mrdist.service.catalog import Catalog
from mrdist.service.settings import Settings

ANSWERS_IN_WORDS = ("text/plain", "text/event-stream")
BINARY = {"type": "string", "format": "binary"}


@pytest.fixture(scope="module")
def described(tmp_path_factory):
    return create_app(Catalog.open(str(tmp_path_factory.mktemp("described") / "catalog"))).openapi()


@pytest.fixture(scope="module")
def operations(described):
    """Path and description of every operation of the API and the health of the service, by its name."""
    return {
        operation["operationId"]: (path, operation)
        for path, methods in described["paths"].items()
        for operation in methods.values()
        if path.startswith("/api/") or operation["tags"] == ["health"]
    }


def resolve(described, schema):
    while "$ref" in schema:
        schema = described["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def schema_at(described, schema, pointer):
    """Return the schema of a part of what a schema describes, by its JSON pointer; fail if there is none."""
    for part in pointer.strip("/").split("/"):
        schema = resolve(described, schema)
        schema = schema["items"] if part.isdigit() else schema["properties"][part]
    return resolve(described, schema)


def answer_of(operation):
    """Return the first answer of success."""
    return next(answer for status, answer in operation["responses"].items() if status.startswith("2"))


def links(operations):
    for source, (_, operation) in operations.items():
        for link in answer_of(operation).get("links", {}).values():
            yield source, operation, link


def expressions(value):
    if isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from expressions(each)
    elif isinstance(value, str) and value.startswith("$"):
        yield value


def test_every_answer_of_success_has_a_type(described, operations):
    for name, (_, operation) in operations.items():
        for status, answer in operation["responses"].items():
            for kind, content in answer.get("content", {}).items():
                schema = resolve(described, content.get("schema", {}))
                assert schema, (name, status, kind)
                if kind.startswith("image/") or kind in ("application/zip", "application/octet-stream"):
                    assert schema == BINARY, (name, kind)
                elif kind.startswith(ANSWERS_IN_WORDS):
                    assert schema == {"type": "string"}, (name, kind)
                else:
                    assert schema["type"] == "object", (name, kind)


def test_bytes_come_first_where_an_answer_has_two_types(operations):
    """Generated clients take the first that they know."""
    both = [answer_of(operation).get("content", {}) for _, operation in operations.values()]
    mixed = [list(content) for content in both if "application/json" in content and len(content) > 1]
    assert mixed == [["image/png", "application/json"]]


def test_files_in_forms_are_files_and_nothing_in_a_form_is_null(described, operations):
    forms = {
        name: resolve(described, content["schema"])
        for name, (_, operation) in operations.items()
        for kind, content in operation.get("requestBody", {}).get("content", {}).items()
        if kind == "multipart/form-data"
    }
    assert set(forms) == {"add_photograph", "synthesize", "synthesize_each"}
    for name, form in forms.items():
        assert form["properties"]["photograph"].items() >= BINARY.items(), name
        assert "'null'" not in str(form), name


def test_forms_may_be_as_large_as_photographs(operations, tmp_path):
    settings = Settings(max_body_bytes=1000, max_upload_bytes=100_000)
    client = TestClient(create_app(Catalog.open(str(tmp_path / "catalog")), settings), base_url="http://127.0.0.1")
    for name, (path, operation) in operations.items():
        for kind in operation.get("requestBody", {}).get("content", {}):
            path = path.format(source="mine", job="1")
            for size, fits in ((50_000, kind == "multipart/form-data"), (200_000, False)):
                sent = {"files": {"photograph": bytes(size)}} if "form" in kind else {"json": {"name": "a" * size}}
                method = "PATCH" if name == "note_job" else "POST"
                assert (client.request(method, path, **sent).status_code != 413) == fits, (name, size)


def nested(schema, path=()):
    """Yield every part of a schema and the keys that lead to it."""
    yield path, schema
    for key, value in schema.items() if isinstance(schema, dict) else enumerate(schema):
        if isinstance(value, dict | list) and key not in ("examples", "enum", "required", "default"):
            yield from nested(value, (*path, key))


def test_choices_in_unions_have_a_title(described):
    """Or generated clients number them: TrainOptionsMethodType0."""
    for part, schema in nested({key: described[key] for key in ("paths", "components")}):
        if isinstance(schema, dict) and "enum" in schema and ("anyOf" in part or "items" in part):
            assert "title" in schema, part


def test_every_field_says_what_it_is(described):
    for name, schema in described["components"]["schemas"].items():
        for field, part in schema.get("properties", {}).items():
            part = resolve(described, part)
            assert {"type", "anyOf", "const", "enum"} & set(part) or field == "default", (name, field)


def test_links_lead_to_operations_by_what_answers_hold(described, operations):
    assert len(list(links(operations))) > 30
    for source, operation, link in links(operations):
        _, target = operations[link["operationId"]]
        known = {each["name"] for each in target.get("parameters", ())}
        assert set(link.get("parameters", {})) <= known, (source, link)
        if "requestBody" in link:
            assert "requestBody" in target, (source, link)
        for expression in expressions(link):
            kind, _, place = expression.partition("#")
            if kind == "$response.body":
                schema = next(iter(answer_of(operation)["content"].values()))["schema"]
                assert schema_at(described, schema, place), (source, expression)
            else:
                (name,) = re.fullmatch(r"\$request\.path\.(\w+)", expression).groups()
                assert name in {each["name"] for each in operation["parameters"]}, (source, expression)


def test_links_lead_to_everything_that_a_list_or_a_job_names(operations):
    reached = {link["operationId"] for _, _, link in links(operations)}
    named = {name for name, (path, _) in operations.items() if "{" in path}
    assert named <= reached | {"get_model_face", "get_dataset_picture"}


@pytest.mark.parametrize("needs_token", [False, True])
def test_the_same_is_described_to_whoever_needs_a_token(described, tmp_path, needs_token):
    settings = Settings(token="a token for the description") if needs_token else None
    told = create_app(Catalog.open(str(tmp_path / "catalog")), settings).openapi()
    assert ("securitySchemes" in told["components"]) == needs_token
    assert list(told["paths"]) == list(described["paths"])
