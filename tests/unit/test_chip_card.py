"""What an officer reads of the chip image: the booth's facts, held against the packet itself, whatever the booth wrote."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capture.portrait import ChipTarget, encode_chip
from server.chip_card import FILLED, chip_card
from server.messages import LANGUAGES, load_messages
from server.records import ChipRecord, read_report
from server.views import ISOLATE, POP_ISOLATE
from tests.desk_rig import opened_desk, parts
from tests.sealed_packets import Keys
from validation.report import CHIP_FILLED, ChipFacts

MESSAGES = load_messages()
ENGLISH = MESSAGES.languages["en"]
TOLD = {
    "width": 622,
    "height": 800,
    "target_width": 622,
    "target_height": 800,
    "target_bytes": 17_000,
    "bytes": 16_884,
    "rate": 88.16,
    "scale": 0.5,
    "resampling": "bicubic",
    "encoder": "OpenJPEG",
    "psnr_db": 43.2512,
    "ssim": 0.98431,
}


def chip(**changed: object) -> ChipRecord | None:
    report = read_report(json.dumps({"findings": [], "chip": {**TOLD, **changed}}).encode())
    assert report is not None
    return report.chip


def test_a_chip_as_it_should_be_has_its_figures_and_no_remark():
    card = chip_card(chip(), 16_884, ENGLISH)
    assert card is not None
    marks = {ord(ISOLATE): None, ord(POP_ISOLATE): None, ord("\N{NO-BREAK SPACE}"): " "}
    values = [fact.value.translate(marks) for fact in card.facts]
    assert values == ["622 × 800 px", "16,884 B of at most 17,000 B", "43.3 dB", "0.9843"]  # noqa: RUF001 - the sign of sizes
    assert card.remarks == ()


@pytest.mark.parametrize(
    ("changed", "part_bytes", "remarks"),
    [
        ({}, 16_883, ["chip.other_bytes"]),
        ({}, None, ["chip.missing"]),
        ({"bytes": 17_001}, 17_001, ["chip.too_large"]),
        ({"bytes": 17_000}, 17_000, []),
        ({"bytes": 16_150}, 16_150, []),
        ({"bytes": 16_149}, 16_149, ["chip.unfilled"]),
        ({"scale": 1.2}, 16_884, ["chip.scale"]),
        ({"scale": None}, 16_884, ["chip.scale"]),
        ({"scale": 1, "width": 350, "height": 450}, 16_884, ["chip.small"]),
        ({"scale": 1}, 16_884, []),
        # Of another shape than the profile's box: as high as it, but less wide.
        ({"scale": 0.66, "width": 600}, 16_884, []),
    ],
)
def test_what_does_not_fit_is_remarked(changed, part_bytes, remarks):
    card = chip_card(chip(**changed), part_bytes, ENGLISH)
    assert card is not None
    assert list(card.remarks) == [ENGLISH(key) for key in remarks]


def test_a_chip_that_the_report_does_not_mention_is_remarked_and_no_chip_is_silent():
    card = chip_card(None, 16_884, ENGLISH)
    assert card is not None
    assert (card.facts, card.remarks) == ((), (ENGLISH("chip.untold"),))
    assert chip_card(None, None, ENGLISH) is None


def test_booth_and_desk_hold_a_file_against_the_same_share_of_its_target():
    assert FILLED == CHIP_FILLED


def test_a_picture_that_lost_nothing_says_so():
    card = chip_card(chip(psnr_db=None, ssim=1), 16_884, ENGLISH)
    assert card is not None
    assert card.facts[2].value == ENGLISH("chip.equal")
    silent = chip_card(chip(psnr_db=None), 16_884, ENGLISH)
    assert silent is not None
    assert silent.facts[2].value == ENGLISH("chip.unknown")


wild = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9) | st.lists(st.integers(), max_size=2)
)


@given(
    told=st.dictionaries(st.sampled_from(sorted(TOLD)), wild) | wild,
    part_bytes=st.none() | st.integers(0, 20_000_000),
    code=st.sampled_from(sorted(LANGUAGES)),
)
def test_no_chip_breaks_the_page_whatever_the_report_says(told, part_bytes, code):
    report = read_report(json.dumps({"findings": [], "chip": told}).encode("utf-8", "surrogatepass"))
    if report is None:
        return
    card = chip_card(report.chip, part_bytes, MESSAGES.languages[code])
    if card is not None:
        assert all(len(fact.value) < 120 for fact in card.facts)
        assert all(" " in remark for remark in card.remarks)


async def test_the_packets_page_shows_what_the_booth_wrote(tmp_path, applicant):
    made = encode_chip(
        applicant("people/anna/neutral"),
        ChipTarget(width_px=413, height_px=531, bytes=15_000, record="39794-5", source="a test"),
    )
    facts = ChipFacts.model_validate_json(made.facts.model_dump_json())
    keys = Keys(tmp_path / "pki")
    async with opened_desk(keys, tmp_path / "data", MESSAGES) as desk:
        await desk.sign_in()
        content = {**parts(chip=json.loads(facts.model_dump_json())), "chip.jp2": made.data}
        sha256 = await desk.receive(keys.packet(content))
        page = (await desk.client.get(f"/packets/{sha256}")).text
        assert f"{made.width} × {made.height}" in page  # noqa: RUF001
        assert f"{len(made.data):,}" in page
        assert f"{round(made.facts.psnr_db, 1):g}\N{NO-BREAK SPACE}dB" in page
        assert ENGLISH("chip.other_bytes") not in page
        sha256 = await desk.receive(keys.packet({**content, "chip.jp2": made.data + b"\0"}))
        assert ENGLISH("chip.other_bytes") in (await desk.client.get(f"/packets/{sha256}")).text
        sha256 = await desk.receive(keys.packet())
        assert ENGLISH("chip.title") not in (await desk.client.get(f"/packets/{sha256}")).text
