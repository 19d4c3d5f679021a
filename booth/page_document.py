"""The OpenAPI 3.1 document of the pages' interface, for tests and for whoever writes another screen.

Rules: built from the values that the interface really sends and takes (booth/kiosk.py), one operation for each command, so that what it calls valid
is accepted; a test compares its addresses with the routes, others throw generated requests at the interface and hold every answer against it.
There are no pages that show it, and it names nothing of this booth.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from booth.kiosk import (
    LANGUAGES,
    Accept,
    Cancel,
    ChooseLanguage,
    Consent,
    Help,
    HelpGiven,
    Identify,
    KioskState,
    MoreTime,
    Resume,
    Retake,
    Staff,
    Start,
    TechnicianStatus,
)
from booth.page_requests import MAX_COMMAND_BYTES
from booth.passphrase import MOST_CHARACTERS

ADDRESS = "/api/openapi.json"
COMMANDS: tuple[type[BaseModel], ...] = (
    Start,
    ChooseLanguage,
    Identify,
    Consent,
    Retake,
    Accept,
    Help,
    HelpGiven,
    Resume,
    Staff,
    Cancel,
    MoreTime,
)
_TEXT = {"type": "string"}
_PROBLEM = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {"code": _TEXT, "message": _TEXT},
            "required": ["code", "message"],
            "additionalProperties": False,
        }
    },
    "required": ["error"],
    "additionalProperties": False,
}
_TOKEN = {
    "name": "X-Kiosk-Token",
    "in": "header",
    "required": True,
    "description": "The token that stands in the page; it proves that no foreign page asks.",
    "schema": _TEXT,
}
_SEEN = {
    "name": "X-Kiosk-Seen",
    "in": "header",
    "required": True,
    "description": "State and visit that the page was showing, `-` for no visit; another one than the present is 409.",
    "schema": _TEXT,
}
_COOKIE: list[dict[str, list[str]]] = [{"technician": []}]


def describe_pages(version: str) -> dict[str, Any]:
    """The whole document."""
    state_and_status = [(KioskState, "serialization"), (TechnicianStatus, "serialization")]
    _, schemas = models_json_schema(state_and_status, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type] # literals
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Passbooth kiosk",
            "version": version,
            "description": (
                "For the booth's own screen: only on loopback, only under a loopback name, never for another site's page (403). "
                f"A body has at most {MAX_COMMAND_BYTES} bytes. WebSocket `/api/preview` gives one picture for each text `ready`."
            ),
        },
        "paths": {
            "/": {"get": _operation("The applicant's page.", {200: _content("text/html")})},
            "/technician": {
                "get": _operation(
                    "The technician's page in a session, else the way to one.",
                    {200: _content("text/html"), 404: _error()},
                    [{"name": "language", "in": "query", "schema": {**_TEXT, "enum": list(LANGUAGES)}}],
                )
            },
            ADDRESS: {"get": _operation("This document.", {200: _content("application/json", {"type": "object"})})},
            "/api/messages/{language}": {
                "get": _operation(
                    "A language's texts, and what the language screen shows of all languages.",
                    {200: _content("application/json", _MESSAGES), 404: _error()},
                    [
                        {
                            "name": "language",
                            "in": "path",
                            "required": True,
                            "schema": {**_TEXT, "enum": list(LANGUAGES)},
                        }
                    ],
                )
            },
            "/api/events": {
                "get": _operation(
                    "Server-sent events without end: `hello`, then `state` at once and on each change, `alive` in between.",
                    {200: _content("text/event-stream")},
                )
            },
            "/api/pages": {
                "get": _operation(
                    "How many pages follow the booth's states, and how long ago one gave a sign of life.",
                    {
                        200: _content(
                            "application/json",
                            {
                                "type": "object",
                                "properties": {
                                    "pages": {"type": "integer", "minimum": 0},
                                    "silent_s": {"type": ["number", "null"], "minimum": 0},
                                },
                                "required": ["pages", "silent_s"],
                            },
                        )
                    },
                ),
                "post": _operation("A page's sign of life.", {204: {"description": "Heard."}, 403: _error()}, [_TOKEN]),
            },
            **{f"/api/visit/{name_of(command)}": {"post": _command(command)} for command in COMMANDS},
            "/api/visit/portrait": {
                "get": _operation("The portrait under review.", {200: _content("image/jpeg"), 404: _error()})
            },
            "/api/visit/status-code": {
                "get": _operation(
                    "The QR code of the thanks screen: status_url.", {200: _content("image/svg+xml"), 404: _error()}
                )
            },
            "/api/voice/{language}": {
                "get": _operation(
                    "Which texts of a language have a sound: file names below `/voice/` by message key.",
                    {200: _content("application/json", _PROMPTS), 404: _error()},
                    [
                        {
                            "name": "language",
                            "in": "path",
                            "required": True,
                            "schema": {**_TEXT, "enum": list(LANGUAGES)},
                        }
                    ],
                )
            },
            "/voice/{name}": {
                "get": _operation(
                    "A sound; may be kept for ever.",
                    {200: _content("audio/wav"), 404: _error()},
                    [
                        {
                            "name": "name",
                            "in": "path",
                            "required": True,
                            "schema": {**_TEXT, "pattern": r"^[0-9a-f]{40}\.wav$"},
                        }
                    ],
                )
            },
            "/api/technician": {
                "get": _operation(
                    "Everything on the technician's page.",
                    {200: _content("application/json", _ref("TechnicianStatus")), 401: _error()},
                    security=_COOKIE,
                )
            },
            "/api/technician/session": {
                "post": _operation(
                    "Log in with the passphrase; the session's cookie comes with the answer. Wrong ones wait (Retry-After).",
                    {
                        204: {"description": "Logged in.", "headers": {"Set-Cookie": {"schema": _TEXT}}},
                        **{status: _error() for status in (400, 401, 408, 409, 413, 422)},
                        429: _error() | {"headers": {"Retry-After": {"required": True, "schema": {"type": "integer"}}}},
                    },
                    [_TOKEN],
                    body={
                        "type": "object",
                        "properties": {"passphrase": {**_TEXT, "maxLength": MOST_CHARACTERS}},
                        "required": ["passphrase"],
                        "additionalProperties": False,
                    },
                )
            },
            "/api/technician/session/end": {
                "post": _operation(
                    "Log out.",
                    {204: {"description": "Logged out."}, **{status: _error() for status in (400, 408, 413)}},
                    [_TOKEN],
                )
            },
        },
        "components": {
            "schemas": schemas["$defs"],
            "securitySchemes": {"technician": {"type": "apiKey", "in": "cookie", "name": "passbooth_technician"}},
        },
    }


def name_of(command: type[BaseModel]) -> str:
    """The command's word in its address."""
    return str(command.model_fields["event"].default)


_PROMPTS = {
    "type": "object",
    "properties": {
        "prompts": {"type": "object", "additionalProperties": _TEXT},
        "complete": {"type": "boolean"},
    },
    "required": ["prompts", "complete"],
    "additionalProperties": False,
}
_MESSAGES = {
    "type": "object",
    "properties": {
        "language": {"enum": list(LANGUAGES)},
        "direction": {"enum": ["ltr", "rtl"]},
        "languages": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    **dict.fromkeys(("language", "name", "direction", "start", "choose"), _TEXT),
                    "words": {"type": "object", "additionalProperties": _TEXT},
                },
                "required": ["language", "name", "direction", "start", "choose", "words"],
            },
        },
        "texts": {
            "type": "object",
            "additionalProperties": {"anyOf": [_TEXT, {"type": "object", "additionalProperties": _TEXT}]},
        },
    },
    "required": ["language", "direction", "languages", "texts"],
    "additionalProperties": False,
}


def _command(command: type[BaseModel]) -> dict[str, Any]:
    schema = command.model_json_schema()
    body = {
        "type": "object",
        "properties": {name: value for name, value in schema["properties"].items() if name != "event"},
        "required": [name for name in schema.get("required", []) if name != "event"],
        "additionalProperties": False,
    }
    outcome = {
        "type": "object",
        "properties": {
            "error": {"anyOf": [{"type": "null"}, _PROBLEM["properties"]["error"]]},  # type: ignore[index] # a literal above
            "state": _ref("KioskState"),
        },
        "required": ["error", "state"],
        "additionalProperties": False,
    }
    told = _content("application/json", outcome)
    answers = {202: told, 409: told, 422: told, 428: told, **{status: _error() for status in (400, 408, 413)}}
    return _operation(
        (command.__doc__ or "").strip(), answers, [_TOKEN, _SEEN], body, body_required=bool(body["required"])
    )


def _operation(
    summary: str,
    answers: dict[int, dict[str, Any]],
    parameters: list[dict[str, Any]] | None = None,
    body: dict[str, Any] | None = None,
    *,
    body_required: bool = True,
    security: list[dict[str, list[str]]] | None = None,
) -> dict[str, Any]:
    everywhere = {403: _error()}  # not from this machine's own page, or without its token
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {
            str(status): {"description": HTTPStatus(status).phrase, **answer}
            for status, answer in sorted({**everywhere, **answers}.items())
        },
    }
    if parameters:
        operation["parameters"] = parameters
    if body is not None:
        operation["requestBody"] = {"required": body_required, "content": {"application/json": {"schema": body}}}
    if security:
        operation["security"] = security
    return operation


def _content(kind: str, schema: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"content": {kind: {} if schema is None else {"schema": schema}}}


def _error() -> dict[str, Any]:
    return _content("application/json", _PROBLEM)


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
