"""Structured logs: one JSON object per line on stderr, without personal data.

Only the fields named in `FIELDS` are written besides the message, and messages are fixed sentences: no path parameter, header, body, name or
application number can get in by accident. Exceptions are told by their types along the chain, never by their text.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime

# What a log line may carry. `packet` is the first 16 digits of a digest of sealed bytes, `booth` a machine's name,
# `serial` the number of its certificate.
FIELDS = ("code", "status", "method", "route", "packet", "booth", "serial", "size", "duration_ms", "url", "count")


class JsonFormatter(logging.Formatter):
    """One line of JSON per record."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON with the allowed fields alone."""
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        line.update({name: value for name in FIELDS if (value := getattr(record, name, None)) is not None})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = _chain(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)


def _chain(error: BaseException) -> list[str]:
    """The types of an exception and its causes with the line they came from, without their texts."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None and len(told) < 8:
        place = ""
        step = current.__traceback__
        while step is not None:
            place = f" at {step.tb_frame.f_globals.get('__name__', '?')}:{step.tb_lineno}"
            step = step.tb_next
        told.append(f"{type(current).__name__}{place}")
        current = current.__cause__ or current.__context__
    return told


def configure_logs(level: str = "INFO") -> None:
    """Send all logs of this process to stderr as JSON lines; libraries speak from WARNING on."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("server").setLevel(level)
