"""Settings that are wrong are told by key; settings that are right are one frozen tree."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from booth.config import Config
from booth.errors import ConfigInvalidError, ConfigUnreadableError

GOOD = """
[booth]
id = "booth-0001"
site = "hall-2"
centre = "centre-7"
data_dir = "data"
[camera]
url = "http://127.0.0.1:1/preview.mjpg"
[controls]
url = "visca+serial:///dev/visca"
[controls.settings]
exposure_mode = "manual"
exposure_us = 16667
[lights]
url = "wled+serial:///dev/lights"
[lights.channels.key_left]
segment = 0
[lights.channels.key_right]
segment = 1
[lights.channels.fill_top]
segment = 2
[lights.channels.background]
segment = 3
[profile]
name = "demo"
[intake]
url = "https://intake.example/"
trust = "pki/ca.pem"
[keys]
signer = "file:pki/booth.key"
recipients = ["pki/desk.hpke.pub"]
"""


@pytest.fixture
def load(tmp_path):
    def write(text=GOOD):
        path = tmp_path / "booth.toml"
        path.write_text(text, "utf-8")
        return Config.load(path)

    return write


def test_a_whole_file_becomes_one_frozen_tree(load, tmp_path):
    config = load()
    assert config.booth.id == "booth-0001"
    assert config.controls.settings.exposure_us == 16667
    assert config.lights.nominal_pct == 62.5
    assert config.web.port == 8080
    assert config.intake.url == "https://intake.example"
    assert config.intake.status_page == "https://intake.example/status"
    with pytest.raises(ValidationError):
        config.web = None
    with pytest.raises(ValidationError):
        config.booth.id = "other"


def test_relative_paths_are_taken_from_the_files_folder(load, tmp_path):
    config = load()
    assert config.booth.data_dir == tmp_path / "data"
    assert config.intake.trust == tmp_path / "pki" / "ca.pem"
    assert config.keys.signer == f"file:{tmp_path}/pki/booth.key"
    assert config.keys.recipients == [tmp_path / "pki" / "desk.hpke.pub"]


def test_a_booth_without_lamps_or_camera_control_is_a_booth(load):
    text = GOOD[: GOOD.index("[controls]")] + GOOD[GOOD.index("[profile]") :]
    config = load(text)
    assert config.lights is None
    assert config.controls is None


def test_the_environment_wins_over_the_file(load, monkeypatch):
    monkeypatch.setenv("PASSBOOTH_WEB__PORT", "9000")
    monkeypatch.setenv("PASSBOOTH_PROFILE__NAME", "icao")
    monkeypatch.setenv("PASSBOOTH_CONFIG", "/etc/passbooth/booth.toml")
    config = load()
    assert (config.web.port, config.profile.name) == (9000, "icao")


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('id = "booth-0001"', "", "booth.id: Field required"),
        ('id = "booth-0001"', 'id = "booth 1/../x"', "booth.id"),
        ('site = "hall-2"', 'site = "hall-2"\ncolour = "red"', "booth.colour: unknown key"),
        ("[profile]", "[profil]", "profil: unknown key"),
        ('site = "hall-2"', 'site = "hall 2"', "booth.site: takes 1 to 64 letters, digits"),
        (
            'url = "https://intake.example/"',
            'url = "http://intake.example/"',
            "intake.url: must be an https:// address",
        ),
        (
            'url = "https://intake.example/"',
            'url = "https://intake.example/"\nstatus_url = "https://a.example/s#x"',
            "intake.status_url: must have no part behind a number sign",
        ),
        ("segment = 0", "segment = 99", "lights.channels.key_left"),
        ("exposure_us = 16667", "exposure_us = -1", "controls.settings.exposure_us"),
        ("[keys]", "[web]\nport = 70000\n[keys]", "web.port"),
    ],
)
def test_a_wrong_key_is_named_with_what_is_wrong(load, old, new, told):
    with pytest.raises(ConfigInvalidError) as caught:
        load(GOOD.replace(old, new))
    assert told in str(caught.value)
    assert "booth.toml" in str(caught.value)


def test_a_value_never_stands_in_the_message(load):
    with pytest.raises(ConfigInvalidError) as caught:
        load(GOOD.replace('signer = "file:pki/booth.key"', 'signer = ["SECRET-PIN"]'))
    assert "SECRET-PIN" not in str(caught.value)
    assert "keys.signer" in str(caught.value)


def test_a_file_that_is_missing_or_no_toml_is_told_in_one_sentence(load, tmp_path):
    with pytest.raises(ConfigUnreadableError, match="cannot be read"):
        Config.load(tmp_path / "nothing.toml")
    with pytest.raises(ConfigUnreadableError, match="not valid TOML"):
        load("[booth\n")
    (tmp_path / "latin.toml").write_bytes(b'[booth]\nid = "\xe9"')
    with pytest.raises(ConfigUnreadableError, match="UTF-8"):
        Config.load(tmp_path / "latin.toml")


def test_the_passphrase_is_read_from_its_file_when_it_is_needed(load, tmp_path):
    config = load(GOOD.replace("[keys]", '[keys]\npassphrase_file = "secret"'))
    with pytest.raises(ConfigInvalidError, match="passphrase_file"):
        config.passphrase()
    (tmp_path / "secret").write_bytes(b"open sesame\n")
    (tmp_path / "secret").chmod(0o640)
    with pytest.raises(ConfigInvalidError, match="chmod 600"):
        config.passphrase()
    (tmp_path / "secret").chmod(0o600)
    assert config.passphrase() == b"open sesame"
    assert load().passphrase() is None
