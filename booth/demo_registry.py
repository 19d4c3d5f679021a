"""The demo's counter: applications filed at the intake, the slips that the demo's centre signed for them, a staff code, and the desk's one user.

Order of operations: how many applications the registry holds → so many and `SPARE` more are imported, by the intake's own command (those that are known keep
their state) → those that are still filed get slips. So a demo whose data are kept goes on with the next applicant.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from crypto.application import check_character
from crypto.keys import open_signer
from crypto.slip import Slip, centre_of, write_slip
from crypto.trust import Purpose

SPARE = 40  # visits of one demo
SLIP_DAYS = 90
COMMAND_S = 60.0
DESK_USER = "demo"
DESK_ROLES = ("officer", "supervisor", "auditor", "technician", "administrator", "clerk")


@dataclass(frozen=True, slots=True)
class DemoSlip:
    """One applicant's paper."""

    number: str = field(repr=False)
    text: str = field(repr=False)


class RegistryNotFilledError(Exception):
    """The intake's command did not do it; what it said."""


def demo_number(index: int) -> str:
    """The number of the n-th application of a demo."""
    body = f"DEMO2026{17 + index:06}"
    return body + check_character(body)


async def file_applications(data: Path, pki: Path) -> tuple[DemoSlip, ...]:
    """Slips of applications that wait for their photo. Raises RegistryNotFilledError."""
    signer = open_signer(f"file:{pki / 'centre.key'}", curve=Purpose.CENTRE.curve)
    centre = centre_of(signer.certificate)
    last = datetime.now().astimezone().date() + timedelta(days=SLIP_DAYS)
    known = sum((await _intake("applications", "list", "--limit", "1", data=data))["counts"].values())
    rows = [
        {"number": demo_number(index), "centre": centre.name, "expires": last.isoformat()}
        for index in range(known + SPARE)
    ]
    await _intake("applications", "import", "-", data=data, content=json.dumps(rows).encode())
    filed = [
        row["number"] for row in (await _intake("applications", "list", "--state", "filed", data=data))["applications"]
    ]
    return tuple(
        DemoSlip(number, write_slip(Slip(number, last, centre.name, centre.key_id), signer.sign)) for number in filed
    )


async def make_staff_code(data: Path) -> str:
    """A personal code for whoever shows the demo. Raises RegistryNotFilledError."""
    return str((await _intake("staff", "add", data=data))["code"])


async def make_desk_user(data: Path, pki: Path) -> str:
    """The password of the desk's one user, who has every role; another one each time. Raises RegistryNotFilledError."""
    words, keys = ("--no-totp", "--final"), ("--pki", str(pki))
    known = [user["id"] for user in await _intake("users", "list", *keys, data=data) if user["name"] == DESK_USER]
    roles = [word for role in DESK_ROLES for word in ("--role", role)]
    what = ("reset", known[0]) if known else ("add", DESK_USER, *roles)
    return str((await _intake("users", *what, *words, *keys, data=data))["password"])


async def _intake(*arguments: str, data: Path, content: bytes = b"") -> Any:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "server.cli", *arguments, "--data", str(data), "--json"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(COMMAND_S):
            answer, said = await process.communicate(content)
    except TimeoutError:
        process.kill()
        await process.wait()
        raise RegistryNotFilledError("The intake's registry did not answer.") from None
    if process.returncode != 0:
        raise RegistryNotFilledError(said.decode(errors="replace").strip())
    return json.loads(answer)
