"""The desk's view of the presentation attack check: it warns, says why there is no score, survives whatever a booth says, and is for officers only."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.messages import LANGUAGES, load_messages
from server.pad_card import MAX_FRAMES, frame_of, pad_card
from server.records import PadRecord, read_pad
from tests.desk_rig import opened_desk, parts
from tests.pad_scenes import Situation, present
from tests.sealed_packets import Keys, finding
from validation.pad import Reason, assess

MESSAGES = load_messages()
JPEG = b"\xff\xd8\xff\xe0 a picture"
PAGES = Path("server/pages")


def told(**changes) -> dict[str, bytes]:
    """The folder of a packet."""
    score = {
        "mechanism": "active-light/1",
        "usable": True,
        "reason": None,
        "score": 0.12,
        "operating_point": 0.5,
        "suspected": True,
        "interim": {"shape.local_slope": 0.02, "shape.front_fit": None, "new.value": 3},
    } | changes
    return {"pad/score.json": json.dumps(score).encode(), "pad/frame-01.jpg": JPEG, "pad/frame-02.jpg": JPEG}


def card(folder, code="en"):
    return pad_card(read_pad(folder.get("pad/score.json")), folder, MESSAGES.languages[code])


def test_a_score_below_the_operating_point_warns_by_the_numbers_and_by_the_word():
    assert "0.12" in card(told()).warning
    assert card(told(suspected=False)).warning, "the numbers say so"
    assert card(told(score=0.9)).warning, "the booth says so"
    assert card(told(score=None, suspected=False)).warning, "usable without a score is a riddle"
    fine = card(told(score=0.9, suspected=False))
    assert (fine.warning, fine.tone, fine.remark) == ("", "good", "No sign of a print or a screen.")


def test_a_check_that_could_not_be_used_says_why_in_every_language():
    for reason in Reason:
        for code in LANGUAGES:
            shown = card(told(usable=False, score=None, suspected=False, reason=reason), code)
            assert shown.warning == ""
            assert MESSAGES.languages[code].texts[f"pad.reason.{reason}"] in shown.remark
    assert "something new" in card(told(usable=False, reason="something new")).remark


@pytest.fixture(scope="module")
def interim(face_model):
    return assess(*present(face_model, "people/kwame", Situation())).interim


def test_every_interim_value_has_a_name_in_every_language(interim):
    for name in interim:
        assert all(MESSAGES.languages[code].texts.get(f"pad.value.{name}") for code in LANGUAGES), name
    named = {text for text in MESSAGES.languages["en"].texts if text.startswith("pad.value.")}
    assert {f"pad.value.{name}" for name in interim} == named


def test_interim_values_are_told_with_their_names_and_unknown_ones_as_they_came():
    values = {fact.label: fact.value for fact in card(told()).interim}
    assert values == {
        "Shading follows the shape, locally": "0.02",
        "Answer to the front light follows the shape": "\N{EN DASH}",
        "new.value": "3",
    }


def test_only_pictures_of_the_check_are_shown():
    folder = told() | {
        "pad/frame-03.jpg": b"<script>",
        "pad/other.jpg": JPEG,
        "frame-04.jpg": JPEG,
        **{f"pad/frame-{n}.jpg": JPEG for n in range(10, 99)},
    }
    shown = card(folder).frames
    assert shown[:3] == ("frame-01.jpg", "frame-02.jpg", "frame-10.jpg")
    assert len(shown) == MAX_FRAMES
    assert frame_of(folder, "frame-03.jpg") is None
    assert frame_of(folder, "other.jpg") is None
    assert frame_of(folder, "../portrait.jpg") is None


def test_no_folder_no_card_and_an_unreadable_one_says_so():
    assert card({}) is None
    assert card({"pad/score.json": b"{"}).remark == "The result of the check cannot be read."


values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from([*PadRecord.model_fields, "x"]), values))
def test_no_score_breaks_the_page_whatever_it_says(document):
    data = json.dumps(document, allow_nan=True).encode("utf-8", "surrogatepass")
    shown = card({"pad/score.json": data}, "ar")
    assert shown is not None
    assert all(len(fact.value) < 400 and len(fact.label) < 400 for fact in (*shown.facts, *shown.interim))


def test_the_applicants_pages_of_the_centre_know_nothing_of_it():
    for text in ("pad.", "pad_card", "/pad/"):
        assert text not in (PAGES / "status.html").read_text("utf-8")
    source = Path("server/status_page.py").read_text("utf-8")
    assert "pad" not in source.split("class ")[0]


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("pad-keys") / "pki")


async def test_an_officer_sees_warning_score_values_and_pictures(keys, tmp_path):
    async with opened_desk(keys, tmp_path / "data", MESSAGES) as desk:
        packet = keys.packet({**parts(finding("pose.yaw")), **told()})
        address = f"/packets/{await desk.receive(packet)}"
        frame = f"{address}/pad/frame-01.jpg"
        assert (await desk.client.get(frame)).status_code == 303, "signed in only"
        await desk.sign_in()
        page = (await desk.client.get(address)).text
        assert "Possible presentation attack" in page
        assert "Shading follows the shape, locally" in page
        assert page.count("/pad/frame-0") == 2 + 2, "shown, and offered as files"
        assert "not evaluated to ISO/IEC 30107-3" in page
        answer = await desk.client.get(frame)
        assert (answer.content, answer.headers["content-type"]) == (JPEG, "image/jpeg")
        assert (await desk.client.get(f"{address}/pad/score.json")).status_code == 404
        assert "Possible presentation attack" in (await desk.client.get("/")).text
        facts = (await desk.client.get(f"/api{address}")).json()
        assert facts["pad"]["score"] == 0.12
        quiet = await desk.receive(keys.packet(parts(finding("pose.yaw"))))
        assert "Presentation attack check" not in (await desk.client.get(f"/packets/{quiet}")).text
