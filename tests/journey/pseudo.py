"""A language that nobody speaks: English, longer by two fifths, every letter with an accent, in brackets. What still fits it fits any language."""

from __future__ import annotations

import re
from typing import Any

ACCENTED = str.maketrans("aceinosuyzACEINOSUYZ", "àçéîñôšûýžÀÇÉÎÑÔŠÛÝŽ")
STRETCH = 0.4
_WORDS = re.compile(r"\{[a-z_]+\}|[^{]+")


def pseudo(text: str) -> str:
    """One text; placeholders stay."""
    said = "".join(part if part.startswith("{") else part.translate(ACCENTED) for part in _WORDS.findall(text))
    # Longer by words of the length that real ones have, so that lines may break as they do in a language.
    longer = " ".join(["lôngér"] * round(len(text) * STRETCH / 7)) or "ô" * max(1, round(len(text) * STRETCH))
    return f"[{said} {longer}]" if " " in text else f"[{said}{longer.replace(' ', '')}]"


def pseudo_catalogue(answer: dict[str, Any]) -> dict[str, Any]:
    """What `/api/messages/{language}` answers, in that language."""
    texts = {
        key: pseudo(text) if isinstance(text, str) else {category: pseudo(form) for category, form in text.items()}
        for key, text in answer["texts"].items()
    }
    return answer | {"texts": texts}
