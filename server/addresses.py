"""Whose connection it is: the network that one party holds, for limits per address.

An IPv4 address counts alone; of an IPv6 address the first 64 bits, since whoever has one address has the whole /64 (RFC 6177 section 2) and could
come from another one each time. An IPv4 address inside IPv6 (`::ffff:192.0.2.7`, what a socket for both shows) is that IPv4 address.

Behind a proxy every connection has the proxy's address. Who the client is then stands in X-Forwarded-For, and only where the connection comes from a
network that the settings trust (`trusted_proxies`): anybody else may write anything there.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Network, IPv6Network

IPV6_NETWORK_BITS = 64


def network_of(address: str) -> str:
    """The key under which limits count `address`; what is no IP address counts as itself."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, IPV6_NETWORK_BITS), strict=False))


def is_within(address: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    """Whether the address lies in one of these networks."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks)


def in_all_spellings(networks: Sequence[IPv4Network | IPv6Network]) -> list[str]:
    """The networks for somebody who compares addresses as they are told: those of IPv4 also inside IPv6."""
    mapped = [
        f"::ffff:{network.network_address}/{96 + network.prefixlen}" for network in networks if network.version == 4
    ]
    return [*map(str, networks), *mapped]
