"""run, check and reload, from outside."""

import signal
from pathlib import Path

import redis as redis_py

from smsd.store import keys
from tests.support.config import write
from tests.support.running import Daemon, Platform, smsd


def test_check_finds_nothing_in_a_good_file(tmp_path: Path) -> None:
    """A config without mistakes is told so, with 0."""
    path = write(tmp_path)
    said = smsd("check", "--config", str(path))
    assert (said.code, said.out) == (0, f"{path}: no mistakes\n")
    assert smsd("check", "--config", str(path), "--json").json() == {"ok": True, "mistakes": []}


def test_check_prints_every_mistake_with_file_and_line(tmp_path: Path) -> None:
    """All mistakes come at once, each with its place and what would be right, and the code is 2."""
    path = write(tmp_path, extra='[classes.otp]\nwieght = 1\n[tenants.acme]\nlimits = ["many"]\n')
    lines = path.read_text().splitlines()
    said = smsd("check", "--config", str(path))
    assert said.code == 2
    assert f"{path}:{lines.index('wieght = 1') + 1}: classes.otp.wieght" in said.out
    assert "tenants.acme.limits" in said.out
    assert said.out.endswith("2 mistakes\n")
    mistakes = smsd("check", "--config", str(path), "--json").json()["mistakes"]
    assert {mistake["key"].split(".")[0] for mistake in mistakes} == {"classes", "tenants"}


def test_check_says_what_would_change(tmp_path: Path, store_url: str) -> None:
    """Against what is in force, in words and as JSON, with 0 whatever changes; nothing is published."""
    path = write(tmp_path, store=store_url, limit="20/s")
    first = smsd("check", "--diff", "--config", str(path))
    assert (first.code, first.out.splitlines()[1][:30]) == (0, "nothing is in force yet: smsd ")
    smsd("reload", "--config", str(path))
    same = smsd("check", "--diff", "--config", str(path))
    assert (same.code, same.out.splitlines()[1][:15]) == (0, "nothing changes")
    write(tmp_path, store=store_url, limit="10/s", extra="[tenants.acme]\ncountries = ['IE']\n")
    said = smsd("check", "--diff", "--config", str(path))
    assert (said.code, said.out.splitlines()[1:]) == (0, [
        "against revision 1, which is in force:",
        "cut off",
        "  tenant acme: all countries are closed but IE",
        "slower",
        "  2 tenants (acme, every other tenant): 20/s -> 10/s",
    ])  # fmt: skip
    told = smsd("check", "--diff", "--config", str(path), "--json").json()
    assert [change["kind"] for change in told["diff"]["changes"]] == ["cut_off", "slower"]
    assert smsd("reload", "--config", str(path), "--json").json()["revision"] == 2


def test_check_says_what_a_reload_would_refuse(tmp_path: Path, store_url: str) -> None:
    """A class that messages wait for is told with 1, before anybody tries."""
    path = write(tmp_path, store=store_url, extra="[classes.otp]\n")
    smsd("reload", "--config", str(path))
    with redis_py.Redis.from_url(store_url) as client:
        client.xadd(keys.inbox(0, "otp"), {"tenant": "acme"})
    write(tmp_path, store=store_url)
    said = smsd("check", "--diff", "--config", str(path))
    assert said.code == 1
    assert "  class otp: dropped: nobody reads its inbox any more" in said.out
    assert said.out.splitlines()[-1].startswith("smsd reload would refuse it: class otp: 1 in its inbox; smsd cancel")


def test_a_diff_is_a_few_lines_for_thousands(tmp_path: Path, store_url: str) -> None:
    """Thousands of tenants that each change in their own way are still told on one screen."""
    rows = "".join(f"[tenants.t{n}]\nlimits = ['{n + 2}/s']\n" for n in range(2000))
    path = write(tmp_path, store=store_url, extra=rows)
    smsd("reload", "--config", str(path))
    write(tmp_path, store=store_url, extra=rows.replace("/s", "/m"))
    said = smsd("check", "--diff", "--config", str(path))
    assert len(said.out.splitlines()) < 30
    assert "  and 1,980 more: --json shows all" in said.out


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    """Without a config every command that wants one names the file, with 2."""
    for words in (("check",), ("status",), ("reload",), ("health",), ("trace", "a", "b"), ("send", "a", "+1", "x")):
        said = smsd(*words, "--config", str(tmp_path / "none.toml"))
        assert said.code == 2
        assert "none.toml" in said.out + said.err
        assert "Traceback" not in said.err


def test_the_environment_names_the_file(tmp_path: Path) -> None:
    """Without --config it is $SMSD_CONFIG, and without that smsd.toml in the current folder."""
    path = write(tmp_path)
    assert smsd("check", env={"SMSD_CONFIG": str(path)}, cwd=Path("/")).code == 0
    assert smsd("check", cwd=tmp_path).out == "smsd.toml: no mistakes\n"


def test_reload_puts_the_file_in_force_everywhere(tmp_path: Path, store_url: str) -> None:
    """A running daemon follows what the command published, and is told by nobody else."""
    values = {"store": store_url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0", "public_url": ""}
    path = write(tmp_path, **values)
    with Daemon(path).ready() as daemon:
        write(tmp_path, **values, limit="7/s")
        said = smsd("reload", "--config", str(path), "--json")
        assert (said.code, said.json()) == (0, {"revision": 2, "changed": True, "warnings": []})
        (line,) = daemon.heard("config_swapped")
        assert (line["revision"], line["how"]) == (2, "followed")
        told = smsd("status", "--config", str(path))
        assert (told.code, "revision 2, its file is in force" in told.out) == (0, True), told.out
        again = smsd("reload", "--config", str(path))
        assert "nothing changed" in again.out


def test_reload_says_that_it_takes_no_key_over(tmp_path: Path, store_url: str) -> None:
    """A key that is thought to be revoked opens until a SIGHUP; a file without keys is not told of any."""
    values = {"store": store_url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0", "public_url": ""}
    assert "SIGHUP" not in smsd("reload", "--config", str(write(tmp_path, **values))).out
    path = write(tmp_path, **values, extra='[http.api_keys.rails]\nkey = "env:RAILS"\ntenants = ["*"]\n')
    said = smsd("reload", "--config", str(path), env={"RAILS": "a key of no worth"})
    assert (said.code, "nothing changed" in said.out, "a SIGHUP there takes new ones over" in said.out) == (
        0,
        True,
        True,
    )


def test_reload_goes_back_to_an_older_file_on_purpose(tmp_path: Path, store_url: str) -> None:
    """A file that was in force before is published again as a new revision, which the daemon follows."""
    values = {"store": store_url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0", "public_url": ""}
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    first, second = write(old, **values, limit="5/s"), write(new, **values, limit="9/s")
    with Daemon(first).ready() as daemon:
        revisions = [smsd("reload", "--config", str(path), "--json").json() for path in (second, first)]
        assert revisions == [{"revision": n, "changed": True, "warnings": []} for n in (2, 3)]
        assert [line["revision"] for line in daemon.heard("config_swapped", 2)][-1] == 3


def test_reload_keeps_a_class_that_messages_wait_for(tmp_path: Path, store_url: str) -> None:
    """The command and SIGHUP refuse to drop it, say how many wait and what mends it; --force drops it all the same."""
    values = {"store": store_url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0", "public_url": ""}
    path = write(tmp_path, **values, extra="[classes.otp]\n")
    with Daemon(path).ready() as daemon:
        platform = Platform(store_url)
        platform.enqueue("x", class_="otp", not_before="2099-01-01T00:00:00Z")
        platform.wait("queued")
        platform.close()
        write(tmp_path, **values)
        said = smsd("reload", "--config", str(path))
        assert (said.code, said.out, len(said.err.splitlines())) == (1, "", 1)
        assert "class otp: 1 queued; smsd cancel class otp ends them, or keep [classes.otp]" in said.err
        assert "smsd reload --force" in said.err
        daemon.process.send_signal(signal.SIGHUP)
        (line,) = daemon.heard("config_refused")
        assert "class otp: 1 queued" in line["mistakes"]
        forced = smsd("reload", "--force", "--config", str(path))
        assert forced.code == 0
        assert "note: class otp: 1 queued" in forced.out
        daemon.heard("config_swapped")


def test_a_daemon_that_starts_with_such_a_file_follows_the_store(tmp_path: Path, store_url: str) -> None:
    """It works on under the config in force, and its log says why its file does not hold."""
    values = {"store": store_url, "http": "127.0.0.1:0", "webhooks": "127.0.0.1:0", "public_url": ""}
    path = write(tmp_path, **values, extra="[classes.otp]\n")
    smsd("reload", "--config", str(path))
    with redis_py.Redis.from_url(store_url) as client:
        client.xadd(keys.inbox(0, "otp"), {"tenant": "acme"})
    write(tmp_path, **values)
    with Daemon(path).ready() as daemon:
        (line,) = daemon.heard("config_held")
        assert line["revision"] == 1
        assert "class otp: 1 in its inbox" in line["detail"]


def test_overrides_of_the_shared_part_are_refused(tmp_path: Path, store_url: str) -> None:
    """Only a host's own sections may differ by host: any other SMSD_ variable is a mistake everywhere."""
    path = write(tmp_path, store=store_url)
    mine = {"SMSD_HTTP__LISTEN": "127.0.0.1:9001", "SMSD_STORE__URL": store_url}
    assert smsd("check", "--config", str(path), env=mine).code == 0
    names = ("SMSD_TENANT_DEFAULTS__LIMITS", "SMSD_CLASSES__REMINDER__WEIGHT", "SMSD_RETENTION__MESSAGES")
    for name, command in zip(names, ("check", "reload", "run"), strict=True):
        said = smsd(command, "--config", str(path), env={name: "1"})
        assert said.code == 2, (name, command)
        assert f"{name}: only single keys of [store], [http], [webhooks] and [otel]" in said.out + said.err
    with redis_py.Redis.from_url(store_url) as client:
        assert not client.exists(keys.key(0, "conf"))


def test_reload_refuses_a_bad_file(tmp_path: Path, store_url: str) -> None:
    """A file with mistakes is not published: the first one is told, with how to see them all."""
    path = write(tmp_path, store=store_url, extra="[classes.otp]\nwieght = 1\nmax_attempts = 0\n")
    said = smsd("reload", "--config", str(path))
    assert (said.code, said.out, len(said.err.splitlines())) == (2, "", 1)
    assert "1 more: smsd check" in said.err
    with redis_py.Redis.from_url(store_url) as client:
        assert not client.exists(keys.key(0, "conf"))


def test_run_refuses_a_bad_file(tmp_path: Path) -> None:
    """The daemon does not start on half a config: every mistake is in its log, and the code is 2."""
    path = write(tmp_path, extra="[classes.otp]\nwieght = 1\nmax_attempts = 0\n")
    said = smsd("run", "--config", str(path))
    assert said.code == 2
    assert "wieght" in said.err
    assert "max_attempts" in said.err
