"""Who may use the desk: signing in, sessions in memory, tokens for forms, waiting times after wrong passwords.

Rules: a session is a random token, kept only as its digest; it belongs to one user, ends after `idle_s` of silence and after `session_s` in any case, and signing in
never continues a session that a browser brought along. Who its user is now, and what he may do, is asked anew at most `LOOK_S` after it was asked last: a
disabled user has no session then, and one of another generation (password, authenticator, state) is none either. Forms carry a token of their session;
the login form, which has no session yet, one that is bound to a cookie by a key of this process.

Wrong passwords make their network and the name that was tried wait, longer each time up to an hour (crypto/tries.py). So that nobody can lock a person out by
trying his name, a browser that somebody has signed in with before has tries of its own for this name, and waits for nobody else's (a "device cookie", OWASP
"Slow Down Online Guessing Attacks with Device Cookies"): its cookie holds a random value, a date and a keyed hash, no name. And many wrong passwords from everywhere
only make each try take `SLOWED_S` longer; passwords are compared one after the other, which bounds them all together.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import time
import unicodedata
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Protocol, TypeVar

from crypto.tries import Tries
from server.addresses import network_of
from server.errors import CsrfError, LoginLockedError, LoginRefusedError
from server.roles import Permission, Role, granted
from server.user_errors import AuthenticatorCodeError, PasswordWrongError

_T = TypeVar("_T")

# Everybody together: from this many wrong passwords within a minute on, each try waits before it is compared.
WRONG_PER_MINUTE = 30
SLOWED_S = 1.0
# An office has one address, and several people who mistype.
NETWORK_TRIES = 4
LOOK_S = 5.0
DEVICE_S = 90 * 86_400.0
MOST_TYPED = 256  # characters of a name that are read
_DEVICE = re.compile(r"([0-9a-f]{32})\.([0-9]{1,12})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What somebody has typed."""

    name: str = field(repr=False)
    password: str = field(repr=False)
    code: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Identity:
    """Who somebody is, as the provider knows it now."""

    user: str  # opaque, and for ever the same
    name: str = field(repr=False)
    roles: frozenset[Role]
    generation: int
    unfinished: bool = False  # own password and authenticator come first


class IdentityProvider(Protocol):
    """Who knows the users: the desk's own list (server/local_users.py), or another one (docs/operations.md, "Another identity provider")."""

    async def authenticate(self, credentials: Credentials) -> Identity:
        """Who this is. Raises `LoginRefusedError`."""

    async def present(self, user: str) -> Identity | None:
        """Who this user is now; None when he may not be signed in any more."""


@dataclass(frozen=True, slots=True)
class Session:
    """One person's open session."""

    csrf_token: str = field(repr=False)
    opened_at: float
    seen_at: float
    officer: str  # the user's id: tells people apart in what is signed, and says nothing of a person
    roles: frozenset[Role]
    name: str = field(default="", repr=False)
    generation: int = 0
    unfinished: bool = False
    looked_at: float = 0.0

    def may(self, permission: Permission) -> bool:
        """Whether this session's person may do something."""
        return not self.unfinished and permission in granted(self.roles)


class Doorkeeper:
    """Signing in, sessions and form tokens of one desk process."""

    def __init__(
        self,
        identities: IdentityProvider,
        *,
        idle_s: float,
        session_s: float,
        tries: int,
        lockout_s: float,
        device_key: bytes | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._identities = identities
        self._form_key = secrets.token_bytes(32)
        self._device_key = device_key or secrets.token_bytes(32)
        self._idle_s, self._session_s = idle_s, session_s
        self._clock, self._wall_clock = clock, wall_clock
        self._sessions: dict[bytes, Session] = {}
        self._tries = Tries(allowed=tries, lockout_s=lockout_s, clock=clock)
        self._networks = Tries(allowed=NETWORK_TRIES * tries, lockout_s=lockout_s, clock=clock)
        self._wrong_at: deque[float] = deque(maxlen=WRONG_PER_MINUTE)
        self._turn = asyncio.Lock()

    async def sign_in(self, address: str, credentials: Credentials, device: str | None = None) -> Identity:
        """Who this is; takes a hash's time in a thread. Raises `LoginLockedError`, `LoginRefusedError`, `PasswordCheckError`, `StorageError`."""
        named = self._named(credentials.name)
        known = self._known_device(device, named)
        parties = [(self._tries, f"device {known}" if known else f"name {named}")]
        if not known:
            parties.append((self._networks, network_of(address)))
        if wait_s := max(tries.waits(party) for tries, party in parties):
            raise LoginLockedError("Too many wrong passwords.", retry_after_s=wait_s)
        for tries, party in parties:
            tries.begin(party)
        await asyncio.sleep(self.slowed_s())
        try:
            async with self._turn:  # a hash takes 64 MiB and a core: one at a time
                identity = await self._identities.authenticate(credentials)
        except LoginRefusedError:
            self._wrong_at.append(self._clock())
            raise
        except BaseException:
            for tries, party in parties:
                tries.take_back(party)
            raise
        for tries, party in parties:
            tries.right(party)
        return identity

    async def ask_again(self, session: Session, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Something that a person who is signed in proves once more; wrong ones make him wait. Raises `LoginLockedError`, and what `ask` raises."""
        party = f"again {session.officer}"
        if wait_s := self._tries.begin(party):
            raise LoginLockedError("Too many wrong passwords.", retry_after_s=wait_s)
        try:
            async with self._turn:
                answer = await ask()
        except (PasswordWrongError, AuthenticatorCodeError):
            raise
        except BaseException:
            self._tries.take_back(party)
            raise
        self._tries.right(party)
        return answer

    def slowed_s(self) -> float:
        """How long a try waits now, because of wrong passwords from anywhere."""
        crowded = len(self._wrong_at) == WRONG_PER_MINUTE and self._clock() - self._wrong_at[0] < 60.0
        return SLOWED_S if crowded else 0.0

    def device_token(self, name: str) -> str:
        """What a browser keeps that somebody has signed in with by this name."""
        nonce, until = secrets.token_hex(16), int(self._wall_clock() + DEVICE_S)
        return f"{nonce}.{until}.{self._device_mac(nonce, until, self._named(name))}"

    def open_session(self, identity: Identity) -> tuple[str, Session]:
        """A new session and its token, which is kept by the browser alone."""
        token = secrets.token_urlsafe(32)
        now = self._clock()
        person = (identity.user, identity.roles, identity.name, identity.generation, identity.unfinished)
        session = Session(secrets.token_urlsafe(32), now, now, *person, looked_at=now)
        self._sessions[_key(token)] = session
        return token, session

    async def admit(self, token: str | None) -> Session | None:
        """The session of a token as its user is now, which is thereby seen; None when there is none any more. Raises `StorageError`."""
        session = self.session(token)
        if session is None or token is None or self._clock() - session.looked_at < LOOK_S:
            return session
        now = self._clock()
        identity = await self._identities.present(session.officer)
        if identity is None or identity.generation != session.generation:
            self.close_session(token)
            return None
        looked = replace(
            session, roles=identity.roles, name=identity.name, unfinished=identity.unfinished, looked_at=now
        )
        if _key(token) not in self._sessions:
            return None  # closed meanwhile
        self._sessions[_key(token)] = looked
        return looked

    def session(self, token: str | None) -> Session | None:
        """The session of a token as it was last looked at, which is thereby seen; None when there is none any more."""
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

    def close_sessions_of(self, user: str) -> None:
        """End all sessions of a user in this process; others see within `LOOK_S` that his generation is over."""
        self._sessions = {key: session for key, session in self._sessions.items() if session.officer != user}

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

    def _named(self, name: str) -> str:
        return hmac.new(self._device_key, b"name " + plain_name(name), hashlib.sha256).hexdigest()

    def _known_device(self, token: str | None, named: str) -> str | None:
        """The random value of a browser's token, when it is ours, of this name, and not too old."""
        found = _DEVICE.fullmatch(token or "")
        if found is None or int(found[2]) < self._wall_clock():
            return None
        ours = self._device_mac(found[1], int(found[2]), named)
        return found[1] if hmac.compare_digest(ours, found[3]) else None

    def _device_mac(self, nonce: str, until: int, named: str) -> str:
        return hmac.new(self._device_key, f"device {nonce} {until} {named}".encode(), hashlib.sha256).hexdigest()


def plain_name(name: str) -> bytes:
    """A typed name as users are told apart: by this a user is found and his tries are counted, so that no other spelling of a name has tries of its own."""
    plain = " ".join(unicodedata.normalize("NFKC", name[:MOST_TYPED]).casefold().split())
    return plain.encode("utf-8", "replace")


def _key(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
