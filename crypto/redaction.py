"""What a log line may say: the last step before its bytes leave a program. Here because booth and server share no other room.

Rules, for every record of every logger:
  - A line is one line: control characters are escaped, its length has an end, and making it never fails and never prints what it failed on.
  - A record of a foreign library is told by its logger, level, and place in the source; its text is withheld, because nobody here decides
    what stands in it. Ours are told by text.
  - An exception is told by the types along its chain and their places, never by its text; as an argument, by its text only when it is ours.
  - Arguments are numbers, words, our exceptions, and lists of these. Anything else (bytes, arrays, records) is told by its type.
  - From the finished text is taken: what looks like an application number, token, access code or key; Base64, hexadecimal and escaped bytes;
    rows of numbers; mail addresses; what a URL has after its host; paths outside `roots`; names of files that are not parts of a packet.
    Text is normalised first, so that full-width digits or invisible characters hide nothing.
What it cannot know is a person's name in a sentence of ours: that none is written there stays a rule of the house.

Kept although it looks like a number: `words` (this booth's own names), dates, digests as they are shortened everywhere (12 or 16 lower-case
hexadecimal digits, a letter among them), digits before "bytes".
"""

from __future__ import annotations

import errno
import logging
import re
import sys
import threading
import unicodedata
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TextIO
from urllib.parse import urlsplit

log = logging.getLogger(__name__)

OWN = frozenset({"booth", "capture", "crypto", "hardware", "server", "validation"})
MAX_TEXT = 4000  # of what is looked at
MAX_LINE = 600  # of what is written
MAX_CHAIN = 8
MAX_LIST = 8
NUMBER_FROM = 6  # shorter than every application number (crypto.application), so that a part of one is taken too
# Words of the trade that have the shape of a number, and the parts of a packet.
WORDS = frozenset(
    {
        *("PKCS11", "DMX512", "RS-232", "SHA-256", "SHA-384", "X25519", "ML-KEM-768", "SIGTERM", "SIGINT", "SIGKILL"),
        *("portrait.jpg", "chip.jp2", "face.bin", "report.json", "visit.json", "attempts.json", "manifest.json"),
    }
)
_NAMED = "code|token|pin|pin-value|password|passwd|passphrase|secret|session|csrf[_-]?token|api[_-]?key|bearer"
_EXTENSIONS = "jpe?g|png|jp2|bmp|tiff?|gif|webp|npy|zip|json|bin|cms|packet|pdf|docx?|txt|log"
_SUSPECT = re.compile(
    r"""
      (?P<bytes>\bb'(?:[^'\\]|\\.)*'?|\bb"(?:[^"\\]|\\.)*"?|(?:\\x[0-9a-f]{2}){2,})
    | (?P<pem>-----BEGIN[\s\S]*?(?:-----END[^-]*-----|\Z))
    | (?P<header>\b(?:authorization|(?:set-)?cookie|x-[\w-]{1,40})\b["']?\s*[:=][^\n]*)
    | (?P<secret>\b(?:[\w-]{1,40}[_-])?(?:"""
    + _NAMED
    + r""")["']?\s*[=:]\s*["']?[^\s"',;]+)
    | (?P<pkcs11>\bpkcs11:[^\s'"]+)
    | (?P<url>\b[a-z][a-z0-9+.-]*://[^\s'"<>()]*[^\s'"<>().,;:!])
    | (?P<mail>[\w.+-]+@[\w.-]+)
    | (?P<path>(?<![\w.])(?:~[\w.-]*|\.{1,2})?/[^\n'"]*|\b[a-z]:\\[^\n'"]*)
    | (?P<numbers>(?:(?:\d{1,3}(?:\.\d*)?|[0-9a-f]{2})[\s,;:\[\]()]+){8,}[0-9a-f]*)
    | (?P<escaped>(?:%[0-9a-f]{2}){3,}|(?:\\u[0-9a-f]{4}){2,})
    | (?P<file>[^\s'"/\\]+\.(?:"""
    + _EXTENSIONS
    + r""")\b)
    | (?P<long>[\w+/=-]{24,})
    | (?P<token>[A-Za-z0-9-]{6,})
    """,
    re.VERBOSE | re.IGNORECASE,
)
_KNOWN_PATH = re.compile(r"/[\w./@:+-]*[\w/+-]")
_DIGEST = re.compile(r"(?=[0-9]*[a-f])(?:[0-9a-f]{12}|[0-9a-f]{16})")
_DATE = re.compile(r"(?:19|20)\d\d-\d\d-\d\d")
_SNAKE = re.compile(r"[a-z]+(?:[_-][a-z]+)+")
_HOST = re.compile(r"[\w.-]{0,100}(?::\d{1,5})?|\[[0-9a-fA-F:]+\](?::\d{1,5})?", re.ASCII)
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.]{0,79}", re.ASCII)
_MODULE = re.compile(r"[A-Za-z_]{1,40}\d{0,2}", re.ASCII)
_FIELD = {
    "code": re.compile(r"[a-z][a-z_]*(?:\.[a-z_]+)*"),
    "method": re.compile(r"[A-Z]{3,8}"),
    "packet": re.compile(r"[0-9a-f]{12,16}"),
    "serial": re.compile(r"[0-9a-f]{1,40}"),
    "booth": re.compile(r"[\w.-]{1,64}", re.ASCII),
    "route": re.compile(r"(?:/(?:[a-z][a-z.]*|v\d|\{\w+(?::\w+)?\}))*/?"),
}


class Redactor:
    """Knows what may be said. `words` are this installation's own names, `roots` the folders that an operator made."""

    def __init__(self, words: Iterable[str] = (), roots: Iterable[str] = ()) -> None:
        self._words = WORDS | frozenset(words)
        self._roots = tuple(root.rstrip("/") for root in ("/dev", *roots))

    def message(self, record: logging.LogRecord) -> str:
        """The record's text, fit to be written."""
        if record.name.split(".")[0] not in OWN:
            return f"(text of a library withheld) at {_place(record.module, record.lineno)}"
        return self.text(_filled(record))

    def text(self, text: str) -> str:
        """The text without what must not leave."""
        plain = unicodedata.normalize("NFKC", text[:MAX_TEXT])
        plain = "".join(sign for sign in plain if unicodedata.category(sign) not in {"Cf", "Cs", "Co"})
        told: list[str] = []
        at = 0
        while (found := _SUSPECT.search(plain, at)) is not None:
            said, end = self._instead(found, plain)
            told += plain[at : found.start()], said
            at = end
        told.append(plain[at:])
        line = "".join(told)
        if len(line) > MAX_LINE:
            line = line[:MAX_LINE] + " …"
        return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in line)

    def field(self, name: str, value: object) -> object:
        """A field of a structured line: a number, or what the field's name promises."""
        if value is None or isinstance(value, bool | int | float):
            return value
        if not isinstance(value, str):
            return f"<{_identifier(type(value).__name__)}>"
        shape = _FIELD.get(name)
        if shape is None:
            return self.text(value)
        return str(value) if shape.fullmatch(value) else "<withheld>"

    def logger(self, name: str) -> str:
        """The logger's name, when it is one."""
        plain = all(_MODULE.fullmatch(part) and not part[NUMBER_FROM - 1 :].isupper() for part in name.split("."))
        return name if plain else "<logger>"

    def _instead(self, found: re.Match[str], plain: str) -> tuple[str, int]:
        """What is said for a match, and where the text goes on."""
        kind, text = str(found.lastgroup), found[0]
        if kind == "path":
            known = _KNOWN_PATH.match(plain, found.start())
            if known is not None and self._is_known(known[0]):
                return self._segments(known[0]), known.end()
        elif kind == "url":
            return self._address(text), found.end()
        elif kind == "secret":
            return f"{re.split('[=:]', text, maxsplit=1)[0].strip()}=<secret>", found.end()
        elif kind in {"file", "token", "long"} and self._is_word(text, plain, found):
            return text, found.end()
        return f"<{'number' if kind == 'token' else kind}>", found.end()

    def _is_word(self, text: str, plain: str, found: re.Match[str]) -> bool:
        if text in self._words or _DATE.fullmatch(text) or _DIGEST.fullmatch(text):
            return True
        if found.lastgroup == "file":
            return False
        bare = text.strip("-")
        if found.lastgroup == "long":
            return set(text) <= {"-", "_", "="} or (_SNAKE.fullmatch(bare) is not None)
        if bare.isdigit():
            decimals = plain[max(found.start() - 2, 0) : found.start()]
            is_fraction = len(decimals) == 2 and decimals[0].isdigit() and decimals[1] == "."
            return len(bare) < NUMBER_FROM or is_fraction or plain.startswith(" bytes", found.end())
        has_digit = any(sign.isdigit() for sign in bare)
        return len(bare) < NUMBER_FROM or not (has_digit or bare.isupper())

    def _is_known(self, path: str) -> bool:
        return ".." not in path and any(path == root or path.startswith(f"{root}/") for root in self._roots)

    def _segments(self, path: str) -> str:
        """A known path, its names looked at one by one below the root."""
        root = max((r for r in self._roots if path == r or path.startswith(f"{r}/")), key=len)
        if root == "/dev":
            return path
        rest = [segment if self._plain_name(segment) else "<name>" for segment in path[len(root) :].split("/")]
        return root + "/".join(rest)

    def _plain_name(self, name: str) -> bool:
        stem, _, kind = name.rpartition(".")
        whole = name if not stem or re.fullmatch(_EXTENSIONS, kind) is None else stem
        return name in self._words or (self.text(whole) == whole)

    def _address(self, url: str) -> str:
        """Scheme and host; of an address without host its path."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return "<url>"
        host = parts.netloc.rpartition("@")[2]
        if not _HOST.fullmatch(host):
            return "<url>"
        if not host:
            return f"{parts.scheme}://{self._segments(parts.path) if self._is_known(parts.path) else '<path>'}"
        return f"{parts.scheme}://{host}" + ("" if parts.path in {"", "/"} and not parts.query else "/<path>")


class RedactingHandler(logging.StreamHandler[TextIO]):
    """Standard error, behind a formatter of ours. A record that cannot be written is dropped in silence: telling of it would print it."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__(sys.stderr)
        self.setFormatter(formatter)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """Nothing is printed."""


def configure(formatter: logging.Formatter, levels: Mapping[str, int | str]) -> None:
    """All logs of this process, and what would have gone to standard error as a traceback or a warning, through one formatter.

    `levels` by logger; "" is everybody else.
    """
    root = logging.getLogger()
    root.handlers[:] = [RedactingHandler(formatter)]
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    logging.captureWarnings(capture=True)
    sys.excepthook = _unhandled
    threading.excepthook = _thread_ended
    sys.unraisablehook = _unraisable


def _unhandled(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    log.critical("the program ends by an unexpected error", exc_info=(kind, error, trace))


def _thread_ended(told: threading.ExceptHookArgs) -> None:
    log.error("a thread ended by an unexpected error", exc_info=told.exc_value)


def _unraisable(told: sys.UnraisableHookArgs) -> None:
    log.error("an error that nobody could be told", exc_info=told.exc_value)


def error_chain(error: BaseException) -> list[str]:
    """The types of an exception and its causes with the line they came from, without their texts."""
    told: list[str] = []
    current: BaseException | None = error
    while current is not None and len(told) < MAX_CHAIN:
        place = ""
        step = current.__traceback__
        while step is not None:
            place = f" at {_place(step.tb_frame.f_globals.get('__name__', '?'), step.tb_lineno)}"
            step = step.tb_next
        told.append(f"{_identifier(type(current).__name__)}{place}")
        current = current.__cause__ or current.__context__
    return told


def _filled(record: logging.LogRecord) -> str:
    """Template and arguments, each told as far as its type allows."""
    template = str(_argument(record.msg))
    given = record.args
    if not given:
        return template
    try:
        if isinstance(given, Mapping):
            return str(template % {name: _argument(value) for name, value in given.items()})
        return str(template % tuple(_argument(value) for value in given))
    except Exception:  # noqa: BLE001 - a bad template or a hostile argument: the line must come, and without them
        return f"{template} (arguments withheld)"


def _argument(value: object) -> object:
    kind = type(value)
    if value is None or kind in {bool, int, float}:
        return value
    if isinstance(value, OSError) and kind.__module__ == "builtins":
        return f"{kind.__name__} {errno.errorcode.get(value.errno or 0, '')}".rstrip()
    if isinstance(value, BaseException):
        ours = kind.__module__.split(".")[0] in OWN and isinstance(getattr(value, "code", None), str)
        return str(value) if ours else _identifier(kind.__name__)
    if kind in {list, tuple, set, frozenset}:
        assert isinstance(value, list | tuple | set | frozenset)
        listed = [_argument(item) for item in list(value)[:MAX_LIST]]
        return ", ".join(map(str, listed)) + (" …" if len(value) > MAX_LIST else "")
    # A path or a word of an enumeration says what it is by its text; a subclass of str might say anything when it is asked.
    if isinstance(value, str):
        return str.__str__(value)
    if kind.__module__ == "pathlib":
        return str(value)
    return f"<{_identifier(kind.__name__)}>"


def _place(module: object, line: int) -> str:
    return f"{_identifier(str(module))}:{line}"


def _identifier(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else "?"
