"""What the doctor looks at in the store: its clock, its durability, its room, and the streams that go in and out.

Never changes anything; a scan of the keys ends after so many.
"""

import re
from collections.abc import Iterator
from typing import Any

from redis.exceptions import ResponseError

from smsd.config.read import suggestion
from smsd.control.doctor_facts import Facts, Finding
from smsd.store import keys
from smsd.store.connect import OLDEST

CLOCK_US = 1_000_000  # the scripts refuse to work from 5 s on; a second already makes times in events wrong
SCAN_MOST = 100_000  # keys
SCAN_PAGE = 1000
WAITS_MS = 60_000  # an entry is taken within seconds, one of a dead consumer within ten
HELD_MS = 3_600_000  # a reader of events that has not acknowledged for so long has forgotten
NEAR = 0.5  # of events_max: a reader so far behind is near losing events
SHOWN = 10  # streams of one kind

_INBOX = re.compile(r"smsd:\{(\d+)\}:in:(.*)", re.DOTALL)


async def clock(facts: Facts) -> list[Finding]:
    """Limits, leases and deadlines are by the store's clock; every call compares it with the process's."""
    found: list[Finding] = []
    apart_us = facts.now_us - facts.server_us
    if abs(apart_us) >= CLOCK_US:
        how = "ahead of" if apart_us > 0 else "behind"
        what = f"this host's clock is {abs(apart_us) / 1e6:.1f} s {how} the store's; from 5 s on nothing leaves here"
        found.append(Finding(what=what, mend="run an NTP client such as chrony on both hosts"))
    for shard in facts.shards:
        latest_us = int(await facts.client.hget(keys.key(shard.number, "meta"), "hwm") or 0)
        back_us = latest_us - facts.server_us
        if back_us >= CLOCK_US:
            what = (
                f"the store's clock has gone back by {back_us / 1e6:.0f} s: until it has come so far again the time of "
                f"shard {shard.number} stands still, and what a limit refuses does not leave"
            )
            mend = "wait until then; run an NTP client such as chrony, which does not step a clock while smsd runs"
            found.append(Finding(what=what, mend=mend))
    return found


async def durability(facts: Facts) -> list[Finding]:
    """Without an append-only file a crash of the server loses what was taken."""
    if not facts.info.get("aof_enabled"):
        what = "the store keeps no append-only file: a crash of it loses messages"
        return [Finding(what=what, mend="set appendonly yes there")]
    found: list[Finding] = []
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status"):
        if facts.info.get(name, "ok") != "ok":
            what = f"the store could not write its append-only file ({name} {facts.info[name]})"
            found.append(Finding(what=what, mend="look at the server's log, and at the free space of its disk"))
    fsync: dict[Any, Any] = await facts.client.config_get("appendfsync")
    if b"no" in fsync.values() or "no" in fsync.values():
        what = "the store never asks for its file to be on disk (appendfsync no): a power cut loses messages"
        found.append(Finding(what=what, mend="set appendfsync everysec, or always"))
    return found


async def writes(facts: Facts) -> list[Finding]:
    """A replica answers every question and takes no message; nor does a primary that misses its replicas."""
    if facts.info.get("role", "master") != "master":
        what = "the store is a replica, to which nothing can be written: nothing is taken in, and nothing leaves"
        return [Finding(what=what, mend="let [store] url name the primary, or make this server the primary")]
    good = facts.info.get("min_slaves_good_slaves")  # told only where some are asked for
    asked: dict[Any, Any] = {} if good is None else await facts.client.config_get("min-replicas-to-write")
    most = max(map(int, asked.values()), default=0)
    if good is None or int(good) >= most:
        return []
    what = f"the store has {good} replicas that keep up, of the {most} without which it takes no write"
    return [Finding(what=what, mend="bring its replicas back, or set min-replicas-to-write 0 there meanwhile")]


async def eviction(facts: Facts) -> list[Finding]:
    """Any policy but noeviction throws messages away when memory is short; smsd run does not start on one."""
    policy = facts.info.get("maxmemory_policy", "noeviction")
    if policy == "noeviction":
        return []
    what = f"the store's maxmemory-policy is {policy}: it throws messages away when memory is short"
    return [Finding(what=what, mend="set maxmemory-policy noeviction there")]


async def version(facts: Facts) -> list[Finding]:
    """The oldest server that runs the scripts."""
    if tuple(int(part) for part in str(facts.info["redis_version"]).split(".")[:2]) >= OLDEST:
        return []
    return [Finding(what=f"the store is {facts.standing.store}", mend="run Valkey 7.2 or Redis 7.0 at least")]


async def memory(facts: Facts) -> list[Finding]:
    """Intake holds back above a mark of maxmemory, so there has to be one; the embedded store's is the machine's."""
    used, most = facts.standing.store_memory_bytes, facts.standing.store_memory_max_bytes
    if not most:
        if facts.config.store.embedded:
            return []
        what = "the store has no maxmemory, so intake cannot be held back before memory runs out"
        return [Finding(what=what, mend="set maxmemory there, to what the machine can spare")]
    mark = facts.config.dispatch.memory_mark
    if used < mark * most:
        return []
    what = f"the store uses {100 * used / most:.0f} % of its maxmemory: above {100 * mark:.0f} % intake holds back"
    mend = "raise maxmemory, shorten [retention], or see by smsd status what waits and why"
    return [Finding(what=what, mend=mend)]


# ---- Streams ---------------------------------------------------------------------------------------------------------


async def streams(facts: Facts) -> list[Finding]:
    """Keys that begin as ours do, and are none that anybody reads: a mistyped class, lost braces, another shard."""
    known = {name for shard in facts.shards for name in keys.every(shard.number)} | {keys.META}
    odd: list[tuple[str, str]] = []
    cursor, seen = 0, 0
    while True:
        cursor, page = await facts.client.scan(cursor, match="smsd*", count=SCAN_PAGE)
        names = {key.decode("utf-8", "replace") for key in page} - known
        odd += [(name, why) for name in names if (why := _why_unread(name, facts)) or _INBOX.fullmatch(name)]
        seen += SCAN_PAGE
        if not cursor or seen >= SCAN_MOST:
            break
    found: list[Finding] = []
    for name, why in sorted(set(odd)):
        kind = (await facts.client.type(name)).decode()
        if kind == "stream" and why:
            n = await facts.client.xlen(name)
            what = f'nobody reads the stream "{name}" ({n:,} entries): {why}'
            mend = f'mend the producer, write what is still wanted where it belongs, then DEL "{name}"'
            found.append(Finding(what=what, mend=mend))
        elif kind not in ("stream", "none") and _INBOX.fullmatch(name):
            what = f'"{name}" is a {kind}, where smsd reads a stream'
            found.append(Finding(what=what, mend=f'write by XADD; move what is in it, then DEL "{name}"'))
    left = len(found) - SHOWN
    more = [Finding(what=f"{left} more streams that nobody reads", mend="mend these first")] if left > 0 else []
    return found[:SHOWN] + more


def _why_unread(name: str, facts: Facts) -> str:
    """Why nobody reads a stream of that name; "" for an inbox that is read."""
    classes, shards = list(facts.config.classes), len(facts.shards)
    inbox = _INBOX.fullmatch(name)
    if inbox is None:
        if lost := re.fullmatch(r"smsd:(\d+):(.+)", name):
            return f"the braces are lost: write smsd:{{{lost[1]}}}:{lost[2]}, where they are part of the key"
        return "no key of smsd is called so; inboxes are smsd:{N}:in:CLASS"
    number, class_ = int(inbox[1]), inbox[2]
    if number >= shards:
        last = f"0 to {shards - 1}" if shards > 1 else "0 only"
        return f"there is no shard {number}: with [store] shards = {shards} it is {last}"
    if class_ not in classes:
        return f'there is no class "{class_}"{suggestion(class_, classes)}: there are {", ".join(classes)}'
    return ""


async def inbox(facts: Facts) -> list[Finding]:
    """Entries that wait long: nobody reads, nobody claims what a dead consumer left, or intake holds back."""
    found: list[Finding] = []
    for shard, class_, name in _inboxes(facts):
        first = await facts.client.xrange(name, count=1) if await facts.client.type(name) == b"stream" else None
        if not first:
            continue
        age_ms = facts.now_ms - int(first[0][0].split(b"-")[0])
        if age_ms <= WAITS_MS:
            continue
        n = await facts.client.xlen(name)
        stuck = await _stuck(facts, name)
        many = f"{stuck} or more" if stuck == SCAN_PAGE else stuck
        read = f"; {many} of them were read and never settled" if stuck else ""
        what = f"{n:,} entries wait in the inbox of {class_}, shard {shard}, the first for {age_ms // 1000} s{read}"
        mend = "see whether smsd run works (smsd status), what it logs, and how much memory the store has left"
        found.append(Finding(what=what, mend=mend))
    return found


async def _stuck(facts: Facts, name: str) -> int:
    """How many entries of an inbox were read long ago and are still pending, up to SCAN_PAGE."""
    try:
        pending = await facts.client.xpending_range(name, keys.GROUP, "-", "+", SCAN_PAGE, idle=WAITS_MS)
    except ResponseError:  # no such group: nobody ever read it
        return 0
    return len(pending)


def _inboxes(facts: Facts) -> Iterator[tuple[int, str, str]]:
    for shard in facts.shards:
        for class_ in facts.config.classes:
            yield shard.number, class_, keys.inbox(shard.number, class_)


async def events(facts: Facts) -> list[Finding]:
    """Readers that have lost events, will soon, or hold some for ever."""
    found: list[Finding] = []
    most = facts.config.retention.events_max
    for group in facts.standing.groups:
        name = keys.key(group.shard, group.stream)
        where = f"the group {group.group} on {name}"
        lost = (group.lag or 0) - await facts.client.xlen(name)  # what is trimmed away unread still counts as behind
        if lost > 0:
            what = f"{where} has lost {lost:,} events: they were trimmed away before it read them"
            mend = "ask for what it missed by id (smsd trace); read faster, or raise [retention] events and events_max"
            found.append(Finding(what=what, mend=mend))
        elif group.lag is not None and group.lag >= NEAR * most:
            what = f"{where} is {group.lag:,} events behind, and {most:,} are kept"
            mend = "start its reader, give it more consumers, or raise [retention] events_max"
            found.append(Finding(what=what, mend=mend))
        held = await facts.client.xpending_range(name, group.group, "-", "+", SCAN_PAGE, idle=HELD_MS)
        if held:
            what = f"{where} has {len(held)} events that a consumer read over an hour ago and never acknowledged"
            found.append(Finding(what=what, mend="claim them by XAUTOCLAIM, and XACK what is done"))
    return found
