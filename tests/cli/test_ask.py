"""send, trace, status and health, against a running daemon and without one."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from smsd.testing.carrier import start
from tests.support.config import free_address, write
from tests.support.running import TO, WAIT_S, Daemon, Platform, Said, smsd
from tests.support.valkey import Valkey

REFUSED = "+15005550001"


class Running:
    """A daemon with a carrier, and the config that names both."""

    def __init__(self, config: Path) -> None:
        self.config = config

    def smsd(self, *words: str) -> Said:
        return smsd(*words, "--config", str(self.config))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("ask")
    store = Valkey(tmp_path_factory.mktemp("valkey")).start()
    with start(receipt_min_ms=10, receipt_max_ms=50) as carrier:
        path = write(folder, store=store.url, carrier=carrier.url)
        with Daemon(path).ready():
            yield Running(path)
    store.kill()


def at_work(config: Path, count: int) -> list[dict[str, Any]]:
    """What so many processes tell of themselves; each does so just after it is ready."""
    until = time.monotonic() + WAIT_S
    while len(told := smsd("status", "--config", str(config), "--json").json()["processes"]) < count:
        assert time.monotonic() < until, f"not {count} processes: {told}"
    return told


def test_send_waits_for_the_end(running: Running) -> None:
    """A message that is delivered ends the command with 0, its story told on the way."""
    said = running.smsd("send", "acme", TO, "See you at 10:00", "--id", "r-1")
    assert said.code == 0
    assert said.out.splitlines()[0] == "queued"
    assert said.out.splitlines()[-1] == "delivered"
    end = running.smsd("send", "acme", TO, "See you at 11:00", "--json").json()
    assert (end["state"], end["final"], end["tenant"]) == ("delivered", "1", "acme")


def test_send_says_what_is_wrong_with_it(running: Running) -> None:
    """A rejected entry ends the command at once, with what would be right; a tenant that can be none is never asked."""
    said = running.smsd("send", "acme", "12", "hi")
    assert (said.code, said.out.splitlines()[-1]) == (1, "rejected: bad_number: to: too short for its country")
    assert running.smsd("send", "a b", TO, "hi").code == 2
    assert running.smsd("send", "acme", TO, "hi", "--timeout", "-1").code == 2


def test_send_says_when_a_message_is_due(running: Running) -> None:
    """One that waits for its time is told with an instant that people can read."""
    later = ("--id", "later", "--not-before", "2099-01-01T01:00:00+01:00", "--timeout", "2")
    assert running.smsd("send", "acme", TO, "hi", *later).out == "queued (due 2099-01-01 00:00:00Z)\n"
    assert running.smsd("cancel", "message", "acme", "later", "--yes").code == 0


def test_send_tells_the_id_that_it_made_up(running: Running) -> None:
    """Whoever gives no id can trace the message all the same; one that is known already is told."""
    first, *_, last = running.smsd("send", "acme", TO, "hi", "--timeout", "0").out.splitlines()
    assert last == "enqueued"
    id_ = first.removeprefix("message ").removesuffix(" of tenant acme")
    assert id_.startswith("cli-")
    assert running.smsd("send", "acme", TO, "hi", "--id", "once").code == 0
    again = running.smsd("send", "acme", TO, "hi", "--id", "once")
    assert (again.code, again.err) == (
        1,
        "smsd: tenant acme has a message once already, which is delivered: give another --id\n",
    )


def test_send_says_why_a_message_failed(running: Running) -> None:
    """A message that ends otherwise ends the command with 1, and the reason is told."""
    said = running.smsd("send", "acme", REFUSED, "hi")
    assert said.code == 1
    assert said.out.splitlines()[-1] == "failed: bad_number: Invalid 'To' Phone Number"


def test_send_knows_the_classes(running: Running) -> None:
    """A class that nobody reads is a mistake before anything is enqueued."""
    said = running.smsd("send", "acme", TO, "hi", "--class", "remainder")
    assert (said.code, said.out) == (2, "")
    assert 'no class "remainder": there are reminder, marketing' in said.err


def test_trace_tells_the_whole_story(running: Running) -> None:
    """From entry to receipt, in plain words, without text or number."""
    running.smsd("send", "acme", TO, "a secret text", "--id", "r-2")
    said = running.smsd("trace", "acme", "r-2")
    assert said.code == 0
    for words in ("taken by smsd: reminder", "taken by the provider (provider main", "delivered"):
        assert words in said.out
    assert "secret" not in said.out
    assert TO not in said.out
    told = running.smsd("trace", "acme", "r-2", "--json").json()
    assert told["state"] == "delivered"
    assert [step["what"] for step in told["history"]][:2] == ["taken", "submitted"]


def test_trace_of_an_unknown_message(running: Running) -> None:
    """A message that is not known is told as such, with 1."""
    said = running.smsd("trace", "acme", "nosuch")
    assert (said.code, said.out) == (1, "")
    assert "acme/nosuch is not known" in said.err


def test_trace_of_a_rejected_entry(running: Running) -> None:
    """An entry that was not taken is found by the id that it asked for, and says what would mend it."""
    running.smsd("send", "acme", "+3538", "hi", "--id", "r-bad")
    said = running.smsd("trace", "acme", "r-bad")
    assert said.code == 1
    assert "acme/r-bad was rejected (bad_number)" in said.err
    assert "smsd dead show" in said.err


def test_limits_are_told(running: Running) -> None:
    """What holds for a tenant that nobody configured are the defaults, and nothing binds at rest."""
    said = running.smsd("limits", "stranger")
    assert said.code == 0
    assert "not configured: the defaults hold" in said.out
    assert "None binds now" in said.out
    assert running.smsd("limits", "stranger", "--json").json()["uses"][0]["source"] == "[tenant_defaults]"


def test_status_tells_who_works_on_what(running: Running) -> None:
    """A daemon at work with this file's config is all as wished."""
    running.smsd("send", "acme", TO, "hi")
    at_work(running.config, 1)
    said = running.smsd("status")
    assert said.code == 0
    assert "revision 1, this file's" in said.out
    told = running.smsd("status", "--json").json()
    assert (told["revision"], told["config_is_file"], len(told["processes"])) == (1, True, 1)
    assert told["backlog"] == {"reminder": 0, "marketing": 0}


def test_status_tells_that_another_config_holds(running: Running) -> None:
    """Where the file is not what is in force, the command says how to publish it, with 1."""
    other = running.config.with_name("other.toml")
    other.write_text(running.config.read_text().replace('"1000/s"', '"999/s"'))
    said = smsd("status", "--config", str(other))
    assert said.code == 1
    assert "not this file's: smsd check --diff compares, smsd reload publishes it" in said.out


def test_status_tells_where_a_file_is_not_in_force(tmp_path: Path, store_url: str) -> None:
    """Of two hosts, one whose file was superseded when it started and one that follows, each is told as it is."""
    values = {"store": store_url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0", "public_url": ""}
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    first, second = write(old, **values, limit="5/s"), write(new, **values, limit="9/s")
    for path in (first, second):
        smsd("reload", "--config", str(path))
    with Daemon(first).ready() as late, Daemon(second).ready():
        late.heard("config_superseded")
        assert sorted((one["file"], one["revision"]) for one in at_work(second, 2)) == [
            ("in_force", 2), ("superseded", 2),
        ]  # fmt: skip
        said = smsd("status", "--config", str(second))
        assert said.code == 1
        assert "revision 2, its file is in force" in said.out
        assert "revision 2, its file was superseded: smsd reload there publishes it" in said.out
        late.end()
        after = smsd("status", "--config", str(second))
        assert (after.code, "superseded" in after.out) == (0, False)


def test_health_is_that_of_the_process(running: Running) -> None:
    """A ready process is told with 0, as HEALTHCHECK wants it."""
    said = running.smsd("health")
    assert (said.code, said.out) == (0, "ready\n")
    assert running.smsd("health", "--json").json()["ready"]


def test_health_without_a_process(tmp_path: Path) -> None:
    """Where nobody listens, the command says where it asked, with 1."""
    where = free_address()
    said = smsd("health", "--config", str(write(tmp_path, http=where)))
    assert (said.code, said.out) == (1, "")
    assert f"nobody answers at {where}" in said.err


def test_send_without_a_daemon(tmp_path: Path, store_url: str) -> None:
    """A message that nobody takes is told as such after the time that was given, and may be enqueued only."""
    path = write(tmp_path, store=store_url)
    said = smsd("send", "acme", TO, "hi", "--timeout", "0.5", "--config", str(path))
    assert said.code == 1
    assert "is smsd run running" in said.err
    posted = smsd("send", "acme", TO, "hi", "--timeout", "0", "--json", "--config", str(path))
    assert (posted.code, posted.json()["state"]) == (0, "enqueued")
    platform = Platform(store_url)
    assert platform.client.xlen("smsd:{0}:in:reminder") == 2
    platform.close()


@pytest.mark.parametrize(
    ("store", "hint"), [("redis://127.0.0.1:9/0", "does not answer"), ("embedded", "smsd run starts it")]
)
def test_without_a_store(tmp_path: Path, store: str, hint: str) -> None:
    """A store that cannot be reached is told in one line by every command that needs it, with 3."""
    path = write(tmp_path, store=store)
    for words in (("status",), ("reload",), ("trace", "a", "b"), ("send", "a", TO, "x")):
        said = smsd(*words, "--config", str(path))
        assert (said.code, len(said.err.splitlines())) == (3, 1)
        assert hint in said.err
