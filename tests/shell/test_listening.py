"""Addresses and the sockets for them: shared by workers, never taken from somebody else in silence."""

import socket

import pytest

from smsd.shell.listening import Address, PortTaken, address, bind, bound_at, reserve

FREE = Address("127.0.0.1", 0)


@pytest.mark.parametrize(
    ("listen", "host", "port"),
    [("127.0.0.1:8775", "127.0.0.1", 8775), ("[::1]:1", "::1", 1), ("localhost:0", "localhost", 0)],
)
def test_listen_is_host_and_port(listen: str, host: str, port: int) -> None:
    """An address of the config is read as it was checked, and written back the same."""
    assert address(listen) == Address(host, port)
    assert str(address(listen)) == listen


def test_workers_share_a_reserved_port() -> None:
    """While the parent holds a port, each worker can listen on it."""
    with reserve(FREE, "http") as held:
        where = bound_at(held)
        with bind(where, "http", shared=True) as first, bind(where, "http", shared=True) as second:
            first.listen()
            second.listen()
            assert bound_at(first) == bound_at(second) == where
            with socket.create_connection((where.host, where.port), timeout=5) as client:
                assert client.getpeername()[1] == where.port


def test_a_port_of_somebody_else_is_told() -> None:
    """A second daemon on the same port is refused with what would mend it, even where ports may be shared."""
    with bind(FREE, "http", shared=True) as other:
        other.listen()
        where = bound_at(other)
        with pytest.raises(PortTaken, match=rf"\[webhooks\] listen {where}: .*in use; end what listens there"):
            reserve(where, "webhooks")


def test_a_host_that_is_not_ours_is_told() -> None:
    """An address of another machine is refused with its name."""
    with pytest.raises(PortTaken, match=r"\[http\] listen 192\.0\.2\.1:80: "):
        bind(Address("192.0.2.1", 80), "http", shared=False)
