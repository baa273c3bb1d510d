"""Addresses that a stranger's URL must not lead to, written in every way that a resolver or a URL may write them."""

import pytest

from smsd.core.address import barred, barred_url


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "127.255.255.254", "169.254.169.254", "172.16.0.1",
        "172.31.255.255", "192.0.0.8", "192.168.1.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "168.63.129.16", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1", "ff02::1",
        "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::127.0.0.1", "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::", "2001::1", "2001:db8::1", "100::1", "3fff::1",
        "", "localhost", "127.1", "2130706433",
    ],
)  # fmt: skip
def test_no_stranger_sends_us_there(address: str) -> None:
    """Loopback, private, link-local, shared, unique-local, multicast, metadata, and IPv4 inside IPv6."""
    assert barred(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "100.63.255.255", "172.32.0.1", "192.167.0.1", "2606:4700::1111", "::ffff:8.8.8.8",
                "64:ff9b::808:808", "2a00:1450::1"],
)  # fmt: skip
def test_what_is_public_is_allowed(address: str) -> None:
    """Also just beside a private network, and by IPv6 in each of its forms."""
    assert barred(address) == ""


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/x", "ftp://example.com", "https://", "https://user:pw@example.com/", "https://127.0.0.1/",
        "https://[::1]/", "https://[::ffff:10.0.0.1]:443/x", "https://[fe80::1%25eth0]/",
        "https://169.254.169.254/latest",
        "https://１２７.0.0.1/", "https://169。254。169。254/", "https://127.1/", "https://2130706433/", "https://0x7f.1/",
        "https://example.com:0/", "https://example.com:99999/", "https://[1::2::3]/", "https://example.com/#f",
        "https://127.0.0.%31/", "https://127.0.0.1%2e/", "https://127.0.0.1\\.example.com/", "https://[v1.fe80]/",
        "https://.../", "https://example..com/", "https://0251.0376.0251.0376/", "https://[::ffff:a9fe:a9fe]/",
    ],
)  # fmt: skip
def test_a_url_tells_enough_to_be_refused(url: str) -> None:
    """Without https, with credentials, or with an address that is barred, no name need be looked up."""
    assert barred_url(url)


@pytest.mark.parametrize("url", ["https://example.com/x?y=1", "https://example.com:8443/", "https://93.184.216.34/",
                                 "https://EXAMPLE.com./", "https://a_b.xn--80ak6aa92e.com", "https://a1"])  # fmt: skip
def test_any_other_url_is_decided_by_its_addresses(url: str) -> None:
    """Nothing is wrong with its text."""
    assert barred_url(url) == ""
