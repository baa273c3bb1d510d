"""The demo from its first process to its last line: enqueue, watch, account.

Never counts what smsd says of itself as proof: the ledger compares what was enqueued with the carrier's own book.
"""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Generator, Iterable
from itertools import islice

import msgspec
from redis.asyncio import Redis
from rich.console import Console

from smsd.demo.ledger import Ledger, Taken, balance
from smsd.demo.messages import Entry, entries
from smsd.demo.stage import Stage, Unstaged, last_lines, stage
from smsd.demo.view import Moment, View, summary, view
from smsd.demo.watch import Watch, standing
from smsd.store import keys
from smsd.store.connect import connect
from smsd.testing.carrier_ledger import Line, digest

SHARD = 0
PIPELINE = 200
LOOK_S = 0.25  # between two looks of the view
IDLE_S = 10.0  # the longest that late receipts are waited for once every message has ended


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is run."""

    messages: int = 20_000
    tenants: int = 4_000
    workers: int = 2
    seed: int = 1
    limit_s: float = 155  # for the messages to end, from the first that is enqueued
    keep: bool = False
    dialect: str = "twilio"


def run(plan: Plan, *, quiet: bool, say: Callable[[str], object]) -> Ledger:
    """Runs it and puts everything away. The ledger is told as one line of JSON and, unless quiet, as a table before."""
    console = Console(quiet=quiet)
    if not quiet:
        console.print("Starting a store, a carrier and smsd ...", highlight=False)
    with _ended_by_sigterm(), _staged(plan) as made:
        ledger = asyncio.run(_run(plan, made, console))
        if plan.keep and not quiet:
            console.print(f"Kept: {made.folder}", highlight=False, soft_wrap=True)
    if not quiet:
        console.print(summary(ledger))
    say(msgspec.json.encode(ledger).decode())
    return ledger


def _staged(plan: Plan) -> "contextlib.AbstractContextManager[Stage]":
    return stage(seed=plan.seed, workers=plan.workers, keep=plan.keep, dialect=plan.dialect)


async def _run(plan: Plan, made: Stage, console: Console) -> Ledger:
    store = connect(made.store_url)
    try:
        watch = Watch(store.blocking, keys.key(SHARD, "events"))
        enqueued: set[str] = set()
        since = time.monotonic()
        title = f"{plan.messages} messages of {plan.tenants} tenants, {plan.workers} workers"
        with view(console, title) as show:
            made_up = entries(plan.seed, plan.messages, plan.tenants)
            producing = asyncio.create_task(produce(store.client, made_up, enqueued))
            looking = asyncio.create_task(_look(plan, store.client, watch, enqueued, since, show))
            try:
                await _follow(plan, made, watch, since, producing)
            finally:
                producing.cancel()
                looking.cancel()
                await asyncio.gather(producing, looking, return_exceptions=True)
        seconds = time.monotonic() - since
        await asyncio.to_thread(made.carrier.wait_idle, IDLE_S)
        await asyncio.to_thread(made.end_daemon)
        while await watch.read(block=False):
            pass
        book = await asyncio.to_thread(made.carrier.ledger)
    finally:
        await store.aclose()
    taken = copies(book, entries(plan.seed, plan.messages, plan.tenants))
    return balance(enqueued, watch.told, taken, seconds, watch.rate_per_s())


def copies(book: Iterable[Line], made: Iterable[Entry]) -> list[Taken]:
    """What the carrier took, by our reference; where a vendor is told none, by the number and the text."""
    named = {(one.fields["to"], digest(one.fields["body"])): one.key for one in made if "op" not in one.fields}
    return [
        Taken(line.reference.partition(".")[2] or named.get((line.to, line.body_hash), line.sid), line.ends or "")
        for line in book
        if line.sid is not None
    ]


async def produce(client: Redis, made: Iterable[Entry], enqueued: set[str]) -> None:
    """Writes entries to their inboxes, in pipelines; `enqueued` gets each message's key before it is written."""
    left = iter(made)
    while batch := list(islice(left, PIPELINE)):
        async with client.pipeline(transaction=False) as pipe:
            for entry in batch:
                if "op" not in entry.fields:
                    enqueued.add(entry.key)
                pipe.xadd(keys.inbox(SHARD, entry.class_), {**entry.fields})
            await pipe.execute()


async def _follow(plan: Plan, made: Stage, watch: Watch, since: float, producing: "asyncio.Task[None]") -> None:
    """Reads events until every message has ended, or the time is over."""
    while watch.final < plan.messages and time.monotonic() - since < plan.limit_s:
        some = await watch.read()
        if (task := asyncio.current_task()) and task.cancelling():  # redis-py may swallow a cancellation
            raise asyncio.CancelledError
        if not some and made.daemon.poll() is not None:
            raise Unstaged(f"smsd run ended with {made.daemon.returncode}: {last_lines(made.folder)}")
        if producing.done():
            producing.result()


async def _look(plan: Plan, client: Redis, watch: Watch, enqueued: set[str], since: float, show: View) -> None:
    while True:
        now = await standing(client, f"smsd:{{{SHARD}}}")
        show(
            Moment(
                seconds=time.monotonic() - since,
                enqueued=len(enqueued),
                messages=plan.messages,
                final=watch.final,
                rate_per_s=watch.rate_per_s(),
                backlog=now["backlog"],
                in_flight=now["in_flight"],
                states=dict(watch.states),
                flagged=watch.flagged,
            )
        )
        await asyncio.sleep(LOOK_S)


@contextlib.contextmanager
def _ended_by_sigterm() -> Generator[None]:
    """SIGTERM is taken as Ctrl-C is, so that everything is put away."""
    before = signal.signal(signal.SIGTERM, lambda _number, _frame: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
