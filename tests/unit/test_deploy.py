"""The files of deploy/: systemd accepts every unit, finds no needless right, and the promises of privacy and return stand in them."""

from __future__ import annotations

import ast
import configparser
import json
import re
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from booth.cli import app as booth_app
from server.cli import app as intake_app

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
TIMERS = sorted((DEPLOY / "systemd").glob("*.timer"))
# Started by a timer, and over when its work is done.
ONCE = [unit for unit in UNITS if unit.stem == "passbooth-backup"]
STAYING = [unit for unit in UNITS if unit not in ONCE]
PROGRAMS = [unit for unit in UNITS if "kiosk" not in unit.name]
# What `systemd-analyze security` may find, of 10: a browser needs namespaces, devices and a console.
EXPOSURE = {"passbooth-kiosk.service": 2.5}
ANALYZE = shutil.which("systemd-analyze")
SYSUSERS = shutil.which("systemd-sysusers")

needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="needs systemd-analyze: apt-get install systemd")


def run(*arguments, **options):
    return subprocess.run(arguments, capture_output=True, text=True, timeout=60, check=False, **options)


def settings(unit):
    """Section: key: values in order."""
    found, section = {}, ""
    for line in unit.read_text("utf-8").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(section, {}).setdefault(key, []).append(value)
    return found


def test_there_is_a_unit_for_each_program():
    names = ("backup", "booth", "desk", "intake", "intake@", "kiosk")
    assert [unit.name for unit in UNITS] == [f"passbooth-{name}.service" for name in names]


def instance(unit):
    """A unit's name as it is started: a template is one for a port."""
    return unit.name.replace("@.", "@8443.")


@needs_systemd
@pytest.mark.parametrize("unit", [*UNITS, *TIMERS], ids=lambda unit: unit.name)
def test_systemd_accepts_the_unit(unit, tmp_path):
    """In a root of its own, where the programs that it starts exist."""
    folder = tmp_path / "etc" / "systemd" / "system"
    folder.mkdir(parents=True)
    for timer in TIMERS:
        shutil.copy(timer, folder)
    for other in UNITS:
        shutil.copy(other, folder)
        program = tmp_path / settings(other)["Service"]["ExecStart"][0].split()[0].lstrip("/")
        program.parent.mkdir(parents=True, exist_ok=True)
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    (tmp_path / "usr" / "lib" / "systemd").mkdir(parents=True)
    (tmp_path / "usr" / "lib" / "systemd" / "system").symlink_to("/usr/lib/systemd/system")
    verified = run(ANALYZE, "verify", "--man=no", f"--root={tmp_path}", instance(unit))
    told = [line for line in verified.stderr.splitlines() if "passbooth" in line]
    assert (verified.returncode, told) == (0, []), verified.stderr
    broken = folder / unit.name
    text = broken.read_text("utf-8").replace("ProtectSystem=strict", "ProtectSystem=stirct")
    broken.write_text(text.replace("Persistent=yes", "Persistent=jein"))
    assert "passbooth" in run(ANALYZE, "verify", "--man=no", f"--root={tmp_path}", instance(unit)).stderr, (
        "the check can fail"
    )


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_a_unit_has_no_needless_right(unit):
    judged = run(ANALYZE, "security", "--offline=yes", str(unit))
    overall = re.search(r"Overall exposure level for \S+: ([\d.]+)", judged.stdout)
    assert overall is not None, judged.stdout + judged.stderr
    assert float(overall[1]) <= EXPOSURE.get(unit.name, 1.5), judged.stdout


@pytest.mark.skipif(SYSUSERS is None, reason="needs systemd-sysusers: apt-get install systemd")
def test_the_users_can_be_made(tmp_path):
    (tmp_path / "etc").mkdir()
    for group, number in (("video", 44), ("input", 995), ("render", 106)):
        with (tmp_path / "etc" / "group").open("a") as file:
            file.write(f"{group}:x:{number}:\n")
    made = run(SYSUSERS, f"--root={tmp_path}", str(DEPLOY / "sysusers.d" / "passbooth.conf"))
    assert made.returncode == 0, made.stderr
    users = {line.split(":")[0] for line in (tmp_path / "etc" / "passwd").read_text().splitlines()}
    assert {"passbooth", "passbooth-kiosk", "passbooth-server"} <= users
    assert {settings(unit)["Service"]["User"][0] for unit in UNITS} <= users


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_no_unit_leaves_memory_on_a_disk_and_every_unit_comes_back(unit):
    service = settings(unit)["Service"]
    told = {key: values[-1] for key, values in service.items()}
    assert (told["LimitCORE"], told["MemorySwapMax"], told["UMask"]) == ("0", "0", "0077")
    assert (told["ProtectSystem"], told["NoNewPrivileges"], told["ProtectHome"]) == ("strict", "yes", "yes")
    if unit in STAYING:
        assert told["Restart"] == "always"
        assert settings(unit)["Unit"]["StartLimitIntervalSec"] == ["0"], "no number of failures is the last"
    runtime = f"/run/{told['RuntimeDirectory']}"
    environment = " ".join(service["Environment"]).split()
    assert f"HOME={runtime}" in environment
    assert f"TMPDIR={runtime}" in environment
    assert told["RuntimeDirectoryMode"] == "0700"
    assert "DevicePolicy" in told or told.get("PrivateDevices") == "yes"


@pytest.mark.parametrize("unit", STAYING, ids=lambda unit: unit.stem)
def test_programs_are_watched(unit):
    service = settings(unit)["Service"]
    screen = unit not in PROGRAMS  # its main process is the compositor, and the browser's keeper below it tells
    assert service["Type"] == ["notify"]
    assert service["NotifyAccess"] == ["all" if screen else "main"]
    assert int(service["WatchdogSec"][0]) == (60 if screen else 30)


@needs_systemd
def test_the_backups_timer_comes_round_and_misses_nothing():
    timer = settings(DEPLOY / "systemd" / "passbooth-backup.timer")
    asked = run(ANALYZE, "calendar", "--iterations=7", timer["Timer"]["OnCalendar"][0])
    assert asked.returncode == 0, asked.stderr
    assert len(re.findall(r"(?:elapse|Iter(?:ation)?\.? #\d+): ", asked.stdout)) == 7, asked.stdout
    assert (timer["Timer"]["Persistent"], timer["Install"]["WantedBy"]) == (["yes"], ["timers.target"])
    service = settings(ONCE[0])["Service"]
    assert (service["Type"], ".timer" in str(service)) == (["oneshot"], False)


def test_the_commands_of_the_units_exist():
    service = [(unit, settings(unit)["Service"]) for unit in PROGRAMS]
    lines = [(unit, line) for unit, its in service for line in (*its["ExecStart"], *its.get("ExecStopPost", ()))]
    assert len(lines) > len(PROGRAMS)
    for unit, line in lines:
        program, *arguments = line.split()
        app = {"booth": booth_app, "intake": intake_app}[Path(program).name]
        words = [word for word in arguments[:2] if re.fullmatch("[a-z]+", word)]
        asked = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
        assert asked.exit_code == 0, (unit.name, words)
        for option in (each for each in arguments if each.startswith("--")):
            assert option in re.sub(r"\x1b\[[0-9;]*m", "", asked.stdout), (unit.name, option)


@pytest.mark.parametrize(("app", "name"), [(booth_app, "booth"), (intake_app, "intake")])
def test_a_program_tells_its_version(app, name):
    asked = CliRunner().invoke(app, ["--version"])
    assert (asked.exit_code, asked.output) == (0, f"{name} {metadata.version('passbooth')}\n")


def test_the_browser_is_forbidden_to_keep_anything():
    policies = json.loads((DEPLOY / "kiosk" / "chromium-policies.json").read_text())
    assert policies["URLBlocklist"] == ["*"]
    assert policies["IncognitoModeAvailability"] == 2
    assert (
        f"file:///opt/passbooth/{(DEPLOY / 'kiosk' / 'wait.html').relative_to(DEPLOY.parent)}"
        in policies["URLAllowlist"]
    )


def test_udev_takes_the_rules_and_modem_manager_keeps_off_serial_ports():
    rules = DEPLOY / "udev" / "70-passbooth.rules"
    serial = next(line for line in rules.read_text("utf-8").splitlines() if line.startswith('SUBSYSTEM=="tty"'))
    for wanted in ("ttyUSB*|ttyACM*", 'ENV{ID_MM_DEVICE_IGNORE}="1"', 'ENV{ID_MM_PORT_IGNORE}="1"', 'GROUP="dialout"'):
        assert wanted in serial
    udevadm = shutil.which("udevadm")
    if udevadm is None or run(udevadm, "verify", "--help").returncode != 0:
        pytest.skip("needs `udevadm verify` (systemd 254) for the rest")
    verified = run(udevadm, "verify", str(rules))
    assert verified.returncode == 0, verified.stderr


def test_core_dumps_are_kept_nowhere():
    reader = configparser.ConfigParser()
    reader.read(DEPLOY / "coredump.conf.d" / "passbooth.conf")
    assert reader["Coredump"]["Storage"] == "none"
    assert "kernel.core_pattern=|/bin/false" in (DEPLOY / "sysctl.d" / "60-passbooth.conf").read_text()


def test_the_screens_program_needs_nothing_but_pythons_own_library():
    script = DEPLOY / "kiosk" / "kiosk-browser"
    assert script.stat().st_mode & 0o111
    names = [
        name
        for node in ast.walk(ast.parse(script.read_text("utf-8")))
        for name in ([each.name for each in node.names] if isinstance(node, ast.Import) else [])
        + ([node.module] if isinstance(node, ast.ImportFrom) else [])
    ]
    assert {name.partition(".")[0] for name in names} <= set(sys.stdlib_module_names)


def test_a_profile_on_a_disk_is_refused(tmp_path):
    if run("stat", "-f", "-c", "%T", str(tmp_path)).stdout.strip() == "tmpfs":
        pytest.skip("this machine's temporary folder is in memory: nothing to refuse")
    refused = run(
        str(DEPLOY / "kiosk" / "kiosk-browser"), env={"RUNTIME_DIRECTORY": str(tmp_path), "PATH": "/usr/bin:/bin"}
    )
    assert refused.returncode == 3
    assert "belongs on tmpfs" in refused.stderr
    assert list(tmp_path.iterdir()) == []
