"""PURE. What the descriptions of all routes of the pages are made of: OpenAPI 3.1 pieces."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

TEXT = {"type": "string"}
PROBLEM = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": TEXT, "message": TEXT},
            "required": ["code", "message"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}
TOKEN = {
    "name": "X-Kiosk-Token",
    "in": "header",
    "required": True,
    "description": "The token that stands in the page; it proves that no foreign page asks.",
    "schema": TEXT,
}
COOKIE: list[dict[str, list[str]]] = [{"technician": []}]


def operation_of(
    summary: str,
    answers: dict[int, dict[str, Any]],
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    *,
    body_required: bool = True,
    security: list[dict[str, list[str]]] | None = None,
) -> dict[str, Any]:
    """One route's description."""
    everywhere = {403: error()}  # not from this machine's own page, or without its token
    described: dict[str, Any] = {
        "summary": summary,
        "responses": {
            str(status): {"description": HTTPStatus(status).phrase, **answer}
            for status, answer in sorted({**everywhere, **answers}.items())
        },
    }
    if parameters:
        described["parameters"] = parameters
    if body is not None:
        described["requestBody"] = {"required": body_required, "content": {"application/json": {"schema": body}}}
    if security:
        described["security"] = security
    return described


def content(kind: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    """An answer with a body."""
    return {"content": {kind: {} if schema is None else {"schema": schema}}}


def error() -> dict[str, Any]:
    """An error as every page understands it."""
    return content("application/json", PROBLEM)


def ref(name: str) -> dict[str, Any]:
    """A schema by its name."""
    return {"$ref": f"#/components/schemas/{name}"}
