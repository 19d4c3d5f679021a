"""The booth's voice: every instruction and every screen's sentence as a sound, made by espeak-ng at the first start.

Order of operation (one thread, its children at the lowest priority): ask the synthesiser for its version → for each language, instructions first,
each text that has no sound yet: text on its standard input, WAV from its standard output, read strictly and within bounds
(booth/prompt_sound.py), written as a whole (temporary file, fsync, rename) → remove sounds of texts that are no more.

Rules:
- The catalogues are the only source of what is spoken (`is_spoken`); a text with a placeholder or a plural is not: what is spoken is known
  beforehand, so no sound ever holds personal data, and the page shows the very words that it plays.
- A sound's name is the digest of everything it depends on: text, voice, speed, program version, form. So it may be cached for ever.
- espeak-ng is optional. Without it, or without a language's voice, the page shows the words and is silent; the technician is told so once, as
  information. Nothing here is a fault of the booth, and nothing here ever raises into it.
- A child that is slow, hangs, writes without end or leaves children behind is killed with its whole group.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import re
import select
import signal
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from booth.kiosk import Language
from booth.messages import PLACEHOLDER, Messages, Text, known_languages
from booth.prompt_sound import MAX_BYTES, SoundRefusedError, read_sound, write_sound

log = logging.getLogger(__name__)

FORM = "1"  # changed with whatever else changes the sounds
NAME = re.compile(r"[0-9a-f]{40}\.wav")
PROMPT_S = 20.0  # 0.03 s on an idle machine; a busy one starts processes slowly
FAILURES = 3  # in a row: then the language has no voice
POLL_S = 0.1  # so soon a running child notices that the booth ends
LOWEST_PRIORITY = 19

# What is spoken: instructions, what a screen says, what is wrong, why a photo was refused. Not: buttons, labels, lists.
_SPOKEN = re.compile(
    r"advice\..+|fault\..+|state\.\w+\.(title|text)|identify\.(?!typed)\w+|staff\.\w+|assistance\.\w+\.text|consent\.\w+"
    r"|review\.(good|poor|borderline)\.\w+|review\.last_try|rule\..+\.explain|timeout\.(title|text|thanks)"
    r"|thanks\.keep|framing\.auto|connection\.lost"
)
_FIRST = ("advice.", "state.", "timeout.", "fault.")


class VoiceSection(BaseModel):
    """[voice] spoken instructions."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    enabled: bool = True
    program: Annotated[str, Field(min_length=1)] = "espeak-ng"
    words_per_minute: Annotated[int, Field(ge=80, le=300)] = 150


class _UnspokenError(Exception):
    """A text got no sound; the words say why and hold no text of the program's."""


def is_spoken(key: str, text: Text) -> bool:
    """Whether the text of a key is spoken."""
    return isinstance(text, str) and _SPOKEN.fullmatch(key) is not None and PLACEHOLDER.search(text) is None


def spoken_texts(language: Language) -> dict[str, str]:
    """Everything that is spoken in a language, by key; what is needed first stands first."""
    texts = Messages.load(language).texts
    spoken = {key: text for key, text in texts.items() if isinstance(text, str) and is_spoken(key, text)}
    return dict(sorted(spoken.items(), key=lambda item: not item[0].startswith(_FIRST)))


class Synthesiser:
    """espeak-ng as a program: one process for each text."""

    def __init__(self, settings: VoiceSection) -> None:
        self._program, self._speed = settings.program, settings.words_per_minute
        self._stopping = threading.Event()
        self._version = ""

    def stop(self) -> None:
        """Ends the present child, and refuses further ones."""
        self._stopping.set()

    @property
    def stopped(self) -> bool:
        """Whether nothing more is to be made."""
        return self._stopping.is_set()

    def find(self) -> None:
        """Learns the program's version; raises _UnspokenError."""
        self._version = self._run(["--version"], b"", 1000).decode("ascii", "replace").strip()
        if not self._version:
            raise _UnspokenError("does not tell its version")

    def name_of(self, language: Language, text: str) -> str:
        """The name of the sound of a text."""
        parts = (FORM, self._version, language, str(self._speed), text)
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40] + ".wav"

    def speak(self, language: Language, text: str) -> bytes:
        """The sound of a text; raises _UnspokenError."""
        arguments = ["-v", language, "-s", str(self._speed), "-b", "1", "-z", "--stdin", "--stdout"]
        try:
            return write_sound(read_sound(self._run(arguments, text.encode(), MAX_BYTES)))
        except SoundRefusedError as error:
            raise _UnspokenError(f"gives what is no prompt: {error}") from error

    def _run(self, arguments: list[str], text: bytes, most: int) -> bytes:
        if self.stopped:
            raise _UnspokenError("is stopped")
        try:
            child = subprocess.Popen(  # noqa: S603 - the configured program, without a shell; the text goes to its input
                [self._program, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise _UnspokenError(f"cannot be started ({error.strerror})") from error
        try:
            with contextlib.suppress(OSError):  # a sandbox may forbid it: it is only a courtesy
                os.setpriority(os.PRIO_PROCESS, child.pid, LOWEST_PRIORITY)
            return self._hear(child, text, most)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # it has ended, or is ended now with all that it started
            child.wait()
            for pipe in (child.stdin, child.stdout):
                assert pipe is not None
                with contextlib.suppress(OSError):
                    pipe.close()

    def _hear(self, child: subprocess.Popen[bytes], text: bytes, most: int) -> bytes:
        assert child.stdin is not None
        assert child.stdout is not None
        deadline = time.monotonic() + PROMPT_S
        with contextlib.suppress(BrokenPipeError):  # its answer says what became of it
            child.stdin.write(text)  # shorter than a pipe holds: this never waits
            child.stdin.close()
        heard = bytearray()
        while True:
            if self.stopped:
                raise _UnspokenError("is stopped")
            if time.monotonic() > deadline:
                raise _UnspokenError(f"does not answer within {PROMPT_S:g} s")
            if not select.select([child.stdout], [], [], POLL_S)[0]:
                continue
            piece = os.read(child.stdout.fileno(), 65_536)
            heard += piece
            if len(heard) > most:
                raise _UnspokenError("writes without end")
            if not piece:
                break
        try:
            code = child.wait(max(deadline - time.monotonic(), POLL_S))
        except subprocess.TimeoutExpired:
            raise _UnspokenError("does not end") from None
        if code != 0:
            raise _UnspokenError(f"ends with {code}")
        return bytes(heard)


class Voice:
    """The sounds there are, and the thread that makes them; made by `open_voice`."""

    def __init__(self, folder: Path, synthesiser: Synthesiser, tell: Callable[[str], None]) -> None:
        self._folder, self._synthesiser, self._tell = folder, synthesiser, tell
        self._lock = threading.Lock()
        self._names: dict[str, dict[str, str]] = {language: {} for language in known_languages()}
        self.thread = threading.Thread(target=self._make, name="voice", daemon=True)

    def prompts(self, language: str) -> Mapping[str, str]:
        """The sounds of a language that are there now: file names by key; empty for a language without a voice."""
        with self._lock:
            return dict(self._names.get(language, {}))

    @property
    def complete(self) -> bool:
        """Whether everything was made that can be."""
        return not self.thread.is_alive()

    def read(self, name: str) -> bytes | None:
        """The sound of this name; None when there is none. Blocks for one small file."""
        if NAME.fullmatch(name) is None:
            return None
        try:
            return (self._folder / name).read_bytes()
        except OSError:
            return None

    # --- on the thread -----------------------------------------------------------------------------------------------

    def _make(self) -> None:
        try:
            self._synthesiser.find()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            wanted: set[str] = set()
            for language in known_languages():
                wanted |= self._make_language(language)
            if not self._synthesiser.stopped:
                self._tidy(wanted)
        except _UnspokenError as error:
            if not self._synthesiser.stopped:
                self._tell(f"voice: the speech program {error}: instructions are shown, not spoken")
        except OSError as error:
            self._tell(f"voice: sounds cannot be kept ({error.strerror}): instructions are shown, not spoken")
        except Exception:
            log.exception("the voice ended")

    def _make_language(self, language: Language) -> set[str]:
        """Every sound of a language; the names that belong to it, made or not."""
        names: set[str] = set()
        failed, in_a_row, reason = 0, 0, ""
        for key, text in spoken_texts(language).items():
            name = self._synthesiser.name_of(language, text)
            names.add(name)
            path = self._folder / name
            if not path.exists() and in_a_row < FAILURES:
                try:
                    _write(path, self._synthesiser.speak(language, text))
                    in_a_row = 0
                except _UnspokenError as error:
                    if self._synthesiser.stopped:
                        raise
                    failed, in_a_row, reason = failed + 1, in_a_row + 1, str(error)
            if path.exists():
                with self._lock:
                    self._names[language][key] = name
        if in_a_row >= FAILURES:
            self._tell(
                f"voice: no voice for '{language}', the speech program {reason}: its words are shown, not spoken"
            )
        elif failed:
            self._tell(f"voice: {failed} prompts of '{language}' have no sound, the speech program {reason}")
        return names

    def _tidy(self, wanted: set[str]) -> None:
        """Removes what no text needs any more, and what a power cut left half written."""
        for path in self._folder.iterdir():
            if path.name not in wanted and (NAME.fullmatch(path.name) or path.suffix == ".part"):
                path.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    part = path.with_suffix(".part")
    with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:  # noqa: PTH123 - the descriptor has its mode
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


@asynccontextmanager
async def open_voice(settings: VoiceSection, folder: Path, tell: Callable[[str], None]) -> AsyncIterator[Voice | None]:
    """The booth's voice, its sounds being made in the background; None when it is switched off. `tell` is called on this event loop."""
    if not settings.enabled:
        yield None
        return
    loop = asyncio.get_running_loop()

    def told(text: str) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            loop.call_soon_threadsafe(tell, text)

    synthesiser = Synthesiser(settings)
    voice = Voice(folder, synthesiser, told)
    voice.thread.start()
    try:
        yield voice
    finally:
        synthesiser.stop()
        await asyncio.to_thread(voice.thread.join)
