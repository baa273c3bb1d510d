"""STOP, START and HELP from the outside: signed callbacks to a real smsd, a real store, a real carrier."""

import contextlib
import http.client
import os
import signal
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import msgspec
import pytest
import redis as redis_py
from twilio.request_validator import RequestValidator

from smsd.testing.carrier import CarrierProcess, start
from smsd_providers.fake import ACCOUNT_SID, AUTH_TOKEN
from tests.support.config import free_address, write
from tests.support.running import TO, Daemon, Platform, smsd

SALON = "+353861111111"
TENANT = f'[tenants.acme]\nsender = "{SALON}"\n'
GONE = "+15005550004"  # has opted out at the carrier
SIDS = iter(range(1, 1000))


def text(public_url: str, body: str, sid: str = "", **more: str) -> int:
    """A text as Twilio tells of it; the status of the answer."""
    url = f"{public_url}/webhooks/main/inbound"
    form = {"AccountSid": ACCOUNT_SID, "MessageSid": sid or f"SM{next(SIDS)}", "From": TO, "To": SALON, "Body": body}
    form |= more
    signature = RequestValidator(AUTH_TOKEN).compute_signature(url, form)
    headers = {"X-Twilio-Signature": signature, "Content-Type": "application/x-www-form-urlencoded"}
    with contextlib.closing(http.client.HTTPConnection(public_url.removeprefix("http://"), timeout=10)) as connection:
        connection.request("POST", "/webhooks/main/inbound", urlencode(form), headers)
        return connection.getresponse().status


def inbound(platform: Platform) -> list[tuple[str, ...]]:
    """What the platform reads of texts."""
    entries: Any = platform.client.xrange("smsd:{0}:inbound")
    names = ("tenant", "in_reply_to", "intent", "opt_out")
    return [tuple(fields[name] for name in names) for _, fields in entries]


def test_stop_closes_marketing_and_start_opens_it(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """What answers a campaign leaves reminders alone, the story says why, and no number stands in the log."""
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=TENANT)
    with Daemon(path).ready() as daemon:
        public_url = f"http://{daemon.heard('ready')[0]['webhooks']}"
        platform.enqueue("m-1", class_="marketing")
        platform.wait("delivered", id="m-1")
        assert text(public_url, "Stop.") == 204
        platform.enqueue("m-2", class_="marketing")
        platform.enqueue("r-1")
        (event,) = platform.wait("suppressed", id="m-2")
        assert (event["reason"], event["detail"]) == ("opted_out", "marketing of this tenant")
        platform.wait("delivered", id="r-1")
        assert text(public_url, "HELP") == 204
        assert text(public_url, "START") == 204
        platform.enqueue("m-3", class_="marketing")
        platform.wait("delivered", id="m-3")
        assert daemon.end() == 0
        told = str(daemon.lines)
    assert inbound(platform) == [
        ("acme", "m-1", "stop", "marketing"),
        ("acme", "r-1", "help", ""),
        ("acme", "r-1", "start", "marketing"),
    ]
    assert TO not in told
    assert "not sent: the recipient has opted out" in smsd("trace", "acme", "m-2", "--config", str(path)).out


def test_what_was_taken_is_in_the_store_whoever_dies(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """Killed right after its answer, smsd has the text and what it closed; a repeat to the next one changes nothing."""
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=TENANT)
    with Daemon(path).ready() as daemon:
        public_url = f"http://{daemon.heard('ready')[0]['webhooks']}"
        assert text(public_url, "STOP", "SM-once") == 204
        os.killpg(daemon.process.pid, signal.SIGKILL)
        daemon.gone()
    assert inbound(platform) == [("acme", "", "stop", "marketing")]
    with Daemon(path).ready() as daemon:
        public_url = f"http://{daemon.heard('ready')[0]['webhooks']}"
        assert text(public_url, "STOP", "SM-once") == 204
        platform.enqueue("m-1", class_="marketing")
        platform.wait("suppressed", id="m-1")
    assert len(inbound(platform)) == 1


def test_a_providers_own_code_closes_its_sender(
    tmp_path: Path, store_url: str, carrier: CarrierProcess, platform: Platform
) -> None:
    """What the carrier refuses as unsubscribed is not tried a second time, by no tenant that uses the sender."""
    path = write(tmp_path, store=store_url, carrier=carrier.url, extra=TENANT)
    with Daemon(path).ready():
        platform.enqueue("r-1", to=GONE)
        (event,) = platform.wait("failed", id="r-1")
        assert event["reason"] == "opted_out"
        platform.enqueue("r-2", tenant="other", to=GONE, **{"from": SALON})
        (event,) = platform.wait("suppressed", id="r-2")
        assert event["detail"] == "all of this sender"
    with redis_py.Redis.from_url(store_url) as client:
        assert client.hlen("smsd:{0}:optout") == 1


@pytest.mark.parametrize(("dialect", "closes"), [("plivo", True), ("vonage-sms", True), ("sinch", False)])
def test_a_receipt_that_says_opted_out_closes_the_sender(
    tmp_path: Path, store_url: str, platform: Platform, dialect: str, closes: bool
) -> None:
    """What a vendor takes, and then says is for somebody who has opted out, is not tried again; one that has no word
    for it closes nothing.
    """
    webhooks = free_address()
    with start(
        dialect=dialect, receipt_min_ms=10, receipt_max_ms=50, callback_url=f"http://{webhooks}/webhooks/main/status"
    ) as carrier:
        path = write(tmp_path, store=store_url, webhooks=webhooks)
        before = path.read_text().partition("[providers.main]")[0]
        keys = [f"{key} = {msgspec.json.encode(value).decode()}\n" for key, value in carrier.provider.items()]
        path.write_text(f"{before}{TENANT}[providers.main]\n{''.join(keys)}")
        with Daemon(path, env=carrier.env).ready():
            platform.enqueue("r-1", to=GONE)
            (event,) = platform.wait("undelivered", id="r-1")
            assert event["reason"] == ("opted_out" if closes else "refused")
            platform.enqueue("r-2", tenant="other", to=GONE, **{"from": SALON})
            platform.wait("suppressed" if closes else "undelivered", id="r-2")
