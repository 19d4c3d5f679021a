"""The units of deploy/ under a running systemd: installed as docs/operations.md says, shut in, working, killed when they hang, and back."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from booth.demo import booth_toml
from crypto.keys import make_development_pki
from tests.systemd_rig import Machine, machine, why_not

pytestmark = [pytest.mark.timeout(300), pytest.mark.skipif(why_not() is not None, reason=str(why_not()))]

PROGRAMS = ("passbooth-intake", "passbooth-desk", "passbooth-booth")
WATCHDOG_S = 5
USERS = {"passbooth-intake": "passbooth-server", "passbooth-desk": "passbooth-server", "passbooth-booth": "passbooth"}
DEVICES = ("camera", "controls", "lights")


def install(there: Machine, given: Path) -> None:
    """What docs/operations.md (Deployment) asks for, beside the units and users that the machine has already."""
    pki = given / "pki"
    make_development_pki(pki, booth="booth-0001")
    for program, keys in {
        "intake": ("ca.pem", "ca.crl", "intake.pem", "intake.key", "intake-tls.pem", "intake-tls.key"),
        "desk": ("ca.pem", "ca.crl", "desk.hpke", "desk.secret", "desk-tls.pem", "desk-tls.key"),
        "booth": ("ca.pem", "booth.pem", "booth.key", "desk.hpke.pub"),
    }.items():
        (given / program).mkdir()
        for key in keys:
            shutil.copy(pki / key, given / program)
    there.shell(
        """
        systemd-sysusers
        install -d -o passbooth-server -g passbooth-server -m 0700 /etc/passbooth-intake /etc/passbooth-desk
        install -d -o passbooth -g passbooth -m 0700 /etc/passbooth /run/virtual-booth
        install -o passbooth-server -m 0600 /run/given/intake/* /etc/passbooth-intake
        install -o passbooth-server -m 0600 /run/given/desk/* /etc/passbooth-desk
        install -o passbooth -m 0600 /run/given/booth/* /etc/passbooth
        systemd-run --unit=virtual-booth -p User=passbooth -p WorkingDirectory=/opt/passbooth -p StandardOutput=file:/run/facts \\
            /opt/passbooth/.venv/bin/python -m hardware.sim seated --json --run-dir /run/virtual-booth
        for program in intake desk booth; do
            mkdir -p /run/systemd/system/passbooth-$program.service.d
            printf '[Service]\\nWatchdogSec=%s\\n' "$1" > /run/systemd/system/passbooth-$program.service.d/soon.conf
        done
        systemctl daemon-reload
        systemctl start --no-block passbooth-intake passbooth-desk
        """.replace("$1", str(WATCHDOG_S))
    )


def start_booth(there: Machine, given: Path) -> None:
    """With the devices of the virtual booth."""
    facts = there.shell("while ! [ -s /run/facts ]; do sleep 0.1; done; cat /run/facts")
    keys = Path("/etc/passbooth")
    config = booth_toml(json.loads(facts)["toml"], Path("/var/lib"), keys, "https://127.0.0.1:8443", "demo")
    config = config.replace("port = 0", "port = 8080").replace("/var/lib/booth", "/var/lib/passbooth")
    (given / "booth" / "booth.toml").write_text(config, "utf-8")
    there.shell(
        "install -o passbooth -m 0600 /run/given/booth/booth.toml /etc/passbooth; systemctl start --no-block passbooth-booth"
    )


def status(there: Machine, process: str) -> dict[str, str]:
    lines = there.run("cat", f"/proc/{process}/status").splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def require_shut_in(there: Machine, unit: str, process: str) -> None:
    """No right, no way to write but to its own folders, no other device, nothing of the other program's keys, no core dump."""
    seen = status(there, process)
    assert (seen["NoNewPrivs"], seen["Seccomp"], int(seen["CapEff"], 16), int(seen["CapBnd"], 16)) == ("1", "2", 0, 0)
    assert there.run("stat", "-c", "%U", f"/proc/{process}") in {USERS[unit], "root"}
    assert re.search(r"Max core file size\s+0\s+0", there.run("cat", f"/proc/{process}/limits"))
    inside = f"nsenter -t {process} -m --"
    for folder in ("/etc", "/usr", "/opt/passbooth", "/"):
        tried = there.run("sh", "-c", f"{inside} touch {folder}/canary 2>&1", check=False)
        assert "Read-only" in tried, (unit, folder, tried)
    other = {"passbooth-intake": "/etc/passbooth-desk", "passbooth-desk": "/etc/passbooth-intake"}.get(unit)
    if other is not None:
        assert there.run("sh", "-c", f"{inside} stat -c %a {other}") == "0"
    assert there.run("sh", "-c", f"{inside} sh -c 'ls /home /root | wc -w'") in {"0", "2"}, "the homes look empty"


def test_the_units_work_shut_in_are_killed_when_they_hang_and_come_back(tmp_path):
    with machine(tmp_path) as there:
        install(there, tmp_path)
        start_booth(there, tmp_path)
        before = {unit: there.until(unit, ActiveState="active", StatusText="ready") for unit in PROGRAMS}
        for unit, facts in before.items():
            require_shut_in(there, unit, facts["MainPID"])
            there.run("kill", "-STOP", facts["MainPID"])
        for unit, facts in before.items():
            after = there.until(unit, ActiveState="active", StatusText="ready", NRestarts="1")
            assert after["MainPID"] != facts["MainPID"]
            assert "Watchdog timeout" in there.log(unit)
        told = there.log("passbooth-booth")
        for device in DEVICES:
            assert re.search(f"{device} is ready", told), told[-3000:]
