"""The pages that refuse, propose and approve: what they say, whom they let, and that a form of another page, person or time decides nothing."""

from __future__ import annotations

import contextlib
import re

import httpx2
import pytest

from crypto.decision import MAX_REASONS, verify_decision
from server import applications, decision_errors
from server.applications import REASONS
from server.errors import DeskError
from server.messages import LANGUAGES, load_messages
from server.roles import Role
from server.second_person import Cause, Objection
from tests.desk_rig import BASE, Desk, parts
from tests.handover_rig import PRODUCER, opened_counter
from tests.sealed_packets import Keys, visit
from tests.unit.test_desk_orders import seen

WORDS = load_messages()
ENGLISH = WORDS.languages["en"]
OVERRIDE = {"staff": "s-0042", "reason_class": "head_cover"}


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("decide-keys") / "pki")


@pytest.fixture
async def counter(keys, tmp_path):
    async with opened_counter(keys, tmp_path / "data") as opened:
        yield opened


@contextlib.asynccontextmanager
async def signed_in(counter, *roles: Role):
    """Browsers at one desk, one for each person with these roles."""
    async with seen(counter, counter.hand_over, counter.keys, WORDS) as desk, contextlib.AsyncExitStack() as stack:
        desks = []
        for number, role in enumerate(roles):
            client = httpx2.AsyncClient(transport=desk.client._transport, base_url=BASE)
            one = Desk(desk.rooms, desk.objects, desk.receipts, await stack.enter_async_context(client), desk.clock)
            made = await desk.rooms.users.add(f"Person {number}", [role.value], temporary=False)
            one.known[frozenset(Role)] = made
            assert (await one.sign_in()).status_code == 303
            desks.append(one)
        yield desks


def hidden(page: httpx2.Response) -> dict[str, str]:
    return dict(re.findall(r'name="(csrf_token|proposal)" value="([^"]+)"', page.text))


async def released(counter, **told):
    return await counter.receive(counter.keys.packet(parts(told=visit(override=OVERRIDE, **told))))


async def test_a_refusal_asks_for_reasons_and_shows_what_the_applicant_will_read(counter, keys):
    stored = await counter.receive(keys.packet(parts(told=visit(language="ar"))))
    unspoken = await counter.receive(keys.packet(parts(told=visit(language="<script>"))))
    path, arabic = f"/packets/{stored.sha256}", WORDS.languages["ar"]
    async with signed_in(counter, Role.OFFICER) as (desk,):
        assert f'href="{path}/refuse"' in (await desk.client.get(path)).text
        page = await desk.client.get(f"{path}/refuse")
        assert page.text.count('type="checkbox"') == len(REASONS)
        assert 'class="preview" lang="ar" dir="rtl"' in page.text
        for reason in REASONS:
            assert f'name="reason.{reason}"' in page.text
            assert ENGLISH(f"reason.{reason}") in page.text
            assert arabic(f"status.reason.{reason}") in page.text
        assert "cannot be taken back" in page.text
        assert await counter.hand_over.decision(stored.sha256) is None, "looking decides nothing"
        for wrong in ((), ("nose",), REASONS[:4]):
            form = hidden(page) | {f"reason.{reason}": "1" for reason in wrong}
            again = await desk.client.post(f"{path}/refuse", data=form)
            assert (again.status_code, ENGLISH("error.decision.reasons") in again.text) == (400, True)
            assert again.text.count("checked>") == len(set(wrong) & set(REASONS)), "what was ticked stays so"
        assert await counter.hand_over.decision(stored.sha256) is None
        form = hidden(page) | {"reason.light": "1", "reason.eyes": "1"}
        for _ in range(2):
            answer = await desk.client.post(f"{path}/refuse", data=form)
            assert (answer.status_code, answer.headers["location"]) == (303, path)
        decided = verify_decision((await counter.hand_over.decision(stored.sha256)).decision, keys.trust)
        assert decided.reasons == ("eyes", "light")
        after = await desk.client.get(path)
        for told in (ENGLISH("state.refused"), ENGLISH("reason.eyes"), ENGLISH("reason.light"), decided.officer):
            assert told in after.text
        assert "/accept" not in after.text
        for page in ("refuse", "accept"):
            assert (await desk.client.get(f"{path}/{page}")).headers["location"] == path
        page = await desk.client.get(f"/packets/{unspoken.sha256}/refuse?lang=ru")
        assert 'class="preview" lang="ru"' in page.text, "the officer's own, where nobody speaks that of the visit"
        assert WORDS.languages["ru"]("refuse.preview.untold") in page.text
        assert "<script>" not in page.text
        other = await desk.client.post(f"{path}/accept?lang=en", data=form | {"producer": PRODUCER})
        assert (other.status_code, ENGLISH("error.decision.otherwise") in other.text) == (409, True)


async def test_two_persons_accept_what_one_may_not(counter, keys):
    stored = await released(counter)
    path = f"/packets/{stored.sha256}"
    async with signed_in(counter, Role.OFFICER, Role.SUPERVISOR, Role.SUPERVISOR) as (officer, first, second):
        page = await officer.client.get(f"{path}/accept")
        assert ENGLISH("second.cause.override") in page.text
        assert f'action="{path}/propose"' in page.text
        form = hidden(page) | {"producer": PRODUCER}
        alone = await officer.client.post(f"{path}/accept", data=form)
        assert (alone.status_code, ENGLISH("error.decision.second_person") in alone.text) == (409, True)
        # A supervisor proposes; an officer may not approve, and the supervisor not himself.
        page = await first.client.get(f"{path}/accept")
        assert (
            await first.client.post(f"{path}/propose", data=hidden(page) | {"producer": PRODUCER})
        ).status_code == 303
        assert (await officer.client.get(f"{path}/accept")).headers["location"] == path, "it is proposed already"
        assert (await officer.client.get(f"{path}/approve")).status_code == 403
        mine = await first.client.get(f"{path}/approve")
        assert ENGLISH("error.decision.same_person") in mine.text
        assert f'action="{path}/approve"' not in mine.text
        card = await first.client.get(path)
        assert (f'action="{path}/withdraw"' in card.text, f'href="{path}/approve"' in card.text) == (True, False)
        form = hidden(card)
        for act in ("approve", "reject-proposal"):
            told = await first.client.post(f"{path}/{act}", data=form | {"objection": "portrait"})
            assert (told.status_code, ENGLISH("error.decision.same_person") in told.text) == (403, True)

        page = await second.client.get(f"{path}/approve")
        good = hidden(page)
        for proposal in ("", "0", "2", "x", "9" * 30, "\u0661"):
            told = await second.client.post(f"{path}/approve", data=good | {"proposal": proposal})
            assert (told.status_code, ENGLISH("error.decision.proposal_gone") in told.text) == (409, True), proposal
        told = await second.client.post(f"{path}/reject-proposal", data=good | {"objection": "nose"})
        assert told.status_code == 400
        assert (await second.client.post(f"{path}/withdraw", data=good)).status_code == 403, "not his own"
        assert (await second.client.post(f"{path}/approve", data=good)).status_code == 303
        decided = verify_decision((await counter.hand_over.decision(stored.sha256)).decision, keys.trust)
        ids = [desk.known[frozenset(Role)].user.id for desk in (first, second)]
        assert [decided.officer, decided.second_officer] == ids
        after = (await officer.client.get(path)).text
        assert all(one in after for one in ids)


async def test_what_was_sent_back_and_withdrawn_stays_to_be_read(counter):
    stored = await released(counter)
    path = f"/packets/{stored.sha256}"
    async with signed_in(counter, Role.OFFICER, Role.SUPERVISOR) as (officer, supervisor):

        async def propose() -> None:
            page = await officer.client.get(f"{path}/accept")
            told = hidden(page) | {"producer": PRODUCER}
            assert (await officer.client.post(f"{path}/propose", data=told)).status_code == 303

        await propose()
        page = await supervisor.client.get(f"{path}/approve")
        form = hidden(page) | {"objection": "person"}
        assert (await supervisor.client.post(f"{path}/reject-proposal", data=form)).status_code == 303
        assert ENGLISH("second.objection.person") in (await officer.client.get(path)).text
        await propose()
        form = hidden(await officer.client.get(path))
        assert (await officer.client.post(f"{path}/withdraw", data=form)).status_code == 303
        late = await supervisor.client.post(f"{path}/approve", data=hidden(page))
        assert late.status_code == 409, "the page was about another proposal"
        assert "withdrawn on" in (await officer.client.get(path)).text
        assert await counter.hand_over.decision(stored.sha256) is None


async def test_no_form_of_another_site_person_or_page_decides_anything(counter):
    stored = await released(counter)
    path = f"/packets/{stored.sha256}"
    async with signed_in(counter, Role.SUPERVISOR, Role.AUDITOR, Role.CLERK) as (supervisor, auditor, clerk):
        made = await counter.hand_over.propose(stored, PRODUCER, "u-ffffffff")
        told = {"proposal": str(made.number), "objection": "other", "reason.eyes": "1", "producer": PRODUCER}
        good = told | {"csrf_token": hidden(await supervisor.client.get(path))["csrf_token"]}
        for act in ("accept", "propose", "refuse", "approve", "reject-proposal", "withdraw"):
            form = told | ({} if act == "refuse" else {"csrf_token": "x"})
            assert (await supervisor.client.post(f"{path}/{act}", data=form)).status_code == 403
            foreign = {"Origin": "https://evil.test"}
            assert (await supervisor.client.post(f"{path}/{act}", data=good, headers=foreign)).status_code == 403
            for other in (auditor, clerk):
                own = re.search(r'name="csrf_token" value="([^"]+)"', (await other.client.get("/account")).text)
                form = told | {"csrf_token": own[1] if own else ""}
                assert (await other.client.post(f"{path}/{act}", data=form)).status_code == 403
            assert (await supervisor.client.get(f"{path}/{act}", params=good)).status_code in {200, 303, 405}
        assert await counter.hand_over.proposal(stored.sha256) == made
        assert await counter.hand_over.decision(stored.sha256) is None


async def test_the_pages_speak_every_language(counter):
    stored, plain = await released(counter), await counter.receive()
    await counter.hand_over.propose(stored, PRODUCER, "u-ffffffff")
    path = f"/packets/{stored.sha256}"
    async with signed_in(counter, Role.SUPERVISOR) as (desk,):
        for language in LANGUAGES:
            pages = (path, f"{path}/approve", f"/packets/{plain.sha256}/refuse", f"/packets/{plain.sha256}/accept")
            for wanted in pages:
                page = await desk.client.get(wanted, params={"lang": language})
                assert (page.status_code, f'<html lang="{language}"' in page.text) == (200, True)
                text = re.sub(r"<[^>]*>", "", page.text)
                assert not re.search(r"\b(?:accept|refuse|decision|second|reason|state)\.[a-z_.]+\b", text)
            words = WORDS.languages[language].texts
            told = [f"second.cause.{one}" for one in Cause] + [f"second.objection.{one}" for one in Objection]
            leaves = [kind for kind in vars(decision_errors).values() if getattr(kind, "__base__", None) is DeskError]
            assert len(leaves) == 5
            assert all(words[key] for key in (*told, *(f"error.{leaf.code}" for leaf in leaves)))


def test_a_decision_has_room_for_what_the_catalogue_allows():
    assert applications.MAX_REASONS == MAX_REASONS
