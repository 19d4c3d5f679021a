"""Must show: a refused applicant reads why, in his language, and has the retake taken at another booth of another centre; the accepted one counts.

Real programs over TLS: an intake, a desk with an officer and a supervisor, two booths of two centres, and the applicant's phone.
"""

from __future__ import annotations

import copy
import json
import re
import ssl
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typer.testing import CliRunner

from crypto.application import application_digest, check_character
from crypto.http_signature import sign_request
from crypto.issuance import Issuer, Profile, issue
from crypto.keys import open_signer
from crypto.private_key import private_pem
from crypto.status_token import make_status_token, status_digest
from crypto.trust import load_certificates
from server.cli import app
from server.messages import LANGUAGES, load_messages
from server.roles import Role
from server.users import NewSecrets
from tests.desk_rig import parts
from tests.desk_users import make_user
from tests.journey.test_handover import START_S, served, url_of
from tests.sealed_packets import Keys, digest, visit

NUMBER = "RT000001" + check_character("RT000001")
NORTH, SOUTH = "centre-north", "centre-south"
JSON = {"Content-Type": "application/json"}
WHY = ("eyes", "light")


@dataclass
class Booth:
    """One booth of a centre: asks for an application, and sends what it captured."""

    name: str
    centre: str
    keys: Keys
    url: str
    client: httpx2.Client

    def look_up(self) -> httpx2.Response:
        url, body = f"{self.url}/v1/applications/lookup", json.dumps({"number": NUMBER}).encode()
        headers = JSON | sign_request("POST", url, JSON, body, self.keys.signer)
        return self.client.post(url, content=body, headers=headers)

    def send(self, **told) -> tuple[str, str]:
        """A packet that arrived, and the token that its applicant took along."""
        record, token = visit(NUMBER, centre=self.centre, **told), make_status_token()
        packet = self.keys.packet(parts(told=record), booth=self.name, centre=self.centre)
        url = f"{self.url}/v1/packets/{digest(packet)}"
        headers = {
            "Content-Type": "application/vnd.passbooth.packet",
            "Passbooth-Application": application_digest(NUMBER).hex(),
            "Passbooth-Status": status_digest(token).hex(),
        }
        headers |= sign_request("PUT", url, headers, packet, self.keys.signer)
        answer = self.client.put(url, content=packet, headers=headers)
        assert answer.status_code == 201, answer.text
        return digest(packet), token


class Desk:
    """A browser of one person at the desk."""

    def __init__(self, url: str, tls: ssl.SSLContext, made: NewSecrets) -> None:
        self.client = httpx2.Client(verify=tls, base_url=url, timeout=START_S, trust_env=False)
        self.submit("/login", "/login", name=made.user.name, password=made.password)

    def submit(self, page: str, action: str, **fields: str) -> None:
        """Open a page, and send its form."""
        shown = self.client.get(page)
        assert shown.status_code == 200, shown.text
        hidden = dict(re.findall(r'name="(csrf_token|proposal)" value="([^"]+)"', shown.text))
        assert f'action="{action}"' in shown.text, shown.text
        answer = self.client.post(action, data=fields | hidden)
        assert answer.status_code == 303, answer.text

    def decide(self, sha256: str, page: str, act: str, **fields: str) -> None:
        self.submit(f"/packets/{sha256}/{page}", f"/packets/{sha256}/{act}", **fields)

    def refuse(self, sha256: str, *reasons: str) -> None:
        self.decide(sha256, "refuse", "refuse", **{f"reason.{reason}": "1" for reason in reasons})


def another_booth(keys: Keys, name: str) -> Keys:
    """The same network of booths, and the key of another one in it."""
    folder = keys.folder
    key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    own = ec.generate_private_key(ec.SECP384R1())
    root = Issuer(load_certificates(folder / "ca.pem")[0], key)
    leaf = issue(root, own.public_key(), name, Profile.BOOTH, datetime.now(UTC).replace(microsecond=0))
    (folder / f"{name}.key").touch(0o600)
    (folder / f"{name}.key").write_bytes(private_pem(own))
    (folder / f"{name}.pem").write_bytes(leaf.public_bytes(serialization.Encoding.PEM))
    other = copy.copy(keys)
    other.signer = open_signer(f"file:{folder / f'{name}.key'}")
    return other


class Phone:
    """What the applicant's browser is told by the code of his slip."""

    def __init__(self, url: str, client: httpx2.Client) -> None:
        self.url, self.client = url, client

    def state(self, token: str) -> tuple[str, list[str]]:
        answer = self.client.post(f"{self.url}/status/v1/lookup", json={"token": token}).json()
        return answer["state"], answer["reasons"]

    def page(self, token: str, language: str) -> str:
        """As a browser of that language, without scripts."""
        headers = {"Accept-Language": language}
        return self.client.post(f"{self.url}/status", data={"token": token}, headers=headers).text


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("retake") / "pki")


def intake(*words: str) -> str:
    done = CliRunner().invoke(app, [*words])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_refused_applicant_reads_why_and_is_accepted_from_another_booth_of_another_centre(keys, tmp_path):
    data = tmp_path / "data"
    tls = ssl.create_default_context(cafile=keys.folder / "ca.pem")
    places = ("--data", str(data), "--pki", str(keys.folder))
    with ExitStack() as stack:
        serving = stack.enter_context(served(tmp_path, "serve", *places))
        desk = stack.enter_context(served(tmp_path, "desk", *places, "--wait", str(START_S)))
        url, client = url_of(serving), httpx2.Client(verify=tls, timeout=START_S, trust_env=False)
        stack.callback(client.close)
        desk_url = url_of(desk)
        last_day = (datetime.now(UTC) + timedelta(days=9)).date()
        filed = tmp_path / "filed.csv"
        filed.write_text(f"number,centre,expires\n{NUMBER},{NORTH},{last_day}\n")
        intake("applications", "import", str(filed), "--data", str(data))
        north = Booth("booth-0001", NORTH, keys, url, client)
        south = Booth("booth-0002", SOUTH, another_booth(keys, "booth-0002"), url, client)
        phone = Phone(url, client)
        people = [
            Desk(desk_url, tls, make_user(keys.folder, data, role, name=f"Test {role}"))
            for role in (Role.OFFICER, Role.SUPERVISOR)
        ]
        officer, supervisor = people
        for one in people:
            stack.callback(one.client.close)

        assert north.look_up().json()["state"] == "filed"
        first, first_token = north.send()
        assert phone.state(first_token) == ("received", [])
        assert north.look_up().status_code == south.look_up().status_code == 409, "its portrait waits for the desk"
        page = officer.client.get(f"/packets/{first}/refuse").text
        german = load_messages().languages["de"]
        assert 'class="preview" lang="de"' in page, "the language of the visit"
        assert all(german(f"status.reason.{reason}") in page for reason in WHY)
        officer.refuse(first, *WHY)

        # He reads why, in whatever language his phone speaks.
        assert phone.state(first_token) == ("retake", list(WHY))
        for language in LANGUAGES:
            words, page = load_messages().languages[language], phone.page(first_token, language)
            assert f'<html lang="{language}"' in page
            told = re.findall(r'<dd data-reason="(\w+)">([^<]*)</dd>', page)
            assert told == [(reason, words(f"status.reason.{reason}")) for reason in WHY]
            shown = re.findall(r'data-view="(\w+)" aria-labelledby', page)
            assert shown == ["retake"]
            assert words("status.retake.text") in page

        # Another booth of another centre takes the retake; staff there had to let it pass, so two persons accept it.
        assert south.look_up().json() == {"state": "retake", "centre": NORTH, "expires": str(last_day)}
        second, second_token = south.send(override={"staff": "s-0042", "reason_class": "head_cover"})
        assert (phone.state(second_token), phone.state(first_token)) == (("received", []), ("retake", list(WHY)))
        officer.decide(second, "accept", "propose", producer="producer-development")
        assert phone.state(second_token) == ("received", []), "one person is not enough"
        assert officer.client.get(f"/packets/{second}/approve").status_code == 403
        supervisor.decide(second, "approve", "approve")
        assert phone.state(second_token) == ("accepted", [])
        assert phone.state(first_token) == ("accepted", []), "nothing is asked for any more"
        assert north.look_up().status_code == 409

        # A portrait that a booth without network sends late changes nothing any more.
        late, late_token = north.send()
        assert phone.state(late_token) == ("received", [])
        officer.refuse(late, "blurred")
        assert phone.state(late_token) == ("accepted", [])
        told = json.loads(intake("applications", "show", NUMBER, "--data", str(data), "--json"))
        assert (told["state"], told["reasons"]) == ("accepted", [])
        assert [(one["packet"], one["outcome"], one["reasons"]) for one in told["portraits"]] == [
            (first, "retake", list(WHY)),
            (second, "accepted", []),
            (late, "retake", ["blurred"]),
        ]
        ordered = json.loads(intake("orders", "list", "--data", str(data), "--json"))
        assert [one["packet_sha256"] for one in ordered] == [second], "the producer gets the accepted one alone"
        intake("log", "verify", *places)
    assert (serving.returncode, desk.returncode) == (0, 0)
    told = "".join((Path(tmp_path) / f"{name}.log").read_text() for name in ("serve", "desk"))
    for secret in (NUMBER, first_token, second_token, "Traceback"):
        assert secret not in told
