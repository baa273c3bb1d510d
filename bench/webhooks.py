"""`make bench-webhooks`: status webhooks while one receiver hangs and one is down, and after both are back.

Real messages, a real carrier, real HTTP. Measured: how long after its event a webhook comes to the receivers that are
well; and, once the others are back, what is missing and what came twice, held against the stream of events. `--kills`
kills workers meanwhile. Prints one line of JSON; ends with 1 where a receiver misses an event or p99 is over a second.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import msgspec
from aiohttp import web
from standardwebhooks import Webhook

from bench.ports import free_port
from bench.rig import Entry, Rig, children, number, rig

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLSw0MfKQ9r8GKYo="  # noqa: S105 - of these runs only
P99_MS = 1000
RECOVERY_S = 180.0
HANGS, DOWN = "hangs", "down"
CONFIG = """\
[tenant_defaults]
limits = ["100000/s", "5000000/d"]
[routes.default]
providers = [{{{{ use = "carrier" }}}}]
[providers.carrier]
type = "fake"
base_url = "{{carrier}}"
limits = ["100000 segments/s"]
max_in_flight = 64
{receivers}
"""
RECEIVER = """\
[status_webhooks.{name}]
url = "http://127.0.0.1:{port}/{name}"
secret = "env:HOOK_SECRET"
tenants = ["{name}"]
"""


class Plan(msgspec.Struct, frozen=True):
    """What is done."""

    rate: int = 100  # messages a second, in turns for each receiver
    seconds: float = 20.0
    well: int = 8  # receivers that are well, beside the one that hangs and the one that is down
    workers: int = 2
    kills: int = 0

    @property
    def names(self) -> list[str]:
        return [*(f"well-{i}" for i in range(self.well)), HANGS, DOWN]


class Receivers:
    """All receivers, in a thread of their own: what came to each, when, and how often."""

    def __init__(self, names: Sequence[str]) -> None:
        self.port, self.down_port = free_port(), free_port()
        self.came = {name: Counter[str]() for name in names}
        self.waits_ms = {name: list[float]() for name in names}
        self.under_way = self.most_under_way = 0
        self.forged = 0
        self._signed = Webhook(SECRET)
        self._loop = asyncio.new_event_loop()
        self._back = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def _handle(self, request: web.Request) -> web.Response:
        now_ms, body = time.time() * 1000, await request.text()
        name = request.path.strip("/")
        try:
            event = self._signed.verify(body, dict(request.headers))
        except Exception:  # noqa: BLE001 - whatever is wrong with it
            self.forged += 1
            return web.Response(status=400)
        if name == HANGS and not self._back.is_set():
            self.under_way += 1
            self.most_under_way = max(self.most_under_way, self.under_way)
            try:
                await self._back.wait()
            finally:
                self.under_way -= 1
        self.came[name][request.headers["webhook-id"]] += 1
        self.waits_ms[name].append(now_ms - event["data"]["at"])
        return web.Response(status=204)

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_post("/{name}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()

    async def _recover(self) -> None:
        assert self._runner is not None
        self._back.set()
        await web.TCPSite(self._runner, "127.0.0.1", self.down_port).start()

    async def _stop(self) -> None:
        assert self._runner is not None
        self._back.set()
        await self._runner.cleanup()

    def recover(self) -> None:
        """The one that hangs answers, the one that is down is there."""
        asyncio.run_coroutine_threadsafe(self._recover(), self._loop).result(10)

    @contextlib.contextmanager
    def running(self) -> Generator["Receivers"]:
        """For as long as the block lasts."""
        thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result(10)
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join(10)
            self._loop.close()

    def config(self) -> str:
        """Their tables."""
        ports = {DOWN: self.down_port}
        return "".join(RECEIVER.format(name=name, port=ports.get(name, self.port)) for name in self.came)


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What was found."""

    messages: int
    events: int  # that receivers asked for, by the stream
    well: dict[str, float]  # how long after its event a webhook came to those that are well
    hangs_under_way: int  # requests that the hanging one held at most, over all workers
    recovered_s: float  # from the return of both to the last of their webhooks
    missing: int
    repeated: int  # webhooks that came more than once to one that took them; they have the same id
    forged: int
    kills: int
    passed: bool


def messages(plan: Plan, begin: int, end: int) -> list[Entry]:
    """One after the other for each receiver's tenant."""
    names = plan.names
    return [
        ("reminder", {"tenant": names[i % len(names)], "id": f"m{i}", "to": number(i), "body": "See you at 10:00"})
        for i in range(begin, end)
    ]


def run(plan: Plan) -> Result:
    """Once."""
    os.environ["HOOK_SECRET"] = SECRET
    with Receivers(plan.names).running() as there, rig(CONFIG.format(receivers=there.config())) as made:
        made.start_daemon(plan.workers)
        total, kills = load(plan, made)
        wanted = wait_ends(made, total)
        well = [name for name in plan.names if name not in (HANGS, DOWN)]
        arrives(made, there, wanted, well)
        there.recover()
        since = time.monotonic()
        arrives(made, there, wanted, [HANGS, DOWN])
        recovered_s = time.monotonic() - since
    waits = sorted(wait for name in well for wait in there.waits_ms[name])
    missing = sum(len(ids - there.came[name].keys()) for name, ids in wanted.items())
    figures = {"n": len(waits), **{f"p{p}_ms": round(waits[len(waits) * p // 100], 1) for p in (50, 99)}}
    return Result(
        messages=total,
        events=sum(map(len, wanted.values())),
        well={**figures, "max_ms": round(waits[-1], 1)},
        hangs_under_way=there.most_under_way,
        recovered_s=round(recovered_s, 1),
        missing=missing,
        repeated=sum(n - 1 for came in there.came.values() for n in came.values()),
        forged=there.forged,
        kills=kills,
        passed=not missing and not there.forged and (kills > 0 or figures["p99_ms"] < P99_MS),
    )


def load(plan: Plan, made: Rig) -> tuple[int, int]:
    """Enqueues at the rate, and kills as planned. Returns how many, and how many were killed."""
    total, done, kills, began = int(plan.rate * plan.seconds), 0, 0, time.monotonic()
    while done < total:
        passed_s = time.monotonic() - began
        due = min(total, int(plan.rate * passed_s))
        made.enqueue(messages(plan, done, due))
        done = due
        if kills < plan.kills and passed_s > plan.seconds * (kills + 1) / (plan.kills + 1):
            assert made.daemon is not None
            os.kill(children(made.daemon.pid)[kills % plan.workers], signal.SIGKILL)
            kills += 1
        made.pass_time(0.02)
    return total, kills


def wait_ends(made: Rig, total: int) -> dict[str, set[str]]:
    """Waits for every message's end; then the ids that each tenant's receiver must get, by the stream."""
    made.wait_for(lambda: made.ended() >= total, RECOVERY_S, "not all messages ended")
    wanted: dict[str, set[str]] = {}
    for event in made.events():
        if event["state"] in ("delivered", "undelivered", "failed", "expired", "unconfirmed"):
            wanted.setdefault(event["tenant"], set()).add(event["event_id"])
    return wanted


def arrives(made: Rig, there: Receivers, wanted: dict[str, set[str]], names: Sequence[str]) -> None:
    """Waits until these receivers have all of theirs; what is missing after that is counted."""
    made.comes(lambda: all(wanted.get(name, set()) <= set(there.came[name]) for name in names), RECOVERY_S, 0.05)


def main() -> None:
    """Runs it once."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in zip(Plan.__struct_fields__, Plan.__struct_defaults__, strict=True):
        parser.add_argument(f"--{name}", type=type(default), default=default)
    result = run(Plan(**vars(parser.parse_args())))
    print(json.dumps(msgspec.to_builtins(result)))
    sys.exit(0 if result.passed else 1)


if __name__ == "__main__":
    main()
