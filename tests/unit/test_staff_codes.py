"""Staff codes at a booth, attacked: guessed, replayed, of another authority, torn, out of date; and what a restart remembers."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import argon2
import httpx2
import pytest
from argon2.exceptions import VerificationError
from cryptography.x509 import ReasonFlags

from booth import kept_tries
from booth.config import IntakeSection
from booth.errors import StaffListStaleError
from booth.kept_tries import ALLOWED, LONGEST_S, KeptTries
from booth.staff import NO_LIST, WAIT, WRONG, StaffCodes, open_staff_codes
from booth.staff_list import AGAIN_S, FETCH_S, NAME, NUMBER_NAME, StaffListCopy, StaffListWatch
from crypto.errors import KeyUnavailableError, SigningError, StaffListError
from crypto.issuance import Revoked
from crypto.keys import Purpose, TrustStore
from crypto.staff_code import NOBODY, StaffCode
from crypto.staff_list import MAX_LIST_BYTES, MEDIA_TYPE
from server.staff import StaffRegistry
from tests.intake_rig import running
from tests.packets import BOOTH, NOW, make_authority, make_signer
from tests.revocation_lists import list_of, trusting
from tests.sealed_packets import Keys
from tests.staff_lists import ANNA, BEN, MONTH, entry, signed_list

HERE = "centre-07"
GUESS = StaffCode(ANNA.staff, "123456789012")


@pytest.fixture(scope="module")
def root():
    return make_authority()


@pytest.fixture(scope="module")
def signer(root):
    return make_signer(root, "staff-office", purposes=[Purpose.STAFF.oid])


@pytest.fixture(scope="module")
def good(signer):
    return signed_list(signer, entry(ANNA, HERE), entry(BEN, "centre-08"))


@pytest.fixture
def quick_hash(monkeypatch):
    """Comparing takes no time; `looked` tells against which hashes."""
    looked = []

    def matches(stored, code):
        looked.append(stored)
        return stored == entry(ANNA).hash and code == ANNA

    monkeypatch.setattr("booth.staff.matches", matches)
    return looked


class Booth:
    """A booth's disk with its clocks; `restart` reads everything anew."""

    def __init__(self, folder, root):
        self.folder, self.trust = folder, TrustStore((root.certificate,))
        self.at, self.up_s = NOW, 1000.0
        self.restart()

    def restart(self):
        self.copy = StaffListCopy(self.folder, lambda: self.trust)
        self.tries = KeptTries(self.folder / kept_tries.STAFF, self._seconds, lambda: self.up_s)
        self.codes = StaffCodes(self.copy, self.tries, HERE, lambda: self.at)

    def _seconds(self):
        return self.at.timestamp()

    def pass_s(self, seconds):
        self.at += timedelta(seconds=seconds)
        self.up_s += seconds

    def check(self, code):
        return self.codes.check(code.text)


@pytest.fixture
def booth(tmp_path, root):
    return Booth(tmp_path, root)


@pytest.fixture
def staffed(booth, good):
    assert booth.copy.take(good)
    return booth


# --- codes -------------------------------------------------------------------------------------------------------------


def test_a_code_is_known_without_network_after_a_restart(staffed):
    staffed.restart()
    assert staffed.check(ANNA) == ANNA.staff


def test_whoever_is_not_staff_here_gets_one_answer_for_the_same_work(staffed, quick_hash):
    gone = staffed.copy.current(NOW).find(ANNA.staff)
    assert gone is not None
    nobody = StaffCode("999999", ANNA.secret)
    assert {staffed.check(code) for code in (GUESS, BEN, nobody)} == {WRONG}
    assert quick_hash == [gone.hash, entry(BEN).hash, NOBODY]


def test_a_code_past_its_own_end_does_not_count(booth, signer, quick_hash):
    booth.copy.take(signed_list(signer, entry(ANNA, None, NOW + timedelta(hours=1))))
    assert booth.check(ANNA) == ANNA.staff
    booth.pass_s(3600)
    assert booth.check(ANNA) == WRONG


def test_what_is_no_code_costs_no_try(staffed, quick_hash):
    for text in ("", "482103", "x" * 18, "4" * 300):
        assert staffed.codes.check(text) == WRONG
    assert quick_hash == []
    assert not (staffed.folder / kept_tries.STAFF).exists()


def test_no_code_is_in_the_log_or_on_the_disk(staffed, caplog, quick_hash):
    caplog.set_level(logging.DEBUG)
    staffed.check(GUESS)
    staffed.check(ANNA)
    told = caplog.text + "".join(path.read_bytes().decode("latin-1") for path in staffed.folder.iterdir())
    for secret in (GUESS.secret, ANNA.secret, GUESS.text, ANNA.text):
        assert secret not in told
    assert ANNA.staff not in caplog.text


# --- guessing ----------------------------------------------------------------------------------------------------------


def test_guessing_waits_longer_each_time_and_a_right_code_is_not_looked_at_meanwhile(staffed, quick_hash):
    for _ in range(ALLOWED):
        assert staffed.check(GUESS) == WRONG
    waits = []
    for _ in range(8):
        waits.append(staffed.codes.wait_s)
        looked = len(quick_hash)
        assert staffed.check(ANNA) == WAIT
        assert len(quick_hash) == looked
        staffed.pass_s(staffed.codes.wait_s)
        assert staffed.check(GUESS) == WRONG
    assert waits == [61, 121, 241, 481, 961, 1921, 3601, 3601]
    staffed.pass_s(LONGEST_S)
    assert staffed.check(ANNA) == ANNA.staff
    assert staffed.codes.wait_s == 0
    assert staffed.check(GUESS) == WRONG
    assert staffed.codes.wait_s == 0, "the right one forgot the wrong ones"


def test_switching_off_and_on_gives_no_new_tries(staffed, quick_hash):
    for _ in range(ALLOWED + 40):
        staffed.check(GUESS)
        staffed.restart()
    assert len(quick_hash) == ALLOWED
    assert staffed.codes.wait_s == 61
    staffed.pass_s(61)
    staffed.restart()
    assert staffed.check(GUESS) == WRONG
    staffed.restart()
    assert staffed.codes.wait_s == 121


def test_a_clock_that_was_set_never_makes_the_wait_longer_and_not_shorter_while_the_booth_runs(staffed, quick_hash):
    for _ in range(ALLOWED):
        staffed.check(GUESS)
    staffed.at += timedelta(days=1)  # the time of day alone
    assert staffed.check(ANNA) == WAIT
    staffed.at -= timedelta(days=20)
    staffed.restart()
    assert staffed.codes.wait_s == 61


@pytest.mark.parametrize("torn", [b"", b"{", b'{"wrong":0}x', b'{"wrong":-1}', b'{"wrong":1,"wait_s":1e9}', bytes(300)])
def test_a_damaged_count_is_the_longest_wait(staffed, quick_hash, torn):
    (staffed.folder / kept_tries.STAFF).write_bytes(torn)
    staffed.restart()
    assert staffed.check(ANNA) == WAIT
    assert staffed.codes.wait_s == LONGEST_S + 1
    staffed.pass_s(LONGEST_S)
    assert staffed.check(ANNA) == ANNA.staff


def test_nothing_is_looked_at_when_it_cannot_be_counted(staffed, quick_hash, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept_tries, "write_whole", fail)
    assert staffed.check(ANNA) == NO_LIST
    assert quick_hash == []


def test_a_machine_without_memory_for_the_comparison_says_so_and_calls_no_code_wrong(staffed, monkeypatch):
    def verify(*_):
        raise VerificationError("Memory allocation error")

    monkeypatch.setattr(argon2.PasswordHasher, "verify", verify)
    assert staffed.check(ANNA) == NO_LIST


# --- the list ----------------------------------------------------------------------------------------------------------


def test_without_a_list_nobody_is_staff_and_no_try_is_counted(booth):
    assert booth.check(ANNA) == NO_LIST
    assert list(booth.folder.iterdir()) == []


def test_an_older_list_is_refused_and_the_same_number_is_one_list(booth, signer, quick_hash):
    revoked = signed_list(signer, entry(BEN), number=8)
    replayed = signed_list(signer, entry(ANNA), number=7)
    assert booth.copy.take(replayed)
    assert booth.copy.take(revoked)
    for data in (replayed, signed_list(signer, entry(ANNA), number=8)):
        with pytest.raises(StaffListError):
            booth.copy.take(data)
    assert not booth.copy.take(signed_list(signer, entry(BEN), number=8))
    assert booth.check(ANNA) == WRONG
    booth.restart()
    assert booth.copy.number == 8


def test_an_older_list_put_on_the_disk_is_refused_too(booth, signer, quick_hash):
    old = signed_list(signer, entry(ANNA), number=7)
    booth.copy.take(old)
    booth.copy.take(signed_list(signer, number=9))
    (booth.folder / NAME).write_bytes(old)
    booth.restart()
    assert booth.copy.trouble is not None
    assert booth.check(ANNA) == NO_LIST
    (booth.folder / NAME).unlink()
    booth.restart()
    with pytest.raises(StaffListError):
        booth.copy.take(old)
    assert booth.copy.take(signed_list(signer, number=10))
    assert booth.copy.trouble is None


def test_a_kill_between_list_and_number_loses_neither(booth, signer, monkeypatch):
    booth.copy.take(signed_list(signer, number=7))
    whole = booth.folder / NUMBER_NAME
    before = whole.read_bytes()
    booth.copy.take(signed_list(signer, entry(ANNA), number=8))
    whole.write_bytes(before)
    booth.restart()
    assert (booth.copy.number, booth.copy.trouble) == (8, None)


@pytest.mark.parametrize("cut", [0, 1, 100, -1])
def test_a_torn_list_on_the_disk_is_no_list_until_the_intake_gives_one(staffed, good, signer, cut, quick_hash):
    (staffed.folder / NAME).write_bytes(good[:cut])
    staffed.restart()
    assert isinstance(staffed.copy.trouble, StaffListError)
    assert staffed.check(ANNA) == NO_LIST
    with pytest.raises(StaffListError):
        staffed.copy.take(signed_list(signer, entry(ANNA), number=6))
    assert staffed.copy.take(good)
    assert staffed.check(ANNA) == ANNA.staff


@pytest.mark.parametrize("torn", [b"", b"7x\n", b"-1\n", b"9" * 40])
def test_with_a_damaged_number_the_disk_is_not_believed(staffed, good, torn, quick_hash):
    (staffed.folder / NUMBER_NAME).write_bytes(torn)
    staffed.restart()
    assert staffed.copy.trouble is not None
    assert staffed.check(ANNA) == NO_LIST
    assert staffed.copy.take(good)
    staffed.restart()
    assert staffed.check(ANNA) == ANNA.staff


def test_a_list_of_another_authority_or_another_key_changes_nothing(staffed, root, quick_hash):
    stranger = make_signer(make_authority(), "staff-office", purposes=[Purpose.STAFF.oid])
    for data in (signed_list(stranger, entry(BEN, HERE), number=99), b"", b"<html>", bytes(MAX_LIST_BYTES + 1)):
        with pytest.raises(StaffListError):
            staffed.copy.take(data)
    (staffed.folder / NAME).write_bytes(signed_list(stranger, entry(BEN, HERE), number=99))
    assert staffed.check(ANNA) == ANNA.staff
    staffed.restart()
    assert staffed.check(BEN) == NO_LIST


def test_a_stolen_staff_key_that_was_revoked_makes_its_list_worthless_at_once(staffed, root, signer, quick_hash):
    assert staffed.check(ANNA) == ANNA.staff
    stolen = Revoked(signer.certificate.serial_number, NOW, ReasonFlags.key_compromise)
    staffed.trust = trusting(root, list_of(root, stolen))
    assert staffed.check(ANNA) == NO_LIST
    assert staffed.copy.trouble is not None
    assert staffed.check(ANNA) == NO_LIST


def test_after_its_end_a_list_counts_no_more_and_a_clock_before_its_issue_is_taken_for_that_time(staffed, quick_hash):
    staffed.at = NOW + MONTH - timedelta(seconds=1)
    assert staffed.check(ANNA) == ANNA.staff
    staffed.at = NOW + MONTH
    with pytest.raises(StaffListStaleError):
        staffed.copy.current(staffed.at)
    assert staffed.check(ANNA) == NO_LIST
    staffed.at = NOW - timedelta(days=400)
    assert staffed.check(ANNA) == ANNA.staff  # taken for the time of its issue


def test_a_disk_that_refuses_leaves_the_list_in_use(staffed, signer, monkeypatch, quick_hash):
    def fail(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("booth.staff_list.write_whole", fail)
    with pytest.raises(KeyUnavailableError):
        staffed.copy.take(signed_list(signer, number=8))
    assert staffed.check(ANNA) == ANNA.staff


# --- fetching ----------------------------------------------------------------------------------------------------------


class Intake:
    """What answers `GET /v1/staff`; a test sets the answer."""

    def __init__(self, status=200, body=b""):
        self.status, self.body, self.asked = status, body, []

    def __call__(self, request):
        self.asked.append(request)
        if self.status == 0:
            raise httpx2.ConnectError("no route")
        return httpx2.Response(self.status, content=self.body, headers={"Content-Type": MEDIA_TYPE})


@pytest.fixture
async def watched(booth, root, tmp_path):
    intake, told = Intake(), []
    settings = IntakeSection(url="https://intake.example", trust=tmp_path / "ca.pem")
    booth_signer = make_signer(root, BOOTH)
    with ThreadPoolExecutor(1) as worker:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(intake)) as client:
            watch = StaffListWatch(
                *(booth.copy, worker, settings, client, lambda: booth_signer),
                *(lambda source, error: told.append((source, error)), lambda: booth.at, lambda: booth.up_s),
            )
            yield booth, intake, watch, told


async def test_the_list_is_fetched_by_a_signed_request_that_names_what_is_known(watched, good, quick_hash):
    booth, intake, watch, told = watched
    intake.body = good
    await watch.look()
    await watch.look()
    (asked,) = intake.asked
    assert {"signature", "signature-input", "booth-certificate"} <= set(asked.headers)
    assert "if-none-match" not in asked.headers
    assert booth.check(ANNA) == ANNA.staff
    booth.pass_s(FETCH_S)
    intake.status, intake.body = 304, b""
    await watch.look()
    assert intake.asked[-1].headers["if-none-match"] == '"7"'
    assert [error for _, error in told] == [None] * 3


async def test_what_the_intake_answers_instead_is_told_or_overlooked_and_the_list_stays(
    watched, good, signer, quick_hash
):
    booth, intake, watch, told = watched
    booth.copy.take(good)
    answers = [(0, b""), (404, b"{}"), (503, b""), (200, b"<html>"), (200, signed_list(signer, number=6))]
    for intake.status, intake.body in answers:
        booth.pass_s(FETCH_S)
        await watch.look()
        assert booth.check(ANNA) == ANNA.staff
    assert [type(error) for _, error in told] == [type(None)] * 3 + [StaffListError] * 2
    booth.pass_s(60)
    await watch.look()
    assert isinstance(told[-1][1], StaffListError), "told until the intake answers right"


async def test_a_code_that_was_given_a_moment_ago_is_fetched_when_it_is_typed_but_not_for_every_guess(
    watched, good, quick_hash
):
    booth, intake, watch, _ = watched
    booth.codes.on_missing = watch.ask_again
    await watch.look()
    intake.body = good
    booth.pass_s(30)
    booth.codes.on_missing()
    await watch.look()
    assert len(intake.asked) == 1, "asked a moment ago"
    booth.pass_s(30)
    booth.codes.on_missing()
    await watch.look()
    assert booth.check(ANNA) == ANNA.staff
    booth.pass_s(60)
    booth.check(GUESS)  # a known id
    await watch.look()
    assert len(intake.asked) == 2
    booth.check(StaffCode("999999", ANNA.secret))
    await watch.look()
    assert len(intake.asked) == 3


async def test_a_code_that_is_typed_while_no_list_counts_has_one_fetched(watched, good, quick_hash):
    booth, intake, watch, _ = watched
    booth.codes.on_missing = watch.ask_again
    await watch.look()  # at the start nobody answered
    intake.body = good
    booth.pass_s(AGAIN_S)
    assert booth.check(ANNA) == NO_LIST
    await watch.look()
    assert booth.check(ANNA) == ANNA.staff


async def test_from_the_operators_command_to_the_booths_screen(booth, tmp_path):
    """A real intake, asked by a real booth's signature."""
    keys = Keys(tmp_path / "pki")
    booth.trust, booth.at = keys.trust, datetime.now(UTC)
    async with running(keys, tmp_path / "data") as intake:
        code = await StaffRegistry(intake.rooms.store).add(None, HERE, None)
        with ThreadPoolExecutor(1) as worker:
            settings = IntakeSection(url="https://intake.test", trust=tmp_path / "ca.pem")
            watch = StaffListWatch(
                *(booth.copy, worker, settings, intake.client, lambda: keys.signer),
                *(lambda _source, error: pytest.fail(str(error)) if error else None, lambda: booth.at),
            )
            await watch.look()
            assert booth.check(code) == code.staff


async def test_a_key_that_does_not_sign_is_no_trouble_of_the_list_and_the_next_look_asks(watched, good, quick_hash):
    booth, intake, watch, told = watched
    intake.body, sound = good, watch._signer

    def away():
        raise SigningError("The token does not answer.")

    watch._signer = away
    await watch.look()
    assert (intake.asked, told) == ([], [("staff codes", None)])
    watch._signer = sound
    await watch.look()  # at once, not after FETCH_S
    assert len(intake.asked) == 1
    assert booth.check(ANNA) == ANNA.staff


async def test_an_endless_answer_is_cut(watched):
    booth, intake, watch, _ = watched
    intake.body = bytes(MAX_LIST_BYTES + 1)
    await watch.look()
    assert booth.copy.number is None


async def test_the_end_of_a_list_is_told(watched, good):
    booth, intake, watch, told = watched
    booth.copy.take(good)
    intake.status = 0
    booth.pass_s(MONTH.total_seconds())
    await watch.look()
    assert isinstance(told[-1][1], StaffListStaleError)


async def test_a_booth_opens_and_closes_its_codes(tmp_path, root, good, no_tasks_left):
    settings = IntakeSection(url="https://intake.example", trust=tmp_path / "ca.pem")
    signer, asked = make_signer(root, BOOTH), asyncio.Event()

    def tell(_source, _error):
        asked.set()

    with ThreadPoolExecutor(1) as worker:
        async with httpx2.AsyncClient(transport=httpx2.MockTransport(Intake(body=good))) as client:
            trust = TrustStore((root.certificate,))
            opening = open_staff_codes(
                *(tmp_path, HERE, lambda: trust, worker, settings, client, lambda: signer, tell, lambda: NOW)
            )
            async with opening as codes:
                await asyncio.wait_for(asked.wait(), 10)
                answer = await asyncio.get_running_loop().run_in_executor(worker, codes.check, ANNA.text)
    assert answer == ANNA.staff
