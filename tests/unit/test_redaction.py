"""What attackers of the log try: numbers, tokens, codes, pictures and names must not reach a line, whoever writes it and however."""

from __future__ import annotations

import base64
import json
import logging
import subprocess
import sys
import textwrap
from pathlib import Path

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from booth.errors import OutboxWriteError
from booth.logs import LineFormatter
from crypto.redaction import Redactor
from server.logs import FIELDS, JsonFormatter

NUMBER = "AB-1234567"
PICTURE = bytes(range(7, 250)) * 3
REDACTOR = Redactor(("booth-0001",), ("/var/lib/passbooth", "/etc/passbooth"))
FORMATTERS = (LineFormatter(REDACTOR), JsonFormatter(REDACTOR))


def written(template, *arguments, name="booth.performer", error=None, **extra):
    """The lines of one record, of both formatters."""
    record = logging.LogRecord(name, logging.ERROR, "x.py", 12, template, arguments, None)
    record.__dict__.update(extra)
    if error is not None:
        record.exc_info = (type(error), error, error.__traceback__)
    lines = [formatter.format(record) for formatter in FORMATTERS]
    assert all(line.count("\n") == 0 and line.isascii() | line.isprintable() for line in lines)
    json.loads(lines[1])
    return "\n".join(lines)


SECRETS = {
    "application number": "application AB-1234567 was refused",
    "at the end of a sentence": "The number is AB-1234567.",
    "digits alone": "application 1234567",
    "letters alone": "application ABCDEFGH",
    "lower case": "application ab-1234567",
    "in brackets": "Application(number='AB-1234567', how='typed')",
    "glued by an equals sign": "number=AB-1234567&x=1",
    "full-width digits": "application AB-１２３４５６７",  # noqa: RUF001 - what an attacker writes
    "invisible signs between": "application AB-\u200b123\u200d4567",
    "a second line": "refused\nAB-1234567",
    "a carriage return and an escape": "refused\r\x1b[2KAB-1234567",
    "after a dot": "x.AB-1234567",
    "in a path": "cannot write /home/AB-1234567.jpg",
    "below a known folder": "cannot write /var/lib/passbooth/AB-1234567.jpg",
    "in a query": "GET http://127.0.0.1:8080/api/visit/identify?number=AB-1234567",
    "in a URL's path": "https://intake.example/v1/AB-1234567",
    "in a fragment": "https://intake.example#AB-1234567",
    "percent-encoded": "%41%42%2d%31%32%33%34%35%36%37",
    "escaped": r"\u0041\u0042\u002d\u0031\u0032\u0033\u0034\u0035\u0036\u0037",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
@pytest.mark.parametrize("way", ["template", "argument", "inside", "named"])
def test_an_application_number_reaches_no_line(text, way):
    if way == "template":
        line = written(text.replace("%", "%%"))
    elif way == "argument":
        line = written("failed: %s", text)
    elif way == "inside":
        line = written("failed: %s %s", ["first", text], "last")
    else:
        line = written("failed: %(what)s", {"what": text})
    assert "1234567" not in line
    assert "ABCDEFGH" not in line
    assert "%31%32" not in line
    assert "u0031" not in line


def test_a_number_in_pieces_is_put_together_before_it_is_looked_at():
    assert "1234567" not in written("%s%s%s", "AB-1", "2345", "67")
    assert "1234567" not in written("%s-%d", "AB", 1234567)
    assert "1234567" not in written("AB-%(digits)s", {"digits": "1234567"})


@pytest.mark.parametrize(
    "secret",
    [
        base64.b64encode(PICTURE).decode(),
        base64.urlsafe_b64encode(PICTURE).decode().rstrip("="),
        base64.encodebytes(PICTURE).decode(),
        PICTURE.hex(),
        PICTURE.hex(" "),
        repr(PICTURE),
        str(list(PICTURE)),
        repr(np.frombuffer(PICTURE, np.uint8).reshape(9, 27, 3)),
        "".join(f"%{byte:02x}" for byte in PICTURE),
        "-----BEGIN PRIVATE KEY-----\n" + base64.encodebytes(PICTURE).decode() + "-----END PRIVATE KEY-----",
        "data:image/jpeg;base64," + base64.b64encode(PICTURE).decode(),
    ],
    ids=["base64", "base64url", "base64 lines", "hex", "hex pairs", "bytes", "list", "array", "percent", "pem", "data"],
)
def test_no_picture_reaches_a_line_in_any_clothing(secret):
    for line in (written("%s", secret), written(secret.replace("%", "%%"))):
        for width in (8, 12):
            pieces = {secret[at : at + width] for at in range(60, len(secret) - width, 3)}
            hits = sorted(piece for piece in pieces if piece.strip() and piece in line)
            assert not hits, line


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("enrolment token 7Q3FX-K2MNP-8RTVW-4YZ6A was used", "7Q3FX-K2MNP"),
        ("access code QRSTU-VWXYZ", "QRSTU"),
        ("access code qrs7u-vwxyz", "qrs7u"),
        ("code=abc", "abc"),
        ("PIN: 1234", "1234"),
        ("passphrase = open", "open"),
        ("X-Kiosk-Token: xyz", "xyz"),
        ("Authorization: Basic dXNl cjp", "cjp"),
        ("Cookie: desk=abc; more=def", "def"),
        ("https://user:word@cam.example/stream", "word"),
        ("pkcs11:token=booth;object=key?pin-value=48151623", "48151623"),
        ("mail from anna.schmidt@example.org", "schmidt"),
        ("kiosk token 3n9xVqJt0bWm-ZkQ_pLr8sYdEaUc2hGi", "3n9xVqJt0b"),
    ],
)
def test_tokens_codes_and_addresses_are_taken_out(text, secret):
    assert secret not in written(text)
    assert secret not in written("failed: %s", text)


@pytest.mark.parametrize(
    "text",
    [
        "cannot open /home/anna/Anna Maria Schmidt/photo.jpg",
        "cannot open '/media/usb/Anna Maria Schmidt/photo.jpg' now",
        "cannot open /media/Schmidt",
        "cannot open ~/Schmidt and more",
        "cannot open ../Schmidt",
        r"cannot open C:\Users\Anna Schmidt\x.png",
        "file:///home/Schmidt.jpg",
        "cannot open Schmidt.jpg",
        "cannot open out/Anna-Schmidt.png",
        "/var/lib/passbooth/../../home/Schmidt",
        "/var/lib/passboothSchmidt/x",
    ],
)
def test_paths_with_names_are_not_told(text):
    assert "Schmidt" not in written("%s", text)
    assert "Schmidt" not in written(text)


class LeakyError(ValueError):
    def __str__(self) -> str:
        return NUMBER

    __repr__ = __str__


class LeakyText(str):
    __slots__ = ()

    def __str__(self) -> str:
        return NUMBER

    def __format__(self, spec: str) -> str:
        return NUMBER


class Bomb:
    def __repr__(self) -> str:
        raise RuntimeError(NUMBER)

    def __str__(self) -> str:
        raise RuntimeError(NUMBER)


def chained() -> Exception:
    try:
        try:
            raise LeakyError(NUMBER)
        except LeakyError as error:
            raise KeyError(NUMBER) from error
    except KeyError as error:
        error.add_note(NUMBER)
        return error


@pytest.mark.parametrize(
    ("template", "arguments"),
    [
        ("%s", (LeakyError(NUMBER),)),
        ("%r", (LeakyError(NUMBER),)),
        ("%s", (KeyError(NUMBER),)),
        ("%s", (OSError(2, "No such file", f"/home/{NUMBER}"),)),
        ("%s", (UnicodeDecodeError("utf-8", NUMBER.encode(), 0, 1, NUMBER),)),
        ("%s", (ExceptionGroup(NUMBER, [ValueError(NUMBER)]),)),
        ("%s", (LeakyText("a"),)),
        ("%s %r", (Bomb(), Bomb())),
        ("%s", (NUMBER.encode(),)),
        ("%s", ({"number": NUMBER},)),
        ("%s", (bytearray(NUMBER.encode()),)),
        ("%s", (np.frombuffer(NUMBER.encode(), np.uint8),)),
        ("%s", ([{NUMBER}, NUMBER.encode(), [NUMBER]],)),
        ("%s", (Path("/home") / NUMBER,)),
        ("%d", (NUMBER,)),
        ("%s %s", (NUMBER,)),
        ("%s", (NUMBER, NUMBER)),
        ("%(missing)s", ({"number": NUMBER},)),
        ("%c", (NUMBER,)),
        ("%*d", (NUMBER, NUMBER)),
        ("%", (NUMBER,)),
        (LeakyError(NUMBER), ()),
        (Bomb(), ()),
        (NUMBER.encode(), ()),
        ({"number": NUMBER}, ()),
        ("%.500000d", (NUMBER,)),
        ("%s", (OutboxWriteError(f"cannot store {NUMBER}"),)),
    ],
)
def test_arguments_are_told_by_what_they_are(template, arguments):
    line = written(template, *arguments, error=chained(), stack_info=f"in {NUMBER}", exc_text=NUMBER, message=NUMBER)
    assert "1234567" not in line
    assert "[65, 66" not in line
    assert "LeakyError at" in line, "the exception's chain is told by its types"


def test_our_own_words_stay_readable():
    told = OutboxWriteError(
        "The packet 0123456789ab cannot be written to /var/lib/passbooth/outbox: 12345678 bytes are too many."
    )
    line = written("%s: %.1f s after %d tries, camera at %s (%s)", told, 12.25, 3, "v4l2:///dev/video0", "/dev/ttyUSB0")
    assert (
        "The packet 0123456789ab cannot be written to /var/lib/passbooth/outbox: 12345678 bytes are too many.: "
        "12.2 s after 3 tries, camera at v4l2:///dev/video0 (/dev/ttyUSB0)"
    ) in line
    assert "booth-0001 since 2026-11-23 at https://intake.example:8443" in written(
        "booth-0001 since 2026-11-23 at https://intake.example:8443"
    )
    assert "crypto.signing: plug the token in" in written("%s: plug the token in", "crypto.signing")


def test_what_a_library_says_is_withheld_and_where_it_says_it_is_told():
    for name in ("uvicorn.error", "httpx2", "PIL.Image", "asyncio", "root", "__main__", "boothx"):
        line = written("Anna Schmidt %s", NUMBER, name=name, error=chained())
        assert "Schmidt" not in line
        assert "1234567" not in line
        assert f"{name}: (text of a library withheld) at x:12" in line
        assert "KeyError at " in line


def test_fields_of_structured_lines_keep_to_their_shape():
    for name in FIELDS:
        for value in (NUMBER, f"x\n{NUMBER}", [NUMBER], {"n": NUMBER}, LeakyError(NUMBER), NUMBER.encode()):
            told = written("Request served.", name="server.problems", **{name: value}).splitlines()[1]
            assert name == "booth" or "1234567" not in told, told
    good = {"code": "enrolment.refused", "method": "PUT", "route": "/v1/packets/{sha256}", "packet": "0123456789abcdef",
            "booth": "booth-0001", "serial": "23183f4b6c", "size": 1234567, "status": 201}  # fmt: skip
    line = json.loads(written("Request served.", name="server.problems", **good).splitlines()[1])
    assert {name: line[name] for name in good} == good
    assert NUMBER not in written("x", name=f"server.{NUMBER}")


@hypothesis.given(
    st.from_regex(r"(?=.*[0-9])[A-Z0-9][A-Z0-9-]{4,18}[A-Z0-9]", fullmatch=True).filter(
        lambda n: len(n) != 10 or n[4] != "-" or n[7] != "-"
    ),
    st.sampled_from(
        [
            "{}",
            "x {} y",
            "'{}'",
            "({})",
            "number:{}",
            "a={};",
            "«{}»",
            "{}\n",
            "/x/{}",
            "{}/y",
            "{}.jpg",
            "[{}]",
            "<{}>",
        ]
    ),
)
def test_no_number_gets_through_whatever_stands_around_it(number, around):
    for line in (written("%s", around.format(number)), written("failed: " + around.format(number))):
        assert number not in line.replace(" x:12", "")


def test_any_text_makes_one_line_and_never_an_error():
    @hypothesis.given(
        st.text(max_size=300), st.lists(st.one_of(st.text(), st.binary(), st.none(), st.floats()), max_size=3)
    )
    def attack(template, arguments):
        written(template, *arguments)

    attack()


def test_huge_texts_cost_little_and_end():
    for text in ("a" * 10**6, "%s" * 10**5, "A1-" * 10**6, "/" * 10**5, "1 " * 10**5, "\\x4" * 10**5, "b'" * 10**5):
        assert len(written("%s", text)) < 3000


PROGRAM = """
    import logging, sys, threading, warnings
    from crypto.redaction import configure
    from booth.logs import LineFormatter
    configure(LineFormatter(), {"": logging.DEBUG})
    number = "AB-" + "1234567"
    logging.getLogger("booth.x").info("%d", number)
    logging.getLogger("libfoo").warning("it was %s", number)
    logging.getLogger("libfoo").warning(f"it was {number}")
    logging.getLogger("booth.x").warning("two lines\\n%s", number, stack_info=True)
    warnings.warn(number)
    def end(): raise ValueError(number)
    thread = threading.Thread(target=end, name=number); thread.start(); thread.join()
    class Last:
        def __del__(self): raise RuntimeError(number)
    Last()
    sys.stderr.flush()
    raise KeyError(number)
"""


def test_a_whole_program_says_nothing_by_any_way_that_python_has(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM)],
        capture_output=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    told = (done.stdout + done.stderr).decode()
    assert done.returncode == 1
    assert "1234567" not in told
    lines = told.splitlines()
    assert len(lines) == 8, told
    assert "KeyError at __main__" in lines[-1]
    assert "RuntimeError" in lines[-2]
    assert "ValueError" in lines[-3]
