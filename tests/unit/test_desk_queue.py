"""The queue's pages: filters in the address, the next packet by a form alone, who looks at what, and summaries that are kept and never believed too long."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from cryptography import x509

from crypto.desk_secret import generate_desk_secret, load_desk_secret
from crypto.issuance import Revoked
from server.audit import audit_log
from server.desk_terms import DeskTerms
from server.looks import Looks
from server.messages import load_messages
from server.queue_reader import QueueReader
from server.queue_rows import LOOK
from server.roles import Role
from tests.desk_rig import NOW, opened_desk, parts
from tests.revocation_lists import write_list
from tests.sealed_packets import Keys, finding, visit

NUMBER = "DEMO2026000017Q"


@pytest.fixture(scope="module")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("desk-queue-keys") / "pki")


@pytest.fixture
async def desk(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", load_messages()) as opened:
        assert (await opened.sign_in()).status_code == 303
        yield opened


def reader_of(desk) -> QueueReader:
    terms = DeskTerms(load_desk_secret(desk.rooms.settings.secret))
    return QueueReader(desk.rooms.store, desk.rooms.opener, terms)


def listed(page) -> list[str]:
    return re.findall(r'class="row-link" href="/packets/([0-9a-f]{64})', page.text)


async def token_of(desk) -> str:
    return re.search(r'name="csrf_token" value="([^"]+)"', (await desk.client.get("/")).text)[1]


async def actions(desk, action: str) -> list[str]:
    query = sa.select(audit_log.c.subject).where(audit_log.c.action == action).order_by(audit_log.c.number)
    async with desk.rooms.store.reading() as connection:
        return list((await connection.execute(query)).scalars())


async def test_filters_become_an_address_that_finds_and_stays_when_the_language_changes(desk, keys):
    good = await desk.receive(keys.packet(parts(finding("pose.yaw"))))
    bad = await desk.receive(
        keys.packet(
            parts(finding("pose.yaw", 20.0, "fail"), told=visit(override={"staff": "s-1", "reason_class": "x"}))
        )
    )
    assert await reader_of(desk).look() == 2
    form = {"csrf_token": await token_of(desk), "rule": "pose.yaw", "released": "1", "centre": "centre-1"}
    answer = await desk.client.post("/search", data=form)
    assert answer.headers["location"] == "/?centre=centre-1&rule=pose.yaw&released=1"
    page = await desk.client.get(answer.headers["location"])
    assert listed(page) == [bad]
    assert f'href="/packets/{bad}?centre=centre-1&amp;rule=pose.yaw&amp;released=1"' in page.text
    other = re.search(r'href="\?([^"]+)" lang="de"', page.text)[1].replace("&amp;", "&")
    assert listed(await desk.client.get(f"/?{other}")) == [bad]
    back = (await desk.client.get(f"/packets/{bad}?rule=pose.yaw")).text
    assert 'href="/?rule=pose.yaw" data-key="q"' in back
    assert '<input type="hidden" name="rule" value="pose.yaw">' in back
    for query, expected in (
        ("result=compliant", [good]),
        ("state=all&result=not_compliant", [bad]),
        ("pad=1", []),
        ("state=refused", []),
        ("older=1h", []),
        ("state=nonsense&older=9y&result=x", [good, bad]),
        ("rule=%00%3Cscript%3E", []),
    ):
        page = await desk.client.get(f"/?{query}")
        assert (page.status_code, listed(page)) == (200, expected), query
        assert "<script>" not in page.text


async def test_next_is_a_form_gives_the_oldest_free_one_and_says_when_nothing_is_left(desk, keys):
    packets = [await desk.receive(keys.packet({"a.bin": bytes([number])})) for number in range(3)]
    token = await token_of(desk)
    looks = Looks(desk.rooms.store, lambda: NOW)
    assert await looks.take(packets[0], "u-somebody")
    assert (await desk.client.post("/queue/next", data={"csrf_token": "x"})).status_code == 403
    assert (await desk.client.get("/queue/next")).status_code in {404, 405}
    taken = await desk.client.post("/queue/next", data={"csrf_token": token, "state": "waiting", "booth": "booth-0001"})
    assert (taken.status_code, taken.headers["location"]) == (303, f"/packets/{packets[1]}?booth=booth-0001")
    assert await actions(desk, "packet.take") == [packets[1]]
    page = await desk.client.get("/")
    assert [sha256 in page.text.split("Being looked at")[0] for sha256 in packets] == [True, False, False]
    seen = (await desk.client.get(f"/packets/{packets[0]}")).text
    assert "Somebody else has this packet open" in seen
    place = re.search(r'name="behind" value="([^"]+)"', (await desk.client.get(f"/packets/{packets[1]}")).text)[1]
    further = await desk.client.post("/queue/next", data={"csrf_token": token, "behind": place})
    assert further.headers["location"] == f"/packets/{packets[2]}"
    assert await looks.others(packets, "u-third") == {
        packets[0]: "u-somebody",
        packets[2]: (await desk.user()).user.id,
    }, "what he looked at before is free"
    nothing = await desk.client.post("/queue/next", data={"csrf_token": token, "booth": "booth-0009"})
    assert nothing.headers["location"] == "/?booth=booth-0009&done=1"
    assert "Nothing is left here" in (await desk.client.get(nothing.headers["location"])).text
    await desk.sign_in_as(Role.AUDITOR)
    assert (await desk.client.post("/queue/next", data={"csrf_token": await token_of(desk)})).status_code == 403
    assert "/queue/next" not in (await desk.client.get(f"/packets/{packets[0]}")).text


async def test_an_open_page_says_so_with_its_sessions_token_and_is_noted_once(desk, keys):
    sha256 = await desk.receive(keys.packet({"a.bin": b"a"}))
    token, looks = await token_of(desk), Looks(desk.rooms.store, lambda: NOW + LOOK - timedelta(seconds=1))
    path = f"/packets/{sha256}/look"
    assert "data-look" in (await desk.client.get(f"/packets/{sha256}")).text
    assert (await desk.client.post(path, data={"csrf_token": "x"})).status_code == 403
    assert await looks.others([sha256], "u-else") == {}
    for _ in range(2):
        assert (await desk.client.post(path, data={"csrf_token": token})).status_code == 204
    assert list(await looks.others([sha256], "u-else")) == [sha256]
    assert await actions(desk, "packet.take") == [sha256]
    unknown = await desk.client.post(f"/packets/{'0' * 64}/look", data={"csrf_token": token})
    assert unknown.status_code == 404


async def test_a_number_is_found_by_what_was_opened_though_no_booth_told_a_link(desk, keys):
    sha256 = await desk.receive(keys.packet(parts(finding("pose.yaw"), told=visit(NUMBER))))
    form = {"csrf_token": await token_of(desk), "q": "demo 2026-000017q"}
    assert listed(await desk.client.post("/search", data=form)) == []
    assert await reader_of(desk).look() == 1
    assert listed(await desk.client.post("/search", data=form)) == [sha256]


async def test_lists_open_nothing_that_was_read_and_open_anew_what_counts_no_longer(keys, tmp_path):
    crl = tmp_path / "list.crl"
    write_list(keys.folder, crl, 1)
    async with opened_desk(keys, tmp_path / "data", load_messages(), crl=crl) as desk:
        await desk.sign_in()
        sha256 = await desk.receive(
            keys.packet(parts(finding("pose.yaw"), told=visit(NUMBER)), at=datetime.now(UTC) - timedelta(hours=1))
        )
        reader = reader_of(desk)
        assert await reader.look() == 1
        opened: list[str] = []
        summary = desk.rooms.opener.summary

        async def noted(stored):
            opened.append(stored.sha256)
            return await summary(stored)

        desk.rooms.opener.summary = noted
        assert NUMBER in (await desk.client.get("/")).text
        assert opened == []
        serial = keys.signer.certificate.serial_number
        write_list(keys.folder, crl, 2, Revoked(serial, datetime.now(UTC), x509.ReasonFlags.key_compromise))
        desk.trust_clock.now += 1
        page = await desk.client.get("/")
        assert (NUMBER in page.text, opened) == (False, [sha256])
        assert "Could not be opened" in page.text
        assert await reader.look() == 1, "what is still open is read anew"
        page = await desk.client.get("/?result=refused")
        assert (listed(page), opened) == ([sha256], [sha256])
        nothing = await desk.client.post("/queue/next", data={"csrf_token": await token_of(desk)})
        assert nothing.headers["location"] == "/?done=1", "nobody can decide about it here"
        # A row that somebody exchanged is not believed either.
        foreign = DeskTerms(generate_desk_secret()).read(await desk.rooms.store.find(sha256), None).summary
        async with desk.rooms.store.writing() as connection:
            await connection.execute(sa.text("UPDATE queue_packets SET summary = :sealed"), {"sealed": foreign})
        assert "Could not be opened" in (await desk.client.get("/")).text
        assert len(opened) == 2
