"""An intake over an S3 store does what one over a folder does: the tests of uploads and resumed uploads, run again on a bucket."""

from __future__ import annotations

import pytest

from tests.intake_rig import running
from tests.sealed_packets import Keys
from tests.unit import test_intake_resume as resume
from tests.unit.test_intake_resume import (  # noqa: F401 - tests
    test_a_commit_that_fails_is_tried_again_with_nothing_to_send,
    test_a_new_beginning_never_touches_a_packet_that_shares_its_file,
    test_a_packet_that_is_here_gets_its_receipt_again_however_it_is_sent,
    test_a_whole_packet_in_one_resumable_request_gets_its_receipt,
    test_bytes_that_are_no_packet_leave_nothing,
    test_content_that_was_not_signed_moves_no_offset,
    test_lengths_must_agree,
    test_of_two_resumes_at_once_one_writes_and_the_packet_is_whole,
    test_pieces_become_a_packet,
    test_what_does_not_have_the_digest_is_no_packet_and_is_dropped,
)


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("s3-keys") / "pki")


@pytest.fixture(scope="session")
def packet(keys) -> bytes:
    """Larger than a piece."""
    return keys.packet(padding=1_200_000)


@pytest.fixture
async def intake(keys, tmp_path, s3_place):
    async with running(keys, tmp_path / "data", **s3_place.settings) as started:

        def files() -> list[str]:
            """What lies there but the mark of the place."""
            return sorted(key.rpartition("/")[2] for key in s3_place.names() if key != "passbooth")

        started.files = files
        yield started


@pytest.mark.parametrize("sent", [0, 1_000_000])
async def test_a_connection_that_ends_leaves_what_came(intake, keys, packet, sent):
    await resume.test_a_connection_that_ends_leaves_what_came(intake, keys, packet, sent)


async def test_offsets_headers_and_booths_are_judged_as_in_a_folder(intake, keys, packet):
    await resume.test_a_plain_upload_that_is_cut_leaves_nothing(intake, keys, packet)
    await resume.test_a_patch_needs_its_headers_and_something_to_go_on_with(intake, packet)
    await resume.test_another_offset_is_a_conflict_that_tells_the_right_one(intake, packet, 500_001)
    await resume.test_a_partial_is_its_booths_alone(intake, packet)
