"""Who may use the desk: one access code per start, sessions in memory, tokens for forms, waiting times after wrong codes.

Rules: there is no default code; it is made at start and told once, or read from a file that the operator gives, and kept only as a scrypt
digest. A session is a random token, kept only as its digest; it ends after `idle_s` of silence and after `session_s` in any case, and a login
never continues a session that a browser brought along. Forms carry a token of their session; the login form, which has no session yet, one that
is bound to a cookie by a key of this process.

Wrong codes make their network wait, longer each time (crypto/tries.py). Nobody is refused for what others do: many wrong codes from everywhere
only make each try take `SLOWED_S` longer, and tries are compared one after the other, which bounds them all together.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from crypto.tries import Tries
from server.addresses import network_of
from server.errors import CsrfError, LoginLockedError, LoginRefusedError, SettingsError
from server.roles import Permission, Role, granted

# Letters and digits that cannot be mistaken for each other on paper; 10 of them are 49 bits.
CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"[:30]
CODE_LENGTH = 10
LEAST_CODE_LENGTH = 8
# RFC 7914 section 2's interactive costs: 16 MiB and about 50 ms for each try.
SCRYPT_N, SCRYPT_R, SCRYPT_P = 2**14, 8, 1
# All networks together: from this many wrong codes within a minute on, each try waits before it is compared. Compared one after the other at
# 50 ms each, half of the 2^49 codes take four hundred thousand years.
WRONG_PER_MINUTE = 30
SLOWED_S = 1.0


def make_access_code() -> str:
    """A new access code in two groups."""
    code = "".join(secrets.choice(CODE_ALPHABET) for _ in range(CODE_LENGTH))
    return f"{code[:5]}-{code[5:]}"


def read_access_code(path: Path) -> str:
    """The access code in an operator's file. Raises `SettingsError`."""
    try:
        if path.stat().st_mode & 0o077:
            raise SettingsError(f"The file {path} with the access code is readable for others: chmod 600 it.")
        code = path.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"The file {path} with the access code cannot be read.") from error
    if len(_plain(code)) < LEAST_CODE_LENGTH:
        raise SettingsError(f"The access code in {path} is shorter than {LEAST_CODE_LENGTH} letters and digits.")
    return code


def _plain(code: str) -> str:
    """A code as it is compared: capitals without spaces and dashes."""
    return "".join(code.split()).replace("-", "").upper()


@dataclass(frozen=True, slots=True)
class Session:
    """One officer's open session."""

    csrf_token: str
    opened_at: float
    seen_at: float
    officer: str  # tells sessions apart in what is signed, and says nothing of a person
    roles: frozenset[Role]

    def may(self, permission: Permission) -> bool:
        """Whether this session's person may do something."""
        return permission in granted(self.roles)


class Doorkeeper:
    """Access code, sessions and form tokens of one desk process."""

    def __init__(
        self,
        code: str,
        *,
        idle_s: float,
        session_s: float,
        tries: int,
        lockout_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._salt = secrets.token_bytes(16)
        self._code = self._digest(code)
        self._form_key = secrets.token_bytes(32)
        self._idle_s, self._session_s = idle_s, session_s
        self._clock = clock
        self._sessions: dict[bytes, Session] = {}
        self._tries = Tries(allowed=tries, lockout_s=lockout_s, clock=clock)
        self._wrong_at: deque[float] = deque(maxlen=WRONG_PER_MINUTE)
        self._turn = asyncio.Lock()

    async def check_code(self, address: str, code: str) -> None:
        """Compare a code; costs scrypt's time in a thread. Raises `LoginLockedError`, `LoginRefusedError`."""
        network = network_of(address)
        if wait_s := self._tries.begin(network):
            raise LoginLockedError("Too many wrong access codes.", retry_after_s=wait_s)
        await asyncio.sleep(self.slowed_s())
        async with self._turn:  # scrypt takes 16 MiB and a core: one at a time
            right = hmac.compare_digest(await asyncio.to_thread(self._digest, code), self._code)
        if not right:
            self._wrong_at.append(self._clock())
            raise LoginRefusedError("The access code is wrong.")
        self._tries.right(network)

    def slowed_s(self) -> float:
        """How long a try waits now, because of wrong codes from anywhere."""
        crowded = len(self._wrong_at) == WRONG_PER_MINUTE and self._clock() - self._wrong_at[0] < 60.0
        return SLOWED_S if crowded else 0.0

    def open_session(self) -> tuple[str, Session]:
        """A new session and its token, which is kept by the browser alone."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        session = Session(secrets.token_urlsafe(32), now, now, f"session-{secrets.token_hex(8)}", frozenset(Role))
        self._sessions[_key(token)] = session
        return token, session

    def session(self, token: str | None) -> Session | None:
        """The session of a token, which is thereby seen; None when there is none any more."""
        if not token:
            return None
        self.sweep()
        session = self._sessions.get(_key(token))
        if session is None:
            return None
        seen = replace(session, seen_at=self._clock())
        self._sessions[_key(token)] = seen
        return seen

    def close_session(self, token: str | None) -> None:
        """End a session."""
        if token:
            self._sessions.pop(_key(token), None)

    def sweep(self) -> int:
        """End sessions whose time is over; returns how many are open."""
        now = self._clock()
        self._sessions = {
            key: session
            for key, session in self._sessions.items()
            if now - session.seen_at < self._idle_s and now - session.opened_at < self._session_s
        }
        return len(self._sessions)

    def form_token(self, seed: str) -> str:
        """The token of a form without a session, for the random value in its cookie."""
        return hmac.new(self._form_key, seed.encode(), hashlib.sha256).hexdigest()

    def check_form_token(self, seed: str | None, token: str) -> None:
        """Raises `CsrfError`."""
        if not seed or not hmac.compare_digest(self.form_token(seed).encode(), token.encode()):
            raise CsrfError("The form is too old or not from this page: load the page again.")

    def check_session_token(self, session: Session, token: str) -> None:
        """Raises `CsrfError`."""
        if not hmac.compare_digest(session.csrf_token.encode(), token.encode()):
            raise CsrfError("The form is too old or not from this page: load the page again.")

    def _digest(self, code: str) -> bytes:
        return hashlib.scrypt(_plain(code)[:200].encode(), salt=self._salt, n=SCRYPT_N, r=SCRYPT_R, p=SCRYPT_P)


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
