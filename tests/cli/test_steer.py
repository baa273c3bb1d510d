"""pause, resume and cancel, typed as an operator does, against a real store."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis

from smsd.cli.app import call
from smsd.store import holds
from smsd.store.holds import pauses, withdrawals
from tests.support.running import Said
from tests.support.world import World

Typed = Callable[..., Said]


def at_a_terminal(config: Path, line: str, answer: str) -> Said:
    """A command whose standard input is a terminal, at which somebody types the answer."""
    person, terminal = os.openpty()
    os.write(person, answer.encode())
    command = [sys.executable, "-m", "smsd", *line.split(), "--config", str(config)]
    done = subprocess.run(command, stdin=terminal, capture_output=True, text=True, timeout=60, check=False)
    os.close(person)
    os.close(terminal)
    return Said(done.returncode, done.stdout, done.stderr)


async def test_a_pause_is_set_listed_and_lifted(typed: Typed, redis: Redis) -> None:
    """Who paused it, until when and why is kept and told; without a name the command lists what is paused."""
    assert typed("pause").out == "nothing is paused\n"
    said = typed("pause tenant acme --for 30m --reason", "wrong price")
    assert (said.code, said.out.startswith("tenant acme is paused until 2")) == (0, True)
    assert typed("pause campaign acme spring --json").json()["what"] == {"tenant": "acme", "campaign": "spring"}
    (campaign, tenant) = await pauses(World(redis).shard)
    assert (campaign.what, campaign.until_us, tenant.what, tenant.reason) == (
        "k:acme|spring",
        0,
        "t:acme",
        "wrong price",
    )
    assert tenant.until_us - tenant.at_us == pytest.approx(1800e6, abs=5e6)
    assert "@" in tenant.by
    lines = typed("pause").out.splitlines()
    assert lines[0].startswith("campaign spring of tenant acme: since 2")
    assert lines[1].endswith("Z: wrong price")
    assert [one["what"] for one in typed("pause --json").json()][1] == {"tenant": "acme"}
    assert typed("resume tenant acme").out == "tenant acme goes on\n"
    assert typed("resume tenant acme").code == 1
    assert len(await pauses(World(redis).shard)) == 1


@pytest.mark.parametrize("line", ["pause all", "pause class marketing", "pause sender Salon", "pause provider main"])
async def test_all_else_that_can_be_paused(typed: Typed, line: str) -> None:
    """Everything, a class, a sender and a provider are paused and resumed alike."""
    assert typed(line).code == 0
    assert typed(line.replace("pause", "resume")).code == 0


async def test_a_cancel_says_how_many_and_wants_a_yes(typed: Typed, world: World) -> None:
    """Without a terminal and without --yes nothing is done; with it, what it covers no longer leaves."""
    for i in range(3):
        await world.send("acme", f"m{i}", "marketing", campaign="spring")
    await world.send("acme", "r", "reminder")
    said = typed("cancel campaign acme spring")
    assert (said.code, said.out) == (2, "")
    assert "3 queued messages of campaign spring of tenant acme" in said.err
    assert "--yes" in said.err
    assert await withdrawals(world.shard) == []
    done = typed("cancel campaign acme spring --yes --json").json()
    assert (done["queued"], done["changed"]) == (3, True)
    assert [m.message.id for m in await world.take()] == ["r"]
    assert typed("cancel").out.startswith("campaign spring of tenant acme: at 2")
    assert typed("cancel campaign acme spring --lift").code == 0
    assert typed("cancel campaign acme spring --lift").code == 1
    assert typed("cancel").out == "nothing is cancelled\n"
    other = typed("cancel tenant other --yes").out
    assert other == "cancelled: 0 queued messages of tenant other; what comes from now on is sent\n"


@pytest.mark.parametrize(
    ("line", "mark", "n"),
    [
        ("class marketing", "c:marketing", 2),
        ("class marketing --tenant acme", "tc:acme|marketing", 1),
        ("tenant b", "t:b", 1),
    ],
)
async def test_a_class_or_a_tenant_is_cancelled(typed: Typed, world: World, line: str, mark: str, n: int) -> None:
    """Each counts its own and sets its own mark."""
    await world.send("acme", "m", "marketing")
    await world.send("b", "m", "marketing")
    assert typed(f"cancel {line} --yes --json").json()["queued"] == n
    assert [one.what for one in await withdrawals(world.shard)] == [mark]


async def test_one_message_is_cancelled(typed: Typed, world: World) -> None:
    """A message that waits ends; one that has left does not, with 1; one that is not known is remembered."""
    await world.send("acme", "waits")
    assert typed("cancel message acme waits").code == 2
    assert typed("cancel message acme waits --yes").out == "message waits of tenant acme is cancelled\n"
    assert await world.states("acme/waits") == ["queued", "cancelled"]
    assert typed("cancel message acme waits --yes --json").json()["outcome"] == "cancelled"
    await world.send("acme", "leaves")
    (leased,) = await world.take()
    assert "is just leaving" in typed("cancel message acme leaves --yes").out
    await world.accept(leased)
    late = typed("cancel message acme leaves --yes")
    assert (late.code, late.out) == (1, "message leaves of tenant acme has left, or has ended: too late\n")
    assert "not known yet" in typed("cancel message acme never --yes").out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pause tenant", "smsd pause tenant TENANT"),
        ("pause campaign acme", "smsd pause campaign TENANT NAME"),
        ("pause class otp", "class: one of marketing, reminder"),
        ("pause provider nosuch", "provider: one of main"),
        ("pause all --for 3", "--for: expected a duration"),
        ("pause nosuch x", "invalid choice"),
        ("pause --for 5m", "say what is paused"),
        ("cancel --yes", "say what is cancelled"),
        ("resume", "missing: WHAT"),
        ("cancel tenant a --lift --yes", "--lift goes with"),
        ("cancel tenant a --tenant b --yes", "--tenant goes with"),
        ("cancel message a", "smsd cancel message TENANT ID"),
        ("cancel message a! b --yes", '"a!" can be no tenant'),
        ("cancel message a b! --yes", '"b!" can be no message'),
    ],
)
def test_a_mistake_says_what_would_be_right(typed: Typed, line: str, said: str) -> None:
    """Each is one line, with 2, and nothing is done."""
    done = typed(line)
    assert (done.code, done.out, len(done.err.splitlines())) == (2, "", 1)
    assert said in done.err


@pytest.mark.parametrize(
    "words",
    [("pause sender", ""), ("pause campaign acme", ""), ("cancel campaign acme", "", "--yes"),
     ("cancel class marketing --yes --tenant", "")],
    ids=" ".join,
)  # fmt: skip
async def test_an_empty_name_is_never_all(typed: Typed, redis: Redis, words: tuple[str, ...]) -> None:
    """A script's variable that is not set stops nothing and cancels nothing."""
    done = typed(*words)
    assert (done.code, "is empty" in done.err) == (2, True)
    assert (await pauses(World(redis).shard), await withdrawals(World(redis).shard)) == ([], [])


@pytest.mark.parametrize(("answer", "code"), [("y\n", 0), ("\n", 1)])
async def test_on_a_terminal_it_asks(tmp_path: Path, typed: Typed, world: World, answer: str, code: int) -> None:
    """A person is asked, with how many it concerns; anything but yes does nothing."""
    assert typed("pause").code == 0
    await world.send("acme", "m", "marketing")
    done = at_a_terminal(tmp_path / "smsd.toml", "cancel tenant acme", answer)
    assert done.code == code
    assert "This cancels 1 queued message of tenant acme. Go on? [y/N]" in done.err
    assert len(await withdrawals(world.shard)) == 1 - code


def test_too_many_cancels_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, typed: Typed
) -> None:
    """Where no more marks are kept, it says which to lift."""
    assert typed("cancel campaign acme spring --yes").code == 0
    monkeypatch.setattr(holds, "WITHDRAWALS_MAX", 1)
    config = str(tmp_path / "smsd.toml")
    assert call(["cancel", "campaign", "acme", "summer", "--yes", "--config", config]) == 1
    assert capsys.readouterr().err == "smsd: there are 1 withdrawals: lift those of campaigns that are over\n"
