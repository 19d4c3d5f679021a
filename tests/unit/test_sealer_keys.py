"""Which keys the booth seals with: its own, the desks' once each, and the present pair without a restart."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from booth.errors import CertificateNotValidError, ConfigInvalidError
from booth.sealing import Sealer
from crypto.errors import KeyUnavailableError
from crypto.keys import generate_recipient_key, make_development_pki
from tests.booth_rig import booth_config

CAMERA = '[camera]\nurl = "v4l2:///dev/video0"\n[controls]\nurl = "v4l2:///dev/video0"\n'


@pytest.fixture(scope="module")
def pki(tmp_path_factory):
    return make_development_pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture
def config(tmp_path, pki):
    return booth_config(tmp_path, pki, CAMERA)


def changed(config, **keys):
    return config.model_copy(update={"keys": config.keys.model_copy(update=keys)})


def test_several_desks_are_recipients_and_each_once(config, tmp_path):
    second = tmp_path / "second.pub"
    second.write_bytes(generate_recipient_key().public.to_pem())
    both = [*config.keys.recipients, second]
    sealer = Sealer.open(changed(config, recipients=both))
    assert len({one.key_id for one in sealer.recipients}) == 2
    sealer.close()
    with pytest.raises(ConfigInvalidError, match="same key twice"):
        Sealer.open(changed(config, recipients=[*both, second]))


def test_a_key_of_another_booth_is_refused_at_the_start(config):
    other = config.model_copy(update={"booth": config.booth.model_copy(update={"id": "booth-0002"})})
    with pytest.raises(ConfigInvalidError, match="belongs to booth-0001"):
        Sealer.open(other)


def test_a_pair_that_goes_and_comes_back_is_told_and_used_again(config, pki):
    sealer, now = Sealer.open(config), datetime.now(UTC)
    sealer.require_key()
    sealer.require_valid(now)
    pem = pki / "booth.pem"
    away = pem.rename(pki / "away")
    with pytest.raises(KeyUnavailableError):
        sealer.require_key()
    assert sealer.certificate_days(now) is None
    away.rename(pem)
    sealer.require_key()
    assert sealer.certificate_days(now) > 390
    with pytest.raises(CertificateNotValidError, match="expired on"):
        sealer.require_valid(now + timedelta(days=500))
    sealer.close()
