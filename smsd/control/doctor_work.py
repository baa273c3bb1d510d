"""What the doctor looks at in the work: who works by which config, who can be sent by, what was put aside.

Never changes anything.
"""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from smsd.config import Config
from smsd.control.doctor_facts import Facts, Finding
from smsd.message import State
from smsd.secret import SecretError
from smsd.store import keys
from smsd.store.record import decode

LATE_US = 30_000_000  # a lease is swept within a second after its end
DEAD_READ = 1000
EVENTS_READ = 1000  # of each shard, for receipts
RECEIPT_MS = 600_000  # when most receipts have come
RECEIPTS_OF_MS = 86_400_000  # before that: what is older tells little of today
RECEIPTS_LEAST = 20  # messages of a provider; of fewer nothing is said
UNTAKEN_S = 300  # a receiver that is well takes an event within a second
SHOWN = 10

_FILES = {
    "superseded": "its file was superseded: another one was published later",
    "refused": "its file could not be put in force",
}


async def processes(facts: Facts) -> list[Finding]:
    """Somebody works, and nobody has gone silent."""
    silent = [one for one in facts.standing.processes if one.silent_ms(facts.now_ms)]
    working = len(facts.standing.processes) - len(silent)
    found: list[Finding] = []
    if not working:
        found.append(Finding(what="no process works with this store", mend="start smsd run"))
    if silent:
        named = ", ".join(f"{one.host} {one.pid}" for one in silent[:SHOWN])
        what = f"{len(silent)} processes have not been heard of for more than 15 s: {named}"
        mend = "see whether they run and reach the store; one that has ended is forgotten within a minute"
        found.append(Finding(what=what, mend=mend))
    return found


async def config(facts: Facts) -> list[Finding]:
    """Each host whose file is not what is in force, and each process that works by another revision."""
    now = facts.standing
    found: list[Finding] = []
    if now.revision and not now.config_is_file:
        what = f"revision {now.revision} is in force, and is not the file of this command"
        found.append(Finding(what=what, mend="smsd check --diff compares; smsd reload publishes the file"))
    hosts: Counter[tuple[str, str]] = Counter()
    for one in now.drift:
        said: list[str] = []
        if one.revision != now.revision:
            said.append(f"works by revision {one.revision}, and {now.revision} is in force")
        if one.file != "in_force":
            said.append(_FILES[one.file])
        hosts[one.host, "; ".join(said) + (f" ({one.why})" if one.why else "")] += 1
    for (name, why), n in list(hosts.items())[:SHOWN]:
        what = f"{name}, {n} process{'es' if n > 1 else ''}: {why}"
        mend = "bring the file of that host up to date, and reload there; smsd reload publishes it on purpose"
        found.append(Finding(what=what, mend=mend))
    return found


async def providers(facts: Facts) -> list[Finding]:
    """Providers that are paused, or that processes find dead by their answers."""
    found: list[Finding] = []
    for pause in facts.standing.paused:
        if pause.what.startswith("p:"):
            until = f"until {datetime.fromtimestamp(pause.until_us / 1e6, UTC):%H:%M:%SZ}" if pause.until_us else ""
            what = f"the provider {pause.what[2:]} is paused {until or 'until resumed'}: {pause.reason or 'no reason'}"
            found.append(Finding(what=what, mend=f"mend that, then smsd resume provider {pause.what[2:]}"))
    dead: Counter[str] = Counter(name for one in facts.standing.processes for name in one.dead)
    for name, n in dead.items():
        what = f"the provider {name} is dead, or refuses us, for {n} of {len(facts.standing.processes)} processes"
        mend = "look for provider_dead and provider_stopped in the log; it is tried again by itself"
        found.append(Finding(what=what, mend=mend))
    return found


async def receipts(facts: Facts) -> list[Finding]:
    """Providers that tell of what they took, and of whose messages most have no receipt some minutes later.

    Looks at the newest messages that are old enough, so that what was mended is soon well again.
    """
    end_ms = facts.now_ms - RECEIPT_MS
    came, missing = Counter[str](), Counter[str]()
    for shard in facts.shards:
        client: Any = shard.client
        begin = end_ms - RECEIPTS_OF_MS
        entries: Any = await client.xrevrange(keys.key(shard.number, "events"), end_ms, begin, count=EVENTS_READ)
        took = {
            b"%b/%b" % (event[b"tenant"], event[b"id"]): event[b"provider"].decode()
            for _, event in entries
            if event.get(b"state") == b"submitted" and b"provider" in event
        }
        packed: Any = await client.hmget(keys.key(shard.number, "msg"), list(took)) if took else []
        for name, one in zip(took.values(), packed, strict=True):
            state = decode(one).state if one else ""
            came[name] += state in (State.DELIVERED, State.UNDELIVERED)
            missing[name] += state in (State.SUBMITTED, State.UNCONFIRMED)
    return [
        Finding(
            what=f"of the last {n + came[name]} messages that {name} took over {RECEIPT_MS // 60_000} minutes ago, "
            f"{n} have no receipt",
            mend=f"see that {facts.config.webhooks.public_url or 'public_url'}/webhooks/{name} is reached and is the "
            f"address that {name} calls, set there where it does not travel with a message; callbacks that are refused "
            "(smsd_receipts_total, outcome forged) want the secret mended, or public_url as the provider sees it",
        )
        for name, n in sorted(missing.items())
        if n + came[name] >= RECEIPTS_LEAST and n > came[name] and _tells(facts.config, name)
    ]


async def webhooks(facts: Facts) -> list[Finding]:
    """Receivers of status webhooks that answered 410, or have not taken an event for long."""
    found: list[Finding] = []
    for one in facts.standing.webhooks:
        if one.disabled_at_ms:
            since = datetime.fromtimestamp(one.disabled_at_ms / 1000, UTC)
            what = f"the receiver {one.name} has been told nothing since {since:%Y-%m-%d %H:%M:%SZ}: {one.why}"
            found.append(Finding(what=what, mend=f"smsd webhooks enable {one.name}, or take it out of the config"))
        elif one.oldest_s > UNTAKEN_S:
            more = " and more" if one.more else ""
            events = f"{one.waiting:,} events{more}, the oldest for {one.oldest_s:.0f} s"
            what = f"the receiver {one.name} has not taken {events}"
            mend = "mend it: status_down in the log says what it answers; it is told all of them once it answers 2xx"
            found.append(Finding(what=what, mend=mend))
    return found


def _tells(config: Config, provider: str) -> bool:
    """Whether it sends receipts."""
    try:
        return config.provider(provider).capabilities.receipts
    except (SecretError, KeyError, ValueError):
        return False


async def leases(facts: Facts) -> list[Finding]:
    """Leases that ended and were not swept; counts of what is in flight with no lease behind them."""
    found: list[Finding] = []
    for shard in facts.shards:
        client: Any = shard.client
        lease, flying = keys.key(shard.number, "lease"), keys.key(shard.number, "inflight")
        late = await client.zcount(lease, "-inf", (shard.now_us or facts.server_us) - LATE_US)
        if late:
            what = f"{late:,} leases of shard {shard.number} ended over 30 s ago and were not settled by anybody"
            mend = "start smsd run: a sweep makes them unknown and has each looked up"
            found.append(Finding(what=what, mend=mend))
        counts: dict[bytes, bytes] = await client.hgetall(flying)
        held = sum(int(n) for name, n in counts.items() if name.startswith(b"p:"))
        if held and not await client.zcard(lease):
            what = f"{held:,} messages of shard {shard.number} are counted as in flight, and nobody has leased them"
            mend = "start smsd run: its sweep counts anew every 10 s; report it if that does not mend it"
            found.append(Finding(what=what, mend=mend))
    return found


async def dead(facts: Facts) -> list[Finding]:
    """Entries that could not be taken, and messages that ended as internal, by their reasons."""
    if not facts.standing.dead:
        return []
    reasons: Counter[str] = Counter()
    for shard in facts.shards:
        entries: Any = await facts.client.xrevrange(keys.key(shard.number, "dead"), count=DEAD_READ)
        reasons.update(fields.get(b"reason", b"").decode("utf-8", "replace") for _, fields in entries)
    told = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common(5))
    what = f"{facts.standing.dead:,} entries were put aside; of the newest: {told}"
    return [Finding(what=what, mend="smsd dead list shows them; mend the cause, then redrive or purge them")]


async def sandbox(facts: Facts) -> list[Finding]:
    """A sandbox is right before the start and wrong after it."""
    if not facts.standing.sandbox:
        return []
    what = "the sandbox is on: only the numbers of [sandbox] allow_to are texted for real"
    return [Finding(what=what, mend="for production, set enabled = false in [sandbox] and reload")]
