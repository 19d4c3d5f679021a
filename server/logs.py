"""Structured logs: one JSON object per line on stderr, without personal data.

Only the fields named in `FIELDS` are written besides the message, each in the shape that its name promises, and messages are fixed sentences:
no path parameter, header, body, name or application number can get in by accident. What gets in all the same meets `crypto.redaction`.
Exceptions are told by their types along the chain, never by their text.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime

from crypto.redaction import Redactor, configure, error_chain

# What a log line may carry. `packet` is the first 16 digits of a digest of sealed bytes, `booth` a machine's name,
# `serial` the number of its certificate.
FIELDS = ("code", "status", "method", "route", "packet", "booth", "serial", "size", "duration_ms", "url", "count")


# Sentences of ours that need no second look: fixed ones, in which nothing was taken out.
MAX_SENTENCES = 256


class JsonFormatter(logging.Formatter):
    """One line of JSON per record."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        super().__init__()
        self._redactor = redactor or Redactor()
        self._fixed: dict[tuple[str, str], tuple[str, str]] = {}

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON with the allowed fields alone."""
        logger, message = self._words(record)
        line: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": logger,
            "message": message,
        }
        values = {name: getattr(record, name, None) for name in FIELDS}
        line.update({name: self._redactor.field(name, value) for name, value in values.items() if value is not None})
        if record.exc_info and record.exc_info[1] is not None:
            line["error"] = error_chain(record.exc_info[1])
        return json.dumps(line, ensure_ascii=True)

    def _words(self, record: logging.LogRecord) -> tuple[str, str]:
        """The logger and the message; looked at once where the same sentence is told again and again."""
        fixed = isinstance(record.msg, str) and not record.args
        if fixed and (known := self._fixed.get((record.name, record.msg))) is not None:
            return known
        words = self._redactor.logger(record.name), self._redactor.message(record)
        if fixed and words[1] == record.msg and len(self._fixed) < MAX_SENTENCES:
            self._fixed[record.name, record.msg] = words
        return words


def configure_logs(level: str = "INFO") -> None:
    """Send all logs of this process to stderr as JSON lines; libraries speak from WARNING on."""
    configure(JsonFormatter(), {"": logging.WARNING, "server": level, "crypto": level})
