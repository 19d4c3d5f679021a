"""The intake's OpenAPI 3.1 document: what FastAPI reads off the routes, completed with what it cannot know.

Rules: every refusal is a problem (RFC 9457) of `server/errors.py`, so 4XX and 5XX are told once for all; FastAPI's own 422 never leaves this house and is
taken out; each operation names its own as examples (server/intake_examples.py); requests of booths name the headers of their signature (RFC 9421, RFC 9530). Tests hold every answer to generated requests against it.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from crypto.receipt import MEDIA_TYPE as RECEIPT_TYPE
from crypto.seal import MEDIA_TYPE as PACKET_TYPE
from crypto.tree_head import TREE_HEAD_TYPE
from server.intake_examples import ANSWERS, PARAMETERS, REQUESTS, examples_of, problem_examples
from server.problems import MEDIA_TYPE as PROBLEM_TYPE

_BINARY = {"type": "string", "format": "binary"}
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "properties": {
        "type": {**_TEXT, "pattern": "^urn:passbooth:problem:"},
        "title": _TEXT,
        "status": {"type": "integer"},
        "detail": _TEXT,
        "code": _TEXT,
        "retry": {"type": "boolean"},
    },
    "required": ["type", "title", "status", "detail", "code", "retry"],
}
_SIGNED = (
    ("/v1/packets/{sha256}", "put"),
    ("/v1/packets/{sha256}", "patch"),
    ("/v1/packets/{sha256}", "head"),
    ("/v1/packets/{sha256}/receipt", "get"),
    ("/v1/certificates", "post"),
    ("/v1/applications/lookup", "post"),
    ("/v1/heartbeats", "post"),
    ("/v1/booth-orders", "get"),
    ("/v1/booth-orders/{order}/bundle", "put"),
    ("/v1/booth-orders/{order}/answer", "post"),
    ("/v1/staff", "get"),
    ("/v1/orders", "get"),
    ("/v1/orders/{order}", "get"),
    ("/v1/orders/{order}/answer", "post"),
    ("/v1/orders/{order}/resend", "post"),
)
_LINKED = (("/v1/packets/{sha256}", "put"), ("/v1/packets/{sha256}", "patch"))
_LINKS = {"Passbooth-Application": "SHA-256 of its application", "Passbooth-Status": "SHA-256 of its status token"}
_SIGNATURE = ("Booth-Certificate", "Signature-Input", "Signature")
PARTIAL_TYPE = "application/partial-upload"


def _content(kind: str) -> dict[str, Any]:
    return {"content": {kind: {"schema": _BINARY}}}


_RECEIPT = {"description": "The signed receipt.", **_content(RECEIPT_TYPE)}
_IN_PART = {"description": "How far the upload came: Upload-Offset of Upload-Length."}
_SUCCESSES: dict[tuple[str, str], dict[str, Any]] = {
    ("/v1/packets/{sha256}", "put"): {
        "200": _RECEIPT,
        "201": {
            "description": "The signed receipt; without content when Upload-Complete is ?0.",
            **_content(RECEIPT_TYPE),
        },
    },
    ("/v1/packets/{sha256}", "patch"): {"200": _RECEIPT, "201": _RECEIPT, "204": _IN_PART},
    ("/v1/packets/{sha256}", "head"): {"200": {"description": "The packet is stored."}, "204": _IN_PART},
    ("/v1/packets/{sha256}/receipt", "get"): {"200": _RECEIPT},
    ("/v1/log/head", "get"): {"200": {"description": "The newest signed tree head.", **_content(TREE_HEAD_TYPE)}},
}
_BODIES = {("/v1/packets/{sha256}", "put"): PACKET_TYPE, ("/v1/packets/{sha256}", "patch"): PARTIAL_TYPE}


def describe_itself(app: FastAPI) -> None:
    """Make the app serve the whole document; call it when all routes are there."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _complete(get_openapi(title=app.title, version=app.version, routes=app.routes))
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's documented way


def _show(operation: dict[str, Any], path: str, method: str) -> None:
    """Put the examples of server/intake_examples.py where they belong."""
    for parameter in operation.get("parameters", ()):
        if parameter["name"] in PARAMETERS:
            parameter["example"] = PARAMETERS[parameter["name"]]
    json_of = "application/json"
    if (path, method) in REQUESTS:
        operation["requestBody"]["content"][json_of]["example"] = REQUESTS[path, method]
    if (path, method) in ANSWERS:
        operation["responses"]["200"]["content"][json_of]["example"] = ANSWERS[path, method]


def _complete(document: dict[str, Any]) -> dict[str, Any]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            answers = {status: one for status, one in operation["responses"].items() if status.startswith(("2", "3"))}
            refusals = {
                status: {
                    "description": "A problem (RFC 9457).",
                    "content": {
                        PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}, "examples": examples}
                    },
                }
                for status, examples in zip(("4XX", "5XX"), examples_of(path, method), strict=True)
            }
            operation["responses"] = answers | _SUCCESSES.get((path, method), {}) | refusals
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "sha256":
                    parameter["schema"] = {**_TEXT, "pattern": "^[0-9a-f]{64}$"}
                elif parameter["name"] == "order":
                    parameter["schema"] = {**_TEXT, "pattern": "^[0-9a-f]{32}$"}
                elif parameter["name"] in {"first", "second"}:
                    parameter["schema"] = {"type": "integer"}
            if (path, method) in _SIGNED:
                needed = [*_SIGNATURE, "Content-Digest"] if method in {"put", "patch", "post"} else _SIGNATURE
                operation["parameters"] = [
                    *operation.get("parameters", ()),
                    *({"name": name, "in": "header", "required": True, "schema": _TEXT} for name in needed),
                ]
            if (path, method) in _LINKED:
                digest = {**_TEXT, "pattern": "^[0-9a-f]{64}$"}
                operation["parameters"] += [
                    {"name": name, "in": "header", "required": False, "schema": digest, "description": what}
                    for name, what in _LINKS.items()
                ]
            if (path, method) in _BODIES:
                operation["requestBody"] = {"required": True, **_content(_BODIES[path, method])}
            _show(operation, path, method)
    document.setdefault("components", {})["schemas"] = {"Problem": _PROBLEM}
    document["components"]["examples"] = problem_examples()
    return document
