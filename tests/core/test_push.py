"""Status webhooks as decisions: who wants what, what they read, when they are told again."""

import json

from smsd.core.push import BACKOFF_US, GIVE_UP_US, Receiver, Receivers, again_us, over, payload

EVENT = {
    "v": "1", "event_id": "acme/r-1/3", "id": "r-1", "tenant": "acme", "class": "reminder", "seq": "3",
    "state": "delivered", "final": "1", "at": "1764288000123", "provider": "main", "provider_id": "SM1",
}  # fmt: skip
ENDS = frozenset({"delivered", "failed"})


def one(name: str, *tenants: str) -> Receiver:
    return Receiver(name, f"https://{name}.example", frozenset(tenants), ENDS)


def test_a_receiver_is_told_of_its_tenants_and_states_only() -> None:
    """Those of all tenants hear of every one, and of entries that named none."""
    every = Receivers([one("all", "*"), one("a", "acme", "other"), one("b", "salon")])

    def names(**changes: str) -> set[str]:
        return {receiver.name for receiver in every.of({**EVENT, **changes})}

    assert names() == {"all", "a"}
    assert names(tenant="salon") == {"all", "b"}
    assert names(tenant="") == {"all"}
    assert names(state="queued") == set()


def test_what_smsd_did_not_write_is_told_to_nobody() -> None:
    """An entry of a stranger in the stream has no id that a receiver could drop repeats by."""
    every = Receivers([one("all", "*")])
    assert every.of({name: value for name, value in EVENT.items() if name != "event_id"}) == []
    for at in ("yesterday", "1" * 15, "\u0661", ""):
        assert every.of({**EVENT, "at": at}) == []


def test_a_payload_is_of_the_standard_form() -> None:
    """A type with a dot, the event's own time in UTC, and its data in their types."""
    told = json.loads(payload({**EVENT, "late": "0", "due": "1764288000999", "meta": '{"n": [1]}'}))
    assert told["type"] == "message.delivered"
    assert told["timestamp"] == "2025-11-28T00:00:00.123Z"
    assert told["data"] == {
        "v": 1, "id": "r-1", "tenant": "acme", "class": "reminder", "seq": 3, "state": "delivered", "final": True,
        "at": 1764288000123, "provider": "main", "provider_id": "SM1", "late": False, "due": 1764288000999,
        "meta": {"n": [1]},
    }  # fmt: skip


def test_what_is_no_json_is_handed_back_as_it_is() -> None:
    """A meta that cannot be read, or that no JSON could hold, stops no event."""
    assert json.loads(payload({**EVENT, "meta": "{"}))["data"]["meta"] == "{"
    for text in ("NaN", '"\\ud800"', "[" * 2000, "[1,]"):
        assert json.loads(payload({**EVENT, "meta": text}))["data"]["meta"] == text
    large = '{"n": 123456789012345678901234567890, "x": 1e999}'
    assert large.encode() in payload({**EVENT, "meta": large}), "as it was given"


def test_retries_wait_longer_each_time_up_to_a_bound() -> None:
    """Doubled from five seconds to ten minutes, half of it by chance."""
    waits = [again_us(0, tries, None, probe_us=None, rng=lambda: 1.0) for tries in range(12)]
    assert waits[:3] == [5_000_000, 10_000_000, 20_000_000]
    assert waits[-1] == BACKOFF_US[1]
    assert again_us(0, 2, None, probe_us=None, rng=lambda: 0.0) == 10_000_000


def test_a_wait_that_was_asked_for_is_kept_within_reason() -> None:
    """Retry-After is a least wait; one of a day is asked again sooner, one that lies in the past is none."""
    assert again_us(0, 0, 60, probe_us=None, rng=lambda: 0.0) == 60_000_000
    assert again_us(0, 0, 86_400, probe_us=None, rng=lambda: 0.0) == BACKOFF_US[1]
    assert again_us(0, 0, -5, probe_us=None, rng=lambda: 0.0) == 2_500_000


def test_what_waits_for_one_that_is_down_is_due_soon_but_is_not_its_next_probe() -> None:
    """However many probes it was: else one event that cannot be taken would keep all others back."""
    assert again_us(0, 40, None, probe_us=1_000_000, rng=lambda: 1.0) == BACKOFF_US[0]
    assert again_us(0, 40, None, probe_us=60_000_000, rng=lambda: 1.0) == 61_000_000


def test_a_push_is_given_up_after_a_day_by_a_receiver_that_takes_others() -> None:
    """An outage costs no event; an event that is refused while others are taken is tried for a day."""
    assert over(GIVE_UP_US + 7, 7, well=True)
    assert not over(GIVE_UP_US + 6, 7, well=True)
    assert not over(30 * GIVE_UP_US, 7, well=False)
