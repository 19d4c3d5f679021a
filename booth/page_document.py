"""The OpenAPI 3.1 document of the pages' interface, for tests and for whoever writes another screen.

Rules: built from the values that the interface really sends and takes (booth/kiosk.py), one operation for each command, so that what it calls valid
is accepted; a test compares its addresses with the routes, others throw generated requests at the interface and hold every answer against it.
There are no pages that show it, and it names nothing of this booth.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from booth.document_parts import PROBLEM, TEXT, TOKEN, content, error, operation_of, ref
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
)
from booth.page_requests import MAX_COMMAND_BYTES
from booth.passphrase import MOST_CHARACTERS
from booth.technician_document import TOLD, technician_paths

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
_SEEN = {
    "name": "X-Kiosk-Seen",
    "in": "header",
    "required": True,
    "description": "State and visit that the page was showing, `-` for no visit; another one than the present is 409.",
    "schema": TEXT,
}


def describe_pages(version: str) -> dict[str, Any]:
    """The whole document."""
    told = [(each, "serialization") for each in (KioskState, *TOLD)]
    _, schemas = models_json_schema(told, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type] # literals
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
            "/": {"get": operation_of("The applicant's page.", {200: content("text/html")})},
            "/technician": {
                "get": operation_of(
                    "The technician's page in a session, else the way to one.",
                    {200: content("text/html"), 404: error()},
                    [{"name": "language", "in": "query", "schema": {**TEXT, "enum": list(LANGUAGES)}}],
                )
            },
            ADDRESS: {"get": operation_of("This document.", {200: content("application/json", {"type": "object"})})},
            "/api/messages/{language}": {
                "get": operation_of(
                    "A language's texts, and what the language screen shows of all languages.",
                    {200: content("application/json", _MESSAGES), 404: error()},
                    [
                        {
                            "name": "language",
                            "in": "path",
                            "required": True,
                            "schema": {**TEXT, "enum": list(LANGUAGES)},
                        }
                    ],
                )
            },
            "/api/events": {
                "get": operation_of(
                    "Server-sent events without end: `hello`, then `state` at once and on each change, `alive` in between.",
                    {200: content("text/event-stream")},
                )
            },
            "/api/pages": {
                "get": operation_of(
                    "How many pages follow the booth's states, and how long ago one gave a sign of life.",
                    {
                        200: content(
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
                "post": operation_of("A page's sign of life.", {204: {"description": "Heard."}, 403: error()}, [TOKEN]),
            },
            **{f"/api/visit/{name_of(command)}": {"post": _command(command)} for command in COMMANDS},
            "/api/visit/portrait": {
                "get": operation_of("The portrait under review.", {200: content("image/jpeg"), 404: error()})
            },
            "/api/visit/status-code": {
                "get": operation_of(
                    "The QR code of the thanks screen: status_url.", {200: content("image/svg+xml"), 404: error()}
                )
            },
            "/api/voice/{language}": {
                "get": operation_of(
                    "Which texts of a language have a sound: file names below `/voice/` by message key.",
                    {200: content("application/json", _PROMPTS), 404: error()},
                    [
                        {
                            "name": "language",
                            "in": "path",
                            "required": True,
                            "schema": {**TEXT, "enum": list(LANGUAGES)},
                        }
                    ],
                )
            },
            "/voice/{name}": {
                "get": operation_of(
                    "A sound; may be kept for ever.",
                    {200: content("audio/wav"), 404: error()},
                    [
                        {
                            "name": "name",
                            "in": "path",
                            "required": True,
                            "schema": {**TEXT, "pattern": r"^[0-9a-f]{40}\.wav$"},
                        }
                    ],
                )
            },
            "/api/technician/session": {
                "post": operation_of(
                    "Log in with the passphrase; the session's cookie comes with the answer. Wrong ones wait (Retry-After).",
                    {
                        204: {"description": "Logged in.", "headers": {"Set-Cookie": {"schema": TEXT}}},
                        **{status: error() for status in (400, 401, 408, 409, 413, 422)},
                        429: error() | {"headers": {"Retry-After": {"required": True, "schema": {"type": "integer"}}}},
                    },
                    [TOKEN],
                    body={
                        "type": "object",
                        "properties": {"passphrase": {**TEXT, "maxLength": MOST_CHARACTERS}},
                        "required": ["passphrase"],
                        "additionalProperties": False,
                    },
                )
            },
            "/api/technician/session/end": {
                "post": operation_of(
                    "Log out.",
                    {204: {"description": "Logged out."}, **{status: error() for status in (400, 408, 413)}},
                    [TOKEN],
                )
            },
            **technician_paths(),
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
        "prompts": {"type": "object", "additionalProperties": TEXT},
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
                    **dict.fromkeys(("language", "name", "direction", "start", "choose"), TEXT),
                    "words": {"type": "object", "additionalProperties": TEXT},
                },
                "required": ["language", "name", "direction", "start", "choose", "words"],
            },
        },
        "texts": {
            "type": "object",
            "additionalProperties": {"anyOf": [TEXT, {"type": "object", "additionalProperties": TEXT}]},
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
            "error": {"anyOf": [{"type": "null"}, PROBLEM["properties"]["error"]]},  # type: ignore[index] # a literal above
            "state": ref("KioskState"),
        },
        "required": ["error", "state"],
        "additionalProperties": False,
    }
    told = content("application/json", outcome)
    answers = {202: told, 409: told, 422: told, 428: told, **{status: error() for status in (400, 408, 413)}}
    return operation_of(
        (command.__doc__ or "").strip(), answers, [TOKEN, _SEEN], body, body_required=bool(body["required"])
    )
