"""Refusals, and acceptances by two persons: what one person may not do alone, whom it reaches, and that no change by hand goes unnoticed."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy as sa

from crypto.application import application_digest, check_character
from crypto.decision import verify_decision, verify_link, verify_proposal
from crypto.errors import DecisionError
from crypto.status_token import make_status_token, status_digest
from server.application_rows import Links, Registry, Status, note_captures
from server.applications import NewApplication, Outcome, State
from server.auth import Session
from server.decision_errors import (
    DecidedOtherwiseError,
    ProposalGoneError,
    RefusalReasonsError,
    SamePersonError,
    SecondPersonError,
)
from server.decisions import HandOver
from server.desk_decide import proposal_lines
from server.errors import StorageCorruptError, UnknownPacketError
from server.handover_errors import AcceptRefusedError
from server.handover_rows import decisions, stored_decision
from server.log_audit import Audit, audit_log
from server.log_command import checks_for
from server.messages import load_messages
from server.own_check import check_objects
from server.proposal_audit import check_proposals
from server.proposals import proposals
from server.queue_rows import QueueState
from server.recheck import ChipOpinion, compare
from server.recheck_errors import (
    RecheckBusyError,
    RecheckEndedError,
    RecheckNothingError,
    RecheckPictureError,
    RecheckProfileError,
    RecheckTimeoutError,
    RecheckUnavailableError,
)
from server.records import read_pad, read_report, read_visit
from server.retention import Fate
from server.retention_rows import read_kept
from server.second_person import Cause, Objection, causes_of
from server.store import packets
from tests.desk_rig import parts
from tests.handover_rig import PRODUCER, another_desk, opened_counter
from tests.sealed_packets import Keys, finding, report, visit

FIRST, SECOND, THIRD = "u-00000001", "u-00000002", "u-00000003"
OVERRIDE = {"staff": "s-0042", "reason_class": "head_cover", "open_rules": ["face.covered"]}
NUMBER = "TP000001" + check_character("TP000001")


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("two-persons-keys") / "pki")


@pytest.fixture
async def counter(keys, tmp_path):
    async with opened_counter(keys, tmp_path / "data") as opened:
        yield opened


async def released(counter):
    """A packet that staff let pass."""
    return await counter.receive(counter.keys.packet(parts(told=visit(override=OVERRIDE))))


async def linked(counter, stored) -> str:
    """The packet's applicant: his token."""
    rooms, token = counter.intake.rooms, make_status_token()
    await Registry(rooms.store, counter.clock).file([NewApplication(NUMBER, "centre-1", counter.clock().date())])
    links = Links(application_digest(NUMBER).hex(), status_digest(token).hex())
    async with rooms.store.writing() as connection:
        await note_captures(connection, [(stored.sha256, links)], counter.clock)
    return token


async def told(counter, token: str) -> Status:
    return await Registry(counter.intake.rooms.store, counter.clock).status(status_digest(token).hex())


async def sound(counter) -> bool:
    trust = counter.keys.trust
    return (await audit_log(counter.intake.rooms.store, trust, checks=checks_for(trust))).findings == []


def record(document) -> bytes:
    return json.dumps(document).encode()


GOOD = read_report(record(report()))
BAD = read_report(record(report(finding("pose.yaw", 20.0, "fail"))))
PLAIN, LET_PASS = read_visit(record(visit())), read_visit(record(visit(override=OVERRIDE)))
ATTACK = read_pad(record({"usable": True, "score": 0.1, "operating_point": 0.5, "suspected": True}))
UNUSABLE = read_pad(record({"usable": False, "reason": "lamps_failed"}))


@pytest.mark.parametrize(
    ("records", "causes"),
    [
        ((GOOD, PLAIN, None), ()),
        ((GOOD, None, UNUSABLE), ()),
        ((GOOD, LET_PASS, None), (Cause.OVERRIDE,)),
        ((BAD, PLAIN, None), (Cause.FINDING,)),
        ((None, PLAIN, None), (Cause.FINDING,)),
        ((GOOD, PLAIN, ATTACK), (Cause.ATTACK,)),
        ((BAD, LET_PASS, ATTACK), (Cause.OVERRIDE, Cause.FINDING, Cause.ATTACK)),
    ],
)
def test_when_a_second_person_is_needed(records, causes):
    assert causes_of(*records) == causes


class Asked:
    """A rechecker whose answer is given."""

    def __init__(self, answer) -> None:
        self.answer, self.times = answer, 0

    async def opinion(self, _content):
        self.times += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


ANSWERS = [
    *((compare(GOOD, GOOD), False), (compare(GOOD, BAD), True)),
    *((compare(GOOD, GOOD, ChipOpinion(1.0)), False), (compare(GOOD, GOOD, ChipOpinion(0.1)), True)),
    *((RecheckPictureError(""), True), (RecheckEndedError(""), True), (RecheckTimeoutError(""), True)),
    *((RecheckNothingError(""), True), (RecheckProfileError(""), False), (RecheckUnavailableError(""), False)),
]


async def test_who_makes_portraits_wait_does_not_accept_alone_meanwhile(counter):
    stored = await counter.receive()
    waiting = partial(check_objects, Asked(RecheckBusyError("", retry_after_s=5)))
    desk = HandOver(replace(counter.hand_over._rooms, check_objects=waiting))
    with pytest.raises(RecheckBusyError):
        await desk.accept(stored, PRODUCER, FIRST)
    assert await desk.decision(stored.sha256) is None


async def test_the_desks_own_check_asks_for_a_second_person_and_is_asked_only_where_nothing_else_does(counter):
    stored, other = await counter.receive(), await released(counter)
    for answer, objects in sorted(ANSWERS, key=lambda one: one[1]):
        asked = Asked(answer)
        rooms = replace(counter.hand_over._rooms, check_objects=partial(check_objects, asked))
        desk = HandOver(rooms)
        opened = [await rooms.opener.content(one) for one in (stored, other)]
        assert await desk.causes(opened[0]) == ((Cause.RECHECK,) if objects else ()), answer
        assert await desk.causes(opened[1]) == (Cause.OVERRIDE,)
        assert asked.times == (not await desk.proposals(stored.sha256))
        if objects:
            with pytest.raises(SecondPersonError):
                await desk.accept(stored, PRODUCER, FIRST)
            made = await desk.propose(stored, PRODUCER, FIRST)
            assert made.causes == "recheck"
            await desk.end_proposal(stored, made.number, SECOND, Objection.PORTRAIT)

    # What was a cause once stays one, also where the check is not there; and where somebody proposed a packet while another one accepts it.
    forgetful = counter.hand_over
    assert await forgetful.causes(await forgetful._rooms.opener.content(stored)) == (Cause.RECHECK,)
    with pytest.raises(SecondPersonError):
        await forgetful.accept(stored, PRODUCER, FIRST)
    opened = (await forgetful._rooms.opener.content(stored)).opened
    with pytest.raises(SecondPersonError):
        await forgetful._accept(stored, opened, PRODUCER, FIRST)
    assert await forgetful.decision(stored.sha256) is None


async def test_a_refusal_is_signed_linked_and_told_to_the_applicant_with_its_commit(counter, keys):
    stored = await counter.receive()
    token = await linked(counter, stored)
    for wrong in ((), ("nose",), ("eyes", "eyes"), ("eyes", "light", "pose", "glasses")):
        with pytest.raises(RefusalReasonsError):
            await counter.hand_over.refuse(stored, wrong, FIRST)
    assert await told(counter, token) == Status(Outcome.RECEIVED, ())
    done = await counter.hand_over.refuse(stored, ("light", "eyes"), FIRST)
    assert await counter.hand_over.refuse(stored, ("pose",), SECOND) == done, "refused once"
    decision = verify_decision(done.decision, keys.trust)
    assert (decision.verdict, decision.reasons, decision.officer) == ("refused", ("light", "eyes"), FIRST)
    verify_link(done.link, keys.trust, number=1, decision=done.decision, previous=None)
    assert await told(counter, token) == Status(Outcome.RETAKE, ("light", "eyes"))
    rooms = counter.intake.rooms
    found = await Registry(rooms.store, counter.clock).find(NUMBER)
    assert (found.state, found.reasons) == (State.RETAKE, ("light", "eyes"))
    assert counter.messages() == set(), "a refused packet goes nowhere"
    with pytest.raises(DecidedOtherwiseError):
        await counter.hand_over.accept(stored, PRODUCER, SECOND)
    async with rooms.store.reading() as connection:
        kept = await read_kept(connection, {stored.sha256: stored.received_at})
    assert kept[stored.sha256].fate is Fate.REJECTED

    accepted = await counter.receive()
    await counter.accept(accepted)
    with pytest.raises(DecidedOtherwiseError):
        await counter.hand_over.refuse(accepted, ("eyes",), FIRST)
    plain = await counter.receive()
    states = await counter.hand_over.standing([stored.sha256, accepted.sha256, plain.sha256])
    assert [*states.values()] == [QueueState.REFUSED, QueueState.ACCEPTED, QueueState.WAITING]
    assert await sound(counter)
    async with rooms.store.writing() as connection:
        await connection.execute(sa.delete(packets).where(packets.c.sha256 == plain.sha256))
    with pytest.raises(UnknownPacketError):
        await counter.hand_over.refuse(plain, ("eyes",), FIRST)


async def test_what_one_person_may_not_accept_waits_for_another_one(counter, keys):
    desk, stored = counter.hand_over, await released(counter)
    token = await linked(counter, stored)
    with pytest.raises(SecondPersonError):
        await desk.accept(stored, PRODUCER, FIRST)
    with pytest.raises(AcceptRefusedError):
        await desk.propose(stored, "nobody", FIRST)
    made = await desk.propose(stored, PRODUCER, FIRST)
    assert await desk.propose(stored, PRODUCER, SECOND) == made, "proposed once"
    said = verify_proposal(made.record, keys.trust, number=1, previous=None)
    assert (said.action, said.causes, said.officer, said.packet_sha256) == (
        "proposed",
        ("override",),
        FIRST,
        stored.sha256,
    )
    assert (await desk.standing([stored.sha256]))[stored.sha256] is QueueState.PROPOSED
    assert await told(counter, token) == Status(Outcome.RECEIVED, ()), "nothing is decided"
    with pytest.raises(SamePersonError):
        await desk.approve(stored, made.number, FIRST)
    with pytest.raises(ProposalGoneError):
        await desk.approve(stored, made.number + 1, SECOND)
    done = await desk.approve(stored, made.number, SECOND)
    decision = verify_decision(done.decision, keys.trust)
    assert (decision.verdict, decision.officer, decision.second_officer) == ("accepted", FIRST, SECOND)
    assert await told(counter, token) == Status(Outcome.ACCEPTED, ())
    (order,) = await counter.orders.of_packet(stored.sha256)
    opened = counter.open(await counter.intake.rooms.objects.orders.read(order.message_sha256))
    assert opened.decision == decision
    assert await desk.approve(stored, made.number, THIRD) == done
    assert await desk.proposal(stored.sha256) is None
    with pytest.raises(ProposalGoneError):
        await desk.propose(await counter.receive(), PRODUCER, FIRST)
    assert await sound(counter)


async def test_a_proposal_is_withdrawn_by_who_made_it_and_rejected_by_another(counter):
    desk, stored = counter.hand_over, await released(counter)
    first = await desk.propose(stored, PRODUCER, FIRST)
    with pytest.raises(SamePersonError):
        await desk.end_proposal(stored, first.number, SECOND)
    with pytest.raises(SamePersonError):
        await desk.end_proposal(stored, first.number, FIRST, Objection.PORTRAIT)
    await desk.end_proposal(stored, first.number, FIRST)
    for late in (desk.approve(stored, first.number, SECOND), desk.end_proposal(stored, first.number, FIRST)):
        with pytest.raises(ProposalGoneError):
            await late
    again = await desk.propose(stored, PRODUCER, SECOND)
    await desk.end_proposal(stored, again.number, FIRST, Objection.PERSON)
    assert (await desk.standing([stored.sha256]))[stored.sha256] is QueueState.WAITING
    told = [(one.action, one.officer, one.reason) for one in await desk.proposals(stored.sha256)]
    assert told == [
        *(("proposed", FIRST, None), ("withdrawn", FIRST, None)),
        *(("proposed", SECOND, None), ("rejected", FIRST, "person")),
    ]
    last = await desk.propose(stored, PRODUCER, FIRST)
    await desk.refuse(stored, ("mismatch",), FIRST)
    assert await desk.proposal(stored.sha256) is None, "a refusal ends it"
    for late in (desk.approve(stored, last.number, SECOND), desk.end_proposal(stored, last.number, FIRST)):
        with pytest.raises(DecidedOtherwiseError):
            await late
    assert await sound(counter)


@pytest.fixture(params=["sqlite", "postgres"])
def database(request):
    return {} if request.param == "sqlite" else {"database_url": request.getfixturevalue("postgres_url")}


async def test_of_persons_and_desks_at_once_one_counts(keys, tmp_path, database):
    async with (
        opened_counter(keys, tmp_path / "data", **database) as counter,
        another_desk(counter.intake, keys, counter.clock, keys.folder / "producers") as other,
    ):
        desk, wanted = counter.hand_over, [await released(counter) for _ in range(3)]
        made = await asyncio.gather(
            *(at.propose(one, PRODUCER, who) for one in wanted for at, who in ((desk, FIRST), (other, SECOND)))
        )
        for one in wanted:
            assert len({each.number for each in made if each.packet_sha256 == one.sha256}) == 1
        standing = {each.packet_sha256: each for each in made}

        async def attempt(work):
            with contextlib.suppress(DecidedOtherwiseError, ProposalGoneError):
                return await work

        for one in wanted:
            number = standing[one.sha256].number
            by_other = SECOND if standing[one.sha256].officer == FIRST else FIRST
            await asyncio.gather(
                attempt(desk.approve(one, number, by_other)),
                attempt(other.approve(one, number, THIRD)),
                attempt(other.refuse(one, ("eyes",), THIRD)),
                attempt(desk.end_proposal(one, number, THIRD, Objection.OTHER)),
            )
        async with counter.intake.rooms.store.reading() as connection:
            rows = await connection.execute(sa.select(decisions).order_by(decisions.c.number))
            chain = [stored_decision(row) for row in rows]
        assert len({one.packet_sha256 for one in chain}) == len(chain) > 0
        for one in chain:
            ordered = await counter.orders.of_packet(one.packet_sha256)
            assert len(ordered) == (one.verdict == "accepted")
            said = verify_decision(one.decision, keys.trust)
            assert one.verdict == "refused" or said.second_officer not in {None, said.officer}
        assert await sound(counter)


FORGED = [
    {"officer": FIRST},  # the second person's own word, in another's name
    {"producer": "another"},
    {"causes": "finding"},
    {"record": b"no record"},
    {"producer": None, "causes": None},
]


async def test_nobody_is_the_second_person_to_a_row_that_no_desk_signed(counter):
    desk, store = counter.hand_over, counter.intake.rooms.store
    stored, other = await released(counter), await released(counter)
    made, genuine = await desk.propose(stored, PRODUCER, SECOND), await desk.propose(other, PRODUCER, FIRST)
    for forged in FORGED:
        row = {"officer": FIRST, "producer": made.producer, "causes": made.causes, "record": made.record} | forged
        async with store.writing() as connection:
            await connection.execute(sa.update(proposals).where(proposals.c.number == made.number).values(row))
        with pytest.raises(ProposalGoneError):
            await desk.approve(stored, made.number, SECOND)
        assert await desk.decision(stored.sha256) is None
    assert (await desk.approve(other, genuine.number, SECOND)).verdict == "accepted"


async def test_a_decision_of_another_packet_sends_nothing_and_is_nobodys_word(counter):
    desk, store = counter.hand_over, counter.intake.rooms.store
    one, other = await counter.receive(), await counter.receive()
    await desk.accept(one, PRODUCER, FIRST)
    await desk.refuse(other, ("eyes",), FIRST)
    (order,) = await counter.orders.of_packet(one.sha256)
    wrong = await desk.decision(other.sha256)
    for change in ({"decision": wrong.decision}, {"decision": wrong.decision, "verdict": "refused"}):
        async with store.writing() as connection:
            mine = decisions.c.packet_sha256 == one.sha256
            await connection.execute(sa.update(decisions).where(mine).values(change))
        with pytest.raises(DecisionError):
            await desk.read(await desk.decision(one.sha256))
        with pytest.raises(StorageCorruptError):
            await desk.resend(order)
    assert len(await counter.orders.of_packet(one.sha256)) == 1


async def test_a_row_with_words_that_nobody_knows_is_a_cause_and_ends_no_page(counter):
    desk, store = counter.hand_over, counter.intake.rooms.store
    stored = await counter.receive()
    values = {"number": 1, "packet_sha256": stored.sha256, "action": "proposed", "producer": PRODUCER}
    values |= {"causes": "invented {0}", "reason": None, "officer": FIRST, "made_at": counter.clock(), "record": b""}
    ended = values | {"number": 2, "action": "{officer.x}", "causes": None, "reason": "{0}", "officer": "{why}"}
    async with store.writing() as connection:
        await connection.execute(sa.insert(proposals), [values, ended])
    assert await desk.causes(await desk._rooms.opener.content(stored)) == (Cause.RECHECK,)
    session = Session("", 0.0, 0.0, SECOND, frozenset())
    for language in load_messages().languages.values():
        (line,) = proposal_lines(await desk.proposals(stored.sha256), session, language)
        assert line.ended == "{officer.x}"


# Packet 1: proposed, withdrawn, proposed by another, approved. Packet 2: proposed, rejected. Packet 3: refused.
CHANGES = [
    ("UPDATE proposals SET officer = 'u-9' WHERE number = 1", "proposal.changed"),
    ("UPDATE proposals SET producer = 'another' WHERE number = 3", "proposal.changed"),
    ("UPDATE proposals SET causes = 'attack' WHERE number = 3", "proposal.changed"),
    ("UPDATE proposals SET causes = NULL WHERE number = 3", "proposal.changed"),
    ("UPDATE proposals SET action = 'withdrawn' WHERE number = 3", "proposal.changed"),
    ("UPDATE proposals SET reason = 'other' WHERE number = 5", "proposal.changed"),
    ("UPDATE proposals SET made_at = '2026-01-01 00:00:00.000000' WHERE number = 2", "proposal.changed"),
    (
        "UPDATE proposals SET record = (SELECT record FROM proposals WHERE number = 1) WHERE number = 3",
        "proposal.changed",
    ),
    ("UPDATE proposals SET packet_sha256 = 'x' || substr(packet_sha256, 2) WHERE number = 4", "proposal.packet"),
    ("UPDATE proposals SET number = 9 WHERE number = 5", "proposal.missing"),
    ("DELETE FROM proposals WHERE number = 1", "proposal.missing"),
    ("DELETE FROM proposals WHERE number = 2", "proposal.missing"),
    ("DELETE FROM proposals WHERE number > 2", "proposal.missing"),
    ("DELETE FROM proposals", "proposal.missing"),
]


async def test_every_change_of_a_proposal_by_hand_is_found(counter):
    desk = counter.hand_over
    one, two, three = [await released(counter) for _ in range(3)]
    first = await desk.propose(one, PRODUCER, FIRST)
    await desk.end_proposal(one, first.number, FIRST)
    second = await desk.propose(one, PRODUCER, SECOND)
    await desk.approve(one, second.number, FIRST)
    other = await desk.propose(two, PRODUCER, FIRST)
    await desk.end_proposal(two, other.number, SECOND, Objection.PORTRAIT)
    await desk.refuse(three, ("eyes",), FIRST)
    assert await sound(counter)
    missed = []
    for change, wanted in CHANGES:
        audit = Audit()
        with contextlib.suppress(ZeroDivisionError):
            async with counter.intake.rooms.store.writing() as connection:
                assert (await connection.execute(sa.text(change))).rowcount, change
                await check_proposals(counter.keys.trust)(connection, audit)
                raise ZeroDivisionError  # so that it is undone
        if wanted not in {found.code for found in audit.findings}:
            missed.append((change, audit.findings))
    assert missed == []
    async with counter.intake.rooms.store.reading() as connection:
        assert (await connection.execute(sa.select(sa.func.count()).select_from(proposals))).scalar_one() == 5
    # Rows of another kind, as SQL by hand may leave them, are told and do not end the look.
    async with counter.intake.rooms.store.writing() as connection:
        await connection.execute(sa.text("UPDATE proposals SET record = 'text' WHERE number = 1"))
        await connection.execute(sa.text("UPDATE decisions SET decision = 'text' WHERE number = 1"))
    trust = counter.keys.trust
    audit = await audit_log(counter.intake.rooms.store, trust, checks=checks_for(trust))
    told = [found.text for found in audit.findings if found.code == "row.kind"]
    assert any("proposals" in text for text in told)
    assert any("decisions" in text for text in told)
