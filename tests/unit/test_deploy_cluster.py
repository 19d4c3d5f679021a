"""The example of a cluster and the image: what they set, start and mount exists; every version is named; no secret stands in a file."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from server.cli import app
from server.config import IntakeSettings
from tests.sealed_packets import Keys

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
CLUSTER, CONTAINER = DEPLOY / "cluster", DEPLOY / "container"
COMPOSE = yaml.safe_load((CLUSTER / "compose.yaml").read_text("utf-8"))
SERVICES = COMPOSE["services"]
INTAKES = ("intake-1", "intake-2")


def read_env(path: Path) -> dict[str, str]:
    lines = [line for line in path.read_text("utf-8").splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def read_proxy() -> dict[str, list[str]]:
    """HAProxy's file by section: its lines without what only indents."""
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for line in (CLUSTER / "haproxy.cfg").read_text("utf-8").splitlines():
        text = line.partition("#")[0].rstrip()
        if text and not text.startswith(" "):
            current = sections.setdefault(text, [])
        elif text.strip():
            current.append(text.strip())
    return sections


def seconds(lines: list[str], name: str) -> float:
    return float(
        next(re.fullmatch(rf"timeout {name} (\d+)s", line)[1] for line in lines if line.startswith(f"timeout {name} "))
    )


def options_of(arguments: list[str]) -> str:
    words = [word for word in arguments[:2] if re.fullmatch("[a-z]+", word)]
    asked = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert asked.exit_code == 0, words
    return re.sub(r"\x1b\[[0-9;]*m", "", asked.stdout)


@pytest.mark.parametrize(
    "name", [name for name, its in SERVICES.items() if its["image"].startswith("passbooth-server")]
)
def test_a_containers_command_exists_with_its_options_and_has_no_needless_right(name):
    service = SERVICES[name]
    told = options_of(service["command"])
    for option in (word for word in service["command"] if word.startswith("--")):
        assert option in told, (name, option)
    assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["ulimits"]["core"] == 0
    assert any(volume.endswith("/etc/passbooth-intake:ro") for volume in service["volumes"])


def test_the_intakes_share_everything_but_their_spool():
    one, other = (SERVICES[name] for name in INTAKES)
    assert one["command"] == other["command"]
    assert one["env_file"] == other["env_file"] == "intake.env"
    assert {volume.partition(":")[0] for volume in one["volumes"]} ^ {
        v.partition(":")[0] for v in other["volumes"]
    } == {
        "spool-1",
        "spool-2",
    }


def test_the_intakes_variables_are_settings_and_nothing_secret_stands_among_them(tmp_path, monkeypatch):
    env = read_env(CLUSTER / "intake.env")
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = IntakeSettings.from_pki(Keys(tmp_path / "pki").folder, tmp_path, public_url=env["PUBLIC_URL"])
    fields = {f"INTAKE_{name.upper()}" for name in IntakeSettings.model_fields}
    assert {name for name in env if name.startswith("INTAKE_")} <= fields
    assert settings.database_url == env["INTAKE_DATABASE_URL"]
    assert ":" not in settings.database_url.partition("//")[2].partition("@")[0], "no password in an address"
    assert settings.s3_secret_key is None
    assert [str(one) for one in settings.trusted_proxies] == [
        config["subnet"] for config in COMPOSE["networks"]["front"]["ipam"]["config"]
    ]
    grace_s = int(SERVICES["intake-1"]["stop_grace_period"].removesuffix("s"))
    assert settings.drain_s + settings.stop_s < grace_s
    unit = (DEPLOY / "systemd" / "passbooth-intake@.service").read_text("utf-8")
    assert settings.drain_s + settings.stop_s < int(re.search(r"TimeoutStopSec=(\d+)", unit)[1])
    assert set(re.findall(r"\$\{(\w+)\}", unit)) <= env.keys()


def test_every_image_is_named_with_its_version_and_every_file_is_there_or_a_secret():
    for name, service in SERVICES.items():
        assert re.fullmatch(r"[a-z./-]+:\d+\.\d+[\w.-]*", service["image"]), name
    assert COMPOSE["networks"]["services"]["internal"] is True
    assert [name for name, its in SERVICES.items() if "ports" in its] == ["proxy"]
    assert SERVICES["proxy"]["networks"] == ["front"], "the proxy reaches neither database nor store"
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("./") and not source.startswith(("./keys", "./secrets")):
                assert (CLUSTER / source).is_file(), source
        for secret in service.get("secrets", ()):
            assert COMPOSE["secrets"][secret]["file"].startswith("./secrets/")
    named = {volume.partition(":")[0] for its in SERVICES.values() for volume in its.get("volumes", ())}
    assert {one for one in named if "/" not in one} == COMPOSE["volumes"].keys()


def test_the_proxy_knows_the_intakes_and_waits_longer_than_they_do(tmp_path):
    proxy = read_proxy()
    backend, defaults, front = proxy["backend intakes"], proxy["defaults"], proxy["frontend intake"]
    servers = [line.split()[1:3] for line in backend if line.startswith("server ")]
    assert servers == [[name, f"{name}:8443"] for name in INTAKES]
    settings = IntakeSettings.from_pki(Keys(tmp_path / "pki").folder, tmp_path)
    assert seconds(defaults, "client") > settings.body_idle_s
    assert seconds(defaults, "server") > settings.body_total_s
    assert seconds(defaults, "http-request") <= settings.head_s
    checks = re.search(r"check inter (\d+)s fall (\d+)", " ".join(backend))
    drain_s = float(read_env(CLUSTER / "intake.env")["INTAKE_DRAIN_S"])
    assert int(checks[1]) * int(checks[2]) < drain_s
    assert "http-check send meth GET uri /v1/ready ver HTTP/1.1 hdr Host intake.example.org" in backend
    assert "ssl verify required" in " ".join(backend), (
        "the way to the intakes is encrypted, and they prove who they are"
    )
    assert "option forwardfor" in front
    assert front.index("http-request del-header X-Forwarded-For") < front.index("option forwardfor")
    assert not any("buffer-request" in line for lines in proxy.values() for line in lines)
    per_server = int(re.search(r"maxconn (\d+)", " ".join(backend))[1])
    assert per_server <= settings.max_connections


def test_no_key_and_no_secret_lies_among_the_examples():
    for path in (*CLUSTER.rglob("*"), *CONTAINER.rglob("*")):
        if path.is_file():
            assert "PRIVATE KEY" not in path.read_text("utf-8"), path


def test_the_images_locks_are_parts_of_the_projects_lock():
    spec = importlib.util.spec_from_file_location("server_lock", CONTAINER / "server_lock.py")
    server_lock = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server_lock)
    for name, content in server_lock.locks().items():
        assert (CONTAINER / name).read_text("utf-8") == content, "renew: python deploy/container/server_lock.py"
        assert "--hash=sha256:" in content
    pinned = server_lock.blocks((CONTAINER / "server.lock").read_text("utf-8"))
    assert {"fastapi", "sqlalchemy", "asyncpg", "obstore", "cryptography"} <= pinned.keys()
    assert not {"numpy", "mediapipe", "pytest", "moto", "opencv-python-headless"} & pinned.keys()
    judges = server_lock.blocks((CONTAINER / "desk.lock").read_text("utf-8")).keys() - pinned.keys()
    assert {"numpy", "mediapipe", "opencv-python-headless", "zxing-cpp"} <= judges
    assert not {"opencv-contrib-python", "jax", "pyserial", "pytest", "moto"} & judges


def test_the_containerfile_names_what_it_copies_and_says_that_it_was_not_built():
    text = (CONTAINER / "Containerfile").read_text("utf-8")
    assert text.startswith("# NOT BUILT")
    for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE):
        for source in line.split():
            assert (DEPLOY.parent / source).exists(), source
    assert re.search(r"^ARG PYTHON=docker\.io/library/python:3\.11\.\d+-slim-\w+$", text, re.MULTILINE)
    assert re.search(r"uv==\d+\.\d+\.\d+", text)
    arguments = re.findall(r'"([^"]+)"', re.search(r"^CMD \[(.+)\]$", text, re.MULTILINE)[1])
    told = options_of(arguments)
    assert all(option in told for option in arguments if option.startswith("--"))
    assert re.search(r"^USER \d+:\d+$", text, re.MULTILINE), "not root"
    # The running image writes no bytecode, so whatever goes into its environment is compiled when it is built.
    installs = [line for line in text.splitlines() if "--python /opt/passbooth/" in line]
    assert len(installs) == 2
    assert all("--compile-bytecode" in line for line in installs)
