"""Calibrations on the disk: signed by the booth's key, and nothing else is believed."""

from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from booth.calibrations import MOST_KEPT, CalibrationStore
from capture.calibration import Calibration
from crypto.cms import sign_content
from crypto.errors import CalibrationRefusedError
from crypto.keys import Purpose, TrustStore
from crypto.trust import CONTENT_CALIBRATION, CONTENT_PACKAGE
from tests.calibrations import calibration
from tests.packets import flipped, make_authority, make_signer

BOOTH = "booth-0001"


@pytest.fixture(scope="module")
def root():
    return make_authority()


@pytest.fixture(scope="module")
def signer(root):
    return make_signer(root, BOOTH)


@pytest.fixture
def store(tmp_path, root):
    return CalibrationStore(tmp_path, BOOTH, lambda: TrustStore((root.certificate,)))


def made(day, **changes):
    return calibration(made_at=datetime(2026, 11, 1, tzinfo=UTC) + timedelta(days=day), **changes)


def file_of(store, one):
    return store._folder / f"{one.id}.p7m"


def test_without_a_file_there_is_none(store):
    assert store.ids() == ()
    assert store.current() is None
    assert store.baseline() is None


def test_the_newest_counts_and_is_compared_with_its_baseline(store, signer):
    first = made(0)
    second = made(1, baseline_id=first.id)
    for one in (first, second):
        path = store.save(one, signer)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert store.ids() == (first.id, second.id)
    assert store.current() == second
    assert store.baseline() == first
    third = made(2)
    store.save(third, signer)
    assert store.baseline() == third, "one without a baseline is one itself"
    assert [entry.name for entry in store._folder.iterdir() if entry.name.startswith(".")] == []


def test_a_changed_file_is_refused_wherever_it_was_changed_and_no_older_one_is_taken(store, signer):
    store.save(made(0), signer)
    newest = made(1)
    path = store.save(newest, signer)
    data = path.read_bytes()
    at = data.index(b'"pitch_zero_deg":0.1') + len(b'"pitch_zero_deg":0.')
    for place in (at, 10, len(data) // 2, len(data) - 5):
        path.write_bytes(flipped(data, place))
        with pytest.raises(CalibrationRefusedError, match=r"cannot be believed: .*calibrate the booth anew"):
            store.current()
    path.write_bytes(b"")
    with pytest.raises(CalibrationRefusedError, match=newest.id):
        store.current()


@pytest.mark.parametrize(
    ("booth", "told"),
    [("booth-0002", "signed by booth-0002"), (None, "cannot be believed")],
)
def test_another_booth_s_and_a_stranger_s_are_refused(store, root, booth, told):
    authority = root if booth is not None else make_authority()
    other = make_signer(authority, booth or BOOTH)
    one = made(0)
    store._folder.mkdir()
    data = sign_content(one.model_dump_json().encode(), CONTENT_CALIBRATION, other, Purpose.BOOTH, datetime.now(UTC))
    file_of(store, one).write_bytes(data)
    with pytest.raises(CalibrationRefusedError, match=told):
        store.current()


def test_what_is_signed_but_no_calibration_of_this_booth_is_refused(store, signer):
    store._folder.mkdir()

    def put(one, content, kind=CONTENT_CALIBRATION):
        file_of(store, one).write_bytes(sign_content(content, kind, signer, Purpose.BOOTH, datetime.now(UTC)))
        with pytest.raises(CalibrationRefusedError) as caught:
            store.current()
        return str(caught.value)

    one = made(0)
    good = one.model_dump_json().encode()
    assert "cannot be believed" in put(one, good, CONTENT_PACKAGE)
    assert "does not know" in put(one, b'{"format":"passbooth.calibration/9"}')
    assert "does not know" in put(one, good.replace(b'"pitch_zero_deg":0.1', b'"pitch_zero_deg":NaN'))
    assert "renamed or copied" in put(one, made(3).model_dump_json().encode())
    assert "renamed or copied" in put(one, made(0, booth="booth-0002").model_dump_json().encode())


def test_only_its_own_calibrations_are_signed(store, root, signer):
    with pytest.raises(CalibrationRefusedError, match="of booth booth-0002"):
        store.save(made(0, booth="booth-0002"), signer)
    with pytest.raises(CalibrationRefusedError, match="the key of booth-0002"):
        store.save(made(0), make_signer(root, "booth-0002"))
    assert store.ids() == ()


def test_a_baseline_that_is_gone_is_told_and_a_foreign_name_is_not_looked_at(store, signer):
    first = made(0)
    store.save(first, signer)
    second = made(1, baseline_id=first.id)
    store.save(second, signer)
    file_of(store, first).unlink()
    with pytest.raises(CalibrationRefusedError, match="is gone: make a new one"):
        store.baseline()
    (store._folder / "20991231T000000Z-readme.p7m").write_text("x")
    (store._folder / "20991231T000000Z-00000000.p7m.bak").write_text("x")
    assert store.current() == second
    with pytest.raises(CalibrationRefusedError, match="no calibration's id"):
        store.read("../booth.key")


def test_old_ones_go_but_a_baseline_that_is_named_stays(store, signer, monkeypatch):
    assert MOST_KEPT > 100
    monkeypatch.setattr("booth.calibrations.MOST_KEPT", 3)
    first = made(0)
    store.save(first, signer)
    later = [made(day, baseline_id=first.id) for day in range(1, 6)]
    for one in later:
        store.save(one, signer)
    assert store.ids() == (first.id, *(one.id for one in later[-3:]))


def test_one_from_a_clock_that_was_ahead_does_not_count_for_years(store, signer):
    first, ahead, now = made(0), made(4000), made(1)
    store.save(first, signer)
    file_of(store, ahead).write_bytes(b"changed, too")
    store.save(now, signer)
    assert store.current() == now
    assert store.ids() == (first.id, now.id)
    assert [each.name for each in store._folder.iterdir() if each.name.endswith(".later")] == [f"{ahead.id}.p7m.later"]


def test_openssl_reads_it(store, root, signer, tmp_path):
    one = made(0)
    path = store.save(one, signer)
    from cryptography.hazmat.primitives.serialization import Encoding

    (tmp_path / "root.pem").write_bytes(root.certificate.public_bytes(Encoding.PEM))
    told = subprocess.run(
        [
            "openssl",
            "cms",
            "-verify",
            "-inform",
            "DER",
            "-in",
            path,
            "-CAfile",
            tmp_path / "root.pem",
            "-purpose",
            "any",
        ],
        capture_output=True,
        check=False,
    )
    assert told.returncode == 0, told.stderr
    assert Calibration.model_validate_json(told.stdout) == one
