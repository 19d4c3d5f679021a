"""The voice at the process wire: a program that is believed nowhere, sounds kept whole or not at all, and a booth that is silent without it."""

from __future__ import annotations

import asyncio
import os
import shutil
import threading
import time
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2
import pytest

from booth import voice as voices
from booth.config import Config
from booth.messages import PLACEHOLDER, Messages, known_languages
from booth.prompt_sound import MAX_BYTES
from booth.voice import NAME, VoiceSection, open_voice, spoken_texts
from booth.web import open_pages
from tests.sounds import pcm, tone
from tests.unit.fake_booth import FakeBooth
from validation.rules import RULES

TEXTS = {"advice.closer": "Come a little closer", "advice.back": "Move back a little"}
SPEAKS = 'cat > "$0.heard"; echo "$*" >> "$0.asked"; cat "$0.wav"'


@pytest.fixture
def espeak(tmp_path, monkeypatch):
    """Makes a program of a shell script that speaks, with two texts in two languages."""
    monkeypatch.setattr(voices, "known_languages", lambda: ("en", "de"))
    monkeypatch.setattr(voices, "spoken_texts", lambda language: {k: f"{language} {t}" for k, t in TEXTS.items()})
    program = tmp_path / "espeak-ng"

    def make(speaks=SPEAKS, version="echo 'fake 1.0'"):
        program.write_text(f'#!/bin/sh\nif [ "$1" = --version ]; then {version}; exit; fi\n{speaks}\n')
        program.chmod(0o700)
        program.with_suffix(".wav").write_bytes(pcm(tone()))
        return VoiceSection(program=str(program))

    return make


@asynccontextmanager
async def done(settings, folder, tell):
    """A voice that has made what it can."""
    async with open_voice(settings, folder, tell) as voice:
        await asyncio.to_thread(voice.thread.join, 30)
        await asyncio.sleep(0)
        yield voice


def names(folder):
    return sorted(path.name for path in folder.iterdir())


async def test_every_text_gets_one_sound_made_of_its_words_on_standard_input(espeak, tmp_path):
    folder, told = tmp_path / "voice", []
    async with done(espeak(), folder, told.append) as voice:
        prompts = {language: voice.prompts(language) for language in ("en", "de")}
        assert {language: set(keys) for language, keys in prompts.items()} == {"en": set(TEXTS), "de": set(TEXTS)}
        made = {name for keys in prompts.values() for name in keys.values()}
        assert len(made) == 4
        assert sorted(made) == names(folder)
        assert all(NAME.fullmatch(name) and voice.read(name).startswith(b"RIFF") for name in made)
        assert voice.prompts("ru") == {}
    assert (tmp_path / "espeak-ng.heard").read_text() == "de Move back a little"
    asked = (tmp_path / "espeak-ng.asked").read_text().splitlines()
    assert asked[0] == "-v en -s 150 -b 1 -z --stdin --stdout"
    assert "closer" not in "".join(asked), "words are never arguments, which every user of the machine can read"
    assert told == []
    assert {oct(path.stat().st_mode & 0o777) for path in folder.iterdir()} == {"0o600"}


async def test_a_second_start_makes_nothing_anew_and_removes_what_no_text_needs(espeak, tmp_path, monkeypatch):
    folder = tmp_path / "voice"
    async with done(espeak(), folder, print):
        before = names(folder)
    (folder / f"{'0' * 40}.wav").write_bytes(b"old")
    (folder / f"{'1' * 40}.part").write_bytes(b"half")
    (folder / "note.txt").write_bytes(b"somebody's")
    asked = tmp_path / "espeak-ng.asked"
    asked.unlink()
    async with done(espeak(), folder, print) as voice:
        assert len(voice.prompts("de")) == 2
    assert not asked.exists()
    assert names(folder) == sorted([*before, "note.txt"])
    async with done(espeak(version="echo 'fake 2.0'"), folder, print):
        assert not set(names(folder)) & set(before), "another voice speaks everything anew"
    monkeypatch.setattr(voices, "spoken_texts", lambda _: {"advice.closer": "Come closer"})
    async with done(espeak(), folder, print):
        assert len(names(folder)) == 3


async def test_without_the_program_the_booth_is_silent_and_says_so_once(tmp_path):
    told = []
    async with done(VoiceSection(program=str(tmp_path / "none")), tmp_path / "voice", told.append) as voice:
        assert voice.prompts("en") == {}
    assert told == [
        "voice: the speech program cannot be started (No such file or directory): instructions are shown, not spoken"
    ]
    assert not (tmp_path / "voice").exists()
    async with open_voice(VoiceSection(enabled=False), tmp_path / "voice", told.append) as voice:
        assert voice is None


async def test_a_language_without_a_voice_is_told_once_and_the_others_speak(espeak, tmp_path, monkeypatch):
    many = {f"advice.{n}": str(n) for n in range(9)}
    monkeypatch.setattr(voices, "spoken_texts", lambda _: many)
    told = []
    settings = espeak('[ "$2" = en ] || { echo "$*" >> "$0.asked"; exit 1; }; cat "$0.wav"')
    async with done(settings, tmp_path / "voice", told.append) as voice:
        assert (len(voice.prompts("en")), voice.prompts("de")) == (9, {})
    assert told == ["voice: no voice for 'de', the speech program ends with 1: its words are shown, not spoken"]
    assert len((tmp_path / "espeak-ng.asked").read_text().splitlines()) == voices.FAILURES


@pytest.mark.parametrize(
    ("speaks", "why"),
    [
        ("exit 3", "ends with 3"),
        ("cat >/dev/null", "no WAV"),
        ("head -c 5000 /dev/urandom", "no WAV"),
        ("cat /dev/zero", "writes without end"),
        ('cat "$0.wav"; exit 1', "ends with 1"),
        ('cat "$0.wav"; kill -9 $$', "ends with -9"),
    ],
)
async def test_hostile_output_gives_no_sound_and_ends_nothing(espeak, tmp_path, speaks, why):
    told = []
    async with done(espeak(speaks), tmp_path / "voice", told.append) as voice:
        assert voice.prompts("en") == voice.prompts("de") == {}
    assert len(told) == 2
    assert all(why in text for text in told)
    assert names(tmp_path / "voice") == []


async def test_a_program_that_hangs_is_killed_with_all_that_it_started(espeak, tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "PROMPT_S", 1.0)
    monkeypatch.setattr(voices, "FAILURES", 1)
    told = []
    settings = espeak('sleep 1000 & echo $! >> "$0.children"; sleep 1000')
    async with done(settings, tmp_path / "voice", told.append):
        pass
    assert all("does not answer within 1 s" in text for text in told)
    children = [int(number) for number in (tmp_path / "espeak-ng.children").read_text().split()]
    assert len(children) == 2
    deadline = time.monotonic() + 10
    while any(alive(child) for child in children) and time.monotonic() < deadline:
        await asyncio.to_thread(threading.Event().wait, 0.01)  # the kernel ends a killed process in its own time
    assert not any(alive(child) for child in children)


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


async def test_a_booth_that_ends_waits_for_no_prompt(espeak, tmp_path):
    begun = tmp_path / "espeak-ng.begun"
    told = []
    async with open_voice(espeak('touch "$0.begun"; sleep 1000'), tmp_path / "voice", told.append) as voice:
        while not begun.exists():
            await asyncio.to_thread(threading.Event().wait, 0.01)
        assert not voice.complete
        leaving = time.monotonic()
    assert time.monotonic() - leaving < voices.PROMPT_S / 2
    assert told == []


async def test_a_disk_that_keeps_nothing_is_told_once(espeak, tmp_path):
    (tmp_path / "voice").write_text("a file where the folder belongs")
    told = []
    async with done(espeak(), tmp_path / "voice", told.append) as voice:
        assert voice.prompts("en") == {}
        assert voice.read("0" * 40 + ".wav") is None
    assert [text.split(" (")[0] for text in told] == ["voice: sounds cannot be kept"]


async def test_the_child_has_the_lowest_priority(espeak, tmp_path):
    async with done(espeak('nice > "$0.nice"; cat "$0.wav"'), tmp_path / "voice", print):
        pass
    # The child may begin before it is slowed down: what counts is that it is as a rule.
    assert int((tmp_path / "espeak-ng.nice").read_text()) in {os.nice(0), voices.LOWEST_PRIORITY}


async def test_pages_get_the_list_anew_each_time_and_may_keep_the_sounds(espeak, tmp_path):
    async with (
        done(espeak(), tmp_path / "voice", print) as voice,
        open_pages(FakeBooth(), 0, voice=voice) as address,
        httpx2.AsyncClient(base_url=address) as client,
    ):
        listed = await client.get("/api/voice/de")
        assert listed.headers["cache-control"] == "no-store"
        assert set(listed.json()["prompts"]) == set(TEXTS)
        assert listed.json()["complete"] is True
        name = listed.json()["prompts"]["advice.closer"]
        sound = await client.get(f"/voice/{name}")
        assert (sound.status_code, sound.headers["content-type"]) == (200, "audio/wav")
        assert sound.headers.get_list("cache-control") == ["private, max-age=31536000, immutable"]
        assert sound.headers["x-content-type-options"] == "nosniff"
        assert sound.content == voice.read(name)
        for wrong in (name[:-1], "0" * 40 + ".wav", "..%2fbooth.toml", "%2e%2e/booth.toml", f"{name}/x", "x" * 3000):
            answer = await client.get(f"/voice/{wrong}")
            assert (answer.status_code, answer.headers["cache-control"]) == (404, "no-store"), wrong
        assert (await client.get("/api/voice/xx")).status_code == 404
        foreign = await client.get(f"/voice/{name}", headers={"Origin": "https://evil.example"})
        assert (foreign.status_code, foreign.headers["cache-control"]) == (403, "no-store")


async def test_a_booth_without_a_voice_has_an_empty_list():
    async with open_pages(FakeBooth(), 0) as address, httpx2.AsyncClient(base_url=address) as client:
        assert (await client.get("/api/voice/ar")).json() == {"prompts": {}, "complete": True}


@pytest.mark.parametrize("language", known_languages())
def test_every_instruction_and_every_screens_sentence_is_spoken_and_none_holds_a_persons_data(language):
    spoken = spoken_texts(language)
    texts = Messages.load(language).texts
    for rule in RULES:
        assert {rule.below, rule.above, rule.unclear} - {"advice.none", ""} <= set(spoken)
        assert f"rule.{rule.id}.explain" in spoken
    assert {key for key in texts if key.startswith(("advice.", "fault."))} <= set(spoken)
    assert {key for key in texts if key.startswith("state.") and key.endswith((".title", ".text"))} <= set(spoken)
    for key, text in spoken.items():
        assert text == texts[key], "no second text"
        assert PLACEHOLDER.search(text) is None
        assert len(text.encode()) < 4096, "it fits a pipe"
    assert not any(key.startswith(("action.", "verdict.", "tech", "step.")) for key in spoken)
    assert set(spoken) == set(spoken_texts("en"))


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs espeak-ng: apt-get install espeak-ng")
async def test_the_real_program_speaks_all_four_languages(tmp_path, monkeypatch):
    every = {language: Messages.load(language).texts["advice.take_off_glasses"] for language in known_languages()}
    monkeypatch.setattr(voices, "spoken_texts", lambda language: {"advice.take_off_glasses": every[language]})
    told = []
    async with done(VoiceSection(), tmp_path / "voice", told.append) as voice:
        sounds = [voice.read(*voice.prompts(language).values()) for language in known_languages()]
    assert told == []
    for sound in sounds:
        rate = int.from_bytes(sound[24:28], "little")
        assert 0.6 < len(sound) / rate < 6
        assert len(sound) < MAX_BYTES / 8
    assert len({len(sound) for sound in sounds}) == 4


def test_the_settings_refuse_nonsense():
    with pytest.raises(ValueError, match="words_per_minute"):
        VoiceSection(words_per_minute=1000)
    assert Config.model_fields["voice"].default == VoiceSection()
