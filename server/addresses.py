"""Whose connection it is: the network that one party holds, for limits per address.

An IPv4 address counts alone; of an IPv6 address the first 64 bits, since whoever has one address has the whole /64 (RFC 6177 section 2) and could
come from another one each time. An IPv4 address inside IPv6 (`::ffff:192.0.2.7`, what a socket for both shows) is that IPv4 address.
"""

from __future__ import annotations

import ipaddress

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
