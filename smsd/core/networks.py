"""Where a request comes from: the networks that settings name, and whose address stands behind proxies of ours.

Never asks DNS, and never believes what a caller says about itself: only what a proxy that settings trust has written.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

WHAT = 'a network such as "192.0.2.0/24" or "2001:db8::/32", or an address'
GRAMMAR = r"[0-9a-fA-F:.]+(?:/[0-9]{1,3})?"  # wider than what `network` takes

_PORT = re.compile(r"\[(.+)\](?::[0-9]+)?|([0-9.]+):[0-9]+")  # as some proxies write it


def network(text: str) -> Network:
    """A network in CIDR, or an address as the network of it alone. Raises ValueError."""
    try:
        found = ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"expected {WHAT}") from None
    if not found.prefixlen:
        raise ValueError(f"{found} is everybody: name the networks that are meant, or leave the key out")
    if found.version == 6 and found.network_address.ipv4_mapped is not None:
        raise ValueError('expected an IPv4 network as it is, such as "192.0.2.0/24"')
    if ip_address(text.partition("/")[0]) != found.network_address:
        raise ValueError(f"the address lies within {found}: write that for all of it, or the address alone")
    return found


@lru_cache(maxsize=1024)
def address(text: str) -> Address | None:
    """The address in a text that may have a port too; an IPv4 address in IPv6 as IPv4. None where there is none."""
    text = text.strip()
    ported = _PORT.fullmatch(text)
    try:
        found = ip_address(ported[1] or ported[2] if ported else text)
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def within(at: Address | None, networks: Iterable[Network]) -> bool:
    """Whether one of the networks has the address."""
    return at is not None and any(at in one for one in networks)


def caller(peer: str, forwarded: str, trusted: Iterable[Network]) -> Address | None:
    """Whose request it is: the first, from our side, who is no trusted proxy; None where that cannot be told.

    `peer` is whom the connection is with; `forwarded` the whole X-Forwarded-For, to whose end each proxy has added whom
    it heard: what stands before the words of a trusted proxy, anybody may have written.
    """
    at = address(peer)
    for told in reversed(forwarded.split(",") if forwarded else ()):
        if not within(at, trusted):
            break
        at = address(told)
    return at
