"""Who a text leaves under, from the inbox to the carrier's ledger, with a real smsd and a real store."""

from pathlib import Path

from smsd.testing.carrier import CarrierProcess
from tests.support.config import write
from tests.support.running import Daemon, Platform

US = "+12025550100"
UK = ("+447700900001", "+447700900002", "+447700900003")
EXTRA = f"""
[sender_pools.uk]
senders = {list(UK)}
[tenants.acme]
sender_pool = "uk"
[tenants.numbers]
sender = "Salon"
[[sender_rules]]
countries = ["US"]
types = ["e164"]
instead = "{US}"
[[sender_rules]]
countries = ["BE"]
types = ["short"]
"""


def test_a_person_keeps_a_sender_and_a_country_its_rule(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """Also after a restart, and after a sender has come to the pool, a repeat is a repeat."""
    people = [f"+44740012345{n}" for n in range(10)]
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=EXTRA)
    with Daemon(path).ready() as daemon:
        for n, to in enumerate(people):
            platform.enqueue(f"one-{n}", to=to)
        platform.enqueue("us", tenant="numbers", to="+12025550123")
        platform.enqueue("named", to="+12025550123", **{"from": "Acme"})
        platform.enqueue("be", tenant="numbers", to="+32470123456")
        platform.wait("delivered", times=len(people) + 1)
        rejected = {event["given_id"]: event for event in platform.wait("rejected", times=2)}
        assert daemon.end() == 0
    assert {event["reason"] for event in rejected.values()} == {"bad_sender"}
    assert {name: event["detail"] for name, event in rejected.items()} == {
        "named": "from: an alphanumeric sender may not send to US: use a number",
        "be": "the tenant's sender, an alphanumeric sender, may not send to BE: use a short code",
    }
    path.write_text(path.read_text().replace(f"'{UK[2]}']", f"'{UK[2]}', '+447700900004']"))
    assert "+447700900004" in path.read_text()
    with Daemon(path).ready() as daemon:
        platform.enqueue("one-0", to=people[0])
        for n, to in enumerate(people):
            platform.enqueue(f"two-{n}", to=to)
        platform.wait("delivered", times=2 * len(people) + 1)
        assert daemon.end() == 0
    assert len(platform.wait("rejected", times=2)) == 2, "a repeat is no conflict"
    told = {line.reference.rpartition("/")[2]: line.sender for line in carrier.ledger() if line.sid}
    assert told["us"] == US
    assert {told[f"one-{n}"] for n in range(10)} <= set(UK)
    assert all(told[f"two-{n}"] in (told[f"one-{n}"], "+447700900004") for n in range(10))
