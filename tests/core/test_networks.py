"""Networks as settings write them, and whose address stands behind proxies."""

from ipaddress import IPv6Network, ip_address

import pytest

from smsd.core.networks import address, caller, network, within

OURS = (network("10.0.0.0/8"), network("2001:db8:1::/48"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.0/24", "192.0.2.0/24"),
        ("192.0.2.7", "192.0.2.7/32"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::7", "2001:db8::7/128"),
    ],
)
def test_a_network_is_read(text: str, told: str) -> None:
    """In CIDR, of either kind; an address is the network of it alone."""
    assert str(network(text)) == told


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("sms.example.com", "expected a network such as"),
        ("192.0.2.0/33", "expected a network such as"),
        ("192.0.2.7/24", "the address lies within 192.0.2.0/24: write that"),
        ("2001:db8::7/32", "the address lies within 2001:db8::/32: write that"),
        ("0.0.0.0/0", "0.0.0.0/0 is everybody"),
        ("::/0", "::/0 is everybody"),
        ("::ffff:192.0.2.0/120", "expected an IPv4 network as it is"),
    ],
)
def test_a_network_that_is_none_is_a_mistake(text: str, says: str) -> None:
    """The sentence says what is right; nobody proves anything by a network of everybody."""
    with pytest.raises(ValueError, match=says):
        network(text)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("192.0.2.7", "192.0.2.7"),
        (" 192.0.2.7:443 ", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("fe80::1%eth0", "fe80::1%eth0"),
        ("unknown", "None"),
        ("", "None"),
        ("192.0.2.7:", "None"),
        ("[]:1", "None"),
        ("\udcff", "None"),
    ],
)
def test_an_address_is_read_as_proxies_write_it(text: str, told: str) -> None:
    """With a port, in brackets, IPv4 within IPv6; anything else is no address."""
    assert str(address(text)) == told


@pytest.mark.parametrize(
    ("peer", "forwarded", "told"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "192.0.2.7", "203.0.113.9"),  # a stranger's word about itself
        ("10.0.0.1", "", "10.0.0.1"),
        ("10.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "192.0.2.7, 203.0.113.9", "203.0.113.9"),  # who the proxy heard wrote the rest himself
        ("10.0.0.1", "192.0.2.7,203.0.113.9,10.0.0.2", "203.0.113.9"),
        ("2001:db8:1::1", "192.0.2.7", "192.0.2.7"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "192.0.2.7, unknown", "None"),
        ("10.0.0.1", "192.0.2.7,", "None"),
        ("", "192.0.2.7", "None"),
    ],
)
def test_the_caller_is_the_first_who_is_no_proxy_of_ours(peer: str, forwarded: str, told: str) -> None:
    """From our side; what stands before the words of a trusted proxy is believed by nobody."""
    assert str(caller(peer, forwarded, OURS)) == told


def test_nobody_is_trusted_unless_settings_say_so() -> None:
    """The header says nothing then, not even from loopback."""
    assert str(caller("127.0.0.1", "192.0.2.7", ())) == "127.0.0.1"


def test_what_cannot_be_told_is_within_nothing() -> None:
    """Neither is an address of the other kind."""
    assert not within(None, OURS)
    assert not within(ip_address("192.0.2.7"), [IPv6Network("2001:db8::/32")])
    assert within(ip_address("10.1.2.3"), OURS)
