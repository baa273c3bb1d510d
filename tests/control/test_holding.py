"""Pauses and withdrawals by name, over more than one shard."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.config import Config
from smsd.control import holding
from smsd.control.holding import Target, named, to_pause, to_resume, to_withdraw
from smsd.store import holds
from smsd.store.shard import Shard
from tests.support.config import config

TARGETS = [
    (Target(), "all"), (Target(tenant="acme"), "t:acme"), (Target(class_="marketing"), "c:marketing"),
    (Target(tenant="a:b", campaign="x:y"), "k:a:b|x:y"),
    (Target(tenant="acme", class_="marketing"), "tc:acme|marketing"),
    (Target(sender="+353861234567"), "s:+353861234567"), (Target(provider="main"), "p:main"),
]  # fmt: skip


@pytest.fixture
def shards(redis: Redis) -> list[Shard]:
    return [Shard(redis, number) for number in range(3)]


@pytest.fixture
def rules(tmp_path: Path) -> Config:
    return config(tmp_path)


@pytest.mark.parametrize(("target", "mark"), TARGETS)
def test_a_mark_and_its_name_are_the_same(target: Target, mark: str) -> None:
    """What the store has is read back as what was named."""
    assert (target.mark, named(mark)) == (mark, target)


@pytest.mark.parametrize(
    ("target", "wrong"),
    [
        (Target(campaign="x"), "can be"), (Target(tenant="a", sender="b"), "can be"), (Target(tenant="a b"), "tenant:"),
        (Target(tenant="a", campaign="x|y"), "campaign:"), (Target(class_="otp"), "class: one of marketing, reminder"),
    ],
)  # fmt: skip
def test_what_is_no_target_is_refused(rules: Config, target: Target, wrong: str) -> None:
    """For pauses and cancels alike, with what would be right."""
    for judge in (to_pause, to_withdraw):
        with pytest.raises(ValueError, match=wrong):
            judge(target, rules)


def test_what_the_config_has_dropped_can_be_resumed(rules: Config) -> None:
    """A pause outlives the class or provider that it names; only what can be none at all is refused."""
    for target in (Target(class_="otp"), Target(provider="old")):
        with pytest.raises(ValueError, match="one of"):
            to_pause(target, rules)
        assert to_resume(target) is target
    with pytest.raises(ValueError, match="tenant:"):
        to_resume(Target(tenant="a b"))


def test_each_verb_has_its_targets(rules: Config) -> None:
    """A sender, a provider or everything can be paused but not cancelled, a tenant's class the other way round."""
    for target in (Target(), Target(sender="Salon"), Target(provider="main")):
        assert to_pause(target, rules) is target
        with pytest.raises(ValueError, match="can be cancelled"):
            to_withdraw(target, rules)
    both = Target(tenant="acme", class_="marketing")
    assert to_withdraw(both, rules) is both
    with pytest.raises(ValueError, match="can be paused"):
        to_pause(both, rules)
    with pytest.raises(ValueError, match="provider: one of main"):
        to_pause(Target(provider="other"), rules)


@pytest.mark.parametrize("sender", ["a|b", "353861234567", "+353 86 123 4567", "Acme Salon Dublin"])
def test_what_no_message_has_as_its_sender_is_refused(rules: Config, sender: str) -> None:
    """Else nothing would be paused, and who typed it would believe that it is."""
    with pytest.raises(ValueError, match="sender: a sender is a number like"):
        to_pause(Target(sender=sender), rules)


async def test_what_is_one_tenants_is_marked_in_its_shard_and_all_else_in_each(shards: list[Shard]) -> None:
    """The list tells each once."""
    assert await holding.pause(shards, Target(class_="marketing"), reason="a storm", by="ann")
    assert await holding.pause(shards, Target(tenant="acme"))
    assert [len(await holds.pauses(shard)) for shard in shards] in ([2, 1, 1], [1, 2, 1], [1, 1, 2])
    told = await holding.pauses(shards)
    assert [(one.what, one.reason) for one in told] == [("c:marketing", "a storm"), ("t:acme", "")]
    assert await holding.resume(shards, Target(class_="marketing"))
    assert not await holding.resume(shards, Target(class_="marketing"))
    assert [one.what for one in await holding.pauses(shards)] == ["t:acme"]


async def test_a_withdrawal_is_listed_until_it_is_lifted(shards: list[Shard]) -> None:
    """A campaign's in its tenant's shard."""
    target = Target(tenant="acme", campaign="spring")
    assert await holding.withdraw(shards, target, reason="wrong text", by="ann")
    (told,) = await holding.withdrawals(shards)
    assert (named(told.what), told.reason, told.by) == (target, "wrong text", "ann")
    assert await holding.lift(shards, target)
    assert await holding.withdrawals(shards) == []
