"""PURE. The technician's part of the pages' OpenAPI document (booth/page_document.py): what booth/technician_pages.py answers."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from booth.courses import Courses
from booth.document_parts import COOKIE, TEXT, TOKEN, content, error, operation_of, ref
from booth.fleet import FleetView
from booth.inspection import LiveView
from booth.kiosk import TechnicianStatus
from booth.technician_pages import GiveAnswer, NoBody, SetScene, StartCalibration, StartTests, SwitchOff, WorkView
from booth.training import TrainingView

TOLD: tuple[type[BaseModel], ...] = (TechnicianStatus, LiveView, WorkView, Courses, FleetView, TrainingView)


def technician_paths() -> dict[str, Any]:
    """Every route below /api/technician but the session's."""
    work, training = {202: _told("WorkView")}, {200: _told("TrainingView"), 404: error(), 503: error()}
    return {
        "/api/technician": {
            "get": _read("Devices, outbox, intake, findings and events.", {200: _told("TechnicianStatus")})
        },
        "/api/technician/live": {
            "get": _read(
                "What the rules measured lately; plots of one family of rules.",
                {200: _told("LiveView")},
                [{"name": "family", "in": "query", "schema": TEXT}],
            )
        },
        "/api/technician/history": {
            "get": _read("How every self-test went over ninety days.", {200: _told("Courses"), 503: error()})
        },
        "/api/technician/fleet": {
            "get": _read("What is told to the fleet, and what was asked from afar.", {200: _told("FleetView")})
        },
        "/api/technician/fleet/profile": {
            "post": _do("Take the profile back that an order chose.", {204: {"description": "It is."}}, NoBody)
        },
        "/api/technician/test-card": {"get": _read("The test card to print.", {200: content("image/svg+xml")})},
        "/api/technician/bundle": {
            "post": _do("The support bundle, without personal data.", {200: content("application/zip")}, NoBody)
        },
        "/api/technician/maintenance": {"get": _read("Tests, calibration and switch.", {200: _told("WorkView")})},
        "/api/technician/tests": {"post": _do("Begin the self-tests.", work, StartTests)},
        "/api/technician/calibration": {"post": _do("Begin a calibration.", work, StartCalibration)},
        "/api/technician/maintenance/proceed": {"post": _do("What was asked for is done.", work, NoBody)},
        "/api/technician/maintenance/cancel": {"post": _do("End what runs.", work, NoBody)},
        "/api/technician/service/off": {"post": _do("Take the booth out of service.", work, SwitchOff)},
        "/api/technician/service/on": {"post": _do("Let visits begin again.", work, NoBody)},
        "/api/technician/training": {"get": _read("Where the training stands.", training)},
        "/api/technician/training/answer": {"post": _do("Name the cause.", training, GiveAnswer)},
        "/api/technician/training/next": {"post": _do("Another fault.", training, NoBody)},
        "/api/technician/training/scene": {"post": _do("What is before the virtual camera.", training, SetScene)},
    }


def _told(name: str) -> dict[str, Any]:
    return content("application/json", ref(name))


def _read(
    summary: str, answers: dict[int, dict[str, Any]], parameters: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return operation_of(summary, {**answers, 401: error()}, parameters, security=COOKIE)


def _do(summary: str, answers: dict[int, dict[str, Any]], body: type[BaseModel]) -> dict[str, Any]:
    schema = body.model_json_schema()
    wanted = {
        "type": "object",
        "properties": schema.get("properties", {}),
        "required": schema.get("required", []),
        "additionalProperties": False,
    }
    refused = {status: error() for status in (400, 401, 408, 409, 413, 422)}
    return operation_of(
        summary, {**answers, **refused}, [TOKEN], wanted, body_required=bool(wanted["required"]), security=COOKIE
    )
