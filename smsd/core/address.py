"""Which addresses a request may go to when a stranger chose its URL (server-side request forgery).

Pure: resolves nothing. Whoever connects asks for every address that a name resolved to, and connects to no other.
"""

import re
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Final
from urllib.parse import urlsplit

_BARRED: Final = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "shared by carriers (RFC 6598)",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local, where clouds keep their metadata",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "reserved (RFC 6890)",
    "192.0.2.0/24": "for documentation",
    "192.88.99.0/24": "a relay of 6to4",
    "192.168.0.0/16": "private",
    "198.18.0.0/15": "for benchmarks",
    "198.51.100.0/24": "for documentation",
    "203.0.113.0/24": "for documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved, or broadcast",
}
_NETWORKS: Final = tuple((IPv4Network(network), why) for network, why in _BARRED.items())
_METADATA: Final = frozenset({ip_address("168.63.129.16")})  # Azure's, in a network that is public otherwise
_GLOBAL_6: Final = IPv6Network("2000::/3")  # all else of IPv6 is not for strangers: ::1, fe80::, fc00::, ff00::, ...
_NAT64: Final = IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an address of IPv4
_TUNNELS: Final = (
    (IPv6Network("2001::/23"), "reserved for protocols, such as Teredo"),
    (IPv6Network("2001:db8::/32"), "for documentation"),
    (IPv6Network("2002::/16"), "a tunnel of 6to4"),
    (IPv6Network("3fff::/20"), "for documentation"),
)


NO_NAME: Final = "its host is no name"
_NUMERIC = re.compile("[0-9]+|0x[0-9a-f]*")
_LABEL = "[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?"
_NAME = re.compile(rf"{_LABEL}(?:\.{_LABEL})*\.?")


def barred(address: str) -> str:
    """Why no stranger may send us to an address, in a few words; "" when they may. What is no address is barred."""
    try:
        found = ip_address(address)
    except ValueError:
        return "no address"
    return _barred_4(found) if isinstance(found, IPv4Address) else _barred_6(found)


def _barred_4(address: IPv4Address) -> str:
    if address in _METADATA:
        return "a cloud's metadata"
    return next((why for network, why in _NETWORKS if address in network), "")


def _barred_6(address: IPv6Address) -> str:
    if address.ipv4_mapped is not None:
        return _barred_4(address.ipv4_mapped)
    if address in _NAT64:
        return _barred_4(IPv4Address(int(address) & 0xFFFFFFFF))
    if address.scope_id or address not in _GLOBAL_6:
        return "not global"
    return next((why for network, why in _TUNNELS if address in network), "")


def barred_url(url: str) -> str:
    """Why a stranger's URL is not to be called, as far as its text tells; "" when a look at its addresses decides."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        port = parts.port
    except ValueError:
        return "it cannot be read"
    if parts.scheme != "https":
        return "it is not https"
    if not host or "@" in parts.netloc or parts.fragment:
        return "it has no host, or credentials, or a #fragment"
    if port is not None and port < 1:
        return "its port is none"
    if not host.isascii():
        return "its host has letters beyond ASCII: write them in punycode (xn--)"  # some digits among them mean ASCII's
    try:
        ip_address(host)
    except ValueError:
        # 127.1, 2130706433 and 0x7f.1 are addresses to some who resolve them, and so is 127.0.0.%31 to some who decode
        # it: no names to anybody.
        last = host.rstrip(".").rpartition(".")[2]
        return "" if _NAME.fullmatch(host) and not _NUMERIC.fullmatch(last) and "[" not in parts.netloc else NO_NAME
    return barred(host)
