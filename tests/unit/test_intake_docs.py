"""docs/intake-api.md lists every error that the intake can answer, with its status and whether to retry; every leaf is complete."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from server import (
    application_errors,
    backup_errors,
    booth_order_errors,
    counter_errors,
    decision_errors,
    errors,
    fleet_errors,
    handover_errors,
    recheck_errors,
    retention_errors,
)
from server.application_errors import ApplicationUndecidableError
from server.backup_errors import BackupError
from server.errors import (
    AuthorityError,
    DeskError,
    ListenError,
    RequestError,
    ServerError,
    SettingsError,
    StaffRefusedError,
    StorageError,
)
from server.retention_errors import RetentionError
from tests.intake_rig import running
from tests.sealed_packets import Keys

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "intake-api.md").read_text("utf-8")
ROOMS = (
    vars(errors)
    | vars(fleet_errors)
    | vars(application_errors)
    | vars(backup_errors)
    | vars(booth_order_errors)
    | vars(counter_errors)
    | vars(decision_errors)
    | vars(handover_errors)
    | vars(recheck_errors)
    | vars(retention_errors)
)
ALL = [e for e in ROOMS.values() if isinstance(e, type) and issubclass(e, ServerError)]
COMMANDS = (
    ApplicationUndecidableError,
    BackupError,
    RetentionError,
    StaffRefusedError,
)  # answered on a terminal, or at the desk
LEAVES = [e for e in ALL if not e.__subclasses__()]
ANSWERED = [
    ServerError,
    *(e for e in LEAVES if not issubclass(e, (AuthorityError, DeskError, ListenError, SettingsError, *COMMANDS))),
]


def test_the_documented_errors_are_the_errors():
    documented = {
        (int(status), code, retry == "yes")
        for status, codes, retry in re.findall(r"^\| (\d+) \| (`.*`) \| .* \| (yes|no) \|$", DOCS, re.MULTILINE)
        for code in re.findall(r"`([a-z_.]+)`", codes)
    }
    assert documented == {(e.status, e.code, e.retry) for e in ANSWERED}


@pytest.mark.parametrize("error", LEAVES)
def test_every_leaf_has_its_own_code_and_says_what_is_wrong(error):
    assert error.__name__.endswith("Error")
    assert [e for e in ALL if e.code == error.code] == [error]
    assert str(error()).endswith(".")
    assert error.__doc__


def test_families_share_their_blame():
    assert {e.blame for e in ALL if issubclass(e, RequestError)} == {"peer"}
    assert {e.blame for e in ALL if issubclass(e, StorageError)} <= {"us", "operator"}


async def test_the_interface_shows_every_problem_as_it_is_answered(tmp_path):
    async with running(Keys(tmp_path / "pki"), tmp_path / "data") as intake:
        document = (await intake.client.get("/v1/openapi.json")).json()
    shown = document["components"]["examples"]
    assert set(shown) == {error.code for error in ANSWERED}
    schema = document["components"]["schemas"]["Problem"]
    for error in ANSWERED:
        value = shown[error.code]["value"]
        jsonschema.validate(value, schema)
        assert (value["status"], value["code"], value["retry"]) == (error.status, error.code, error.retry)
    for operations in document["paths"].values():
        for operation in operations.values():
            for status in ("4XX", "5XX"):
                for code, where in operation["responses"][status]["content"]["application/problem+json"][
                    "examples"
                ].items():
                    assert where == {"$ref": f"#/components/examples/{code}"}
                    assert str(shown[code]["value"]["status"])[0] == status[0]
    put = document["paths"]["/v1/packets/{sha256}"]["put"]["responses"]["4XX"]["content"]["application/problem+json"]
    assert {"booth.quota", "signature.missing", "packet.digest_mismatch"} <= set(put["examples"])
    assert "order.unknown" not in put["examples"]
    lookup = document["paths"]["/v1/applications/lookup"]["post"]
    assert lookup["requestBody"]["content"]["application/json"]["example"] == {"number": "DEMO2026000017Q"}
