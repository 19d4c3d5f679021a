"""The booth's logs: one line of text per event on stderr, the journal's business from there, and without personal data (`crypto.redaction`)."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from booth.config import Config
from crypto.redaction import Redactor, configure, error_chain

# One line per still and per page is no event of the booth.
CHATTY = ("httpx2", "uvicorn.error")


class LineFormatter(logging.Formatter):
    """Time, level, logger, text; then the types of the exception's chain."""

    def __init__(self, redactor: Redactor | None = None) -> None:
        super().__init__()
        self._redactor = redactor or Redactor()

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = f"{at} {record.levelname} {self._redactor.logger(record.name)}: {self._redactor.message(record)}"
        if record.exc_info and record.exc_info[1] is not None:
            line += f" [{' <- '.join(error_chain(record.exc_info[1]))}]"
        return line


def configure_logs(config: Config) -> None:
    """All logs of this process, with this booth's names and folders as words that may be said."""
    booth, keys = config.booth, config.keys
    files = (config.intake.trust, keys.certificate, keys.passphrase_file, *keys.recipients)
    roots = {str(booth.data_dir.resolve()), *(str(path.resolve().parent) for path in files if path is not None)}
    redactor = Redactor((booth.id, booth.site, booth.centre, config.profile.name), roots)
    configure(LineFormatter(redactor), {"": logging.INFO, **dict.fromkeys(CHATTY, logging.WARNING)})
