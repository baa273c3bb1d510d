"""Every name in the store, in one place: a fixed key per kind and shard; lanes, flows, messages are members and fields.

Never builds a key that depends on a message: every script declares all kinds, in this order, for some
servers refuse one that touches a key it did not declare.
"""

from typing import Final

KINDS: Final = {
    "msg": "hash tenant/id -> record (record.py)",
    "body": "hash tenant/id -> message (message.Message), erased when its state is final, or as `bodyat` says",
    "lanes": "lex zset lane \\0 head \\0 id: every queued message that is not due later",
    "lane": "hash lane -> its state (lua/lib/lane.lua)",
    "ready": "lex zset flow \\0 head \\0 lane: lanes that may be tried",
    "flows": "lex zset route \\0 class \\0 start tag \\0 tenant: flows with a ready lane",
    "flow": "hash flow -> finish tag, start tag (-1: nothing ready)",
    "tags": "hash of virtual times and the classes' finish tags",
    "limit": "hash scope -> state of its limits, all windows in one field",
    "wait": "lex zset scope \\0 order \\0 flow: who waits at a limit, first first; holds are marked with !",
    "place": "hash scope \\0 flow -> order: the flow's place in `wait`",
    "park": "lex zset scope \\0 flow \\0 head \\0 lane: the waiting lanes of each flow",
    "wake": "zset scope by the time at which its first may be admitted",
    "due": "lex zset class \\0 time \\0 key: retries and messages with a not_before",
    "pause": "hash mark -> until, since, who, reason",
    "paused": "lex zset mark \\0 lane",
    "withdrawn": "hash mark -> at, who, reason: what was taken before is cancelled; of a campaign, later ones too",
    "withdrawing": "zset mark by its time: not all that it covers has been cancelled yet",
    "lease": "zset fence by the lease's end",
    "batch": "hash fence -> its messages; q:process|route -> the last request and its fence",
    "inflight": "hash p:provider, c:route|class, n:fence -> messages now leased",
    "dline": "zset lane by its head's deadline",
    "await": "zset key by the time at which it ends without a receipt",
    "unsure": "zset key by the time of the next look at an unknown outcome",
    "ref": "hash provider/provider_id -> attempt.key",
    "early": "hash provider/provider_id -> receipts that nothing claimed yet",
    "earlyat": "zset of the same by arrival",
    "ended": "zset key by the time at which its record goes",
    "bodyat": "zset key by the time at which its body goes, where that is neither at its end nor with its record",
    "who": "lex zset tenant \\0 recipient, hashed \\0 id: every message of which there is a record",
    "last": "hash sender \\0 recipient, hashed -> tenant/id of the last message that a provider took from it to them",
    "optout": "hash t:tenant or s:sender \\0 recipient, hashed -> what is closed to them (lua/lib/optout.lua)",
    "optlist": "lex zset of the same fields, to list them in order",
    "heard": "zset provider/provider_id of texts that came in, by the time at which a repeat is a new one",
    "told": "hash provider/provider_id -> whose text it is and what it answers, as told first; of shard 0 of several",
    "toldat": "zset of the same by the time at which a repeat is a new one",
    "parts": "hash provider \\0 from \\0 to \\0 group, or ! group \\0 when it was closed -> the parts that are here",
    "partsat": "zset of the same by the time at which it is written without those that are missing",
    "tenant": "hash tenant -> its settings that were made by command or API, as JSON",
    "tenantat": "zset tenant by the version that changed its settings last",
    "conf": "hash: the shared config in force, compiled, with its revision, hash and source",
    "meta": "hash: counters, high-water mark, who sleeps, turns:p:provider -> routes that wait for its limit",
    "events": "stream: the contract's events",
    "push": "lex zset receiver \\0 due \\0 entry \\0 tries \\0 first: events yet to be told by status webhook",
    "gap": "hash receiver -> start cursor upto: events that `push` lacks; of receiver|replay too",
    "hook": "hash tenant -> the status webhook that it has set for itself, as JSON (hooks.py)",
    "shut": "hash receiver -> when and why a status webhook was disabled, as JSON",
    "dead": "stream: entries that could not be taken",
    "asked": "hash class|n -> up to when messages without a receipt were asked about; turn -> who asks, until when",
    "bell": "not a key but a channel: wakes processes",
    "procs": "hash process -> what it says of itself (control/processes.py); of shard 0",
}

GROUP: Final = "smsd"
"""The consumer group on every inbox."""

PUSHERS: Final = "smsd-webhooks"
"""The consumer group on the events where status webhooks are configured."""

META: Final = "smsd:meta"
"""Hash for processes, never for scripts: shards, classes, schema (contract.md §1)."""

SCHEMA: Final = 1


def key(shard: int, kind: str) -> str:
    """`smsd:{N}:kind`: the braces are the cluster hash tag."""
    return f"smsd:{{{shard}}}:{kind}"


def every(shard: int) -> list[str]:
    """All kinds of one shard in the order that the scripts know."""
    return [key(shard, kind) for kind in KINDS]


def inbox(shard: int, class_: str) -> str:
    """The stream that the platform writes for one class."""
    return key(shard, f"in:{class_}")
