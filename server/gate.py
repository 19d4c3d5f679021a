"""Who gets a connection: accepts TCP, counts, finishes the TLS handshake within a time limit, then hands over to HTTP.

Rules: a connection counts from the moment it is accepted, before TLS, until it is gone; one network (server/addresses.py) has at most
`per_network` of them and all together `total`, which never is more than half of the files that the process may open: packets and the database
need the rest. A trusted proxy's network has no limit of its own. What is too many is closed at once, so that nobody waits in a queue behind somebody who holds connections. A handshake that is not
complete within `handshake_s` is cut, and so is a TLS goodbye that is never answered.

Order of operation: `open()`, `close()`, `await wait_closed()`; after that the listening socket is closed and no handshake runs.
"""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from ipaddress import IPv4Network, IPv6Network

from server.addresses import is_within, network_of

log = logging.getLogger(__name__)

# How long to wait when the system refuses to accept (no files, no memory): what asyncio's own server waits.
ACCEPT_RETRY_S = 1.0

Left = Callable[[], None]


@dataclass(frozen=True, slots=True)
class GateLimits:
    """How many connections, and how long a handshake may take."""

    total: int
    per_network: int
    handshake_s: float
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()

    def within_files(self) -> GateLimits:
        """These limits with a total that leaves half of the process's files to everything else."""
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self
        return replace(self, total=max(1, min(self.total, files // 2)))


class Gate:
    """The listening socket of one process and everybody who came through it."""

    def __init__(
        self,
        bound: socket.socket,
        context: ssl.SSLContext,
        limits: GateLimits,
        make_protocol: Callable[[Left], asyncio.Protocol],
    ) -> None:
        """`make_protocol(left)` makes the protocol of one connection; it calls `left` when the connection is lost."""
        self._bound = bound
        self._context = context
        self._limits = limits
        self._make_protocol = make_protocol
        self._networks: dict[object, str] = {}
        self._counts: Counter[str] = Counter()
        self._handshakes: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._refusing = False

    @property
    def connections(self) -> int:
        """How many connections there are, those in their handshake included."""
        return len(self._networks)

    def open(self, backlog: int) -> None:
        """Accept from now on."""
        self._bound.setblocking(False)
        self._bound.listen(backlog)
        self._accepting = asyncio.create_task(self._accept(), name="gate")

    def close(self) -> None:
        """Accept nobody any more; connections stay."""
        if self._accepting is not None:
            self._accepting.cancel()

    async def wait_closed(self) -> None:
        """End unfinished handshakes; return when the listening socket is closed."""
        if self._accepting is not None:
            await asyncio.wait({self._accepting})  # the last one accepted is in its handshake by then
        handshakes = tuple(self._handshakes)
        for task in handshakes:
            task.cancel()
        await asyncio.gather(*handshakes, return_exceptions=True)
        self._bound.close()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._bound)
            except ConnectionError:
                continue  # gone before it was accepted
            except OSError:
                log.exception("The system refuses to accept connections; trying again.")
                await asyncio.sleep(ACCEPT_RETRY_S)
                continue
            self._admit(connection, str(address[0]))
            await asyncio.sleep(0)  # accepting does not wait while somebody knocks: others get their turn here

    def _admit(self, connection: socket.socket, address: str) -> None:
        network = network_of(address)
        full = self._counts[network] >= self._limits.per_network and not is_within(address, self._limits.proxies)
        if self.connections >= self._limits.total or full:
            self._tell_refusal()
            connection.close()
            return
        guest = object()
        self._networks[guest] = network
        self._counts[network] += 1
        task = asyncio.create_task(self._shake_hands(connection, guest), name="tls-handshake")
        self._handshakes.add(task)
        task.add_done_callback(self._handshakes.discard)

    async def _shake_hands(self, connection: socket.socket, guest: object) -> None:
        protocol = self._make_protocol(lambda: self._leave(guest))
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: protocol,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=self._limits.handshake_s,
                ssl_shutdown_timeout=self._limits.handshake_s,
            )
        except OSError:  # a peer without TLS, without time or without manners
            self._leave(guest)
        except BaseException:
            self._leave(guest)
            raise

    def _leave(self, guest: object) -> None:
        network = self._networks.pop(guest, None)
        if network is None:
            return
        self._counts[network] -= 1
        if not self._counts[network]:
            del self._counts[network]
        if self._refusing and self.connections <= self._limits.total // 2:
            self._refusing = False

    def _tell_refusal(self) -> None:
        """One line for one rush, not one for each connection."""
        if not self._refusing:
            self._refusing = True
            log.warning("Connections are refused: there are too many.", extra={"count": self.connections})
