"""The voice for the pages: which prompts have a sound, and the sounds.

Rules: the list of a language is never kept, because it grows while the sounds are made; a sound may be kept for ever, because its name changes with
everything in it, and it holds the words of the catalogue and nothing of a visit. A booth without a voice has an empty list: the words on the
screen are the whole message.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from booth.guard import MAY_BE_KEPT
from booth.messages import known_languages
from booth.page_requests import problem
from booth.voice import Voice

KEPT = "private, max-age=31536000, immutable"


class VoicePages:
    """Routes of the voice; None is a booth without one."""

    def __init__(self, voice: Voice | None) -> None:
        self._voice = voice

    def router(self) -> APIRouter:
        """The two routes."""
        router = APIRouter()
        router.get("/api/voice/{language}")(self.prompts)
        router.get(f"{MAY_BE_KEPT}{{name}}")(self.sound)
        return router

    async def prompts(self, language: str) -> Response:
        """The sounds of a language: file names by message key, and whether there will be no more."""
        if language not in known_languages():
            return problem(404, "voice.language", "The booth does not speak this language.")
        if self._voice is None:
            return JSONResponse({"prompts": {}, "complete": True})
        complete = self._voice.complete  # before the list: what comes between is in it
        return JSONResponse({"prompts": dict(self._voice.prompts(language)), "complete": complete})

    async def sound(self, name: str) -> Response:
        """One sound."""
        voice = self._voice
        data = None if voice is None else await asyncio.to_thread(voice.read, name)
        if data is None:
            return problem(404, "voice.unknown", "There is no such sound.")
        return Response(data, media_type="audio/wav", headers={"Cache-Control": KEPT})
