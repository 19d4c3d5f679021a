"""The producer's interface: his own orders alone, answers that count once, and nothing that a hostile or broken producer sends changes anything."""

from __future__ import annotations

import asyncio
import base64
import os
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crypto.handover import MAX_ANSWER_BYTES, verify_answer, verify_order
from crypto.http_signature import sign_request
from crypto.issuance import Issuer, Profile, Revoked, issue, make_crl, make_root
from crypto.keys import FileSigner, open_signer
from tests.handover_rig import PRODUCER, opened_counter, sha256
from tests.intake_rig import BASE, problem
from tests.sealed_packets import Keys


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("order-keys") / "pki")


def signer_of(issuer: Issuer, name: str, at, profile: Profile = Profile.PRODUCER) -> FileSigner:
    key = ec.generate_private_key(ec.SECP384R1())
    return FileSigner(issue(issuer, key.public_key(), name, profile, at), (), key)


@pytest.fixture
async def counter(keys, tmp_path):
    """With a second producer, whose certificates come from an authority of his own."""
    folder = tmp_path / "producers"
    (folder / "other").mkdir(parents=True)
    (folder / PRODUCER).symlink_to(keys.folder / "producers" / PRODUCER)
    async with opened_counter(keys, tmp_path / "data", producers=folder) as opened:
        at = opened.clock()
        root = make_root("Another authority", "Another", at, 100)
        (folder / "other" / "ca.pem").write_bytes(root.certificate.public_bytes(serialization.Encoding.PEM))
        opened.root, opened.folder = root, folder
        opened.other = signer_of(root, "other", at)
        yield opened


async def test_a_producer_fetches_opens_and_answers_his_order_and_nothing_of_it_is_readable_on_the_way(
    counter, keys, caplog
):
    order = await counter.accept()
    listed = (await counter.ask("/v1/orders")).json()
    assert listed["cursor"] == order.cursor
    (told,) = listed["orders"]
    assert (told["order"], told["message_sha256"], told["answer"], told["superseded"]) == (
        order.id,
        order.message_sha256,
        None,
        False,
    )
    assert verify_order(base64.b64decode(told["note"]), keys.trust).order == order.id
    answer = await counter.ask(f"/v1/orders/{order.id}")
    assert answer.headers["content-type"] == "application/vnd.passbooth.packet"
    assert answer.headers["cache-control"] == "no-store"
    assert sha256(answer.content) == order.message_sha256
    assert counter.open(answer.content).decision.packet_sha256 == order.packet_sha256
    given = await counter.answer(order)
    assert given.json() | {"answered_at": ""} == {"verdict": "accepted", "code": None, "answered_at": ""}
    kept = await counter.orders.find(order.id)
    assert verify_answer(kept.answer, keys.trust).order == order.id
    assert (await counter.ask(f"/v1/orders?after={order.cursor}")).json() == {"orders": [], "cursor": order.cursor}
    assert (await counter.ask("/v1/orders")).json()["orders"][0]["answer"] == given.json()

    """The application number of the packet is in no row, no answer and no line of the log; nothing that can be read is in the folder of messages."""
    from tests.desk_rig import parts
    from tests.sealed_packets import visit

    stored = await counter.receive(keys.packet(parts(told=visit("SECRET1234567"))))
    order = await counter.accept(stored)
    listed = (await counter.ask("/v1/orders")).content
    message = (await counter.ask(f"/v1/orders/{order.id}")).content
    assert b"SECRET1234567" in dict(counter.open(message).parts)["visit.json"]
    await counter.answer(order, "quality")
    rows = b"".join(path.read_bytes() for path in counter.intake.rooms.settings.data_dir.rglob("*") if path.is_file())
    for told in (listed, message, rows, caplog.text.encode()):
        assert b"SECRET" not in told
        assert b"\xff\xd8\xff\xe0" not in told  # the beginning of a JPEG


async def test_the_list_is_read_in_pages_by_its_cursor_and_what_is_no_order_is_told(counter):
    made = [await counter.accept() for _ in range(3)]
    first = (await counter.ask("/v1/orders?limit=2")).json()
    second = (await counter.ask(f"/v1/orders?after={first['cursor']}&limit=2")).json()
    assert [one["order"] for one in first["orders"] + second["orders"]] == [one.id for one in made]
    problem(await counter.ask(f"/v1/orders?after={made[-1].cursor + 1}"), 409, "order.cursor")
    for wrong in ("after=-1", "after=x", "limit=0", "limit=201", "after=9007199254740993"):
        problem(await counter.ask(f"/v1/orders?{wrong}"), 400, "request.malformed")

    for order in ("x", "0" * 31, "0" * 33, "A" * 32, "%2e%2e"):
        problem(await counter.ask(f"/v1/orders/{order}"), 400, "request.malformed")
    problem(await counter.ask(f"/v1/orders/{'0' * 32}"), 404, "order.unknown")


async def test_answers_and_requests_count_once_and_garbled_oversized_old_or_replayed_ones_change_nothing(counter, keys):
    order = await counter.accept()
    first = (await counter.answer(order, "quality")).json()
    assert (await counter.answer(order, "quality")).json() == first
    problem(await counter.answer(order, "content"), 409, "order.answered")
    problem(await counter.answer(order), 409, "order.answered")
    assert (await counter.orders.find(order.id)).answer_code == "quality"

    order = await counter.accept()
    answers = await asyncio.gather(*(counter.answer(order, code) for code in (None, "quality", "content")))
    assert sorted(one.status_code for one in answers) == [200, 409, 409]
    (said,) = (one.json() for one in answers if one.status_code == 200)
    kept = await counter.orders.find(order.id)
    assert (kept.answer_verdict, kept.answer_code) == (said["verdict"], said["code"])

    order = await counter.accept()
    path, body = f"/v1/orders/{order.id}/answer", counter.answer_to(order)
    url, kind = f"{BASE}{path}", {"Content-Type": "application/vnd.passbooth.answer"}
    signed = kind | sign_request("POST", url, kind, body, counter.signer())
    post = counter.intake.client.post
    problem(await post(f"{BASE}/v1/orders/{order.id}/resend", content=body, headers=signed), 401, "signature.invalid")
    changed = bytes([body[0] ^ 1]) + body[1:]
    problem(await post(url, content=changed, headers=signed), 422, "packet.digest_mismatch")
    problem(await post(url, content=body, headers=signed), 401, "signature.replayed")
    listed = sign_request("GET", f"{BASE}/v1/orders?after=0", {}, b"", counter.signer())
    problem(await counter.intake.client.get("/v1/orders?after=1", headers=listed), 401, "signature.invalid")
    assert (await counter.intake.client.get("/v1/orders?after=0", headers=listed)).status_code == 200
    problem(await counter.intake.client.get("/v1/orders?after=0", headers=listed), 401, "signature.replayed")
    assert (await counter.orders.find(order.id)).answered_at is None

    order, other = await counter.accept(), await counter.accept()
    path, good = f"/v1/orders/{order.id}/answer", counter.answer_to(order)
    now = counter.clock()
    for body in (
        b"accepted",
        b'{"verdict":"accepted"}',
        os.urandom(300),
        good[:-1],
        good + b"\0",
        counter.answer_to(other),  # an answer to another order, replayed here
        counter.answer_to(order, message_sha256="0" * 64),
        counter.answer_to(order, at=now - timedelta(hours=1)),  # before there was the order
        counter.answer_to(order, at=now + timedelta(hours=1)),
        (await counter.ask(f"/v1/orders/{order.id}")).content[:MAX_ANSWER_BYTES],
    ):
        problem(await counter.ask(path, "POST", body), 422, "order.answer")
    problem(await counter.ask(path, "POST", bytes(MAX_ANSWER_BYTES + 1)), 413, "request.too_large")
    kind = {"Content-Type": "application/json"}
    problem(await counter.ask(path, "POST", good, headers=kind), 415, "request.media_type")
    kept = await counter.orders.find(order.id)
    assert (kept.answered_at, kept.answer) == (None, None)
    assert (await counter.ask(path, "POST", good)).status_code == 200


async def test_an_order_is_sent_anew_on_the_producers_wish_after_a_rejection_or_a_damage(counter):
    order = await counter.accept()
    assert (await counter.answer(order, "whatever.it_may_be")).status_code == 200
    asked = await counter.ask(f"/v1/orders/{order.id}/resend", "POST")
    assert (asked.status_code, asked.json()) == (202, {"order": order.id, "superseded_by": None})
    assert await counter.hand_over.send_anew() == 1
    again = (await counter.ask(f"/v1/orders/{order.id}/resend", "POST")).json()
    (told,) = (await counter.ask(f"/v1/orders?after={order.cursor}")).json()["orders"]
    assert (told["order"], told["resend_of"]) == (again["superseded_by"], order.id)
    newest = await counter.orders.find(told["order"])
    assert (await counter.answer(newest)).json()["verdict"] == "accepted"
    problem(await counter.ask(f"/v1/orders/{newest.id}/resend", "POST"), 409, "order.answered")
    problem(await counter.ask(f"/v1/orders/{newest.id}/resend", "POST", b"x"), 400, "request.malformed")

    order = await counter.accept()
    (path,) = (counter.intake.rooms.settings.data_dir / "objects" / "orders").rglob(order.message_sha256)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    problem(await counter.ask(f"/v1/orders/{order.id}"), 500, "storage.corrupt")
    path.unlink()
    problem(await counter.ask(f"/v1/orders/{order.id}"), 500, "storage.corrupt")
    assert (await counter.ask(f"/v1/orders/{order.id}/resend", "POST")).status_code == 202
    assert await counter.hand_over.send_anew() == 1
    newest = (await counter.orders.of_packet(order.packet_sha256))[0]
    assert counter.open((await counter.ask(f"/v1/orders/{newest.id}")).content).decision


async def test_a_producer_sees_his_own_orders_alone_by_a_good_certificate_of_his_own_authority(counter, keys):
    order = await counter.accept()
    assert (await counter.ask("/v1/orders", signer=counter.other)).json() == {"orders": [], "cursor": 0}
    body = counter.answer_to(order, signer=counter.other)
    for path, method, sent in (("", "GET", b""), ("/answer", "POST", body), ("/resend", "POST", b"")):
        answer = await counter.ask(f"/v1/orders/{order.id}{path}", method, sent, signer=counter.other)
        problem(answer, 404, "order.unknown")
    # His own signature under the other one's request counts as little.
    problem(await counter.ask(f"/v1/orders/{order.id}/answer", "POST", body), 422, "order.answer")
    assert (await counter.orders.find(order.id)).answered_at is None

    at = counter.clock()
    problem(await counter.intake.client.get("/v1/orders"), 401, "signature.missing")
    refused = [
        ("signature.invalid", signer_of(counter.root, PRODUCER, at)),  # another's authority for this name
        ("signature.invalid", signer_of(counter.root, "other", at, Profile.BOOTH)),  # another purpose
        ("signature.invalid", signer_of(make_root("R", "O", at, 9), "other", at)),
        ("producer.unknown", signer_of(counter.root, "third", at)),
        ("producer.unknown", open_signer(f"file:{keys.folder / 'booth.key'}")),
        ("producer.unknown", open_signer(f"file:{keys.folder / 'desk.key'}")),
    ]
    for code, signer in refused:
        problem(await counter.ask("/v1/orders", signer=signer), 403 if "producer" in code else 401, code)
    # And a producer is no booth.
    url = f"{BASE}/v1/packets/{'0' * 64}/receipt"
    asked = await counter.intake.client.get(url, headers=sign_request("GET", url, {}, b"", counter.signer()))
    problem(asked, 401, "signature.invalid")

    at = counter.clock()
    gone = Revoked(counter.other.certificate.serial_number, at - timedelta(minutes=1))
    lists = make_crl(counter.root, 1, [gone], at - timedelta(minutes=1), at + timedelta(days=1))
    (counter.folder / "other" / "ca.crl").write_bytes(lists)
    problem(await counter.ask("/v1/orders", signer=counter.other), 403, "producer.unknown")
    (counter.folder / "other" / "ca.crl").unlink()  # while somebody puts the next one there
    problem(await counter.ask("/v1/orders", signer=counter.other), 403, "producer.unknown")

    (counter.folder / "third").mkdir()
    (counter.folder / "third" / "ca.pem").write_text("no certificate")
    third = signer_of(counter.root, "third", at)
    problem(await counter.ask("/v1/orders", signer=third), 503, "handover.unavailable")
