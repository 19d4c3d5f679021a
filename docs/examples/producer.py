"""A producer's side of the hand-over, as docs/handover.md describes it: fetches orders, checks them, keeps them, answers.

    python docs/examples/producer.py --intake https://intake.example.org:8443 --tls-ca ca.pem \
        --signer file:$PWD/producer.key --key producer.hpke --desks ca.pem --booths ca.pem --folder ./orders

For each order behind the cursor, in this order: the desk's note (signature, addressed to us) → the message, no longer than the note says, with its digest →
opened with our key; the desk's signature, the decision, the booth's signature, and all of them about one packet → the files, durable and for their
owner alone → our signed answer, until the intake has it → the cursor, durable. A crash anywhere is harmless: what was not finished is done again from the
last cursor; the same packet is written over itself, and the same answer changes nothing.

What does not pass is answered with a code and never kept. When the network or the intake fails nothing is skipped: it is tried again from the same place.

Exit codes: 0 done (--once), or stopped by Ctrl-C; 1 the intake could not be asked (--once); 2 it could not start, one sentence says why.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import hashlib
import json
import os
import secrets
import shutil
import ssl
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from crypto.errors import CryptoError, HandOverError
from crypto.handover import (
    ANSWER_TYPE,
    DECISION_PART,
    PACKET_PART,
    SIGNATURE,
    HandedOver,
    OrderNote,
    open_message,
    sign_answer,
    verify_order,
)
from crypto.http_signature import sign_request
from crypto.keys import RecipientKey, Signer, TrustStore, common_name, load_recipient_key, load_trust, open_signer

PAGE = 50
MAX_LIST_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 60.0


class IntakeError(Exception):
    """The intake could not be asked, or cannot serve just now: try again later."""


class Refused(Exception):  # noqa: N818 (no failure of ours: the intake's answer to one request)
    """The intake does not do this, now or later."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(f"{status} {code}")
        self.status, self.code = status, code


class Intake:
    """Signed requests to the intake."""

    def __init__(self, client: httpx2.Client, base: str, signer: Signer) -> None:
        self._client, self._base, self._signer = client, base.rstrip("/"), signer

    def ask(self, method: str, path: str, limit_bytes: int, body: bytes = b"") -> bytes:
        """The body of the answer, at most so long. Raises IntakeError, Refused."""
        url, kind = f"{self._base}{path}", {"Content-Type": ANSWER_TYPE} if body else {}
        headers = kind | sign_request(method, url, kind, body, self._signer)
        got = bytearray()
        try:
            with self._client.stream(method, url, headers=headers, content=body) as answer:
                for chunk in answer.iter_bytes():
                    got += chunk
                    if len(got) > limit_bytes:
                        raise Refused(answer.status_code, "too long")
        except httpx2.HTTPError as error:
            raise IntakeError(f"{type(error).__name__}") from error
        if answer.is_success:
            return bytes(got)
        problem: dict[str, Any] = {}
        with contextlib.suppress(ValueError):
            problem = json.loads(got)
        code = str(problem.get("code", "unknown"))
        # A damaged message is the one failure that asking again does not mend: the desk has to seal it anew.
        if problem.get("retry") or (answer.status_code >= 500 and code != "storage.corrupt"):
            raise IntakeError(f"{answer.status_code} {code}")
        raise Refused(answer.status_code, code)


class Producer:
    """What the producer keeps, and the work on one order."""

    def __init__(
        self,
        intake: Intake,
        signer: Signer,
        keys: Sequence[RecipientKey],
        desks: TrustStore,
        booths: TrustStore,
        folder: Path,
    ) -> None:
        self._intake, self._signer, self._keys = intake, signer, tuple(keys)
        self._desks, self._booths, self._folder = desks, booths, folder
        self._name = common_name(signer.certificate)

    def run(self) -> int:
        """Work on everything behind the cursor; returns how many orders were answered. Raises IntakeError."""
        answered = 0
        while True:
            cursor = self._read_cursor()
            try:
                data = self._intake.ask("GET", f"/v1/orders?after={cursor}&limit={PAGE}", MAX_LIST_BYTES)
            except Refused as refused:
                if refused.code != "order.cursor":
                    raise
                say("the intake was restored from a backup: starting again at the first order")
                self._write_cursor(0)
                continue
            page = read_page(data, cursor)
            for listed in page:
                if listed["answer"] is None and not listed["superseded"]:
                    answered += self._work_on(listed)
                self._write_cursor(listed["cursor"])
            if not page:
                return answered

    def _work_on(self, listed: dict[str, Any]) -> bool:
        """One order to its end; whether it was answered. Raises IntakeError: then it is not at its end."""
        order = str(listed["order"])
        try:
            note = self._read_note(listed)
            message = self._intake.ask("GET", f"/v1/orders/{order}", note.size)
            if hashlib.sha256(message).hexdigest() != note.message_sha256:
                raise HandOverError("The message is not the one that the desk's note names.")
            handed = open_message(message, self._keys, self._desks, self._booths)
            if handed.decision.packet_sha256 != note.packet_sha256:
                raise HandOverError("The decision is about another packet than the desk's note.")
            self._keep(handed)
            code = None
        except HandOverError as error:
            say(f"{order}: rejected, {error.answer_code}: {error}")
            code = error.answer_code
        except Refused as refused:
            say(f"{order}: cannot be fetched, {refused}")
            if refused.code == "storage.corrupt":
                self._intake.ask("POST", f"/v1/orders/{order}/resend", MAX_LIST_BYTES)
            return False  # sent anew it comes with a cursor of its own
        self._answer(order, str(listed["message_sha256"]), code)
        return True

    def _read_note(self, listed: dict[str, Any]) -> OrderNote:
        """The desk's own word on an order, which what the intake says of it must agree with."""
        try:
            note = verify_order(base64.b64decode(listed["note"], validate=True), self._desks)
        except ValueError as error:
            raise HandOverError("The desk's note is not base64.") from error
        if note.producer != self._name:
            raise HandOverError("The order is for another producer.", SIGNATURE)
        if (note.order, note.message_sha256, note.size) != (listed["order"], listed["message_sha256"], listed["size"]):
            raise HandOverError("The intake says something else of the order than the desk.")
        return note

    def _answer(self, order: str, message_sha256: str, code: str | None) -> None:
        at = datetime.now(UTC)
        answer = sign_answer(order=order, message_sha256=message_sha256, code=code, at=at, signer=self._signer)
        try:
            self._intake.ask("POST", f"/v1/orders/{order}/answer", MAX_LIST_BYTES, answer)
        except Refused as refused:  # answered in another way before, or deleted meanwhile: nothing more can be done
            say(f"{order}: the answer was not taken, {refused}")
            return
        if code is None:
            say(f"{order}: accepted")

    def _keep(self, handed: HandedOver) -> None:
        """The files of a packet in a folder of its id, all of them or none."""
        target = self._folder / handed.manifest.packet_id
        partial = self._folder / f".{secrets.token_hex(8)}"
        files = {PACKET_PART: handed.cms, DECISION_PART: handed.decision_cms}
        # What is in pad/ was for the officer; it came along because the booth's signature is over all parts.
        files |= {f"parts/{name}": data for name, data in handed.parts.items() if not name.startswith("pad/")}
        try:
            for name, data in files.items():
                path = partial / name
                path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                write_durably(path, data)
            for folder in {path.parent for path in partial.rglob("*")}:
                sync(folder)
            if target.exists():
                shutil.rmtree(target)  # the same packet, sent anew
            partial.rename(target)
            sync(self._folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _read_cursor(self) -> int:
        try:
            return int(json.loads((self._folder / "cursor").read_text("utf-8"))["cursor"])
        except FileNotFoundError:
            return 0

    def _write_cursor(self, cursor: int) -> None:
        partial = self._folder / ".cursor"
        partial.unlink(missing_ok=True)
        write_durably(partial, json.dumps({"cursor": cursor}).encode())
        partial.replace(self._folder / "cursor")
        sync(self._folder)


def read_page(data: bytes, cursor: int) -> list[dict[str, Any]]:
    """The orders of a list, whose cursors grow. Raises IntakeError for anything else."""
    wanted = {"cursor": int, "order": str, "message_sha256": str, "size": int, "superseded": bool, "note": str}
    try:
        orders = json.loads(data)["orders"]
        right = all(isinstance(one[name], kind) for one in orders for name, kind in wanted.items())
        cursors = [cursor, *(one["cursor"] for one in orders if "answer" in one)]
    except (ValueError, KeyError, TypeError) as error:
        raise IntakeError("The list of orders cannot be read.") from error
    if not right or len(cursors) != len(orders) + 1 or cursors != sorted(set(cursors)):
        raise IntakeError("The list of orders is not in its form.")
    return list(orders)


def write_durably(path: Path, data: bytes) -> None:
    """A new file that its owner alone reads, on stable storage."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def say(line: str) -> None:
    """One line for whoever looks after this program; never anything of an applicant."""
    print(line, flush=True)


def read_arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Fetches orders from an intake, checks them, keeps them, answers.")
    parser.add_argument("--intake", required=True, metavar="URL", help="address of the intake")
    parser.add_argument("--tls-ca", required=True, type=Path, metavar="FILE", help="roots of its TLS certificate")
    parser.add_argument("--signer", required=True, metavar="URI", help="our key: file:/…/producer.key, or pkcs11:…")
    parser.add_argument("--certificate", type=Path, metavar="FILE", help="its certificate, for a key in a token")
    parser.add_argument("--key", required=True, type=Path, nargs="+", metavar="FILE", help="our private keys that open")
    parser.add_argument("--desks", required=True, type=Path, metavar="FILE", help="roots that desks chain to")
    parser.add_argument("--booths", required=True, type=Path, metavar="FILE", help="roots that booths chain to")
    parser.add_argument("--desks-crl", type=Path, metavar="FILE", help="revocation list of the desks' authority")
    parser.add_argument("--booths-crl", type=Path, metavar="FILE", help="revocation list of the booths' authority")
    parser.add_argument("--folder", required=True, type=Path, metavar="DIR", help="where orders and cursor are kept")
    parser.add_argument("--once", action="store_true", help="end when nothing lies ready")
    parser.add_argument("--every", type=float, default=30.0, metavar="SECONDS", help="how often to ask (default 30)")
    return parser.parse_args()


def main() -> int:
    """Ask again and again."""
    given = read_arguments()
    try:
        signer = open_signer(given.signer, certificate=given.certificate)
        keys = [load_recipient_key(path) for path in given.key]
        desks, booths = load_trust(given.desks, given.desks_crl), load_trust(given.booths, given.booths_crl)
        tls = ssl.create_default_context(cafile=given.tls_ca)
        given.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (CryptoError, OSError) as error:
        print(f"producer: {error}", file=sys.stderr)
        return 2
    with httpx2.Client(verify=tls, timeout=TIMEOUT_S, trust_env=False) as client:
        producer = Producer(Intake(client, given.intake, signer), signer, keys, desks, booths, given.folder)
        while True:
            try:
                producer.run()
            except (IntakeError, Refused) as error:
                say(f"the intake could not be asked: {error}")
                if given.once:
                    return 1
            else:
                if given.once:
                    return 0
            time.sleep(given.every)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(0)
