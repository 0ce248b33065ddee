"""The description of the service, ``/openapi.json``: what FastAPI finds out, and what it cannot know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from mrdist.service import problems
from mrdist.service.links import add_links
from mrdist.service.roles import NEEDED
from mrdist.service.routes.synthesis import Synthesis
from mrdist.service.security import API


def describe(app: FastAPI, *, needs_token: bool) -> None:
    """Let an application describe its problems, links and authentication as well.

    Parameters
    ----------
    app
        The application, with all of its routes.
    needs_token
        Whether clients must show a token.
    """

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            components = described.setdefault("components", {})
            schemas = components.setdefault("schemas", {})
            schemas["Problem"] = problems.Problem.model_json_schema()
            schemas["Synthesis"] = _form_of(Synthesis.model_json_schema())
            schemas["Body_add_photograph"]["additionalProperties"] = False
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            add_links(described, API)
            if needs_token:
                components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                for operations in described["paths"].values():
                    for operation in operations.values():
                        role = NEEDED[operation["operationId"]]
                        if role is not None:
                            operation |= {"security": [{"token": []}], "x-role": role}
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]


def parameters_of(described: Mapping[str, Any]) -> dict[str, dict[str, bool]]:
    """Return the parameters in the query of every operation of the API, by its route, and whether each is a list."""
    return {
        operation["operationId"]: {
            each["name"]: each["schema"].get("type") == "array"
            for each in operation.get("parameters", ())
            if each["in"] == "query"
        }
        for path, operations in described["paths"].items()
        for operation in operations.values()
        if path.startswith(API)
    }


def _form_of(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of the form that holds a photograph and its options: it cannot hold null."""
    fields = {name: _never_null(field) for name, field in schema["properties"].items()}
    photograph = {"type": "string", "format": "binary", "description": "JPEG, PNG, WebP, TIFF or BMP."}
    return {
        **schema,
        "properties": {"photograph": photograph, **fields},
        "required": ["photograph", *schema["required"]],
    }


def _never_null(field: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: value for name, value in field.items() if (name, value) != ("default", None)}
    forms = [each for each in known.pop("anyOf", []) if each != {"type": "null"}]
    if len(forms) == 1:
        return {**forms[0], **known}
    return {**known, "anyOf": forms} if forms else known
