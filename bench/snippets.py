"""Runs the producer snippets of docs/producers/ in their languages, against a real store of two shards and smsd.

For each: both shards are sent to, one message is cancelled, and its reader takes over what a dead one left and then
reads what is new. Ends with 1 when one fails, or when a language that was asked for is not installed. Installs each
client from its language's registry into a temporary folder, and never sends to a vendor.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from zlib import crc32

import redis

from smsd.testing.carrier import start
from tests.support.config import write
from tests.support.running import Daemon
from tests.support.valkey import Valkey

SNIPPETS = Path(__file__).resolve().parents[1] / "docs" / "producers"
TENANTS = ("acme", next(name for name in ("a", "b", "c", "d", "e") if crc32(name.encode()) % 2 != crc32(b"acme") % 2))
WAIT_S = 30.0

POM = """<project><modelVersion>4.0.0</modelVersion><groupId>x</groupId><artifactId>x</artifactId><version>1</version>
<dependencies><dependency><groupId>redis.clients</groupId><artifactId>jedis</artifactId><version>5.2.0</version>
</dependency></dependencies></project>"""
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

# name: (programs it needs, the snippet, what sets its client up, how it is run); all in a folder of its own
LANGUAGES: dict[str, tuple[tuple[str, ...], str, list[list[str]], list[str]]] = {
    "node": (
        ("node", "npm"),
        "producer.js",
        [["npm", "install", "--silent", "ioredis@5.11.1"]],
        ["node", "producer.js"],
    ),
    "php": (
        ("php",),
        "producer.php",
        [["php", "-r", "exit(extension_loaded('redis') ? 0 : 1);"]],
        ["php", "producer.php"],
    ),
    "ruby": (("ruby", "gem"), "producer.rb", [["gem", "install", "redis", "-v", "5.4.1"]], ["ruby", "producer.rb"]),
    "go": (
        ("go",),
        "producer.go",
        [
            ["go", "mod", "init", "producer"],
            ["go", "get", "github.com/redis/go-redis/v9@v9.7.3"],
            ["go", "build", "-o", "producer"],
        ],
        ["./producer"],
    ),
    "java": (
        ("java", "mvn"),
        "Producer.java",
        [["mvn", "-q", "-B", COPY, "-DoutputDirectory=lib"]],
        ["java", "-cp", "lib/*", "Producer.java"],
    ),
}


class NotSetUp(Exception):
    """A language's client could not be installed."""


def main(asked: list[str]) -> int:
    """`asked`: languages, all that are installed for none. Returns an exit code."""
    missing = {name for name, (needs, *_) in LANGUAGES.items() if not all(map(shutil.which, needs))}
    if wrong := [name for name in asked if name not in LANGUAGES or name in missing]:
        why = (
            f"install {' and '.join(LANGUAGES[wrong[0]][0])}"
            if wrong[0] in LANGUAGES
            else f"known: {', '.join(LANGUAGES)}"
        )
        sys.stderr.write(f"snippets: cannot run {wrong[0]}: {why}\n")
        return 1
    failed = False
    for name in asked or LANGUAGES:
        if name in missing:
            told = "not run: not installed"
        else:
            try:
                told = f"ok: {try_out(name)}"
            except NotSetUp as error:  # its registry is out of reach: nothing was learnt of the snippet
                failed, told = failed or name in asked, f"not run: its client cannot be installed: {error}"
            except (AssertionError, subprocess.SubprocessError, OSError) as error:
                failed, told = True, f"FAILED: {error}"
        sys.stdout.write(f"{name:5} {told}\n")
    return int(failed)


def try_out(name: str) -> str:
    """Says what was seen. Raises AssertionError, or what subprocess raises."""
    _, snippet, setup, command = LANGUAGES[name]
    with tempfile.TemporaryDirectory() as temporary, start(receipt_min_ms=10, receipt_max_ms=50) as carrier:
        folder = Path(temporary)
        shutil.copy(SNIPPETS / snippet, folder)
        (folder / "pom.xml").write_text(POM)
        env = {**os.environ, "GEM_HOME": str(folder / "gems")}
        for step in setup:
            ended = subprocess.run(step, cwd=folder, env=env, capture_output=True, text=True, timeout=300, check=False)
            if ended.returncode:
                raise NotSetUp(" ".join((ended.stderr or ended.stdout).split())[:300])
        store = Valkey(folder).start()
        try:
            # appended to [store] by its value: BASE has no key for the shards
            config = write(folder, carrier=carrier.url, store=f'{store.url}"\nshards = "2')
            config.write_text(config.read_text().replace('shards = "2"', "shards = 2"))
            with Daemon(config) as daemon:
                daemon.ready()
                return converse(command, folder, {**env, "REDIS_URL": store.url}, store.url)
        finally:
            store.kill()


def converse(command: list[str], folder: Path, env: dict[str, str], url: str) -> str:
    """Sends, cancels and reads by the snippet."""

    def run(*words: str) -> None:
        ended = subprocess.run(
            [*command, *words], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, f"{words[0]}: {ended.stderr[-400:]}"

    not_after_ms = str(int((time.time() + 7200) * 1000))
    for tenant in TENANTS:
        run("send", tenant, "r-1", not_after_ms)
        run("send", tenant, "r-1", not_after_ms)  # written again, taken once
    run("cancel", TENANTS[0], "r-2")  # remembered, so that the message meets it
    run("send", TENANTS[0], "r-2", not_after_ms)
    wanted = {f"{tenant} r-1 delivered" for tenant in TENANTS} | {f"{TENANTS[0]} r-2 cancelled"}
    leave(url, wanted)
    reader = subprocess.Popen(
        [*command, "read", "billing"], cwd=folder, env=env, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    watch = threading.Timer(WAIT_S, os.killpg, (reader.pid, signal.SIGKILL))
    watch.start()
    try:
        heard = hear(reader, wanted)
        run("send", TENANTS[1], "r-3", not_after_ms)
        heard += hear(reader, {f"{TENANTS[1]} r-3 delivered"})
    finally:
        watch.cancel()
        if reader.poll() is None:
            os.killpg(reader.pid, signal.SIGKILL)
        reader.wait()
    assert len(heard) == len(set(heard)), f"an event came twice: {heard}"
    assert not [line for line in heard if "rejected" in line], f"an entry was not taken: {heard}"
    assert all("17" in line for line in heard if "delivered" in line), f"meta did not come back: {heard}"
    return f"{len(heard)} events, of both shards; one cancelled; a dead reader's taken over"


def leave(url: str, wanted: set[str]) -> None:
    """Reads until all of `wanted` has come, as a reader that dies before it acknowledges, longer ago than a minute."""
    client: Any = redis.Redis.from_url(url, decode_responses=True)
    streams = [f"smsd:{{{shard}}}:events" for shard in range(2)]
    for stream in streams:
        client.xgroup_create(stream, "billing", "0", mkstream=True)
    left = set(wanted)
    while left:
        read = client.xreadgroup("billing", "dead", dict.fromkeys(streams, ">"), block=int(WAIT_S * 1000))
        assert read, f"smsd did not tell of {left}"
        for stream, entries in read:
            client.xclaim(stream, "billing", "dead", 0, [entry for entry, _ in entries], idle=70_000)
            left -= {" ".join(event[key] for key in ("tenant", "id", "state")) for _, event in entries}
    client.close()


def hear(reader: "subprocess.Popen[str]", wanted: set[str]) -> list[str]:
    """The reader's lines, until one has begun with each of `wanted`."""
    assert reader.stdout is not None
    heard: list[str] = []
    left = set(wanted)
    while left:
        line = reader.stdout.readline()
        assert line, f"the reader ended, or said nothing for {WAIT_S:g} s, before {left}"
        heard.append(line.strip())
        left -= {" ".join(line.split()[:3])}
    return heard


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
