"""An intake that dies at any moment of an upload into a bucket: the next one goes on with what is there, and nothing is confirmed that is not.

Intakes share bucket and database alone. So one whose requests to the store go nowhere from a moment on has died, for everybody else.
"""

from __future__ import annotations

import itertools

import pytest

from crypto.receipt import verify_receipt
from server.packet_counts import count_packets
from server.s3_partials import PIECE_BYTES
from tests.intake_rig import running
from tests.s3_rig import S3Place, faulty_s3
from tests.sealed_packets import Keys, digest
from tests.unit.test_intake_resume import head


@pytest.fixture(scope="session")
def keys(tmp_path_factory) -> Keys:
    return Keys(tmp_path_factory.mktemp("s3-crash-keys") / "pki")


class Dying:
    """Lets `lives` requests through; the next reaches the store or not, and no answer comes any more."""

    def __init__(self, lives: int, *, reaches: bool) -> None:
        self.left, self.reaches, self.dead = lives, reaches, False

    async def __call__(self, method, path, forward):
        if self.dead:
            return b""
        if self.left:
            self.left -= 1
            return None
        self.dead = True
        if self.reaches:
            await forward()
        return b""


async def test_whenever_an_intake_dies_the_next_one_brings_the_upload_to_its_end(
    keys, tmp_path, s3_endpoint, monkeypatch
):
    monkeypatch.setattr("server.s3_bucket.RETRIES", 0)
    database = {"database_url": f"sqlite+aiosqlite:///{tmp_path / 'shared.sqlite3'}"}
    outcomes = set()
    async with faulty_s3(s3_endpoint) as door:
        place = S3Place(s3_endpoint)
        shared = place.settings | database
        async with (
            running(keys, tmp_path / "one", **shared | {"s3_endpoint": door.endpoint}) as dying,
            running(keys, tmp_path / "next", **shared) as following,
        ):
            for number, (lives, reaches) in enumerate(itertools.product(range(20), (True, False))):
                one = keys.packet(padding=PIECE_BYTES)  # a piece and a rest
                dead = Dying(lives, reaches=reaches)
                door.fault = dead
                first = await dying.upload("PUT", digest(one), one, complete=True)
                if not dead.dead:
                    assert first.status_code == 201
                    break  # it came to its end before
                asked = await head(following, one)
                confirmed = first.status_code in {200, 201}
                assert asked.status_code == 200 or not confirmed, "what was confirmed is there"
                if asked.status_code == 204:
                    offset = int(asked.headers["upload-offset"])
                    last = await following.upload("PATCH", digest(one), one[offset:], complete=True, offset=offset)
                else:
                    last = await following.upload("PUT", digest(one), one, complete=True)
                outcomes.add((asked.status_code, last.status_code))
                assert last.status_code in {200, 201}
                verify_receipt(last.content, keys.trust, digest(one))
                assert not confirmed or last.content == first.content
                assert place.get(f"packets/{digest(one)}") == one
                assert await count_packets(following.rooms.store) == number + 1
    assert lives >= 5, "list, piece, piece back, packet, piece removed"
    assert {(404, 201), (204, 201), (200, 200)} <= outcomes
