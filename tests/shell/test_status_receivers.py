"""Receivers as one process sees them: their room, their health, their secrets, through changes of the config."""

from pathlib import Path

import pytest

from smsd.core.push import Receiver
from smsd.secret import Secret
from smsd.shell import status_receivers as module
from smsd.shell.live import Live
from smsd.shell.status_post import Reply
from smsd.shell.status_receivers import Lane, Lanes
from tests.support.config import config
from tests.support.logs import Logs
from tests.support.pushing import ENV, endpoint

DOWN = Reply(0, "refused")


def lane(logs: Logs | None = None, *, env: dict[str, str] | None = None) -> Lane:
    receiver = Receiver("r", "https://r.example", frozenset({"*"}), frozenset({"delivered"}), most=4)
    secret = Secret("env:HOOK_SECRET", "", ENV if env is None else env)
    return Lane(receiver, lambda: [secret.reveal()], (logs or Logs()).logger)


def hear(one: Lane, reply: Reply, times: int = 1) -> None:
    for _ in range(times):
        with one.under_way() as ticket:
            one.hear(ticket, reply)


def test_room_is_what_is_neither_under_way_nor_reserved() -> None:
    """Whoever asks while others wait for the store's answer gets no more than there is."""
    one = lane()
    assert one.reserve()
    with one.under_way():
        assert one.room() == 2
        assert one.reserve_all() == 2
        assert not one.reserve()
    one.unreserve(3)
    assert one.room() == 4


def test_one_that_fails_again_and_again_is_probed_by_one_at_a_time() -> None:
    """It is told once that it is down, and once that it is back."""
    logs = Logs()
    one = lane(logs)
    hear(one, DOWN, 10)
    assert one.health.dead
    assert one.room() == 0
    assert not one.well()
    hear(one, Reply(200, "HTTP 200"))
    assert one.well()
    assert one.room() == 1
    assert logs.events() == ["status_down", "status_back"]


def test_one_that_asks_for_time_gets_it() -> None:
    """429 or 503 with Retry-After is no failure, but a wait."""
    one = lane()
    hear(one, Reply(503, "HTTP 503", 60), 10)
    assert not one.health.dead
    assert one.room() == 0


def test_a_refusal_of_one_event_says_nothing_of_the_receiver() -> None:
    """A 4xx is about the event; a 5xx, or too many requests without a word of when, is about the receiver."""
    one = lane()
    hear(one, Reply(422, "HTTP 422"), 20)
    assert (one.health.dead, one.well()) == (False, False)
    assert one.probe_us() is None
    hear(one, Reply(429, "HTTP 429"), 10)
    assert one.health.dead
    assert 0 < (one.probe_us() or 0) <= 60_000_000


def test_what_cannot_be_signed_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the name of the reference; the secret is tried again, for it may come."""
    monkeypatch.setattr(module, "SECRETS_S", 0.0)
    logs, env = Logs(), {}
    one = lane(logs, env=env)
    assert one.signers() == []
    assert one.signers() == []
    assert "HOOK_SECRET" in logs.lines[0]["detail"]
    env["HOOK_SECRET"] = "a"
    assert one.signers() == []
    env.update(ENV)
    assert len(one.signers()) == 1
    assert logs.events() == ["status_secret", "status_secret"]


async def test_what_was_learnt_stays_while_the_url_does(tmp_path: Path) -> None:
    """Another URL is another receiver."""
    extra = endpoint("a", "https://a.example") + endpoint("b", "https://b.example")
    live = Live(config(tmp_path, env=ENV, extra=extra), [])
    lanes = Lanes(live, Logs().logger)
    lanes.follow()
    a, b = lanes.of["a"], lanes.of["b"]
    live.swap(config(tmp_path, env=ENV, extra=extra.replace("b.example", "c.example")), 2)
    assert lanes.of["a"].health is a.health
    assert lanes.of["b"].health is not b.health
    assert {one.name for one in lanes.receivers.of({"tenant": "x", "state": "failed", "event_id": "x", "at": "1"})} == {
        "a", "b",
    }  # fmt: skip
