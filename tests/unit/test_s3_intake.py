"""An intake over an S3 store does what one over a folder does: the tests of uploads and resumed uploads, run again on a bucket."""

from __future__ import annotations

import inspect

import pytest

from tests.intake_rig import running
from tests.sealed_packets import Keys
from tests.unit import test_intake as whole
from tests.unit import test_intake_resume as resumed
from tests.unit.test_intake import (  # noqa: F401 - tests
    test_twenty_copies_at_once_are_one_packet_with_one_receipt,
)
from tests.unit.test_intake_resume import (  # noqa: F401 - tests
    test_of_two_resumes_at_once_one_writes_and_the_packet_is_whole,
    test_pieces_become_a_packet,
)

JUDGED = (
    (whole.test_what_is_no_packet_is_refused_although_it_is_signed, {"body": b"junk" * 1_000}),
    (whole.test_a_packet_of_another_booth_is_refused, {}),
    (whole.test_bytes_that_are_not_the_announced_ones_are_refused, {}),
    (whole.test_a_crash_after_the_bytes_and_before_the_row_leaves_an_upload_that_can_be_repeated, {}),
    (resumed.test_a_plain_upload_that_is_cut_leaves_nothing, {}),
    (resumed.test_lengths_must_agree, {}),
    (resumed.test_a_patch_needs_its_headers_and_something_to_go_on_with, {}),
    (resumed.test_another_offset_is_a_conflict_that_tells_the_right_one, {"offset": 500_001}),
    (resumed.test_what_does_not_have_the_digest_is_no_packet_and_is_dropped, {}),
    (resumed.test_content_that_was_not_signed_moves_no_offset, {}),
    (resumed.test_bytes_that_are_no_packet_leave_nothing, {}),
    (resumed.test_a_partial_is_its_booths_alone, {}),
)
KEPT = (
    (resumed.test_a_whole_packet_in_one_resumable_request_gets_its_receipt, {}),
    (resumed.test_a_connection_that_ends_leaves_what_came, {"sent": 0}),
    (resumed.test_a_connection_that_ends_leaves_what_came, {"sent": 65_537}),
    (resumed.test_a_connection_that_ends_leaves_what_came, {"sent": 1_000_000}),
    (resumed.test_a_commit_that_fails_is_tried_again_with_nothing_to_send, {}),
    (resumed.test_a_new_beginning_never_touches_a_packet_that_shares_its_file, {}),
    (resumed.test_a_packet_that_is_here_gets_its_receipt_again_however_it_is_sent, {}),
)


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("s3-keys") / "pki")


@pytest.fixture
def packet(keys) -> bytes:
    """Larger than a piece."""
    return keys.packet(padding=1_200_000)


@pytest.fixture
async def intake(keys, tmp_path, s3_place):
    async with running(keys, tmp_path / "data", max_uploads_per_booth=32, **s3_place.settings) as started:
        started.before = {"passbooth"}  # the mark of the place

        def files() -> list[str]:
            """What lies there and did not lie there before."""
            return sorted(key.rpartition("/")[2] for key in s3_place.names() if key not in started.before)

        started.files = files
        yield started


@pytest.mark.parametrize("tests", [JUDGED, KEPT], ids=["judged", "kept"])
async def test_an_upload_is_what_it_is_in_a_folder(intake, keys, s3_place, monkeypatch, tests):
    for test, more in tests:
        intake.before = set(s3_place.names())
        given = {"intake": intake, "keys": keys, "packet": keys.packet(padding=1_200_000), "monkeypatch": monkeypatch}
        wanted = inspect.signature(test).parameters
        await test(**{name: value for name, value in (given | more).items() if name in wanted})
