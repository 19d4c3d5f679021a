"""`intake slip`: a centre's key and certificate, and slips that a booth reads from the paper's own picture."""

from __future__ import annotations

import re
import stat
from datetime import datetime, timedelta
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import zxingcpp
from cryptography import x509
from typer.testing import CliRunner

from crypto.issuance import Profile
from crypto.keys import make_development_pki
from crypto.slip import centre_of, read_slip
from crypto.trust import load_certificates
from server.authority import open_authority
from server.cli import app
from server.slip_paper import LINE_MM, WIDTH_MM, _wrapped
from tests.vectors.make_slips import NUMBER

TODAY = datetime.now().astimezone().date()
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


def intake(*arguments, stdin=""):
    return CliRunner().invoke(app, ["slip", *map(str, arguments)], input=stdin)


def make(pki, *arguments, number=NUMBER):
    return intake("make", "--signer", f"file:{pki / 'centre.key'}", *arguments, stdin=f"{number}\n")


def centres(pki):
    centre = centre_of(load_certificates(pki / "centre.pem")[0])
    return {centre.key_id: centre}


def seen_code(svg):
    """What a reader sees of the code in the picture: the one path with a transform, drawn by its own small renderer."""
    path = next(one for one in ET.fromstring(svg).iter(f"{SVG}path") if one.get("transform"))
    runs = [tuple(map(int, run)) for run in re.findall(r"M(\d+) (\d+)h(\d+)v1", path.get("d"))]
    across, down = max(x + length for x, _, length in runs) + 10, max(y for _, y, _ in runs) + 1
    rows = 20 if down == 1 else 1
    picture = np.full((down * rows + 8, across), 255, np.uint8)
    for x, y, length in runs:
        picture[4 + y * rows : 4 + (y + 1) * rows, x : x + length] = 0
    return zxingcpp.read_barcode(picture.repeat(4, 0).repeat(4, 1)).text


def test_a_request_never_takes_its_keys_place(tmp_path):
    done = intake("request", tmp_path / "north.csr", "--centre", "centre-north")
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])


def test_a_number_that_is_no_text_is_refused_in_a_sentence(pki):
    done = intake("make", "--signer", f"file:{pki / 'centre.key'}", stdin=b"\xff\n")
    assert done.exit_code == 1
    assert "letters A-Z" in done.output


def test_a_slip_says_what_the_booth_reads(pki):
    before = datetime.now().astimezone().date()
    done = make(pki, "--format", "text", "--days", "30")
    after = datetime.now().astimezone().date()  # midnight may be in between
    assert done.exit_code == 0
    slip = read_slip(done.stdout.strip(), centres(pki), TODAY)
    assert (slip.number, slip.centre) == (NUMBER, "centre-development")
    assert before + timedelta(days=30) <= slip.expires <= after + timedelta(days=30)


@pytest.mark.parametrize("code", ["qr", "datamatrix", "pdf417", "code128"])
def test_every_code_on_the_paper_can_be_read(pki, code):
    done = make(pki, "--format", "svg", "--code", code, number="demo-2026 0000 17q")
    assert done.exit_code == 0
    text = seen_code(done.stdout)
    if code == "code128":
        assert text == NUMBER
    else:
        assert read_slip(text, centres(pki), TODAY).number == NUMBER


def test_the_paper_tells_number_day_and_centre_in_four_languages(pki):
    svg = make(pki, "--format", "svg", "--until", (TODAY + timedelta(days=7)).isoformat()).stdout
    lines = list(ET.fromstring(svg).iter(f"{SVG}text"))
    texts = [line.text for line in lines]
    assert texts[:2] == ["centre-development", "DEMO-2026-0000-17Q"]
    assert {line.get("{http://www.w3.org/XML/1998/namespace}lang") for line in lines} == {None, "en", "de", "ru", "ar"}
    assert sum(str((TODAY + timedelta(days=7)).year) in text for text in texts[2:]) == 4
    assert all(0 <= float(line.get("x")) <= WIDTH_MM for line in lines)
    heights = sorted({float(line.get("y")) for line in lines})
    assert min(np.diff(heights)) >= LINE_MM - 0.11
    page = make(pki).stdout
    assert page.startswith("<!doctype html>")
    assert "80mm" in page
    assert "http" not in page.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize(
    ("arguments", "number", "code", "why"),
    [
        (["--until", "2020-01-01"], NUMBER, 1, "has passed"),
        (["--until", (TODAY + timedelta(days=500)).isoformat()], NUMBER, 1, "certificate ends"),
        ([], NUMBER[:-1] + "0", 1, "check character"),
        ([], "", 1, "8 to 20"),
        (["--certificate", "{pki}/booth.pem"], NUMBER, 2, "does not belong"),
        (["--signer", "file:{pki}/booth.key"], NUMBER, 2, "P-256"),
        (["--signer", "pkcs11:token=x"], NUMBER, 2, "token"),
        (["--out", "{pki}/none/slip.html"], NUMBER, 2, "cannot be written"),
    ],
)
def test_what_no_booth_would_take_is_not_printed(pki, arguments, number, code, why):
    done = make(pki, *(one.replace("{pki}", str(pki)) for one in arguments), number=number)
    assert (done.exit_code, done.stdout) == (code, "")
    assert why in done.stderr
    assert not number or number not in done.stderr


def test_a_centre_from_its_request_to_its_first_slip(pki, tmp_path):
    key, secret = tmp_path / "north.key", tmp_path / "secret"
    secret.touch(mode=0o600)
    secret.write_text("correct horse battery\n")
    with_secret = ("--passphrase-file", secret)
    assert intake("request", key, "--centre", "centre-north", *with_secret).exit_code == 0
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert b"ENCRYPTED" in key.read_bytes()
    assert intake("request", key, "--centre", "centre-north").exit_code == 1
    chain = open_authority(pki).issue(key.with_suffix(".csr").read_bytes(), Profile.CENTRE, "centre-north")
    key.with_suffix(".pem").write_bytes(chain)
    out = tmp_path / "slip.txt"
    done = intake("make", NUMBER, "--signer", f"file:{key}", *with_secret, "--format", "text", "--out", out)
    assert (done.exit_code, done.stdout) == (0, "")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    centre = centre_of(x509.load_pem_x509_certificate(chain))
    assert read_slip(out.read_text().strip(), {centre.key_id: centre}, TODAY).centre == "centre-north"


def test_a_name_that_no_certificate_has_is_refused(tmp_path):
    done = intake("request", tmp_path / "x.key", "--centre", "../north")
    assert done.exit_code == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("text", "lines"), [("", 1), ("Kiosk", 1), ("word " * 40, 6)])
def test_a_text_of_any_length_is_broken_into_even_lines(text, lines):
    broken = _wrapped(text)
    assert len(broken) == lines
    assert " ".join(broken) == text.strip()
    assert len(broken[-1]) > 0.6 * len(broken[0]) or lines == 1
