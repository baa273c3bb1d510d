"""Where a listener is bound, and the socket for it.

Workers share their ports (SO_REUSEPORT), so a parent reserves them first: a port that somebody else has is told before
anything starts. Never accepts a connection.
"""

import socket

import msgspec


class PortTaken(OSError):
    """A listener cannot be bound. The text says which, why, and what would mend it."""


class Address(msgspec.Struct, frozen=True):
    """Where a listener is bound."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def address(listen: str) -> Address:
    """Of a checked `listen`, as "127.0.0.1:8775" or "[::1]:8775"."""
    host, _, port = listen.rpartition(":")
    return Address(host.strip("[]"), int(port))


def reserve(where: Address, section: str) -> socket.socket:
    """Binds, without listening, an address that workers will share; port 0 becomes a free one. Raises PortTaken."""
    bind(where, section, shared=False).close()  # SO_REUSEPORT alone would let two daemons share a port in silence
    return bind(where, section, shared=True)


def bound_at(bound: socket.socket) -> Address:
    host, port = bound.getsockname()[:2]
    return Address(host, port)


def bind(where: Address, section: str, *, shared: bool) -> socket.socket:
    made = None
    try:
        family, kind, proto, _, target = socket.getaddrinfo(
            where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        made = socket.socket(family, kind, proto)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(target)
    except OSError as error:
        if made is not None:
            made.close()
        why = error.strerror or str(error)
        raise PortTaken(f"[{section}] listen {where}: {why}; end what listens there, or give another address") from None
    made.setblocking(False)
    return made
